"""Hold the training settings of each network: one recipe as published and one of our own.

``published`` follows the study: its offline copies, optimiser, learning rates and batch size, and batch norm in train
mode under frozen features. It trains on every image of the training side and keeps the last epoch. ``ours`` chooses the
epoch by the loss on the selection sources and draws the classes in equal shares. Its other settings were chosen on
phantoms (table: reports/studies/recipe_choice.csv).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pcos_utils.config import MODELS, PRESETS, PROTOCOL_OF_ARM, TUNED, Study

ARMS = tuple(PROTOCOL_OF_ARM)


class Recipe(BaseModel):
    """The training settings of one network. Frozen; unknown settings are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    epochs: int
    weight_decay: float = 0.0
    momentum: float = 0.0  # used by sgd only
    batch: int = 32
    # Images of a batch that a CPU computes together: fewer need less memory, and give the same without batch norm.
    at_once: int | None = None
    one_cycle: bool = False  # warm-up, then cosine decay to almost zero
    select_epoch: bool = False  # keep the epoch with the lowest selection loss instead of the last
    freeze_batch_norm: bool = False  # together with frozen features
    balance: bool = False  # draw classes in equal shares, and sources in equal shares within a class
    rotation: float = 20.0  # degrees, uniform in +- this
    brightness: float = 0.25  # factor uniform in 1 +- this
    flip: float = 0.5  # probability of a left-right flip
    copies: tuple[int, int] = (1, 1)  # made before training, per normal and per polycystic image
    average: float = 0.0  # decay of an exponential moving average of the weights, which is then evaluated and kept
    # With frozen batch norm: features of each image and of this many changes of it, at least one, are computed once
    # and used in all epochs (table: reports/studies/feature_copies.csv).
    feature_copies: int = 0
    seed: int | None = None  # None: derived from the study's seed
    side: int | None = None  # px of the square that each image is resized to; None: the study's


# The copies replace augmentation, so images do not change during training.
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
# IustNet from what phantoms taught it, at a tenth of the learning rate; both were fixed beforehand.
RECIPES[TUNED, "ours"] = RECIPES["iustnet", "ours"].model_copy(update={"learning_rate": 0.0001, "side": 64})
# The network that outlines follicles on phantoms; its augmentation is follicles.pretrain.jitter.
FOLLICLES = Recipe(optimiser="adamw", learning_rate=0.003, weight_decay=0.001, batch=16, one_cycle=True, epochs=8)
# A demo shows how the study works, not its results. With these epochs two CPU cores need about a minute per network.
DEMO_EPOCHS = {(model, "published"): 1 for model in MODELS}
DEMO_EPOCHS |= {("densenet201", "ours"): 30, ("densenet121d", "ours"): 2, ("iustnet", "ours"): 6, (TUNED, "ours"): 3}
# Without a GPU, a full study at 224 pixels (at least 210 runs) would train these networks for days. With these sides
# one of 7 x 10 folds takes less than an hour on two cores without bfloat16.
SIDES_ON_CPU = {("densenet121d", "ours"): 128, ("iustnet", "ours"): 64}
EPOCHS_ON_CPU = {("densenet121d", "ours"): 20, ("iustnet", "ours"): 20, (TUNED, "ours"): 20}


def recipe(model: str, arm: str, study: Study) -> Recipe:
    """Return a network's recipe for an arm, with the epochs and image side that the study asks for.

    Epochs come from the study, else from its preset, else from the recipe. If a full study may run on a CPU
    (``allow_cpu``), networks trained from scratch in the arm ``ours`` get smaller images and fewer epochs, unless the
    study asks for an image side or for epochs itself.
    """
    chosen, on_cpu = RECIPES[model, arm], study.preset == "full" and study.allow_cpu
    preset = DEMO_EPOCHS if study.preset == "demo" else EPOCHS_ON_CPU if on_cpu else {}
    epochs = study.epochs or preset.get((model, arm), chosen.epochs)
    reduced = on_cpu and study.image_side == PRESETS["full"]["image_side"]
    side = chosen.side or (SIDES_ON_CPU.get((model, arm), study.image_side) if reduced else study.image_side)
    return chosen.model_copy(update={"epochs": epochs, "side": side})
