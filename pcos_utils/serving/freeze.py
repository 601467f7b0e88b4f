"""Freeze a method before new data are looked at: a folder that ``confirm`` applies, and that notices an edit.

No picture, no file's name and no patient of the development data goes into it: of each image there are digests, of each
source keypoints and their descriptors. From descriptors the outlines of a picture can be guessed (Weinzaepfel, Jegou
and Perez 2011): a plan is for colleagues, not for everybody.
"""

import datetime
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.audit import signatures
from pcos_utils.config import COUNT, Study, StudyError, home
from pcos_utils.data import manifest
from pcos_utils.evaluation.confirmation import ENDPOINT
from pcos_utils.files import PACKAGE, cached, code, digest, need_writable, sha256, write_json, write_text
from pcos_utils.follicles import kept, training_set
from pcos_utils.phantom import simulator
from pcos_utils.progress import bar
from pcos_utils.serving.model import CODE as ANSWERING

FORMAT, PLAN, MODEL, SIGNATURES, DIGESTS = 1, "plan.json", "model", "signatures.npz", "digests.txt"
# The modules that decide which images count, what each is answered and what is said of the answers.
ROOMS = {
    "data": ("labels", "layout", "manifest", "survey", "tables", "words"),
    "audit": ("candidates", "families", "gathering", "matching", "signatures", "sketches", "sources"),
    "evaluation": ("auc", "comparison", "confirmation", "intervals", "metrics", "power"),
    "serving": ("confirm", "freeze"),
}
CODE = (*ANSWERING, *(f"{room}/{name}.py" for room, names in ROOMS.items() for name in names))


def freeze(out: Path, sources: pd.DataFrame, folder: Path, facts: dict, *, taught: list[str] | None = None) -> dict:
    """Write the plan's folder and return the plan; ``out/model`` is there already where a served model is frozen.

    ``sources``, ``folder``: the development data with their sources; ``facts``: ``method``, ``threshold``,
    ``expected_auc``; ``taught``: digests of the pixels of further images that taught the method. Raises StudyError
    where an image has changed.
    """
    seen = sources[sources.status == "ok"]  # images that no fold used were seen as well
    manifest.need_unchanged(seen.assign(file=seen.path.str.replace(r"#\d+$", "", regex=True)), folder)
    known = signatures.sign(sources, folder)
    signatures.save(known, out / SIGNATURES)
    digests = sorted({*seen.sha256, *seen.pixel_sha256, *(taught or [])})
    write_text(out / DIGESTS, "\n".join(digests) + "\n")
    parts = [SIGNATURES, DIGESTS, *(f"{MODEL}/{path.name}" for path in (out / MODEL).glob("*") if path.is_file())]
    plan = {
        "format": FORMAT, "frozen": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": version("pcos-utils"), **facts, "endpoint": ENDPOINT,
        "development": {"images": len(seen), "sources": seen.source.nunique(), "signatures": len(known),
                        "further_images": len(taught or [])},
        "files": {name: sha256(out / name) for name in sorted(parts)},
        "code": {name: sha256(PACKAGE / name) for name in CODE},
    }  # fmt: skip
    plan["sha256"] = seal(plan)
    write_json(out / PLAN, plan)
    return plan


def freeze_study(out: Path, model: str | None, study: Study) -> dict:
    """Freeze a served model of a study: the named one's folder, or one exported now."""
    from pcos_utils.follicles.pretrain import HELD_OUT_SEED, PHANTOM_SEED  # late, because both import torch
    from pcos_utils.serving.export import export

    if not (table := study.report_dir / "sources.csv").exists():
        raise StudyError(f"{study.name} has no sources.csv; run 'make reproduce' for it first.")
    need_new(out)
    if model and (Path(model) / "model.json").is_file():
        card = json.loads((Path(model) / "model.json").read_text(encoding="utf-8"))
        if card["study"] != study.name:
            raise StudyError(f"{model} is of the study {card['study']}, not {study.name}; name the study with --data.")
        shutil.copytree(model, out / MODEL, dirs_exist_ok=True)
    else:
        card = export(model, study, out / MODEL)
    if sha256(outline := kept.networks(study)[0]) != card["outline_sha256"]:
        raise StudyError(f"{model} was exported with other follicle weights than {outline}; export it again.")
    counts = {PHANTOM_SEED: kept.phantoms_per_class(outline), HELD_OUT_SEED: sum(card["suitability"]["phantoms"]) // 2}
    drawn = [training_set.seeds(count, seed) for seed, count in counts.items()]
    method = {name: card[name] for name in ("kind", "model", "study", "run")}
    facts = {"method": method, "threshold": card["threshold"], "expected_auc": card["auc"]}
    return freeze(out, manifest.read(table), study.image_dir, facts, taught=phantoms(drawn))


def phantoms(drawn: list[range]) -> list[str]:
    """Return the digests of the pixels of phantoms, which are simulated once and then read."""
    folder = home() / "runs" / COUNT / "digests"
    facts = {"version": simulator.VERSION, "code_sha256": code(*training_set.CODE), "seeds": list(map(str, drawn))}

    def make() -> dict:
        """Simulate every phantom and write the digests of its pixels."""
        seeds = [seed for each in drawn for seed in each]
        with simulator.workers(None) as pool:
            digests = list(bar(pool.map(_digest, seeds, chunksize=25), "phantoms", total=len(seeds)))
        write_text(folder / DIGESTS, "\n".join(digests) + "\n")
        return {}

    cached(folder, facts, make)
    return (folder / DIGESTS).read_text().split()


def _digest(seed: int) -> str:
    image = simulator.simulate(seed, seed % 2).image
    return manifest.digest(np.repeat(image[..., None], 3, axis=2))  # as a file of it is decoded


def need_new(out: Path) -> None:
    """Raise StudyError where a folder holds a plan already, or nothing can be written there."""
    need_writable(out)
    if (out / PLAN).exists():
        raise StudyError(f"{out} holds a frozen plan, which stays as it is; name another folder with --out.")


def seal(plan: dict) -> str:
    """Return the digest of a plan, without its own."""
    content = {name: value for name, value in plan.items() if name != "sha256"}
    return digest(json.dumps(content, sort_keys=True))


def read(place: Path) -> dict:
    """Return a frozen plan. Raises StudyError where it, a file of it, or the code that applies it is another one."""
    again = "restore it, or freeze again before you look at new data"
    try:
        plan = json.loads((place / PLAN).read_text(encoding="utf-8"))
        sealed = plan["sha256"] == seal(plan)
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{place} holds no plan that can be read; make one with 'pcos freeze'.") from None
    if not sealed:
        raise StudyError(f"{place / PLAN} was edited after it was frozen; {again}.")
    for name, frozen in plan["files"].items():
        if not (place / name).is_file() or sha256(place / name) != frozen:
            raise StudyError(f"{place / name} is not the file that was frozen; {again}.")
    now = {name: sha256(PACKAGE / name) for name in CODE}  # by bytes, because a syntax tree depends on the Python
    changed = [name for name in sorted({*now, *plan["code"]}) if now.get(name) != plan["code"].get(name)]
    if changed or plan["format"] != FORMAT:
        which = f"{changed[0]} and {len(changed) - 1} more" if len(changed) > 1 else "".join(changed) or "the format"
        raise StudyError(
            f"{place} was frozen with other code than this ({which} differs; frozen with version {plan['version']}); "
            "check out the commit that froze it, or freeze again before you look at new data."
        )
    return plan
