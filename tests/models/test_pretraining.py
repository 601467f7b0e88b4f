"""The follicle network learns from phantoms by the common loop, is judged on others, and its run is kept."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from benchmarks import count_choice
from pcos_utils.data import phantom
from pcos_utils.models import counting, counts, devices, follicles, pretraining, unet
from pcos_utils.models.recipes import FOLLICLES

SHORT = FOLLICLES.model_copy(update={"epochs": 2, "batch": 4})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs on twelve phantoms."""
    folder = tmp_path_factory.mktemp("follicles") / "s0"
    return folder, pretraining.pretrain(folder, 6, 0, devices.Engine(), recipe=SHORT, held_out=3)


def test_a_run_folder_says_what_was_made(trained):
    folder, record = trained
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv", "run.json", "weights.safetensors"]
    assert json.loads((folder / "run.json").read_text()) == record
    assert record["held_out_phantoms"] == 6 and 0 <= record["dice_ovary"] <= 1 and record["count_mae"] >= 0


def test_a_finished_run_is_read_and_other_settings_are_trained(trained):
    folder, record = trained
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    assert pretraining.pretrain(folder, 6, 0, devices.Engine(), recipe=SHORT, held_out=3) == record
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before
    longer = SHORT.model_copy(update={"epochs": 3})
    assert pretraining.pretrain(folder, 6, 0, devices.Engine(), recipe=longer, held_out=3) != record


def test_a_count_that_changed_is_judged_again_without_training(trained, monkeypatch):
    folder = trained[0].parent / "s1"
    record = pretraining.pretrain(folder, 6, 1, devices.Engine(), recipe=SHORT, held_out=3)
    monkeypatch.setattr(pretraining.training, "fit", None)
    monkeypatch.setitem(counting.SETTINGS, "least_core", 10**6)
    monkeypatch.setattr(pretraining, "judge", lambda network, held: {"count_mae": len(held["images"])})
    again = pretraining.pretrain(folder, 6, 1, devices.Engine(), recipe=SHORT, held_out=3)
    assert again == record | {"least_core": 10**6, "count_mae": 6} == json.loads((folder / "run.json").read_text())


def test_kept_weights_are_half_as_large_and_answer_alike(trained, tmp_path):
    folder, record = trained
    kept = counts.keep(folder, tmp_path / "kept.safetensors")
    assert kept.stat().st_size < 0.6 * (folder / "weights.safetensors").stat().st_size < 2.5e6
    frames = np.stack([phantom.simulate(seed, seed % 2).image[:128, :192] for seed in range(3)])
    full, half = (follicles.predict_maps(counts.load(path), frames) for path in (folder / "weights.safetensors", kept))
    assert np.abs(full - half).max() < 0.02 and full.std() > 0
    with safe_open(kept, "np") as stored:
        assert stored.metadata()["count_mae"] == str(record["count_mae"])


def test_the_committed_weights_are_under_two_megabytes_and_carry_their_record():
    with safe_open(counts.KEPT, "np") as stored:
        told = stored.metadata()
    assert counts.KEPT.stat().st_size < 2e6 and told["phantom_version"] == str(phantom.VERSION)
    table = pd.read_csv(count_choice.NETWORKS).set_index("seed")
    assert float(told["count_mae"]) == table.count_mae[int(told["seed"])]


def test_the_held_out_phantoms_never_train(trained):
    folder = trained[0].parent / "shards"
    seen = {name: pretraining.shard_files.load(sorted(folder.glob(f"*-s{name}-*")))["seed"] for name in (0, 1000)}
    assert len(seen[0]) == 12 and len(seen[1000]) == 6 and not set(seen[0]) & set(seen[1000])


def test_a_mirrored_image_has_mirrored_maps():
    images = torch.zeros(40, 1, 16, 32, dtype=torch.uint8)
    images[..., :8] = 200
    maps = (images > 0).to(torch.uint8).repeat(1, 3, 1, 1)
    changed, moved = pretraining.jitter(images, maps, torch.Generator().manual_seed(0))
    sides = changed[..., :8].mean(dim=(1, 2, 3)) > changed[..., -8:].mean(dim=(1, 2, 3))
    assert torch.equal(sides, moved[:, 0, 0, 0] == 1) and 5 < int(sides.sum()) < 35
    assert changed.min() >= 0 and changed.max() <= 1 and len(changed[:, 0, 8, 4].unique()) > 20


def test_perfect_maps_are_judged_perfect(monkeypatch):
    made = [phantom.simulate(seed, seed % 2) for seed in range(4)]
    held = {name: np.stack([pretraining.shard_files.shrink(getattr(one, name), 0) for one in made])
            for name in ("follicles", "cores", "ovary")}  # fmt: skip
    held |= {"images": held["ovary"], "FNPS": np.array([one.truth["FNPS"] for one in made])}
    truth = unet.targets(held["follicles"], held["cores"], held["ovary"]).numpy()
    monkeypatch.setattr(pretraining.follicles, "predict_maps", lambda *_: truth)
    told = pretraining.judge(unet.follicle_unet(), held)
    assert told["dice_follicle"] == told["dice_core"] == 1 and told["count_mae"] <= 0.25


def test_frames_of_any_size_are_counted():
    frames = [np.zeros((200, 300, 3), np.uint8), np.zeros((90, 80, 3), np.uint8)]
    assert len(pretraining.count(unet.follicle_unet(), frames)) == 2


def test_the_model_card_says_what_the_table_says():
    card = counts.KEPT.with_name("README.md").read_text()
    told = pd.read_csv(count_choice.NETWORKS).set_index("seed").loc[0]
    error = f"count error {told.count_mae} follicles (bias {told.count_bias})"
    assert f"Follicle Dice {told.dice_follicle}, {error}" in card
    assert f"rank correlation {told.count_spearman}" in card and int(told.held_out_phantoms) == 400
