"""The simulator obeys the physics, repeats its bytes, survives an interruption, and hides no shortcut."""

import hashlib
import inspect
import os
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcos_utils.phantom import anatomy, simulator, ultrasound
from pcos_utils.phantom.anatomy import Effects
from studies.phantom_shortcuts import shortcuts
from tests.conftest import python

BEAM = ultrasound.Beam(frequency=6.5, noise=1e-3)
WINDOW = ultrasound.Window(x=0, z=28e-3, width=50e-3)
GRID = ultrasound.Grid.covering(WINDOW, BEAM, top=28e-3)
CYST = 8e-3  # m, diameter, at the centre of the window
PER_CLASS = 400  # the standard error of an AUC near .5 is .020
PHANTOMS = 30  # drawn on three kinds of processor
AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"
slow = pytest.mark.slow


def scanned(diameter: float, seed: int, looks: int = 1) -> np.ndarray:
    """Return the amplitude of a cyst of clear fluid in uniform tissue."""
    x, z = GRID.positions
    fluid = np.hypot(x - WINDOW.x, z - WINDOW.z) < diameter / 2
    attenuation = np.where(fluid, ultrasound.FLUID_ATTENUATION, ultrasound.TISSUE_ATTENUATION)
    beam = replace(BEAM, looks=looks)
    return ultrasound.envelope(np.where(fluid, 0.0, 1.0), attenuation, GRID, beam, np.random.default_rng(seed))


def test_speckle_of_uniform_tissue_is_rayleigh():
    amplitude = scanned(0, seed=1)
    # Theory: sqrt(pi / (4 - pi)) = 1.913. About 10,000 independent speckles leave a standard error of .02.
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.913, abs=0.06)
    # Filters of unit energy: tissue of unit echo arrives with unit power at every depth.
    thirds = [np.mean(part**2) for part in np.array_split(amplitude, 3)]
    assert thirds == pytest.approx([1, 1, 1], abs=0.1)


def test_slices_of_a_sweep_share_scatterers_as_far_as_their_profiles_overlap():
    here = ultrasound.white_noise(np.random.default_rng(1), (300, 300))
    slices = [ultrasound.beside(here, d, 0.5e-3, np.random.default_rng(2)) for d in (0.4e-3, 1e-3, 1.2e-3)]
    correlation = np.abs(np.corrcoef([part.ravel() for part in (here, *slices)]))
    places = np.array([0, 0.4, 1, 1.2])
    assert correlation == pytest.approx(np.exp(-(((places[:, None] - places) / 0.5) ** 2) / 8), abs=0.02)
    assert [np.mean(np.abs(part) ** 2) for part in slices] == pytest.approx([1] * 3, abs=0.03)


def test_a_section_elsewhere_cuts_the_same_ovary():
    first, near = (simulator.simulate(5, 1, elevation=elevation) for elevation in (0.0, 1e-3))
    unchanged = ("label", "FNPO", "volume", "f0")
    assert [first.truth[name] for name in unchanged] == [near.truth[name] for name in unchanged]
    assert (first.follicles > 0).mean() != (near.follicles > 0).mean() and (first.ovary != near.ovary).any()


def test_a_cyst_is_20_decibels_darker_than_tissue_and_the_enhancement_behind_it_agrees_with_theory():
    amplitude, (x, z) = scanned(CYST, seed=2), GRID.positions
    inside = np.hypot(x - WINDOW.x, z - WINDOW.z) < 0.7 * CYST / 2  # clear of the side lobes of the rim
    beside = (np.abs(z - WINDOW.z) < 0.35 * CYST) & (np.abs(x - WINDOW.x) > CYST)
    assert 20 * np.log10(amplitude[inside].mean() / amplitude[beside].mean()) < -20
    power, off_axis = scanned(CYST, seed=3, looks=24) ** 2, np.abs(np.arctan2(x, z + ultrasound.PROBE_RADIUS))
    below = z > WINDOW.z + 0.75 * CYST
    behind, beside = below & (off_axis < 0.015), below & (off_axis > 0.25)  # rays through the whole diameter, and none
    gain = 10 * np.log10(power[behind].mean() / power[beside].mean())
    assert gain == pytest.approx(2 * 0.49 * 6.5 * 0.8, abs=0.5)  # dB: both ways, less attenuation, MHz, cm


def digest(seed: int) -> str:
    image, *masks, _ = simulator.simulate(seed, (seed - 1) % 2)
    return hashlib.sha256(b"".join(array.tobytes() for array in (image, *masks))).hexdigest()


def test_a_seed_fixes_every_byte():
    assert digest(1) == digest(1) == "711461665627c24a5b31bbae3a70de7f602cc7d09864b59e652fd37aa573e921" != digest(3)


