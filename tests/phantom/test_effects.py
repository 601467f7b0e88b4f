"""Each switch has a consequence that can be measured, and leaves what the other parts draw as it was."""

import cv2
import numpy as np
import pytest

from pcos_utils.phantom import anatomy, display, scene, simulator, ultrasound
from pcos_utils.phantom.anatomy import Effects

SEEDS = range(16)
SWITCHES = ("shapes", "faint")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def frames() -> dict:
    """Phantoms of the same seeds, with all effects and with each switched off."""
    settings = {"all": Effects()} | {name: Effects(**{name: False}) for name in SWITCHES}
    return {name: [simulator.simulate(s, s % 2, effects=effects) for s in SEEDS] for name, effects in settings.items()}


def test_a_setting_is_named_by_what_is_off():
    assert Effects().name == "all" and Effects(shapes=False, faint=False).name == "no-faint-shapes"


@slow
def test_what_concerns_the_image_leaves_every_mask(frames):
    changed = []
    for (image, *masks, truth), (light, *same_masks, same_truth) in zip(frames["all"], frames["faint"], strict=True):
        assert truth == same_truth and all(map(np.array_equal, masks, same_masks))
        changed.append(not np.array_equal(image, light))
    assert np.mean(changed) > 0.7  # no follicle is faint in some frames


@slow
def test_what_concerns_the_follicles_leaves_ovary_and_scanner(frames):
    same = [
        before.truth["f0"] == after.truth["f0"] and before.ovary.tobytes() == after.ovary.tobytes()
        for before, after in zip(frames["all"], frames["shapes"], strict=True)
    ]
    # An ovary whose follicles jam is drawn again, and a switch may decide whether they jam.
    assert np.mean(same) >= 0.85


def test_in_a_thin_slice_the_rims_are_sharp():
    u, v = (axis.astype(np.float32) for axis in np.meshgrid(*[np.linspace(-15e-3, 15e-3, 300)] * 2))
    grey = {0.5e-3: 0, 0.02e-3: 0}
    for seed in range(4):
        ovary = anatomy.draw_ovary(np.random.default_rng(seed), 1, Effects(shapes=False))
        for thickness in grey:
            share = anatomy.section(u, v, ovary, thickness).share
            grey[thickness] += np.sum((share > 0.05) & (share < 0.95))
    assert grey[0.02e-3] < 0.25 * grey[0.5e-3]


def test_bands_vessels_and_shadows_darken_the_map_and_some_frames_are_marked():
    grid = ultrasound.Grid.covering(ultrasound.Window(0, 25e-3, 45e-3), ultrasound.Beam(6.5), top=25e-3).halved
    added, lost = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ovary = anatomy.draw_ovary(rng, seed % 2)
        added.append(np.mean(scene.distractors(ovary, grid, 1.0, rng) < -4))
        lost.append(scene.shadows(grid, rng).max())
    assert np.mean(added) > 0.04  # of the map, by four decibels and more
    assert 0.3 < np.mean(np.array(lost) > 0.1) < 0.9  # some frames have a shadow
    assert 0.2 < np.mean([display.draw_marks(np.random.default_rng(seed)).any() for seed in range(300)]) < 0.4


def roundness(phantom: simulator.Phantom) -> list[float]:
    """Return the area of each whole follicle over that of the least circle around it."""
    values = []
    for number in range(1, phantom.truth["FNPS"] + 1):
        points = np.argwhere(phantom.follicles == number)
        whole = (points.min(axis=0) > 0).all() and (points.max(axis=0) < [199, 299]).all()
        if whole and len(points) > 200:
            values.append(len(points) / (np.pi * (cv2.minEnclosingCircle(points.astype(np.float32))[1] + 0.5) ** 2))
    return values


@slow
def test_without_shapes_every_follicle_is_a_circle(frames):
    uneven, plain = (np.concatenate([roundness(phantom) for phantom in frames[name]]) for name in ("all", "shapes"))
    assert plain.min() > 0.87  # pixels and the walls between near ones
    assert np.median(uneven) < 0.8 and np.mean(uneven < 0.5) > 0.03  # flat ones and crescents


def ovaries(label: int, **effects) -> list[anatomy.Ovary]:
    """Return forty ovaries of one label."""
    return [anatomy.draw_ovary(np.random.default_rng(seed), label, Effects(**effects)) for seed in range(40)]


def test_faint_follicles_hold_echoes():
    seen = 0
    for faint, clear in zip(ovaries(1), ovaries(1, faint=False), strict=True):
        changed = faint.clutter != clear.clutter
        seen += changed.sum()
        assert faint.follicles.tobytes() == clear.follicles.tobytes()
        assert np.ptp(clear.clutter) == 0 and clear.clutter.max() < 0.0502  # -13 dB
        assert (faint.clutter[changed] > 0.063).all()  # -12 dB
    assert seen > 20
