"""The follicle network and IustNet learn from phantoms, are judged on others and kept; cards say what files say."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pcos_utils import config
from pcos_utils.data import images
from pcos_utils.files import cached
from pcos_utils.follicles import kept, labels, pretrain, training_set
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import architectures, devices, weights
from pcos_utils.models.recipes import FOLLICLES
from pcos_utils.phantom import simulator
from pcos_utils.phantom.anatomy import Effects

SHORT = FOLLICLES.model_copy(update={"epochs": 2, "batch": 4})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("follicles") / "s0"
    return folder, pretrain.pretrain(folder, 6, 0, devices.Engine(), recipe=SHORT, held_out=3)


def test_a_run_folder_says_what_it_holds_and_is_read_under_the_same_settings_alone(trained):
    folder, record = trained
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["history.csv", "run.json", "weights.safetensors"]
    assert json.loads((folder / "run.json").read_text()) == record
    assert record["held_out_phantoms"] == 6 and 0 < record["dice_ovary"] < 1 and np.isfinite(record["count_mae"])
    shards = {seed: training_set.load(sorted(folder.parent.glob(f"shards/*-s{seed}-*")))["seed"] for seed in (0, 1000)}
    assert len(shards[0]) == 12 and len(shards[1000]) == 6 and not set(shards[0]) & set(shards[1000])
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    assert pretrain.pretrain(folder, 6, 0, devices.Engine(), recipe=SHORT, held_out=3) == record
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before
    longer = SHORT.model_copy(update={"epochs": 3})
    assert pretrain.pretrain(folder, 6, 0, devices.Engine(), recipe=longer, held_out=3) != record


def test_only_finished_whole_runs_on_enough_phantoms_are_averaged_into_a_count(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    study, place = config.study("full", allow_cpu=True), tmp_path / "runs" / "follicles"
    weights = (trained[0] / "weights.safetensors").read_bytes()

    def folder(name: str, **settings) -> None:
        facts = kept.settings_of(**{"per_class": 1500, "seed": int(name[1:]), **settings})
        cached(place / name, facts, lambda: (place / name / "weights.safetensors").write_bytes(weights) and {})

    assert kept.networks(study) == [kept.KEPT]
    folder("s0"), folder("s1", per_class=6), folder("s2", effects=Effects(shapes=False)), folder("s3")
    folder("s4", recipe=SHORT), folder("s5", per_class=2000)
    (place / "s3" / "run.json").unlink()
    assert [path.parent.name for path in kept.networks(study)] == ["s0", "s5"]
    (place / "shards").mkdir()  # of phantoms, which is no run
    capsys.readouterr()
    kept.networks(study)
    assert capsys.readouterr().out.startswith("runs/follicles: s1, s2, s3, s4 not counted with")
    monkeypatch.setattr(kept, "code", lambda *_: "another")
    assert kept.networks(study) == [kept.KEPT]


def test_kept_weights_are_half_as_large_and_answer_alike(trained, tmp_path):
    folder, record = trained
    half_size = pretrain.keep(folder, tmp_path / "kept.safetensors")
    assert half_size.stat().st_size < 0.6 * (folder / "weights.safetensors").stat().st_size < 2.5e6
    frames = np.stack([simulator.simulate(seed, seed % 2).image[:128, :192] for seed in range(3)])
    networks = map(follicle_network.load, (folder / "weights.safetensors", half_size))
    full, half = (follicle_network.predict_maps(network, frames) for network in networks)
    assert np.abs(full - half).max() < 0.02 and full.std() > 0
    assert facts_in(half_size)["count_mae"] == str(record["count_mae"])


def test_a_mirrored_image_has_mirrored_maps():
    frames = torch.zeros(40, 1, 16, 32, dtype=torch.uint8)
    frames[..., :8] = 200
    maps = (frames > 0).to(torch.uint8).repeat(1, 3, 1, 1)
    changed, moved = pretrain.jitter(frames, maps, torch.Generator().manual_seed(0))
    sides = changed[..., :8].mean(dim=(1, 2, 3)) > changed[..., -8:].mean(dim=(1, 2, 3))
    assert torch.equal(sides, moved[:, 0, 0, 0] == 1) and 5 < int(sides.sum()) < 35
    assert changed.min() >= 0 and changed.max() <= 1 and len(changed[:, 0, 8, 4].unique()) > 20


def test_perfect_maps_are_judged_perfect(monkeypatch):
    phantoms = [simulator.simulate(seed, seed % 2) for seed in range(4)]
    masks = follicle_network.MASKS
    held = {name: np.stack([images.shrink(getattr(phantom, name), 0) for phantom in phantoms]) for name in masks}
    held |= {"images": held["ovary"], "FNPS": np.array([phantom.truth["FNPS"] for phantom in phantoms])}
    truth = follicle_network.targets(held).float().numpy()
    monkeypatch.setattr(follicle_network, "predict_maps", lambda *_: truth)
    told = pretrain.judge(follicle_network.UNet(), held)
    assert told["dice_follicle"] == told["dice_core"] == 1 and told["count_mae"] <= 0.25


def facts_in(path) -> dict[str, str]:
    with safe_open(path, "np") as stored:
        return stored.metadata()


def test_the_committed_weights_are_under_two_megabytes_and_their_card_and_record_agree_with_the_table():
    facts, card = facts_in(kept.KEPT), kept.KEPT.with_name("README.md").read_text("utf-8")
    assert kept.KEPT.stat().st_size < 2e6 and facts["phantom_version"] == str(simulator.VERSION)
    table = pd.read_csv(config.ROOT / "reports" / "studies" / "follicle_networks.csv").set_index("seed")
    assert float(facts["count_mae"]) == table.count_mae[int(facts["seed"])]
    row = table.loc[0]
    error = f"count error {row.count_mae} follicles (bias {row.count_bias})"
    assert f"Follicle Dice {row.dice_follicle}, {error}" in card
    assert f"rank correlation {row.count_spearman}" in card and int(row.held_out_phantoms) == 400
    auc = f"AUC {float(facts_in(weights.PHANTOM_IUSTNET)['auc']):.2f}".replace("0.", ".")
    assert auc in card and weights.phantoms_behind() in card


@pytest.mark.slow
def test_iustnet_learns_from_phantoms_and_is_kept_in_float16(home, monkeypatch):
    monkeypatch.setattr(labels, "EPOCHS", 2)
    monkeypatch.setattr(labels, "HELD_OUT", 4)
    epochs, target = [], home / "w.safetensors"
    facts = labels.teach(4, 0, epochs.append, target)
    assert len(epochs) == 2 and facts["held_out_phantoms"] == 8 and 0 <= facts["auc"] <= 1
    assert facts_in(target)["phantoms_per_class"] == "4"
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float16}
    weights.load(architectures.build("iustnet", weights.PHANTOM_SIDE), target)
    seen, held = (set(labels.phantoms(4, seed).pixels.flatten(1).sum(1).tolist()) for seed in (0, 1000))
    assert len(seen | held) == 16
