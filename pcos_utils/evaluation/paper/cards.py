"""Model cards under the nine headings of Mitchell et al. 2019, and data sheets after Gebru et al. 2021."""

import json
import math
import struct
from pathlib import Path

import pandas as pd

from pcos_utils.config import CAVEAT, DATASETS, Study
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import report
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.paper.tables import span
from pcos_utils.evaluation.readings import data_sentence, interval, many, model_sentence, number, use_sentence
from pcos_utils.evaluation.results import main_rows
from pcos_utils.models import counts
from pcos_utils.models.recipes import FOLLICLES, recipe

HERE = Path(__file__).parent
HEADINGS = ("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
            "Quantitative analyses", "Ethical considerations", "Caveats and recommendations")  # fmt: skip
SHEET_HEADINGS = ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance")
KINDS = {
    "densenet201": "DenseNet201 as in torchvision, for one grey channel; its features are frozen and a new linear "
    "head "
    "is trained",
    "densenet121d": "DenseNet121 with the deep stem, for one grey channel, trained from random weights",
    "iustnet": "two blocks of convolutions and a linear layer (TinyVGG), trained from random weights",
    counts.NAME: "a small U-Net that outlines follicles in a frame, a count of what it outlined, and a logistic "
    "regression on that one number",
}
OPTIMISERS = {"sgd": "SGD", "adamw": "AdamW"}
USE = (
    "Research on method, by people who can read an interval. Not for diagnosis, triage or advice to a woman, and not "
    "on "
    f"pictures of another kind than those it was judged on. {CAVEAT}"
)
FACTORS = (
    "Judged by class only. Scanner, frequency, age, body and population are not published with the images, so "
    "nothing is "
    "known about groups."
)
ETHICS = (
    "The public frames carry no identifiers, and how their women consented is not published; none is redistributed. A "
    "wrong answer about a woman's ovaries can frighten or falsely calm her, hence the refusal of any clinical use."
)


def model_cards(study: Study, judged: list[str], metrics: pd.DataFrame, audit: pd.DataFrame) -> list[dict]:
    """A card for each judged network and the count: name, title, and its entries, a heading with a paragraph each."""
    return [
        {"name": model, "title": MODEL_NAMES[model], "entries": _entries(study, model, metrics, audit)}
        for model in judged
    ]


def _entries(study: Study, model: str, metrics: pd.DataFrame, audit: pd.DataFrame) -> list[tuple[str, str]]:
    table, counted = report.read_table(study, "sources"), model == counts.NAME
    details, training = (_counter if counted else _network)(study, model)
    rows = main_rows(metrics)
    own = rows[rows.model == model].set_index("metric")
    told = ", ".join(f"{name.replace('_', ' ').replace('brier', 'Brier score')} {interval(own.loc[name])}" for name in
                     ("balanced_accuracy", "recall", "specificity", "brier"))  # fmt: skip
    texts = (
        f"{KINDS[model][0].upper()}{KINDS[model][1:]}. {details} Licence of code and weights: MIT.",
        USE,
        FACTORS,
        "AUC first; balanced accuracy, recall and specificity at the threshold that selection sources fixed "
        "beforehand; "
        "calibration and net benefit. Each with an interval over sources.",
        f"{facts(study.data_name).title}. {data_sentence(study, audit)} {use_sentence(table)} Each source is judged "
        f"by a "
        "reader that never saw it.",
        training,
        f"{model_sentence(model, metrics)} Further: {told}.",
        ETHICS,
        f"{facts(study.data_name).known_problems} The intervals leave out how much another training set or another "
        f"seed "
        "would change.",
    )
    return list(zip(HEADINGS, texts, strict=True))


def _network(study: Study, model: str) -> tuple[str, str]:
    runs = report.read_table(study, f"runs_{model}")
    own, how = runs[runs.arm == "ours"], recipe(model, "ours", study)
    starts = ", ".join(sorted(set(own.start)))
    places = sorted((study.runs_dir / model / "ours").rglob("weights.safetensors"))
    size = f" {weights_in(places[0])[0]:,} trained numbers in each file." if places else ""
    details = (
        f"{many(len(own), 'network')}, one for each fold, repeat and inner part; started from: {starts}.{size} One "
        f"logit, "
        f"positive for polycystic; pictures of {how.side} x {how.side} pixels."
    )
    epochs = own.chosen_epoch
    training = (
        f"{span(own.train_images.min(), own.train_images.max())} images of the same collection, never of a test "
        f"source. "
        f"{OPTIMISERS[how.optimiser]}, rate {how.learning_rate:g}, batches of {how.batch}, "
        f"{many(how.epochs, 'epoch')} at most; kept: "
        f"epoch {span(int(epochs.min()), int(epochs.max()))}. {_changes(how)}"
    )
    return details, training


def _changes(how) -> str:
    parts = [f"turns of up to {how.rotation:g} degrees"] if how.rotation else []
    parts += [f"brightness within {how.brightness:.0%}"] if how.brightness else []
    parts += [f"mirrors with a chance of {number(how.flip)}"] if how.flip else []
    return f"While it trains, pictures are changed: {', '.join(parts)}." if parts else "Pictures are not changed."


def _counter(study: Study, model: str) -> tuple[str, str]:
    files = counts.networks(study)
    numbers, told = weights_in(files[0])
    details = f"{many(len(files), 'network')} of {numbers:,} numbers each ({', '.join(path.name for path in files)})."
    kept = {name: float(told[name]) for name in ("phantoms_per_class", "dice_follicle", "count_mae") if name in told}
    training = "Phantoms alone: no real frame and no label of this study. The logistic is fitted inside each fold."
    if len(kept) == 3:
        training = (
            f"{kept['phantoms_per_class']:,.0f} phantoms of each class (simulator version {told['phantom_version']}, "
            f"seed "
            f"{told['seed']}), {many(FOLLICLES.epochs, 'epoch')}; no real frame and no label of this study. On "
            f"held-out "
            f"phantoms its follicle Dice is {number(kept['dice_follicle'])}, and its count is off by "
            f"{kept['count_mae']:.1f} follicles on average. The logistic is fitted inside each fold."
        )
    return details, training


def weights_in(path: Path) -> tuple[int, dict]:
    """How many numbers a .safetensors file holds, and what it says of itself; only its header is read."""
    with open(path, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    told = header.pop("__metadata__", {})
    return sum(math.prod(part["shape"]) for part in header.values()), told


def datasheets(study: Study) -> list[dict]:
    """A sheet for the study's own data and for each set that it speaks of: name, title, entries, own (or not)."""
    texts = pd.read_csv(HERE / "datasheets.csv", keep_default_na=False)
    names = [study.data_name, *(name for name in DATASETS if name != study.data_name)]
    return [
        {"name": name, "title": facts(name).title, "own": name == study.data_name, "entries": _sheet(name, texts)}
        for name in names
    ]


def _sheet(name: str, texts: pd.DataFrame) -> list[tuple[str, str]]:
    entry = facts(name)
    own = texts[texts.name == (name if name in set(texts.name) else "*")].set_index("heading").text
    folders = ", ".join(f"{folder} {count:,}" for folder, count in entry.folders.items())
    filled = {
        heading: own[heading].format(images=f"{entry.images or 0:,}", folders=folders) for heading in SHEET_HEADINGS
    }
    filled["Collection"] += f" Source: {entry.citation}."
    filled["Uses"] += f" Known problems: {entry.known_problems}"
    filled["Distribution"] += f" Licence: {entry.licence}."
    return list(filled.items())