def gaps(ovary: anatomy.Ovary) -> np.ndarray:
    """Return the distance between the centres of every two follicles over the sum of their radii."""
    centres, radii = ovary.follicles[:, :3], ovary.follicles[:, 3]
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) / (radii[:, None] + radii[None])
    return apart[~np.eye(len(radii), dtype=bool)]


def test_follicles_lie_in_the_ovary_and_overlap_only_where_they_may():
    closest = []
    for seed in range(20):
        plain = anatomy.draw_ovary(np.random.default_rng(seed), seed % 2, Effects(shapes=False))
        assert gaps(plain).min() > 1
        ovary = anatomy.draw_ovary(np.random.default_rng(seed), seed % 2)
        closest.append(gaps(ovary).min())
        assert (np.linalg.norm(ovary.follicles[:, :3] / ovary.semi_axes, axis=1) < 1).all()
        assert ovary.follicles[:, 3].min() > 0.99e-3 and ovary.follicles[:, 3].max() < 8.01e-3  # 2 to 16 mm
        assert ovary.volume == pytest.approx(4 / 3 * np.pi * ovary.semi_axes.prod() * 1e6)
    assert 0.84 <= min(closest) < 1  # some merge


def test_a_dominant_follicle_does_not_count():
    ovaries = [anatomy.draw_ovary(np.random.default_rng(seed), 0) for seed in range(60)]
    dominant = [ovary for ovary in ovaries if ovary.dominant]
    assert all(9 < ovary.dominant <= 16 for ovary in dominant)
    assert 3 <= len(dominant) <= 18  # 15 % of normal ovaries: nine in 60
    assert all(ovary.count == len(ovary.follicles) - (ovary.dominant > 0) for ovary in ovaries)


def test_two_follicles_one_above_the_other_keep_two_cores():
    far_apart = anatomy.draw_ovary(np.random.default_rng(0), 0)
    balls = np.array([[-1.5e-3, 0, -3e-3, 4e-3], [1.5e-3, 0, 3e-3, 4e-3]])  # 6.7 mm apart, 3 mm in the section
    round_ones = np.tile(anatomy.SPHERE, (2, 1))
    ovary = replace(far_apart, follicles=balls, shapes=round_ones, clutter=np.full(2, 1e-3), offset=0.0)
    v, u = (np.mgrid[-50:51, -75:76] * 0.12e-3).astype(np.float32)
    section = anatomy.section(u, v, ovary, 0.3e-3)
    discs = np.bincount(section.owner.ravel())[1:]  # of 2.65 mm, each less a segment
    assert discs == pytest.approx([1284, 1284], rel=0.03)
    assert cv2.connectedComponents(section.core.astype(np.uint8))[0] == 3  # the background and two
    assert section.share[50, 75] < 0.8 < section.share[50, 60]  # tissue stands between them


@pytest.mark.parametrize("seed", range(8))
def test_the_masks_of_a_phantom_agree(seed):
    _, follicles, cores, ovary, truth = simulator.simulate(seed, seed % 2)
    numbers, sizes = np.unique(follicles[follicles > 0], return_counts=True)
    assert follicles.shape == (200, 300) and numbers.tolist() == list(range(1, truth["FNPS"] + 1))
    assert (sizes >= simulator.VISIBLE_PIXELS).all()
    assert set(np.unique(ovary)) <= {0, 1} and np.mean(ovary[follicles > 0]) > 0.9
    assert_apart(cores, follicles)


def assert_apart(cores: np.ndarray, follicles: np.ndarray) -> None:
    """Check that every core lies in its own follicle and that no two touch: a connected part holds one number."""
    assert (cores[cores > 0] == follicles[cores > 0]).all()
    count, parts = cv2.connectedComponents((cores > 0).astype(np.uint8))
    assert all(len(np.unique(cores[parts == part])) == 1 for part in range(1, count))


def contents(folder) -> dict:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_two_and_die(folder, seed, label, simulate_into=simulator.simulate_into):
    """Make the first two phantoms; at the third the worker dies."""
    return os._exit(1) if seed >= 3 else simulate_into(folder, seed, label)


