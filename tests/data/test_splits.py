"""No source crosses; and where one is made to cross, nothing trains."""

import hashlib
from itertools import product

import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.data import splits


def table(sources_per_class=20, images=3, **columns) -> pd.DataFrame:
    """Return an audited manifest with so many sources of each class, each with some images."""
    places = product((0, 1), range(sources_per_class), range(images))
    rows = [(f"{label}/{s}_{i}.png", label, f"{label}/{s}_0.png") for label, s, i in places]
    made = pd.DataFrame(rows, columns=["path", "label", "source"])
    return made.assign(status="ok", folder_split="", **columns)


STUDY = config.study(folds=4, repeats=2, sources_per_class=None, images_per_source=None)


def test_every_source_is_tested_once_per_repeat_and_never_crosses_and_the_draw_never_changes():
    drawn = splits.draw(table(), STUDY)
    for repeat in range(2):
        tested = []
        for fold in range(4):
            roles = splits.roles(drawn, "grouped", repeat, fold, 0)
            assert splits.guard(roles, "grouped") == 0 and set(roles.role) == {"train", "selection", "test"}
            assert roles[roles.role == "test"].groupby("label").source.nunique().eq(5).all()
            tested += list(roles[roles.role == "test"].source.unique())
        assert sorted(tested) == sorted(drawn.source.unique())
    assert not drawn.r0.equals(drawn.r1) and drawn.equals(splits.draw(table(), STUDY))
    assert hashlib.sha256(drawn.to_csv().encode()).hexdigest()[:16] == "0b6154a8ab322382"  # it never changes


def test_the_published_split_has_the_published_proportions():
    both = pd.concat([table(14).query("label == 1"), table(40).query("label == 0")], ignore_index=True)
    drawn = splits.draw(both, STUDY)
    counts = drawn.groupby(["label", "split"]).source.nunique().to_dict()
    assert counts == {(0, "test"): 12, (0, "train"): 28, (1, "test"): 4, (1, "train"): 10}


def test_folders_with_their_own_split_keep_it_and_the_crossings_are_counted():
    sources = table()
    sources["folder_split"] = ["train", "train", "test"] * 40  # one copy of every source in the test folder
    roles = splits.roles(splits.draw(sources, STUDY), "published", 0, 0, 0)
    assert splits.guard(roles, "published") == 40
    assert roles.role.equals(roles.split) and set(roles.role) == {"train", "test"}
    sources["folder_split"] = ["train" if label else "test" for label in sources.label]
    with pytest.raises(config.StudyError, match=r"train folder .* one class only \(polycystic\).*add images"):
        splits.draw(sources, STUDY)


def test_no_patient_is_in_two_folds():
    visits = table(images=1, sources_per_class=20).assign(group=[f"pt{i // 2}" for i in range(40)])

    def most(column, drawn):
        return drawn.groupby(visits.group)[column].nunique().max()

    assert most("r0", splits.draw(visits.drop(columns="group"), STUDY)) == 2  # without patients, visits part
    drawn = splits.draw(visits, STUDY)
    assert most("r0", drawn) == most("r1", drawn) == most("split", drawn) == 1 and drawn.source.nunique() == 20
    linked = splits.whole_groups(visits.assign(source=["a", "b", "b", "c", *visits.source[4:]]))
    assert linked.source.tolist()[:4] == ["a"] * 4  # two patients who share a picture
    assert splits.whole_groups(visits.assign(group="")).equals(visits.assign(group=""))


def test_no_clip_is_in_two_folds_where_folds_are_drawn_at_its_level():
    frames = table(images=1, sources_per_class=20)
    clip = pd.Series([f"clip {i // 2}" for i in range(40)])
    with_clips = frames.assign(clip=clip)
    assert splits.draw(with_clips, STUDY).equals(splits.draw(frames, STUDY))
    drawn = splits.draw(with_clips, STUDY, "clip")
    assert drawn.groupby(clip)[["r0", "r1", "split"]].nunique().eq(1).all().all() and drawn.source.nunique() == 20


