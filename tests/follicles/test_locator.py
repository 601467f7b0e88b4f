"""Boxes come from maps without torch; the kept locator finds phantoms' ovaries; its card says what its file says."""

import numpy as np
import pytest
from safetensors.torch import load_file

from pcos_utils.config import ROOT
from pcos_utils.evaluation.intervals import exact
from pcos_utils.follicles import locator, locator_training, network
from pcos_utils.follicles.network import Outlining
from pcos_utils.phantom import sector
from pcos_utils.reporting.text import ends
from pcos_utils.serving.export import to_onnx
from tests.conftest import python
from tests.follicles.test_pretrain import facts_in


def maps(*ovaries: tuple[slice, slice, float]) -> np.ndarray:
    made = np.zeros((3, locator.SIDE, locator.SIDE), np.float32)
    for rows, columns, probability in ovaries:
        made[:2, rows, columns] = probability
    return made


def test_each_large_part_of_the_ovary_map_is_a_box_in_pixels_of_the_frame_and_the_best_comes_first():
    small = (slice(0, 5), slice(0, 5), 0.99)
    made = maps((slice(20, 60), slice(96, 144), 0.7), (slice(100, 150), slice(10, 40), 0.9), small)
    found = locator.boxes(made, (2 * locator.SIDE, locator.SIDE // 2))
    assert [each.box for each in found] == [(5, 200, 20, 300), (48, 40, 72, 120)]
    assert [each.score for each in found] == pytest.approx([0.9, 0.7]) and locator.boxes(maps(), (300, 300)) == []


def test_locate_needs_no_torch_where_maps_come_from_elsewhere():
    code = (
        "import sys, numpy as np; from pcos_utils.follicles import locator; made = np.zeros((3, 192, 192)); "
        "made[:2, 48:96, 48:96] = 1; print(locator.locate(np.zeros((100, 400), np.uint8), lambda frame: made), "
        "frame_ok := locator.stretched(np.zeros((100, 400), np.uint8)).shape, 'torch' in sys.modules)"
    )
    assert python(code).stdout.strip() == "[Found(box=(100, 25, 200, 50), score=1.0)] (192, 192) False"
    with pytest.raises(ValueError, match="must be grey"):
        locator.locate(np.zeros((9, 9, 3), np.uint8))


def test_boxes_overlap_by_intersection_over_union():
    left, right = (0, 0, 10, 10), (5, 0, 15, 10)
    assert locator.overlap(left, right) == pytest.approx(1 / 3) and locator.overlap(left, (10, 0, 20, 10)) == 0
    one, two = locator.Found(left, 0.9), locator.Found((0, 0, 9, 9), 0.8)
    assert locator.matched([one, two], [left]) == 1 and locator.matched([one], [left, right]) == 1
    mask = np.zeros((20, 40), int)
    mask[:, :10], mask[:15, 30:], mask[0, 20] = 1, 2, 3  # the third is too small to be seen
    assert locator.outlined(mask) == [(0, 0, 10, 20), (30, 0, 40, 15)]


@pytest.mark.slow
def test_the_locator_is_taught_by_phantoms_and_kept_in_float16(home, monkeypatch):
    recipe = locator_training.RECIPE.model_copy(update={"epochs": 2})
    for name, value in {"SHARD": 4, "HELD_OUT": 4, "RECIPE": recipe}.items():
        monkeypatch.setattr(locator_training, name, value)
    epochs, target = [], home / "w.safetensors"
    facts = locator_training.teach(2, 0, epochs.append, target)
    assert len(epochs) == 2 and facts["phantoms"] == 4 and 0 <= facts["found"] <= 1
    assert facts_in(target)["phantoms"] == "4"
    kinds = {name.rpartition(".")[2]: str(tensor.dtype) for name, tensor in load_file(target).items()}
    assert {*kinds.values()} - {kinds.get("num_batches_tracked")} == {"torch.float16"}


@pytest.mark.slow
def test_the_kept_locator_finds_ovaries_of_phantoms_that_it_never_saw():
    hits = ovaries = false = without = 0
    for seed in range(40):
        made = sector.simulate(seed)
        there, found = locator.outlined(made.ovary), locator.locate(made.image)
        hits += locator.matched(found, there)
        ovaries, without, false = ovaries + len(there), without + (not there), false + len(found) * (not there)
    assert hits / ovaries > 0.55 and false / without < 0.6


def test_the_card_says_what_the_file_says_and_the_network_has_the_size_it_states():
    card = (ROOT / "pcos_utils" / "weights" / "README.md").read_text(encoding="utf-8")
    facts = facts_in(locator.KEPT)
    share, ovaries = float(facts["found"]), int(facts["ovaries"])
    told = (
        f"finds {share:.0%} of {ovaries} ovaries {ends(*exact(round(share * ovaries), ovaries))} and draws "
        f"{float(facts['false_boxes']):.2f} false boxes a frame in {facts['frames_without']} frames without one"
    )
    assert told in card and f"{int(facts['phantoms']):,} phantoms of whole sectors" in card
    size = sum(parameter.numel() for parameter in network.Locator().parameters())
    assert f"{size:,} parameters" in card and f"{size:,} parameters" in network.Locator.__doc__


def test_an_exported_locator_draws_the_same_maps(tmp_path):
    outlining = Outlining(network.load(locator.KEPT, network.Locator))
    assert to_onnx(outlining, (locator.SIDE, locator.SIDE), tmp_path / "locator.onnx", "grey") <= 1e-4
