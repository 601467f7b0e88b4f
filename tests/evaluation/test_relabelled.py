"""Other truths give the AUCs that counting by hand gives."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcos_utils.data.anatomy import draw_ovary
from pcos_utils.data.effects import Effects
from pcos_utils.evaluation import relabelled, within


def scored(n: int, seed: int = 0, levels: int = 6) -> pd.DataFrame:
    """So many sources with tied scores."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    return pd.DataFrame(
        {"source": [f"s{i}" for i in range(n)], "label": label, "logit": rng.integers(0, levels, n) + label * 1.0}
    )


def by_hand(scores: pd.DataFrame, flips: int) -> dict[tuple, float]:
    """The AUC of every way to turn so many labels that leaves both classes."""
    made = {}
    for turned in combinations(range(len(scores)), flips):
        label = scores.label.to_numpy(copy=True)
        label[list(turned)] = 1 - label[list(turned)]
        if 0 < label.sum() < len(label):
            made[turned] = roc_auc_score(label, scores.logit)
    return made


@pytest.mark.parametrize("seed", range(5))
def test_flips_are_those_of_trying_every_way(seed):
    scores = scored(13, seed)
    # The order of sources is that of the ways to turn them.
    scores = scores.assign(source=[f"s{i:02}" for i in range(13)])
    made = relabelled.flips(within.meetings(scores)).set_index("flips")
    for flips in (0, 1, 2):
        wanted = by_hand(scores, flips)
        values = list(wanted.values())
        row = made.loc[flips]
        assert row.ways == len(values)
        assert (row.lowest, row["median"], row.highest) == pytest.approx((min(values), np.median(values), max(values)))
        for end, value in (("to_lowest", row.lowest), ("to_highest", row.highest)):
            turned = tuple(int(name[1:]) for name in row[end].split(" and ")) if flips else ()
            assert wanted[turned] == pytest.approx(value)


def test_flips_that_empty_a_class_do_not_count():
    few = scored(4).assign(label=[1, 0, 0, 0])
    made = relabelled.flips(within.meetings(few)).set_index("flips")
    assert made.ways[1] == 3 and made.ways[2] == len(by_hand(few, 2)) == 6


def test_the_guidelines_definition_gives_the_phantoms_own_labels():
    ovaries = [draw_ovary(np.random.default_rng(seed), seed % 2, Effects()) for seed in range(60)]
    names = [f"s{i}" for i in range(60)]
    truth = pd.DataFrame({"source": names, "FNPO": [o.count for o in ovaries], "volume": [o.volume for o in ovaries]})
    label = [ovary.label for ovary in ovaries]
    scores = pd.DataFrame({"source": names, "label": label, "logit": truth.FNPO + 0.0}).sample(frac=1, random_state=0)
    made = relabelled.definitions(within.meetings(scores), truth, resamples=100).set_index(["follicles", "criterion"])
    assert made.moved[20, "follicles or volume"] == 0 and made.polycystic[20, "follicles or volume"] == sum(label)
    assert made.value[25, "follicles alone"] == 1 and made.polycystic[25, "follicles alone"] == (truth.FNPO >= 25).sum()
    told = relabelled.definition_sentence(made.reset_index(), "Reader")
    moved = made.moved[12, "follicles or volume"]
    assert (
        "on 60 sources" in told and f"12 or more follicles: .{100 * made.value[12, 'follicles or volume']:.0f}" in told
    )
    assert f"({moved} label{'' if moved == 1 else 's'} moved)" in told


def test_a_definition_that_leaves_one_class_has_no_auc():
    scores = scored(20)
    truth = pd.DataFrame({"source": scores.source, "FNPO": 15, "volume": 5.0})
    made = relabelled.definitions(within.meetings(scores), truth, resamples=100).set_index(["follicles", "criterion"])
    assert np.isnan(made.value[12, "follicles alone"]) and made.normal[12, "follicles alone"] == 0
    assert made.few_sources.all()


def test_the_sentence_of_the_flips_has_the_tables_ends():
    made = relabelled.flips(within.meetings(scored(20, 1)))
    text = relabelled.flip_sentence(made, "Reader")
    for flips in (1, 2):
        row = made.set_index("flips").loc[flips]
        ends = [f"{value:.2f}".replace("0.", ".") for value in (row.lowest, row.highest)]
        assert f"between {ends[0]} and {ends[1]} if any {('one', 'two')[flips - 1]}" in text