def test_a_source_in_training_and_elsewhere_stops_the_protocol():
    for role, protocol in (("test", "grouped"), ("selection", "grouped"), ("selection", "published")):
        roles = splits.roles(splits.draw(table(), STUDY), "grouped", 0, 0, 0)
        roles.loc[roles.index[roles.role == role][0], "role"] = "train"
        with pytest.raises(config.StudyError, match="1 source.* both sides"):
            splits.guard(roles, protocol)


def dataset_b() -> pd.DataFrame:
    """Return 44 frames of dataset B, with the sources that the audit finds in them."""
    missing = {2, 5, 8, 10, 11, 14, 17, 20, 38}
    names = [("pco", n) for n in range(1, 15) if n != 9] + [("normal", n) for n in range(1, 41) if n not in missing]
    rows = [{"path": f"{kind}/{kind}_{n}.jpg", "label": int(kind == "pco")} for kind, n in names]
    table = pd.DataFrame(rows).assign(status="ok", folder_split="", source=lambda rows: rows.path)
    return table.replace({"source": {f"normal/normal_{n}.jpg": "normal/normal_23.jpg" for n in (29, 40)}})


def test_the_known_test_frames_of_dataset_b_are_tested():
    known = {f"pco/pco_{n}.jpg" for n in (1, 4, 7, 13)} | {f"normal/normal_{n}.jpg" for n in (21, 25, 31, 34)}
    for seed in range(6):
        drawn = splits.draw(dataset_b(), STUDY.model_copy(update={"seed": seed}))
        tested = drawn[drawn.split == "test"]
        assert known <= set(tested.path) and tested.label.value_counts().to_dict() == {1: 4, 0: 12}
        assert drawn.groupby("source").split.nunique().eq(1).all()
    # A folder that only looks like it is drawn by share.
    more = pd.concat([dataset_b(), dataset_b().head(1).assign(path="pco/pco_15.jpg", source="pco/pco_15.jpg")])
    drawn = splits.draw(more.reset_index(drop=True), STUDY)
    assert (drawn[drawn.label == 1].split == "test").sum() == 4
    assert not {"pco/pco_1.jpg", "pco/pco_4.jpg"} <= set(drawn.path[drawn.split == "test"])


def test_bridges_two_labels_and_unreadable_files_are_left_out_and_named():
    sources = table(evidence="first")
    sources.loc[0, "label"] = 1
    sources.loc[4, "evidence"] = "bridge"
    sources.loc[10, ["status", "source"]] = ["empty", ""]
    used = [splits.draw(sources, STUDY.model_copy(update={"keep_label_conflicts": keep})).used for keep in (0, 1)]
    assert used[0].value_counts().to_dict() == {"yes": 115, "two labels": 3, "unreadable": 1, "bridge": 1}
    assert used[1].value_counts().to_dict() == {"yes": 118, "unreadable": 1, "bridge": 1}


def test_a_demo_draws_a_part_of_a_large_folder(tmp_path):
    study = config.study(data=str(tmp_path))
    drawn = splits.draw(table(70, images=6), study)
    used = drawn[drawn.used == "yes"]
    assert used.groupby("label").source.nunique().to_dict() == {0: 60, 1: 60}
    assert used.groupby("source").size().max() == 4


@pytest.mark.parametrize(("sources", "folds", "enough"), [(5, 2, False), (6, 2, True), (6, 7, False), (7, 7, True)])
def test_with_too_few_sources_nothing_is_drawn_and_the_study_ends_with_its_description(sources, folds, enough):
    study = STUDY.model_copy(update={"folds": folds})
    drawn = splits.draw(table(sources), study)
    assert splits.enough(drawn, study) == enough
    if enough:
        splits.need_test_set(drawn, study)
        assert drawn.r0.notna().all() and set(drawn.split) == {"train", "test"}
    else:
        assert drawn.r0.isna().all() and drawn.split.eq("").all() and drawn.used.eq("yes").all()
        text = f"has {sources} polycystic and {sources} normal.*needs {max(6, folds)}"
        with pytest.raises(config.TooFewSources, match=text):
            splits.need_test_set(drawn, study)


def test_five_right_answers_of_five_could_be_a_coins_and_six_of_six_could_not():
    assert 0.025 ** (1 / (splits.FEWEST_SOURCES - 1)) < 0.5 < 0.025 ** (1 / splits.FEWEST_SOURCES)
