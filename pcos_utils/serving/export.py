"""A finished study becomes a served model: a folder that needs onnxruntime, but not torch or the repository."""

import io
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import pandas as pd
import torch
from PIL import Image
from torch import nn

from pcos_utils.config import CAVEAT, COUNT, PROTOCOL_OF_ARM, Study, StudyError
from pcos_utils.data.images import HEIGHT, WIDTH
from pcos_utils.data.pixels import expand, stack
from pcos_utils.evaluation.predictions import of_runs, read_table
from pcos_utils.files import appearing, digest, need_writable, read_record, sha256, write_json, write_text
from pcos_utils.follicles import counts, crops, kept, locator, pretrain, training_set
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import architectures, devices, recipes, training
from pcos_utils.models.run import images_of, lesson
from pcos_utils.phantom import simulator
from pcos_utils.serving import scan_check
from pcos_utils.serving.model import on
from pcos_utils.serving.tabulate import ALPHA, DATA, real_frames, tabulate

AGREEMENT, TRIED = 1e-4, 16  # largest difference allowed between torch and onnxruntime, on so many random images
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scipy", "pillow", "opencv-python-headless")
EXAMPLES = range(2_100_000_002, 2_100_000_006)  # seeds of phantoms that are answered, far from all others that are used
# The model card (Mitchell et al. 2019), which the page shows too. Its numbers are those of model.json.
CARD = """## What {model} on {data} can and cannot tell
**{caveat}** On {sources[polycystic]} polycystic and {sources[normal]} normal source pictures that it had not seen
({data}), it ranked a polycystic one above a normal one {auc:.0%} of the time; a coin would reach 50%. It can tell
- whether a frame looks more like the polycystic or the normal pictures of one data set. Its number is the {scale},
  calibrated on these pictures (slope {calibration[slope]:.2f}, intercept {calibration[intercept]:.2f}). It is called
  polycystic from {threshold:.0%} on, the highest threshold that calls {target_recall:.0%} of the polycystic ones.
- of a frame that you send, {about_real}.
- how sure it can be: the 95% interval shows how far that number would move with other calibration pictures
  ({interval[resamples]} resamples of sources). It does not count the choice of network or the next hospital.
- where it sees follicles, outlined by a network that phantoms taught (`{outline_sha256:.12}`), for you to check.
- when it cannot say: no ovarian scan, too small, too blurred, or no answer ruled out at {confidence:.0%} confidence.

It cannot tell
- **whether somebody has PCOS.** A frame shows morphology; the syndrome needs clinic and laboratory.
- how many follicles an ovary has: one section shows some of them.
- anything about endometrium, cysts, tumours or pregnancy: a frame that shows them may still be answered.
- whether it holds for your scanner and your patients: that has not been tested.
- all that it should refuse: what is further than {suitability[limit]:.2f} from {suitability[phantoms][0]} phantoms
  counts as no scan, a limit set on {suitability[phantoms][1]} others. Of {suitability[phantoms][2]} that set nothing
  {suitability[false_refusals]:.1%} are refused by mistake, and a picture that resembles a scan may pass. A box that you
  draw is judged by phantoms cut out and enlarged in the same way (limit {boxed[limit]:.2f}, refused by mistake
  {boxed[false_refusals]:.1%}): whether it holds an ovary is for you to say.

**Your pictures** are read in the memory of the machine that runs this page, answered and forgotten: no file stays,
nothing is sent on, the log holds neither names nor pixels. If this page is not on your own machine, your frame leaves
it: send no patient's picture.

**Use.** Research and teaching, one grey B-mode frame at a time. **Not for** diagnosis, screening, triage or any
decision about a person. Study `{study}`, run `{run}`, images stretched to {side} x {side} pixels; {how}. Splits and
intervals are by source, never by copy. Threshold and interval rest on the same held-out sources, so both are a little
kinder than new sources will be.
"""