@slow
def test_workers_an_interruption_and_the_size_of_a_set_change_no_byte(tmp_path, monkeypatch):
    one, two, broken = (tmp_path / name for name in ("one", "two", "broken"))
    table = simulator.generate(one, 3, processes=1)
    simulator.generate(two, 3, processes=2)
    three = contents(one)
    assert three == contents(two) and len(three) == 13
    pd.testing.assert_frame_equal(table, simulator.generate(one, 3))
    simulator.generate(broken, 1, processes=1)
    with monkeypatch.context() as patch, pytest.raises(Exception, match="terminated abruptly"):
        patch.setattr(simulator, "simulate_into", make_two_and_die)
        simulator.generate(broken, 3, processes=1)
    assert (broken / "normal" / "phantom_00001.png").exists() and not (broken / "truth.csv").exists()
    for name in ("phantom_00002.png", "phantom_00004.png.tmp"):
        (broken / "pcom" / name).write_bytes(b"half a")
    simulator.generate(broken, 3, processes=1)
    assert contents(broken) == three
    simulator.generate(one, 2, processes=1)  # fewer: nested, and the rest is gone
    fewer = contents(one)
    assert len(fewer) == 9 and all(three[name] == fewer[name] for name in fewer if name != "truth.csv")
    assert simulator.generate(one, 2, seed=1, processes=1)["seed"].min() == 1_000_001
    assert not set(contents(one)) & (set(fewer) - {"truth.csv"})


def test_what_is_already_there_is_not_made_again(tmp_path):
    table = simulator.generate(tmp_path, 1, processes=1)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    simulator.generate(tmp_path, 1)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")} == before
    (tmp_path / table["mask"][0]).unlink()  # a table that no longer tells the truth
    simulator.generate(tmp_path, 1, processes=1)
    assert (tmp_path / table["mask"][0]).exists()
    table.assign(version="0").to_csv(tmp_path / "truth.csv", index=False)  # of an earlier simulator
    assert set(simulator.generate(tmp_path, 1, processes=1)["version"]) == {simulator.VERSION}
    with pytest.raises(ValueError, match="per_class"):
        simulator.generate(tmp_path, 0)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> tuple:
    folder = tmp_path_factory.mktemp("phantoms")
    simulator.generate(folder, PER_CLASS)
    return folder, pd.read_csv(folder / "truth.csv")


@slow
def test_the_table_agrees_with_masks_and_rule_and_the_section_is_a_ceiling_below_one(many):
    folder, table = many
    assert table["label"].value_counts().to_dict() == {0: PER_CLASS, 1: PER_CLASS}
    assert table["source"].is_unique and table["image"].is_unique and table["seed"].is_unique
    rule = (table["FNPO"] >= anatomy.MANY_FOLLICLES) | (table["volume"] >= anatomy.LARGE_OVARY)
    assert (rule == table["label"]).all()
    polycystic = table[table["label"] == 1]
    assert (polycystic["FNPO"] < 20).any() and (polycystic["volume"] < 10).any()  # one criterion is enough
    assert (table["FNPS"] <= table["FNPO"] + (table["dominant"] > 9)).all()
    assert 0.08 < (table.loc[table["label"] == 0, "dominant"] > 9).mean() < 0.22 and table["f0"].between(5, 8).all()
    for row in table[::20].itertuples():
        image, mask = (cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in (row.image, row.mask))
        assert np.unique(mask).tolist() == list(range(row.FNPS + 1))
        assert image.shape == mask.shape and row.image.startswith(simulator.FOLDERS[row.label])
    auc = {name: roc_auc_score(table["label"], table[name]) for name in ("FNPS", "FNPO", "volume")}
    assert 0.86 <= auc["FNPS"] <= 0.93  # .893 among 3,000, standard error here .011
    assert max(auc["FNPO"], auc["volume"]) < 1  # neither criterion alone is the rule


@slow
def test_nothing_but_follicles_and_size_separates_the_classes(many):
    folder, table = many
    names = zip(table["image"], table["mask"], strict=True)
    pairs = ([cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in pair] for pair in names)
    measures = pd.DataFrame([shortcuts(*pair) for pair in pairs]).assign(f0=table["f0"])
    label, known = table["label"], measures.notna()
    auc = {name: roc_auc_score(label[known[name]], measures[name][known[name]]) for name in measures}
    assert {name: value for name, value in auc.items() if not 0.42 <= value <= 0.58} == {}
    assert known.mean().min() > 0.98  # nearly every frame has background


@slow
def test_a_seed_draws_the_same_bytes_on_every_processor_and_whoever_imports_numpy_first():
    program = f"import hashlib, numpy\nfrom pcos_utils.phantom import simulator\n{inspect.getsource(digest)}\n"
    program += f"print(*map(digest, range(1, {PHANTOMS + 1})))"
    # numpy takes other functions for AVX-512, for AVX2 and without either; their last bits differ.
    native, avx2, sse = (
        python(program, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": lacks}).stdout.split()
        for lacks in ("", AVX512, f"X86_V3 {AVX512}")
    )
    assert len(native) == PHANTOMS and native == avx2 == sse and native[0] == digest(1)
