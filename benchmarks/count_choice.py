"""From which probability, and from how many pixels, should a core count as a follicle? Chosen on phantoms of its own.

    python -m benchmarks.count_choice

Every network under runs/follicles counts on 400 phantoms that neither trained nor judged one. Among the settings whose
mean error lies within a hundredth of a follicle of the least, the highest threshold is the one that ``counting`` holds:
what is surer of a core is less easily misled elsewhere. A test compares the two. Beside it stands the same count on the
phantoms that judge the networks. No real frame has a say.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from pcos_utils import config
from pcos_utils.data import phantom, shards
from pcos_utils.files import write_csv
from pcos_utils.models import counting, counts, follicles, pretraining

OUT = config.ROOT / "reports" / "benchmarks" / "count_choice.csv"
NETWORKS = OUT.with_name("follicle_networks.csv")  # what each network's own record says
TOLD = ["dice_follicle", "dice_core", "dice_ovary", "count_spearman", "count_mae", "count_bias"]
CHOICE_SEED = 500  # of shards that nothing else uses
PER_CLASS = 200
THRESHOLDS, LEAST = (0.1, 0.2, 0.3, 0.4, 0.5), (4, 8, 16)


def rows(held: dict[str, np.ndarray], networks: list, on: str) -> list[dict]:
    """One row per network and setting: error, bias and rank correlation of the count with the truth."""
    made = []
    for path in networks:
        maps = follicles.predict_maps(counts.load(path), held["images"])[:, 1]
        for threshold in THRESHOLDS:
            for least in LEAST:
                count = np.array([counting.cores(one, threshold, least).max() for one in maps])
                error = count - held["FNPS"]
                made.append({
                    "on": on, "network": path.parent.name, "threshold": threshold, "least_px": least,
                    "mae": np.abs(error).mean(), "bias": error.mean(), "spearman": spearmanr(count, held["FNPS"])[0],
                })  # fmt: skip
    return made


def main() -> None:
    """Prints and writes the mean over the networks under every setting, least error first."""
    networks = sorted((config.home() / "runs" / counts.NAME).glob("s*/weights.safetensors"))
    made = []
    with tempfile.TemporaryDirectory() as place:
        for on, seed in (("choice", CHOICE_SEED), ("held out", pretraining.HELD_OUT_SEED)):
            held = shards.load(shards.shards(Path(place), PER_CLASS, seed))
            made += rows(held, networks, on)
    table = pd.DataFrame(made).groupby(["on", "threshold", "least_px"])[["mae", "bias", "spearman"]].mean()
    table = table.reset_index().sort_values(["on", "mae"]).round(4)
    table = table.assign(networks=len(networks), phantoms=2 * PER_CLASS, version=phantom.VERSION)
    write_csv(OUT, table)
    print(table.to_string(index=False))
    records = [json.loads(path.with_name("run.json").read_text()) for path in networks]
    write_csv(NETWORKS, pd.DataFrame(records)[["seed", *TOLD, "held_out_phantoms"]])


if __name__ == "__main__":
    main()
