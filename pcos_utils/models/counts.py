"""How many follicles the phantom-trained networks see in every image of a study: no label of the study is read.

The networks come from `pcos pretrain`; one of them is kept with the code, so that a fresh clone can count.
"""

import json
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from pcos_utils.config import ROOT, Study, StudyError, home
from pcos_utils.data import images, manifest
from pcos_utils.files import alone_in, sha256, write_csv, write_json
from pcos_utils.models import counting, pretraining, unet, weights

KEPT = ROOT / "pcos_utils" / "weights" / "follicle_unet.safetensors"
NAME = "follicles"


def networks(study: Study) -> list[Path]:
    """The files of weights that count: the kept one in a demo, else one for each seed that was pretrained here."""
    made = sorted((home() / "runs" / NAME).glob("s*/weights.safetensors"))
    return made if study.preset == "full" and made else [KEPT]


def load(path: Path) -> torch.nn.Module:
    """The network with the file's weights in float32, ready to answer. Raises StudyError."""
    network = unet.follicle_unet()
    try:
        network.load_state_dict({name: part.float() for name, part in load_file(path).items()}, strict=True)
    except Exception as error:
        raise StudyError(
            f"The weights {path.name} cannot be used ({error}); make them with 'make pretrain'."
        ) from error
    return network.eval()


def keep(folder: Path, target: Path = KEPT) -> Path:
    """``target``: the weights of a pretrained run in float16, half the size, with what the run says of itself."""
    record = json.loads((folder / "run.json").read_text())
    told = ("phantoms_per_class", "phantom_version", "seed", "dice_follicle", "count_spearman", "count_mae")
    network = load(folder / "weights.safetensors").half()
    weights.save(network, target, {"model": "follicle_unet"} | {name: str(record[name]) for name in told})
    return target


def run(study: Study) -> pd.DataFrame:
    """One row per used image and network: path, source, label, network, and what ``follicles.COLUMNS`` says.

    Read where the same networks have counted the same images before. Raises StudyError.
    """
    table = manifest.read(study.report_dir / "sources.csv")
    used = table[table.used == "yes"].reset_index(drop=True)
    files = networks(study)
    settings = {"networks": {f"{path.parent.name}/{path.name}": sha256(path) for path in files}}
    settings |= {"images": used.sha256.tolist(), "plan_sha256": sha256(study.plan_path)} | counting.SETTINGS
    folder = study.runs_dir / NAME
    with alone_in(folder, lambda: None):
        record, place = folder / "run.json", folder / "counts.csv"
        if record.exists() and json.loads(record.read_text()).items() >= settings.items():
            return pd.read_csv(place)
        pixels = [images.load(study.image_dir / path) for path in used.path]
        parts = []
        for path in files:
            counted = pretraining.count(load(path), pixels)
            parts.append(used[["path", "source", "label"]].assign(network=path.parent.name).join(counted))
        made = pd.concat(parts, ignore_index=True)
        write_csv(place, made)
        write_json(record, settings | {"counts_sha256": sha256(place)})
        return pd.read_csv(place)
