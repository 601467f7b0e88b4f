"""The loop learns, repeats itself, and keeps the epoch that the selection data choose."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pcos_utils.models import architectures, training
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe
from tests.models.made import flat, noise

RECIPE = Recipe(optimiser="adamw", learning_rate=0.01, epochs=8, batch=8, select_epoch=True, balance=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))


prepare = partial(architectures.prepare, "iustnet")


def fit(model: nn.Module, recipe: Recipe = RECIPE, *, images: int = 32, seed: int = 3, **how) -> pd.DataFrame:
    """Return the history of a training on images whose label is their brightness: anything learns this."""
    return training.fit(model, prepare, noise(images, 0), noise(16, 1), recipe, seed=seed, **how)


def test_it_learns_what_can_be_learned_and_repeats():
    model, again = network(), network()
    assert len(fit(model)) == len(fit(again)) == 8
    logits = [training.predict(each, prepare, noise(16, 2).pixels) for each in (model, again)]
    assert ((logits[0] > 0) == (noise(16, 2).labels > 0.5)).all() and torch.equal(*logits)


def test_a_training_that_is_stopped_early_has_run_the_start_of_the_same_schedule():
    recipe = RECIPE.model_copy(update={"one_cycle": True, "select_epoch": False})
    whole, stopped = (fit(network(), recipe, stop=stop) for stop in (None, 3))
    assert len(stopped) == 3 and stopped.train_loss.equals(whole.train_loss[:3])
    cycle = fit(network(), recipe.model_copy(update={"epochs": 3}))
    assert not cycle.train_loss.equals(stopped.train_loss)  # a cycle of three epochs is another schedule


def test_a_batch_in_parts_is_the_batch_where_no_statistics_are_shared():
    """A batch of 7 in parts of 3: 3, 3 and 1, each with its share; with batch norm in train mode it is another sum."""
    recipe = RECIPE.model_copy(update={"optimiser": "sgd", "batch": 7, "balance": False, "epochs": 3})
    for frozen in (True, False):
        models, losses = (network(), network()), []
        for model, at_once in zip(models, (None, 3), strict=True):
            how = recipe.model_copy(update={"at_once": at_once, "freeze_batch_norm": frozen})
            losses.append(fit(model, how, images=30).train_loss)
        assert torch.allclose(*map(flat, models), atol=1e-5) == np.allclose(*losses, atol=1e-5) == frozen
    # Twice as many images at once in half the bytes.
    assert Engine().at_once(8, 32) == 8 and Engine(precision="bfloat16").at_once(8, 32) == 16
    assert Engine().at_once(None, 32) == 32


def test_the_kept_weights_are_those_of_the_lowest_selection_loss():
    model, selection = network(), noise(16, 1)
    # Labels without meaning: the selection loss soon rises, so the best epoch is not the last.
    selection = selection._replace(labels=1 - selection.labels)
    history = training.fit(model, prepare, noise(32, 0), selection, RECIPE, seed=3)
    kept = history[history.chosen].iloc[0]
    logits = training.predict(model, prepare, selection.pixels)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, selection.labels).item()
    assert kept.selection_loss == history.selection_loss.min() < history.selection_loss.iloc[-1]
    assert loss == pytest.approx(kept.selection_loss, abs=1e-6)


def test_frozen_batch_norm_keeps_its_statistics_and_a_loss_that_is_not_a_number_stops():
    for freeze in (True, False):
        model, before = network(), network()[1].running_mean
        fit(model, RECIPE.model_copy(update={"freeze_batch_norm": freeze, "epochs": 1}))
        assert torch.equal(model[1].running_mean, before) == freeze
    with pytest.raises(FloatingPointError, match="learning rate"):
        fit(network(), RECIPE.model_copy(update={"learning_rate": 1e38, "optimiser": "sgd", "epochs": 5}))


def test_the_average_of_the_weights_is_what_is_kept():
    start, plain, averaged = network(), network(), network()
    for model, decay in ((plain, 0.0), (averaged, 0.9)):
        fit(model, Recipe(optimiser="sgd", learning_rate=0.05, epochs=3, batch=8, average=decay))
    moved, less = ((model[4].weight - start[4].weight).norm() for model in (plain, averaged))
    assert 0 < less < moved


def test_balance_draws_by_weight():
    images = noise(400, 0)
    images = images._replace(weights=torch.where(images.labels > 0, 3.0, 1.0))
    order = training._order(images, RECIPE, torch.Generator().manual_seed(0))
    assert images.labels[order].mean().item() == pytest.approx(0.75, abs=0.06)


NOISE = torch.randint(0, 200, (16, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augmented(**settings) -> torch.Tensor:
    recipe = RECIPE.model_copy(update={"rotation": 0.0, "brightness": 0.0, "flip": 0.0} | settings)
    return training.augment(NOISE, recipe, torch.Generator().manual_seed(1))


def test_each_kind_of_change_is_what_it_says_and_the_generator_decides():
    torch.testing.assert_close(augmented(), NOISE.float(), rtol=0, atol=1e-2)
    torch.testing.assert_close(augmented(flip=1.0), NOISE.flip(2).float(), rtol=0, atol=1e-2)
    ratio = augmented(brightness=0.25).sum((1, 2, 3)) / NOISE.float().sum((1, 2, 3))
    assert ratio.min() >= 0.75 and ratio.max() <= 1.25 and ratio.std() > 0.05
    # A rotation moves the rim more than the centre.
    change = (augmented(rotation=20.0) - NOISE.float()).abs().mean((0, 3))
    assert change[0].mean() > change[11:13, 11:13].mean() > 0
    assert torch.equal(augmented(rotation=20.0), augmented(rotation=20.0))
