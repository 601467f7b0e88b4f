"""Ask whether the simulator was fitted to the real frames: train the count without what was added after its misses.

    python -m studies.simulator_fit FOLDER     a study whose notebook 02 was run (full); trains what is missing

Uneven and merging follicles (``shapes``) and echoes inside follicles (``faint``) were added after errors on these
frames had been seen. Three epochs in place of eight spare the hours of two cores. Tested are held-out phantoms that
have every effect, and the study's sources, by the count alone, on which nothing was trained.
"""

from itertools import product

import pandas as pd

from pcos_utils import config
from pcos_utils.follicles import network as unet
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.models import devices
from pcos_utils.models.recipes import FOLLICLES
from pcos_utils.phantom.anatomy import Effects
from pcos_utils.reporting.text import interval, markdown
from studies import publish, real_frames, source_pairs, with_seeds

ARMS = {"every effect": Effects(), "without shapes and faint": Effects(shapes=False, faint=False)}
SEEDS, PER_CLASS, HELD_OUT = (0, 1, 2), 1500, 200
RECIPE = FOLLICLES.model_copy(update={"epochs": 3})
DIFFERENCE = "difference"
TITLES = {"phantoms": "phantoms with every effect", "real": "real frames"}


def block(table: pd.DataFrame) -> str:
    """Return the README's block: a sentence on the real frames, and the table."""
    cells = table.assign(cell=table.apply(interval, axis=1)).set_index(["arm", "on"])
    rows = [[arm, *(cells.cell[arm, on] for on in TITLES)] for arm in table.arm.unique()]
    gap = cells.loc[(DIFFERENCE, "real")]
    shown = "is shown" if gap.low * gap.high > 0 else "is not shown"
    sources = table.groupby("on").sources.first()
    return (
        f"On the {sources['real']} real sources the count with every effect minus the count without these two is "
        f"{gap.cell}: a difference {shown}.\n\n"
        f"{markdown(['AUC of the count', *TITLES.values()], rows)}\n\n"
        f"*{table.seeds.iloc[0]} seeds, {2 * PER_CLASS:,} phantoms and {RECIPE.epochs} epochs each; tested on "
        f"{sources['phantoms']} phantoms and {sources['real']} sources; intervals hold the variance over sources and "
        "that between seeds.*"
    )


def main() -> None:
    """Train what is missing, test, and write the table and the README's block."""
    _, used, grey = real_frames(__doc__)
    runs = config.home() / "runs"
    shards = runs / config.COUNT / "shards"
    held = training_set.load(training_set.shards(shards, HELD_OUT, pretrain.HELD_OUT_SEED))
    phantoms = pd.DataFrame({"source": range(2 * HELD_OUT), "label": held["label"]})
    tested = {"phantoms": (held["images"], phantoms), "real": (grey, used)}
    ranked = {(arm, on): [] for on in tested for arm in ARMS}
    for seed, (arm, effects) in product(SEEDS, ARMS.items()):
        print(f"{arm}, seed {seed}", flush=True)
        folder = runs / "simulator-fit" / f"{effects.name}-s{seed}"
        pretrain.pretrain(
            folder, PER_CLASS, seed, devices.fastest(), recipe=RECIPE, held_out=HELD_OUT, effects=effects,
            shard_folder=shards, on_epoch=lambda row: print(row, flush=True),
        )  # fmt: skip
        network = unet.load(folder / "weights.safetensors")
        for on, (pixels, truth) in tested.items():
            ranked[arm, on].append(source_pairs(truth, unet.measure_all(network, pixels)["count"]))
    rows = []
    for on in tested:
        every, without = (ranked[arm, on] for arm in ARMS)
        found = [with_seeds(every), with_seeds(without), with_seeds(every, without)]
        rows += [{"arm": arm, "on": on} | each for arm, each in zip((*ARMS, DIFFERENCE), found, strict=True)]
    publish("simulator", block, simulator_fit=pd.DataFrame(rows).round(4))


if __name__ == "__main__":
    main()
