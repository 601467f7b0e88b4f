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
from tests.models.made import noise

RECIPE = Recipe(optimiser="adamw", learning_rate=0.01, epochs=8, batch=8, select_epoch=True, balance=True)


def network() -> nn.Module:
    """A small network with a batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))


prepare = partial(architectures.prepare, "iustnet")


def fit(model: nn.Module, recipe: Recipe = RECIPE, *, images: int = 32, seed: int = 3, **how) -> pd.DataFrame:
    """Return the history of a training on images whose label is their brightness: anything learns this."""
    return training.fit(model, prepare, noise(images, 0), noise(16, 1), recipe, seed=seed, **how)


def test_it_learns_what_can_be_learned_and_repeats():
    logits = []
    for _ in range(2):
        model = network()
        history = fit(model)
        logits.append(training.predict(model, prepare, noise(16, 2).pixels))
    assert ((logits[0] > 0) == (noise(16, 2).labels > 0.5)).all()
    assert torch.equal(*logits) and len(history) == 8


def test_a_training_that_is_stopped_early_has_run_the_start_of_the_same_schedule():
    recipe = RECIPE.model_copy(update={"one_cycle": True, "select_epoch": False})
    whole, stopped = (fit(network(), recipe, stop=stop) for stop in (None, 3))
    assert len(stopped) == 3 and stopped.train_loss.equals(whole.train_loss[:3])
    cycle = fit(network(), recipe.model_copy(update={"epochs": 3}))
    assert not cycle.train_loss.equals(stopped.train_loss)  # a cycle of three epochs is another schedule


def test_a_batch_in_parts_is_the_batch_where_no_statistics_are_shared():
    """A batch of 7 in parts of 3: 3, 3 and 1, each with its share; with batch norm in train mode it is another sum."""
    recipe = RECIPE.model_copy(update={"optimiser": "sgd", "batch": 7, "balance": False, "epochs": 3})
    for frozen, alike in ((True, True), (False, False)):
        weights, histories = [], []
        for at_once in (None, 3):
            model = network()
            how = recipe.model_copy(update={"at_once": at_once, "freeze_batch_norm": frozen})
            histories.append(fit(model, how, images=30))
            weights.append(torch.cat([part.detach().flatten() for part in model.parameters()]))
        assert torch.allclose(*weights, atol=1e-5) == alike
        assert np.allclose(histories[0].train_loss, histories[1].train_loss, atol=1e-5) == alike


def test_twice_as_many_images_at_once_in_half_the_bytes():
    assert Engine().at_once(8, 32) == 8 and Engine(precision="bfloat16").at_once(8, 32) == 16
    assert Engine().at_once(None, 32) == 32


def test_the_kept_weights_are_those_of_the_lowest_selection_loss():
    model = network()
    # Labels without meaning: the selection loss soon rises, so the best epoch is not the last.
    selection = noise(16, 1)
    selection = selection._replace(labels=1 - selection.labels)
    history = training.fit(model, prepare, noise(32, 0), selection, RECIPE, seed=3)
    kept = history[history.chosen].iloc[0]
    logits = training.predict(model, prepare, selection.pixels)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, selection.labels).item()
    assert kept.selection_loss == history.selection_loss.min() < history.selection_loss.iloc[-1]
    assert loss == pytest.approx(kept.selection_loss, abs=1e-6)


def test_frozen_batch_norm_keeps_its_statistics():
    for freeze in (True, False):
        model = network()
        before = model[1].running_mean.clone()
        fit(model, RECIPE.model_copy(update={"freeze_batch_norm": freeze, "epochs": 1}))
        assert torch.equal(model[1].running_mean, before) == freeze


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


def test_a_loss_that_is_not_a_number_stops():
    recipe = RECIPE.model_copy(update={"learning_rate": 1e38, "optimiser": "sgd", "epochs": 5})
    with pytest.raises(FloatingPointError, match="learning rate"):
        fit(network(), recipe)


NOISE = torch.randint(0, 200, (16, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augmented(**settings) -> torch.Tensor:
    """Return the noise under one kind of change."""
    recipe = RECIPE.model_copy(update={"rotation": 0.0, "brightness": 0.0, "flip": 0.0} | settings)
    return training.augment(NOISE, recipe, torch.Generator().manual_seed(1))


def test_no_change_is_the_identity_and_a_certain_flip_mirrors_left_and_right():
    torch.testing.assert_close(augmented(), NOISE.float(), rtol=0, atol=1e-2)
    torch.testing.assert_close(augmented(flip=1.0), NOISE.flip(2).float(), rtol=0, atol=1e-2)


def test_brightness_stays_in_its_range_and_differs_between_images():
    ratio = augmented(brightness=0.25).sum((1, 2, 3)) / NOISE.float().sum((1, 2, 3))
    assert ratio.min() >= 0.75 and ratio.max() <= 1.25 and ratio.std() > 0.05


def test_rotation_moves_the_rim_more_than_the_centre_and_the_generator_decides():
    change = (augmented(rotation=20.0) - NOISE.float()).abs().mean((0, 3))
    assert change[0].mean() > change[11:13, 11:13].mean() > 0
    assert torch.equal(augmented(rotation=20.0), augmented(rotation=20.0))
