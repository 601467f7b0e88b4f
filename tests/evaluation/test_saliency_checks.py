"""Maps that know where follicles are pass, and maps that know nothing do not."""

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pcos_utils.evaluation import saliency_checks as checks

N, SIDE = 30, 12
HOW = {"resamples": 300, "seed": 0}
TITLES = {"iustnet": "IustNet", "follicles": "Follicle count"}


@pytest.fixture
def sources() -> pd.DataFrame:
    """Thirty sources of two classes."""
    return pd.DataFrame({"source": [f"s{i}" for i in range(N)], "label": np.arange(N) % 2})


@pytest.fixture
def masks() -> np.ndarray:
    """A fourth of each picture."""
    made = np.zeros((N, SIDE, SIDE))
    made[:, :6, :6] = 1
    return made


def noise(seed: int) -> np.ndarray:
    """Maps that depend on nothing."""
    return np.random.default_rng(seed).random((N, SIDE, SIDE))


def test_agreement_is_spearmans_correlation_and_empty_maps_have_none():
    first, second = np.round(noise(0), 1), np.round(noise(0) + noise(1), 1)
    wanted = [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(checks.agreement(first, second), wanted)
    second[3] = 0
    made = checks.agreement(first, second)
    assert np.isnan(made[3]) and np.isfinite(np.delete(made, 3)).all()


def test_the_mean_has_a_sources_interval_and_tells_what_is_missing(sources):
    values = np.where(sources.label == 1, 1.0, 0.0) + np.random.default_rng(0).normal(0, 0.1, N)
    values[:2] = np.nan
    made = checks.mean_interval(values, sources, **HOW)
    assert made["value"] == pytest.approx(np.nanmean(values)) and (made["sources"], made["empty"]) == (N - 2, 2)
    # Drawn within classes, so that the gap between them is no spread.
    assert made["low"] < made["value"] < made["high"] and made["high"] - made["low"] < 0.1
    assert checks.mean_interval(np.full(N, np.nan), sources, **HOW)["sources"] == 0


def test_a_mask_is_shrunk_to_shares_of_pixels(tmp_path):
    numbered = np.zeros((40, 60), np.uint8)
    numbered[:10, :15], numbered[20:, 30:] = 1, 7
    cv2.imwrite(str(tmp_path / "mask.png"), numbered)
    made = checks.follicle_masks(pd.Series(["mask.png"]), tmp_path, 4)[0]
    assert made[0, 0] == 1 and made[0, 1] == 0 and (made[2:, 2:] == 1).all() and made.sum() == pytest.approx(5)
    assert made.mean() == pytest.approx((numbered > 0).mean())


def test_a_map_inside_the_masks_beats_a_uniform_and_an_untaught_one(sources, masks):
    maps = {"grad_cam": noise(0) * (0.2 + masks), "occlusion": noise(1)}
    made = checks.share_table(maps, masks, sources, {name: noise(5) for name in maps}, **HOW).set_index("method")
    assert made.uniform.tolist() == [0.25, 0.25] and made.value["grad_cam"] == pytest.approx(2 / 3, abs=0.05)
    assert made.gain_low["grad_cam"] > 0.3 and made.learnt_low["grad_cam"] > 0.3
    assert made.gain_low["occlusion"] < 0 < made.gain_high["occlusion"]
    assert made.learnt_low["occlusion"] < 0 < made.learnt_high["occlusion"]
    assert made.gain["grad_cam"] == pytest.approx(made.value["grad_cam"] - 0.25)


def test_dark_places_alone_are_no_knowledge(sources, masks):
    # A method that marks follicles whatever the weights beats a uniform map, and not random weights.
    dark = {"integrated_gradients": 0.2 + masks + 0.1 * noise(0)}
    made = checks.share_table(dark, masks, sources, {"integrated_gradients": 0.2 + masks + 0.1 * noise(1)}, **HOW).iloc[
        0
    ]
    assert made.gain_low > 0.3 and made.learnt_low <= 0


def networks(own: np.ndarray, honest: float, random: float, shuffled: float) -> dict:
    """Maps of three networks that hold so much of the own maps."""
    parts = zip(checks.COMPARED, (honest, random, shuffled), (11, 12, 13), strict=True)
    return {name: {"grad_cam": share * own + (1 - share) * noise(seed)} for name, share, seed in parts}


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((0.8, 0.1, 0.1), "yes"),
        ((0.8, 0.1, 0.8), "not shown"),
        ((0.8, 0.9, 0.1), "not shown"),
        ((0, 0, 0), "not shown"),
    ],
)
def test_only_maps_that_follow_what_was_learnt_pass(sources, masks, shares, verdict):
    own = noise(0)
    made = checks.check_table({"grad_cam": own}, networks(own, *shares), sources, **HOW)
    assert made.against.tolist() == list(checks.COMPARED) and made.gain[0] == 0
    assert made.value[0] - made.value[2] == pytest.approx(made.gain[2])
    shared = checks.share_table({"grad_cam": own}, masks, sources, {"grad_cam": noise(4)}, **HOW)
    text = checks.markdown(shared.assign(reader="iustnet"), made.assign(reader="iustnet"), TITLES)
    assert text.splitlines()[2].startswith("| IustNet, Grad-CAM | ") and text.endswith(f" {verdict} |")
    assert all(f"{made.value[i]:.2f}".replace("0.", ".") in text for i in range(3))


def test_a_reader_without_other_networks_has_dashes_and_the_sentence_counts(sources, masks):
    found = masks + 0.1 * noise(0)
    shared = checks.share_table({"map of follicles": found}, masks, sources, **HOW).assign(reader="follicles")
    blind = checks.share_table({"grad_cam": noise(0)}, masks, sources, {"grad_cam": noise(1)}, **HOW)
    both = pd.concat([shared, blind.assign(reader="iustnet")])
    text = checks.markdown(both, pd.DataFrame({"reader": [], "method": [], "against": []}), TITLES)
    assert text.splitlines()[2].endswith("| .25 | – | – | – | – | – |")
    told = checks.sentence(both, TITLES)
    assert "in 1 of 2 maps (30 sources): Follicle count's map of follicles." in told and told.endswith("weights: none.")


def test_empty_maps_are_said(sources, masks):
    made = checks.share_table({"grad_cam": np.zeros_like(masks)}, masks, sources, **HOW).iloc[0]
    assert made.sources == 0 and made["empty"] == N and np.isnan(made.value)
