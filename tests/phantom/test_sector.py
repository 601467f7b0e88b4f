"""Whole sectors obey the physics, repeat their bytes, and hold what their truth says."""

import numpy as np
import pytest

from pcos_utils.phantom import sector, ultrasound
from pcos_utils.phantom.pelvis import STRUCTURES, Pelvis

VIEW = sector.View(False, 120, 20e-3, 0.5, -45e-3, -4e-3, 90e-3, 64e-3)  # a convex probe, 12 cm deep


def test_a_bladder_is_dark_what_lies_behind_it_brighter_by_as_much_as_the_body_would_make_it_and_gas_throws_a_shadow():
    pelvis = Pelvis(VIEW.grid(), VIEW.face, VIEW.unit, np.random.default_rng(1))
    pelvis.power[:] = 0
    pelvis.fluid("bladder", pelvis.ellipse(0, 40, 20, 15, 0, 0), rim=0)
    raised = 3.0 * VIEW.depth * 1e-3 / sector.COMMON_DEPTH
    beam = ultrasound.Beam(raised, lateral_fwhm=4, focus=VIEW.face + 30e-3, noise=1e-4, looks=12)
    echo, rng = np.sqrt(10 ** (pelvis.power / 10)), np.random.default_rng(2)
    power = ultrasound.envelope(echo, pelvis.attenuation, pelvis.grid, beam, rng) ** 2
    middle, deep = np.abs(pelvis.x) < 1.5, np.abs(pelvis.z - 80) < 12
    parts = middle & (np.abs(pelvis.z - 40) < 10), deep & middle, deep & (np.abs(pelvis.x) > 45)
    inside, behind, beside = (power[part].mean() for part in parts)
    # Both ways, less attenuation, MHz and cm of the body, though the scan was shrunk to half.
    assert 10 * np.log10(behind / beside) == pytest.approx(2 * 0.49 * 3 * 3, abs=1)
    assert 10 * np.log10(inside / beside) < -20
    before = pelvis.attenuation.copy()
    pelvis.bowel(0, 50)  # whose gas throws a shadow
    assert (pelvis.attenuation - before).max() > 0.25 and (pelvis.code == STRUCTURES.index("bowel") + 1).any()


def test_a_sector_lies_between_two_arcs_and_two_rays_and_an_ovary_keeps_its_size_in_the_body():
    seen = VIEW.samples()[2]
    assert not seen[0, 0] and not seen[-1, 0] and seen[sector.SIDE // 2, sector.SIDE // 2] and 0.4 < seen.mean() < 0.8
    deeper = VIEW._replace(depth=240)
    assert deeper.unit == VIEW.unit / 2 and (deeper.samples()[2] == seen).all()
    ovary = sector.draw_ovary(np.random.default_rng(0), 1)
    placed = sector._placed(ovary, VIEW, 10, 60, 0.3)
    assert placed.volume == ovary.volume and placed.semi_axes / VIEW.unit == pytest.approx(ovary.semi_axes * 1e3)
    assert placed.centre == pytest.approx([10 * VIEW.unit, 60 * VIEW.unit + VIEW.face])


def test_sectors_repeat_their_bytes_and_their_masks_agree_with_their_truth():
    sectors = [sector.simulate(seed) for seed in range(16)]
    again = sector.simulate(3)
    assert all(np.array_equal(*pair) for pair in zip(sectors[3][:4], again[:4], strict=True))
    for each in sectors:
        assert {part.shape for part in each[:4]} == {(sector.SIDE, sector.SIDE)} and each.image.dtype == np.uint8
        assert len(np.unique(each.ovary)) - 1 == each.truth["ovaries"] == len(each.truth["follicles"])
        assert [STRUCTURES[code - 1] for code in np.unique(each.other[each.other > 0])] == each.truth["structures"]
        assert 40 <= each.truth["depth"] <= 160
        inside = each.follicles > 0
        assert not inside.any() or (each.ovary[inside] > 0).mean() > 0.95
    assert {each.truth["view"] for each in sectors} == {"abdominal", "endocavity"}
    assert {each.truth["ovaries"] for each in sectors} == {0, 1, 2}
