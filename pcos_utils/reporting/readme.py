"""The README's blocks of results, made from committed tables, and the committed notebooks with the demo's outputs."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from pcos_utils.config import COUNT, MODELS, ROOT, TUNED, ZERO_SHOT
from pcos_utils.data import manifest, splits
from pcos_utils.evaluation import comparison
from pcos_utils.evaluation.baselines import BASELINES
from pcos_utils.evaluation.tables import main_rows
from pcos_utils.files import write_text
from pcos_utils.reporting import sentences_results as sentences
from pcos_utils.reporting.text import TITLES, ends, interval, listed, markdown, number, p_value, percent

PAGES = tuple(ROOT / name for name in ("README.md", "reports/README.md", "studies/README.md", "docs/scaling.md"))
LARGE = 250_000  # bytes of a picture that is stored smaller


def reports() -> dict[str, Path]:
    """Return the folder of each report that the README quotes: the demo's, and that of real frames where it is."""
    real = sorted(path.parent for path in (ROOT / "reports").glob("local-*-full/plan.json"))
    return {"answer": ROOT / "reports" / "phantom-demo"} | ({"real": real[0]} if real else {})


def block(folder: Path) -> str:
    """Return what the README says of a study. ``folder``: its report's."""
    metrics, compared = (pd.read_csv(folder / "tables" / f"{name}.csv") for name in ("metrics", "comparisons"))
    parts = [answer(folder), sentences.differences(compared), sentences.acquisition(metrics)]
    return "\n\n".join(part for part in [*parts, sentences.first_plan(folder)] if part)


def findings() -> str:
    """Return what was found, a line each, from the committed tables."""
    folders = reports()
    published = pd.read_csv(folders["answer"] / "tables" / "published.csv")
    recall = published[(published.metric == "recall") & (published.model == "densenet121d")].set_index("way")
    audited = json.loads((ROOT / "studies" / "audit_public.json").read_text(encoding="utf-8"))
    copied = audited["dataset-a"]["summary"]
    both = audited["dataset-a"]["splits"][0]["crossing"]  # of train and test
    all_or_some = "all" if both == copied["source pictures"] else "of these"
    auc = main_rows(pd.read_csv(folders["real"] / "tables" / "metrics.csv")).set_index("model", drop=False)
    count, grey, networks = auc.loc[COUNT], auc.loc["intensity"], auc[auc.index.isin(MODELS)]
    phantoms, tuned = auc.loc[ZERO_SHOT], auc.loc[TUNED]
    shown = auc.verdict.map(lambda verdict: "shown" if verdict == comparison.BETTER else "not shown")
    best = "Best baseline; " if grey.value == auc.value[auc.model.isin(BASELINES)].max() else ""
    better = sentences.better(networks).replace("none", "No network")
    beat = f"{better} trained on those sources is shown to be better than chance"
    each = ", ".join(f"{TITLES[name]} {interval(row)}" for name, row in networks.iterrows())
    planned = json.loads((folders["real"] / "plan.json").read_text(encoding="utf-8"))
    sides = sorted({planned["recipes"][f"{name} ours"]["side"] for name in ("densenet121d", "iustnet")})
    small = f"the others at {listed([str(side) for side in sides[::-1]])} pixels"
    small = f"DenseNet201 without ImageNet's weights, {small}" if planned["settings"]["weights"] == "none" else small
    taught = f"In each fold they learned from {networks.taught.iloc[0].split(' of ')[0]} ({small})"  # "22 to 27 images"
    reaches = "" if grey.verdict == comparison.BETTER else ", as some resampling reaches .5"
    flips = pd.read_csv(folders["real"] / "tables" / "flips.csv").set_index("flips").loc[1]
    seen = splits.source_labels(manifest.read(folders["real"] / "sources.csv").query("used == 'yes'"))
    power = comparison.power(0.7, int(seen.sum()), int((1 - seen).sum()))
    studies = ROOT / "reports" / "studies"
    fitted = pd.read_csv(studies / "simulator_fit.csv").set_index(["arm", "on"]).loc[("difference", "real")]
    curves = pd.read_csv(studies / "learning_curves.csv")
    seeds = curves.query("on == 'real' and method == 'iustnet' and size == 3000").iloc[0]
    frames, found = recall.n["frames"], recall.n["frames"] * recall.value["frames"]
    lines = [
        f"**252 published test images are 16 frames.** Of the {recall.n['naive']:.0f} polycystic images the published "
        f"DenseNet121d finds {number(recall.value['naive'])} (its recall), which seems known to within "
        f"{ends(recall.low['naive'], recall.high['naive'])}. But these {recall.n['naive']:.0f} are copies of "
        f"{frames:.0f} frames, of which it finds {found:.0f}: {ends(recall.low['frames'], recall.high['frames'])}.",
        f"**{copied['readable images']:,} images are {copied['source pictures']} pictures.** In Kaggle's Dataset A, on "
        f"which [99.8 % accuracy](https://arxiv.org/abs/2602.04944) is claimed, {all_or_some} {both} are in "
        "its train and test folders.",
        f"**A count of follicles has AUC {number(count.value)} {ends(count.low, count.high)} on {count.sources} real "
        f"sources of Dataset B** ({count.polycystic} polycystic); were one label wrong, {number(flips.lowest)} to "
        f"{number(flips.highest)}. Phantoms taught it. The phantoms were changed after the count's errors on these "
        f"frames were seen (worth {interval(fitted)}{', not shown' if fitted.low < 0 else ''}): the result is "
        "explored, not confirmed. The labels rest on follicles, too.",
        f"**{beat}**: {each}. {taught}. A true AUC of .70 is shown in {percent(power)} of studies of this size. "
        f"Taught by 3,000 phantoms instead, IustNet has {interval(phantoms)} ({shown[ZERO_SHOT]}) with one seed, and "
        f"{interval(seeds)} as the mean of {seeds.seeds} seeds; fine-tuned on these sources, too, {interval(tuned)} "
        f"({shown[TUNED]}).",
        f"**Brightness, its spread and the border have AUC {number(grey.value)} {ends(grey.low, grey.high)}** on the "
        f"same {grey.sources}, and none of them shows a follicle: a method may rank by how a class was acquired. "
        f"({best}p {p_value(grey.p)}; {shown['intensity']}{reaches}.)",
    ]
    return "\n".join(f"- {line}" for line in lines)


