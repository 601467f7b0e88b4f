"""A training that is interrupted after any epoch ends with the bits of one that was not."""

import os
import random
import zipfile
from functools import partial

import pytest
import torch
from torch import nn

from pcos_utils.models import architectures, checkpoints, training
from pcos_utils.models.recipes import Recipe
from tests.models.made import noise

Checkpoint = checkpoints.Checkpoint
EPOCHS = 4
PLAIN = Recipe(optimiser="sgd", learning_rate=0.01, epochs=EPOCHS, batch=8)
OURS = Recipe(optimiser="adamw", learning_rate=0.01, weight_decay=0.01, epochs=EPOCHS, batch=8, balance=True)


class Stop(Exception):
    """An interruption."""


@pytest.fixture(autouse=True, scope="module")
def _deterministic():
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # another number of threads sums in another order
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


def dropping():
    """A network that draws from torch's own generator, and has a batch norm whose statistics move."""
    parts = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 30 * 30, 1)
    return nn.Sequential(*parts)


iustnet, densenet = partial(architectures.IustNet, 32), architectures.densenet121d


def fit(make, recipe, keep=None, stop_after=None):
    """The history and the final state; Stop is raised after the given epoch."""
    torch.manual_seed(0)
    model, prepare = make(), partial(architectures.prepare, "densenet121d" if make is densenet else "iustnet")

    def on_epoch(row):
        if row["epoch"] == stop_after:
            raise Stop

    # Labels that mean nothing, so that the best epoch is an early one.
    data = noise(20, 0, 32, apart=0), noise(8, 1, 32, apart=0)
    history = training.fit(model, prepare, *data, recipe, seed=3, on_epoch=on_epoch, keep=keep)
    return history, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other) -> bool:
    return one[0].equals(other[0]) and all(map(torch.equal, one[1].values(), other[1].values()))


CASES = {
    "plain": (iustnet, PLAIN, range(1, EPOCHS)),
    "one cycle": (iustnet, OURS.model_copy(update={"one_cycle": True}), [1, 2]),
    "sgd, one cycle": (iustnet, PLAIN.model_copy(update={"one_cycle": True}), [2]),
    "select": (iustnet, OURS.model_copy(update={"select_epoch": True, "epochs": 6, "learning_rate": 1e-3}), [1, 3, 5]),
    "frozen norm": (dropping, OURS.model_copy(update={"freeze_batch_norm": True}), range(1, EPOCHS)),
    "moving norm": (dropping, OURS.model_copy(update={"select_epoch": True, "one_cycle": True}), range(1, EPOCHS)),
    "densenet121d": (densenet, OURS.model_copy(update={"select_epoch": True, "one_cycle": True, "epochs": 3}), [1, 2]),
}


@pytest.mark.parametrize("case", [*list(CASES)[:-1], pytest.param("densenet121d", marks=pytest.mark.slow)])
def test_interrupted_after_any_epoch_and_after_every_one(case, tmp_path):
    make, recipe, stops = CASES[case]
    undisturbed = fit(make, recipe)
    if recipe.select_epoch:  # the best epoch lies before an interruption, which must keep it
        assert undisturbed[0].query("chosen").epoch.item() < stops[-1]
    said = []
    for stop in stops:
        keep = Checkpoint(tmp_path / f"{stop}.pt", "one", say=said.append)
        with pytest.raises(Stop):
            fit(make, recipe, keep, stop_after=stop)
        torch.manual_seed(99)  # what the next process finds is not what this one left
        assert same(fit(make, recipe, Checkpoint(keep.path, "one", say=said.append)), undisturbed)
    assert said == [f"goes on after epoch {stop}" for stop in stops]


def test_interrupted_again_and_again_in_one_run(tmp_path):
    make, recipe, stops = CASES["moving norm"]
    for stop in stops:
        with pytest.raises(Stop):
            fit(make, recipe, Checkpoint(tmp_path / "c.pt", "one"), stop_after=stop)
    assert same(fit(make, recipe, Checkpoint(tmp_path / "c.pt", "one")), fit(make, recipe))


def test_one_epoch_and_a_last_epoch_leave_nothing_to_write(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, parts, of, rows, best: written.append(len(rows)))
    for epochs in (1, EPOCHS):
        fit(iustnet, PLAIN.model_copy(update={"epochs": epochs}), Checkpoint(tmp_path / "c.pt", "one"))
        assert written == [*range(1, epochs)]


def test_seconds_count_earlier_sittings_and_writing_may_be_bounded_to_a_share_of_the_time(tmp_path):
    model = nn.Linear(300, 1)
    parts = {"model": model, "optimiser": torch.optim.SGD(model.parameters(), lr=0.1)}
    keep = Checkpoint(tmp_path / "c.pt", "one", share=1e-6)
    keep._earlier = 1000.0
    keep.save(parts, torch.Generator(), [{"epoch": 1}], None)
    keep.save(parts, torch.Generator(), [{"epoch": 1}, {"epoch": 2}], None)  # too soon: not written
    again = Checkpoint(keep.path, "one")
    assert len(again.restore(parts, torch.Generator())[0]) == 1
    assert 1000 < again.seconds < 1100


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The bytes of a checkpoint after two epochs, and how its run ends."""
    path = tmp_path_factory.mktemp("kept") / "c.pt"
    with pytest.raises(Stop):
        fit(iustnet, OURS, Checkpoint(path, "one"), stop_after=2)
    assert torch.load(path, weights_only=True)["identity"] == "one"  # no code runs
    return path.read_bytes(), fit(iustnet, OURS)


class Trap:
    """What makes a folder when it is unpickled as usual."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("damage", ["half", "one byte less", "empty", "text", "a zip", "torch's, not ours", "a trap"])
def test_a_damaged_or_foreign_checkpoint_begins_again_and_says_so(damage, interrupted, tmp_path):
    content, undisturbed = interrupted
    path, said = tmp_path / "c.pt", []
    if damage == "a zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    elif damage in ("torch's, not ours", "a trap"):
        torch.save({"identity": "one", "rows": Trap(tmp_path / "sprung")} if damage == "a trap" else [1, 2], path)
    else:
        bad = {"half": content[: len(content) // 2], "one byte less": content[:-1], "empty": b"", "text": b"hello"}
        path.write_bytes(bad[damage])
    assert same(fit(iustnet, OURS, Checkpoint(path, "one", say=said.append)), undisturbed)
    assert len(said) == 1 and "cannot be used" in said[0] and "begins again at epoch 1" in said[0]
    assert not (tmp_path / "sprung").exists()


def test_any_flipped_bit_is_noticed_or_harmless(interrupted, tmp_path):
    content, path = interrupted[0], tmp_path / "c.pt"
    path.write_bytes(content)
    whole = Checkpoint(path, "one")._read()["parts"]["model"]
    rng, noticed = random.Random(0), 0
    for _ in range(150):
        place = rng.choice([rng.randrange(len(content)), len(content) - 1 - rng.randrange(4000), rng.randrange(4000)])
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        state = Checkpoint(path, "one", say=lambda _: None)._read()
        noticed += state is None
        assert state is None or all(torch.equal(state["parts"]["model"][name], whole[name]) for name in whole)
    assert noticed > 50
