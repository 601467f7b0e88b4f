"""Hyperparameters as data: each network as published, and as we would train it.

``published`` keeps the study's offline copies, optimiser, rates, batch and batch norm in train mode under frozen
features, trains on every picture of its training side, and takes the last epoch. ``ours`` chooses the epoch by the
loss on the selection sources and draws classes in equal shares; what else it does was chosen on phantoms
(benchmarks/recipe_choice.py).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pcos_utils.config import Study

ARMS = ("published", "ours")
# Each arm is judged under the protocol it belongs to: the published split once, or grouped folds.
PROTOCOL_OF_ARM = {"published": "published", "ours": "grouped"}


class Recipe(BaseModel):
    """How one network is trained. Frozen; unknown settings are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    epochs: int
    weight_decay: float = 0.0
    momentum: float = 0.0  # of sgd
    batch: int = 32
    # Images of a batch that a CPU computes together: fewer need less memory, and without batch norm sum to the same.
    at_once: int | None = None
    one_cycle: bool = False  # warm-up, then cosine to nearly nothing
    select_epoch: bool = False  # keep the epoch of the lowest selection loss, else the last
    freeze_batch_norm: bool = False  # under frozen features
    balance: bool = False  # draw classes, and sources within them, in equal shares
    rotation: float = 20.0  # degrees, uniform both ways
    brightness: float = 0.25  # factor uniform in 1 +- this
    flip: float = 0.5  # probability, left-right
    copies: tuple[int, int] = (1, 1)  # of each normal and each polycystic image, changed before training and kept
    average: float = 0.0  # decay of an exponential moving average of the weights, which is then judged and kept
    # Frozen features of an image and of so many changes of it serve all epochs (benchmarks/feature_copies.py); 0: they
    # are computed each time.
    feature_copies: int = 0
    seed: int | None = None  # None: from the study
    side: int | None = None  # px of the square that an image becomes; None: the study's


# The copies stand in for augmentation: nothing changes any more while the network trains.
_PUBLISHED = dict(optimiser="sgd", seed=42, copies=(11, 30), rotation=0, brightness=0, flip=0)
_OURS = dict(optimiser="adamw", weight_decay=0.01, batch=16, one_cycle=True, select_epoch=True, balance=True)

RECIPES = {
    ("densenet201", "published"): Recipe(**_PUBLISHED, learning_rate=0.01, epochs=15),
    ("densenet121d", "published"): Recipe(**_PUBLISHED, learning_rate=0.001, epochs=217),
    ("iustnet", "published"): Recipe(**_PUBLISHED, learning_rate=0.01, epochs=15, at_once=8),
    ("densenet201", "ours"): Recipe(**_OURS, learning_rate=0.003, epochs=30, freeze_batch_norm=True, feature_copies=1),
    ("densenet121d", "ours"): Recipe(**_OURS, learning_rate=0.002, epochs=60),
    ("iustnet", "ours"): Recipe(**_OURS, learning_rate=0.001, epochs=60, average=0.98),
}
# The network that outlines follicles on phantoms; its augmentation is its own (pretraining.jitter).
FOLLICLES = Recipe(optimiser="adamw", learning_rate=0.003, weight_decay=0.001, batch=16, one_cycle=True, epochs=8)
# A demo shows the path, not the destination: a few epochs, chosen so that two CPU cores need about a minute a network.
DEMO_EPOCHS = {
    ("densenet201", "published"): 1,
    ("densenet121d", "published"): 1,
    ("iustnet", "published"): 1,
    ("densenet201", "ours"): 30,
    ("densenet121d", "ours"): 2,
    ("iustnet", "ours"): 12,
}


# A full study without a GPU would train these for days at the published size: 210 runs and more at 224 pixels. With
# these sides one of 7 x 10 folds ends within the hour on two cores without bfloat16.
SIDES_ON_CPU = {("densenet121d", "ours"): 128, ("iustnet", "ours"): 64}
EPOCHS_ON_CPU = {("densenet121d", "ours"): 20, ("iustnet", "ours"): 20}


def recipe(model: str, arm: str, study: Study) -> Recipe:
    """The network's recipe under an arm, with the epochs and the side of the study's preset or the study's own.

    Where the full preset may run on a CPU (``allow_cpu``), what is trained from scratch under grouped folds sees
    smaller images for fewer epochs; the published arm stays as it was.
    """
    chosen, on_cpu = RECIPES[model, arm], study.preset == "full" and study.allow_cpu
    preset = DEMO_EPOCHS if study.preset == "demo" else EPOCHS_ON_CPU if on_cpu else {}
    epochs = study.epochs or preset.get((model, arm), chosen.epochs)
    side = SIDES_ON_CPU.get((model, arm), study.image_side) if on_cpu else study.image_side
    return chosen.model_copy(update={"epochs": epochs, "side": side})