def caption() -> str:
    """Return what the README's figure of the real frames shows."""
    folder = reports()["real"] / "tables"
    methods, compared = main_rows(pd.read_csv(folder / "metrics.csv")), pd.read_csv(folder / "comparisons.csv")
    left = f"of {len(methods)} methods, shown better than chance: {sentences.better(methods)}"
    right = f"{compared.verdict.ne('not shown').sum()} of {compared.planned.max()} planned differences are shown"
    return f"*{methods.sources.iloc[0]} real sources. Left: {left}. Right: {right} ([rules](reports/README.md)).*"


def answer(folder: Path) -> str:
    """Return the answer as a Markdown table: a row a method, what taught it, AUC and decisions with interval and n."""
    planned = json.loads((folder / "plan.json").read_text())
    settings, metrics = planned["settings"], pd.read_csv(folder / "tables" / "metrics.csv")
    table = sentences.overview(metrics)
    rows = [[title, *table.loc[title]] for title in sentences.beside_baselines(metrics).model.map(TITLES)]
    text = markdown(["method", "taught with", "AUC", "recall", "specificity", "verdict"], rows)
    first = main_rows(metrics).iloc[0]
    kind = "synthetic phantoms" if planned["study"].startswith("phantom") else planned["study"]
    repeated = f", repeated {settings['repeats']} times" if settings["repeats"] > 1 else ""
    note = (
        f"*The {settings['preset']} study on {kind}: {first.sources} held-out sources, {first.polycystic} of them "
        f"polycystic, {settings['folds']} grouped folds{repeated}; 95 % intervals over sources. AUC: the chance that a "
        "polycystic source scores above a normal one that the same network tested, or, for a count, above any normal "
        "one; .50 is a coin. Recall and specificity: at a threshold that selection sources of each fold fixed "
        "beforehand, the mean over networks. Verdict: p one-sided, at most .025, and the "
        "interval leaves out .50 under each of 50 resampling seeds.*"
    )
    if planned["supersedes"]:
        times = {1: "once", 2: "twice"}.get(len(planned["supersedes"]), f"{len(planned['supersedes'])} times")
        note += f" *The plan was changed {times} after results were there: read them as explored, not as planned.*"
    return f"{text}\n\n{note}"


def with_block(text: str, block: str, name: str) -> str:
    """Return a page's text with another block between the two marks of a name; the marks stay."""
    marks = rf"(<!-- {name}:.*?-->\n).*?(\n<!-- /{name} -->)"
    return re.sub(marks, lambda match: match[1] + block + match[2], text, flags=re.DOTALL)


def write_block(name: str, block: str) -> None:
    """Put a block between its marks, on the page that has them."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if f"<!-- {name}:" in text:
            write_text(page, with_block(text, block, name))


def refresh_all(executed: Path) -> None:
    """Give the committed notebooks the outputs of the demo's executed ones, and the README its answers."""
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        refresh(executed / notebook.name, notebook)
    for name, folder in reports().items():
        write_block(name, block(folder))
    write_block("findings", findings())
    write_block("caption", caption())


def refresh(executed: Path, notebook: Path) -> None:
    """Write the committed notebook with the outputs of an executed one, and nothing of the machine that ran it."""
    node = nbformat.read(executed, as_version=4)
    node.cells = [cell for cell in node.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    node.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    count = 0
    for place, cell in enumerate(node.cells):
        cell.id = f"cell-{place:02d}"
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = lean(output.data["image/png"])
    write_text(notebook, nbformat.writes(node) + "\n")


def lean(coded: str) -> str:
    """Return a PNG, in base64, in 256 colours, or a large one at two thirds of its size in 64: notebooks stay small."""
    picture, stored = base64.b64decode(coded), io.BytesIO()
    large, image = len(picture) > LARGE, Image.open(io.BytesIO(picture)).convert("RGB")
    if large:
        image = image.resize([round(0.65 * side) for side in image.size], Image.Resampling.LANCZOS)
    image.quantize(64 if large else 256).save(stored, "PNG", optimize=True)
    return base64.b64encode(stored.getvalue()).decode()
