"""Ask whether the simulator was fitted to the real frames: train the count without what was added after its misses.

    python -m studies.simulator_fit FOLDER     a study whose notebook 02 was run (full); trains what is missing

Uneven and merging follicles (``shapes``) and echoes inside follicles (``faint``) were added to the simulator after
errors on these frames had been seen. Both arms have 3,000 phantoms, three seeds and, for the hours that two cores need,
three epochs in place of the usual eight. Tested are held-out phantoms that have every effect, and the study's sources,
by the count alone, on which nothing was trained.
"""

import pandas as pd

from pcos_utils import config
from pcos_utils.config import COUNT
from pcos_utils.follicles import network as unet
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.models import devices
from pcos_utils.models.recipes import FOLLICLES
from pcos_utils.phantom.anatomy import Effects
from pcos_utils.reporting.text import interval, markdown
from studies import OUT, arguments, frames, publish, source_pairs
from studies.learning_curves import with_seeds

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
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True, weights="none")
    runs = config.home() / "runs"
    held = training_set.load(training_set.shards(runs / COUNT / "shards", HELD_OUT, pretrain.HELD_OUT_SEED))
    used, real = frames(study)
    tested = {
        "phantoms": (held["images"], pd.DataFrame({"source": range(2 * HELD_OUT), "label": held["label"]})),
        "real": (real, used),
    }
    ranked = {(arm, on): [] for arm in ARMS for on in tested}
    for seed in SEEDS:
        for arm, effects in ARMS.items():
            folder = runs / "simulator-fit" / f"{effects.name}-s{seed}"
            pretrain.pretrain(
                folder, PER_CLASS, seed, devices.fastest(), recipe=RECIPE, held_out=HELD_OUT, effects=effects,
                shard_folder=runs / COUNT / "shards",
                on_epoch=lambda row: print(row, flush=True),
            )  # fmt: skip
            print(f"{arm}, seed {seed}", flush=True)
            network = unet.load(folder / "weights.safetensors")
            for on, (grey, truth) in tested.items():
                ranked[arm, on].append(source_pairs(truth, unet.measure_all(network, grey)["count"].to_numpy()))
    rows = []
    for on in tested:
        every, without = (ranked[arm, on] for arm in ARMS)
        facts = {"on": on, "seeds": len(SEEDS), "sources": len(every[0].label)}
        rows += [{"arm": arm} | facts | with_seeds(ranked[arm, on], None) for arm in ARMS]
        rows.append({"arm": DIFFERENCE} | facts | with_seeds(every, without))
    publish("simulator", block, {OUT / "simulator_fit.csv": pd.DataFrame(rows).round(4)})


if __name__ == "__main__":
    main()
