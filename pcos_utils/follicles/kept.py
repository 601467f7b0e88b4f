"""Choose the follicle networks that count: those pretrained here, or the one that is kept with the code.

The kept one lets a fresh clone count. No torch is needed to choose.
"""

from pathlib import Path

from safetensors import safe_open

from pcos_utils.config import COUNT, ROOT, Study, home
from pcos_utils.files import code, read_record
from pcos_utils.follicles import counting, training_set
from pcos_utils.models.recipes import FOLLICLES
from pcos_utils.phantom import simulator
from pcos_utils.phantom.anatomy import EVERY, Effects

KEPT = ROOT / "pcos_utils" / "weights" / "follicle_unet.safetensors"
LEAST = 1500  # phantoms of each class that the kept network was trained on
# The modules whose code decides the weights and their scores.
CODE = (*training_set.CODE, "follicles/kept.py", "follicles/counting.py", "follicles/network.py",
        "follicles/pretrain.py", "models/training.py")  # fmt: skip


def networks(study: Study) -> list[Path]:
    """Return the weight files to count with: one for each seed pretrained here, or the kept one for a demo.

    A run must be finished, made with the present code and every effect, and trained on at least as many phantoms as the
    kept network. Other runs are named in a message. If no run is left, the kept network is used.
    """
    counting_with, left = [], []
    for folder in sorted((home() / "runs" / COUNT).glob("s[0-9]*")) if study.preset == "full" else []:
        record = read_record(folder)
        settings = settings_of(max(record.get("phantoms_per_class", 0), LEAST), record.get("seed", 0))
        complete = record.items() >= settings.items() and (folder / "weights.safetensors").exists()
        (counting_with if complete else left).append(folder / "weights.safetensors")
    if left:
        names = ", ".join(path.parent.name for path in left)
        print(f"runs/{COUNT}: {names} not counted with: unfinished, ablated, of fewer phantoms or of other code")
    return counting_with or [KEPT]


def settings_of(per_class: int, seed: int, *, recipe=FOLLICLES, held_out: int = 200, effects: Effects = EVERY) -> dict:
    """Return everything that decides the weights and their scores, except the machine, as in run.json."""
    return {
        "model": "follicle_unet", "recipe": recipe.model_dump(mode="json"),
        "phantoms_per_class": per_class, "held_out_per_class": min(held_out, per_class),
        "phantom_version": simulator.VERSION, "effects": effects.name, "seed": seed,
        "code_sha256": code(*CODE), **counting.SETTINGS,
    }  # fmt: skip


def taught(files: list[Path]) -> str:
    """Return what the networks that count were trained on, in a few words. ``files``: of ``networks``."""
    phantoms = sorted({2 * phantoms_per_class(path) for path in files})
    return f"{' or '.join(f'{n:,}' for n in phantoms)} phantoms with outlines; no label of these images"


def phantoms_per_class(path: Path) -> int:
    """Return how many phantoms of each class a network's weights were trained on."""
    with safe_open(path, "np") as stored:
        facts = (stored.metadata() or {}) | read_record(path.parent)
    return int(facts["phantoms_per_class"])