def export(model: str, study: Study, folder: Path, phantoms: int = 300) -> dict:
    """Write the folder of a served model and return its model.json; ``phantoms`` of each class tell what is usual."""
    need_writable(folder)
    network, predictions, facts = fit_served(model, study)
    outline, side, is_count = kept.networks(study)[0], facts["side"], network is None
    counts_as_kept = is_count and outline == kept.KEPT and study.synthetic  # real data calibrate their own study
    outlining = follicle_network.Outlining(follicle_network.load(outline))
    shards = training_set.shards(study.runs_dir.parent / COUNT / "shards", phantoms, pretrain.HELD_OUT_SEED)
    frames, rng = training_set.load(shards)["images"], np.random.default_rng(study.seed)
    boxed = np.array([crops.as_boxed(frame, rng) for frame in frames])
    card = {
        "format": 2, "model": model, "data": study.data_name, "study": study.name, "caveat": CAVEAT,
        "kind": "count" if is_count else "network", **facts,
        **tabulate(predictions, is_count=is_count, seed=study.seed),
        **({"real": tabulate(real_frames(), is_count=True) | {"data": DATA}} if counts_as_kept else {}),
        "suitability": usual(outlining, frames), "boxed": usual(outlining, boxed, boxed=True),
        "preprocessing": f"8-bit RGB, upright, stretched to {side} x {side}, bilinear with antialiasing",
        "outline_sha256": sha256(outline), "locator_sha256": sha256(locator.KEPT),
        "packages": {name: version(name) for name in PACKAGES},
    }  # fmt: skip
    (folder / "model.json").unlink(missing_ok=True)  # written last: a folder without it is unfinished
    apart = {"follicles.onnx": to_onnx(outlining, (HEIGHT, WIDTH), folder / "follicles.onnx", "grey")}
    finding = follicle_network.Outlining(follicle_network.load(locator.KEPT, follicle_network.Locator))
    apart["locator.onnx"] = to_onnx(finding, (locator.SIDE,) * 2, folder / "locator.onnx", "grey")
    if not is_count:
        apart["model.onnx"] = to_onnx(network, (side, side, 3), folder / "model.onnx", "pixels")
    card["files"] = {name: sha256(folder / name) for name in apart}
    card["agreement"] = {name: float(f"{difference:.1e}") for name, difference in apart.items()}
    for number, seed in enumerate(EXAMPLES, start=1):
        with appearing(folder / "examples" / f"phantom_{simulator.FOLDERS[seed % 2]}_{number}.png") as temporary:
            Image.fromarray(simulator.simulate(seed, seed % 2).image).save(temporary)
    words = on(card["data"], card["sources"]) | {"confidence": 1 - ALPHA, "about_real": "the same number"}
    words["how"] = "the count of follicles" if is_count else f"trained on all sources for {facts['epochs']} epochs"
    if "real" in card:
        words["about_real"] = (
            f"the probability among {on(DATA, card['real']['sources'])['calibrated']}: the page and `pcos predict` "
            "calibrate your frames on those, and only the phantoms offered as examples on phantoms"
        )
    write_text(folder / "card.md", CARD.format(**card, **words).replace("%", " %"))
    write_json(folder / "model.json", card)
    return card


class Answering(nn.Module):
    """A network with its preprocessing, ready for export: pixels uint8 (n, side, side, 3) to logits (n,)."""

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.name, self.network = name, network.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 (n,)."""
        return self.network(architectures.prepare(self.name, pixels)).squeeze(1)


def fit_served(model: str, study: Study) -> tuple[nn.Module | None, pd.DataFrame, dict]:
    """Return one network (none for the count), out-of-fold predictions and what model.json says of both."""
    table = read_table(study, "sources")
    if model == COUNT:
        counted = counts.run(study)
        # It was trained on no label of these images, so every count is out of fold.
        counted = counted[counted.network == kept.networks(study)[0].parent.name].rename(columns={"path": "image"})
        predictions = counted[["image", "source", "label"]].assign(logit=counted["count"].astype(float))
        run = digest(json.dumps([model, predictions.to_csv()]))[:12]
        return None, predictions, {"epochs": None, "run": run, "side": study.image_side}
    predictions = of_runs(study, model, "grouped").query("role == 'test'")
    records = [read_record(study.run_dir(model, run)) for run in study.runs("ours", PROTOCOL_OF_ARM["ours"])]
    # By the folds' recipe, for the median of the epochs that they kept. They kept an epoch of a schedule made for all
    # the recipe's epochs, so the same schedule is stopped early.
    epochs = max(1, round(median(record["chosen_epoch"] for record in records)))
    settings = recipes.recipe(model, "ours", study).model_copy(update={"select_epoch": False})
    run = digest(json.dumps([epochs, *sorted(record["facts_sha256"] for record in records)]))[:12]
    facts = {"epochs": epochs, "run": run, "plan": records[0].get("plan_sha256"), "side": settings.side}
    engine = devices.engine_for(study)
    rows = expand(table[table.used == "yes"].reset_index(drop=True).assign(role="train"), {0: 1, 1: 1})
    pixels = torch.from_numpy(stack(rows, study.image_dir, settings.side, study.cache_dir))
    torch.manual_seed(study.seed)
    task = lesson(model, study, settings, rows, pixels, engine)
    training.fit(
        task.learner, task.prepare, images_of(rows, task.pixels, "train"), None, settings, stop=epochs,
        seed=study.seed, engine=engine, change=task.change,
    )  # fmt: skip
    return Answering(model, task.network.float().cpu().eval()), predictions, facts


def usual(outlining: follicle_network.Outlining, frames: np.ndarray, *, boxed: bool = False) -> dict:
    """Return what ``scan_check.judge`` needs of frames or boxes, from phantoms' frames, uint8 (n, 128, 192)."""
    maps = follicle_network.predict_maps(outlining.network, frames)
    features = [scan_check.features(frame, found) for frame, found in zip(frames, maps, strict=True)]
    return scan_check.fit(np.array(features), np.array([scan_check.sharpness(frame) for frame in frames]), boxed=boxed)


def to_onnx(module: nn.Module, shape: tuple, path: Path, name: str) -> float:
    """Write a module as ONNX, with one input of a ``shape`` in uint8, and return how far it differs from torch."""
    pixels, content = np.random.default_rng(0).integers(0, 256, (TRIED, *shape), dtype=np.uint8), io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # A network's check of its input's side becomes a constant here, and every frame is brought to that side.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            module.eval(), (torch.from_numpy(pixels[:2]),), content, input_names=[name], output_names=["answer"],
            dynamic_axes={name: {0: "n"}, "answer": {0: "n"}}, opset_version=18, dynamo=False,
        )  # fmt: skip
        expected = module(torch.from_numpy(pixels)).numpy()
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    apart = float(np.abs(session.run(None, {name: pixels})[0] - expected).max())
    if not apart <= AGREEMENT:
        raise StudyError(f"{path.name} differs from its network by {apart:.1e}; report this with the versions in use.")
    with appearing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return apart
