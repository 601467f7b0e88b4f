"""A planted leak raises the bar of the random split, and not that of the source split."""

import imagehash
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from pcos_utils.evaluation import leakage
from pcos_utils.reporting import figures_data, sentences_published

matplotlib.use("agg")


def pictures(each: int, seed: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """So many smooth random pictures a class, which nothing but memory tells apart."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(2 * each):
        small = Image.fromarray(rng.integers(0, 256, (6, 9), dtype=np.uint8)).convert("RGB")
        made.append(np.asarray(small.resize((90, 60), Image.Resampling.BICUBIC)))
    return made, [number % 2 for number in range(2 * each)]


def compared(each: int, copies: int, **options) -> pd.DataFrame:
    """The three splits of so many pictures a class with so many copies, by split."""
    images, table = leakage.plant(*pictures(each), copies=copies)
    return leakage.compare(*leakage.look(images), table, resamples=300, **options).set_index("split")


def test_copies_raise_the_random_bar_and_leave_the_source_bar():
    leaky, clean = compared(20, copies=10), compared(20, copies=1)
    assert leaky.value["random"] > 0.9 and leaky.shared["random"] > 0.99
    assert leaky.value["hash"] > leaky.value["source"] + 0.15  # turned copies have other hashes
    assert leaky.shared["source"] == 0 and leaky.low["source"] < 0.5 < leaky.high["source"]
    assert clean.low["random"] < 0.5 < clean.high["random"] and clean.shared["random"] == 0
    assert clean.value["random"] < leaky.value["random"] - 0.3
    worth, none = leaky.loc[leakage.WORTH], clean.loc[leakage.WORTH]
    assert worth.value == pytest.approx(leaky.value["random"] - leaky.value["source"])
    assert 0.2 < worth.low < worth.value < worth.high < 0.8  # paired over the same sources
    assert none.low < 0 < none.high or (none.value == 0 and none.words == "all resamples agree")
    assert leaky.images["source"] == 400 and leaky.groups["source"] == leaky.sources["source"] == 40


def test_the_first_copy_is_the_picture_itself_and_the_seed_decides_the_others():
    originals, labels = pictures(2)
    images, table = leakage.plant(originals, labels, copies=3)
    assert (images[3] == originals[1]).all() and table.source[3] == "source 1"
    again, _ = leakage.plant(originals, labels, copies=3)
    assert all((one == two).all() for one, two in zip(images, again, strict=True))
    assert table.label.tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert len({image.tobytes() for image in images}) == 12


@pytest.mark.parametrize(("each", "bars"), [(5, 2), (6, 3)])
def test_too_few_sources_give_words_and_no_number_and_no_bar(each, bars):
    made = compared(each, copies=4)
    text, ax = sentences_published.leakage(made.reset_index()), plt.subplots()[1]
    assert made.value[["random", "hash"]].notna().all() and ("Leakage was worth" in text) == (bars == 3)
    said = "cannot be estimated: 10 sources"
    assert (made.words["source"] == said) == np.isnan(made.value["source"]) == (bars == 2)
    assert (f"{said} (5 polycystic, 5 normal, 6 of each are needed)" in text) == (bars == 2)
    figures_data.leakage_bars(made.reset_index(), ax=ax)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx(made.value[list(leakage.SPLITS)].dropna().tolist()) and len(heights) == bars
    assert any("cannot be estimated" in text.get_text() for text in ax.texts) == (bars == 2)
    plt.close("all")


def test_a_study_without_copies_gets_some_and_one_with_copies_keeps_its_own(small, monkeypatch):
    study, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    planted = leakage.of_study(study, table).set_index("split")
    assert planted.images["random"] == 24 * leakage.COPIES and planted.sources["random"] == 24
    assert planted.value["random"] > planted.value["source"] + 0.2
    paired = table.groupby("label").source.transform(lambda names: np.repeat(names.to_numpy()[::2], 2))
    own = leakage.of_study(study, table.assign(source=paired)).set_index("split")
    assert own.images["random"] == 24 and own.sources["random"] == 12 and own.shared["source"] == 0


def test_the_score_is_balanced_accuracy_with_each_source_once():
    table = pd.DataFrame({"source": np.repeat(range(20), 5), "label": np.repeat(np.arange(20) % 2, 5)})
    table["right"] = np.random.default_rng(0).random(100) < 0.7
    value, low, high, method, _ = leakage.balanced_accuracy(table, 500, 0)
    called = np.where(table.right, table.label, 1 - table.label)
    assert value == pytest.approx(balanced_accuracy_score(table.label, called))
    assert low < value < high and method == "BCa"
    twice = pd.concat([table, table])
    assert leakage.balanced_accuracy(twice, 500, 0)[1:3] == (low, high)  # copies narrow nothing
    value, low, high, method, _ = leakage.balanced_accuracy(table.assign(right=True), 500, 0)
    assert (value, high, method) == (1, 1, "exact, averaged") and low == pytest.approx(0.025 ** (1 / 10))


def test_the_hash_is_imagehashs_and_look_alikes_are_joined_through_each_other():
    rng = np.random.default_rng(0)
    for picture in pictures(10)[0]:
        ours = leakage.perceptual_hash(picture[..., 0])
        assert (ours != imagehash.phash(Image.fromarray(picture)).hash.ravel()).sum() <= 8  # another filter shrinks
        brighter = np.clip(picture[..., 0] * 0.8 + rng.normal(0, 2, (60, 90)), 0, 255).astype(np.uint8)
        assert (ours != leakage.perceptual_hash(brighter)).sum() <= leakage.HASH_DISTANCE
    hashes = np.arange(64) < np.array([0, 5, 10, 40, 64, 64])[:, None]
    group = leakage.look_alikes(hashes)
    assert group[0] == group[1] == group[2] != group[3] and group[3] != group[4] == group[5]
