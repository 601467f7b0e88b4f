"""Sentences that read a table or a figure. Every number in them comes from the table, so none can disagree."""

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, Study
from pcos_utils.data.audit import BOTH_LABELS, CROSSING, SOURCES
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import within
from pcos_utils.evaluation.figures import MODEL_NAMES

# Human counting of follicles in one section reaches an AUC of .87, in the whole ovary .905 (Pea et al. 2024).
SUSPICIOUS = 0.95


def number(value: float) -> str:
    """A number between -1 and 1 at two decimals without the leading zero, as ``.72``; "undefined" for NaN."""
    # A little below zero is zero, too.
    return "undefined" if pd.isna(value) else f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")


def interval(row: pd.Series) -> str:
    """A value with its 95 % interval, as ``.72 [.64, .80]``, or the value and the row's reason why it has none."""
    if pd.isna(row.value):
        return "undefined"
    if pd.isna(row.low):
        reason = getattr(row, "reason", "")
        # Read back from a file, no reason is NaN.
        return f"{number(row.value)} [no interval{f': {reason}' if reason and not pd.isna(reason) else ''}]"
    return f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"


def many(count: int, thing: str) -> str:
    """The count with its noun, as "1 source" or "2 sources"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def data_sentence(study: Study, audit: pd.DataFrame) -> str:
    """What the images are, how many pictures they show, and what was wrong with the files."""
    count = audit.set_index("fact")["count"]
    kind = "synthetic phantoms, not patients" if study.synthetic else facts(study.data_name).title
    text = (
        f"{many(count['readable images'], 'readable image')} ({kind}) show "
        f"{many(count[SOURCES], 'source picture')}: "
        f"{count['polycystic sources']:,} polycystic and {count['normal sources']:,} normal."
    )
    if count["unreadable files"]:
        text += f" {many(count['unreadable files'], 'file')} could not be read."
    if count[BOTH_LABELS]:
        text += (
            f" {many(count[BOTH_LABELS], 'source')} {'carries' if count[BOTH_LABELS] == 1 else 'carry'} both labels."
        )
    across = count[CROSSING]
    if across:
        text += f" **{many(across, 'source')} stand in the train folder and in the test folder.**"
    return text


def use_sentence(table: pd.DataFrame) -> str:
    """How many sources and images the study uses, and how many are left out for which reason."""
    used = table[table.used == "yes"]
    text = f"The study uses {many(len(used), 'image')} of {many(used.source.nunique(), 'source')}"
    left = table.used[table.used != "yes"].value_counts()
    if left.empty:
        return text + "; nothing is left out."
    return text + "; left out: " + ", ".join(f"{many(n, 'image')} ({reason})" for reason, n in left.items()) + "."


def split_sentence(across: int) -> str:
    """Whether sources cross the published split."""
    if not across:
        return "No source stands on both sides of the published split."
    return (
        f"**{many(across, 'source')} stand on both sides of the published split**: what is measured there is memory "
        "of training pictures, not skill."
    )


def verdict(row: pd.Series) -> str:
    """ "better than chance", "not shown to be better than chance" or "worse than chance", from an AUC's interval."""
    if row.low > 0.5:
        return "better than chance"
    return "worse than chance" if row.high < 0.5 else "not shown to be better than chance"


def model_sentence(model: str, metrics: pd.DataFrame) -> str:
    """A model's answer under grouped folds: verdict, AUC, interval and n."""
    rows = metrics[(metrics.model == model) & (metrics.protocol == "grouped") & (metrics.level == "source")]
    row = rows[(rows.metric == "auc") & ~rows.beside.astype(bool)].iloc[0]
    text = f"{MODEL_NAMES[model]} is {verdict(row)}: AUC {interval(row)} on {many(row.sources, 'held-out source')}"
    if row.few_sources:
        text += " (fewer than ten of a class: the interval is too narrow)"
    if row.value > SUSPICIOUS:
        text += (
            f". **Do not believe this yet:** expert readers reach about .90 on single sections, so above "
            f"{number(SUSPICIOUS)} look first for copies that the audit missed and for traces other than follicles"
        )
    return text + "."


def epochs_sentence(histories: pd.DataFrame, name: str) -> str:
    """Where the kept epochs lie, and whether the selection loss there is below a coin's."""
    kept = histories[histories.chosen]
    below = int((kept.selection_loss < np.log(2)).sum())
    epochs = ", ".join(str(epoch) for epoch in kept.epoch)
    return (
        f"{name}: the kept epochs are {epochs} of {histories.epoch.max()}. In {below} of {many(len(kept), 'fold')} the "
        f"selection loss there is below a coin's .69; the lowest training loss is {number(histories.train_loss.min())}."
    )


def start_sentence(study: Study, runs: pd.DataFrame) -> str:
    """What the networks started from; a visible warning where ImageNet weights were wanted and missing."""
    starts = sorted(set(runs.start))
    if any("unreachable" in start for start in starts):
        return (
            "> ⚠️ **Without ImageNet weights.** They could not be fetched, so DenseNet201 ran on frozen *random* "
            "features. Nothing below says what fine-tuning would give."
        )
    if study.synthetic and starts == ["imagenet"]:
        return "DenseNet201 started from ImageNet weights; the committed demo ran without them."
    return f"Started from: {', '.join(starts)}."


def sample_sentence(pixels: list[np.ndarray], labels: list[int]) -> str:
    """What is on the sheet, and how much of the pictures of each class is nearly black."""
    dark = {}
    for label in (0, 1):
        group = [(image < 40).mean() for image, own in zip(pixels, labels, strict=True) if own == label]
        dark[label] = f"{np.mean(group):.0%} of the pixels of these {len(group)} {CLASS_NAMES[label]} pictures"
    return f"Nearly black are {dark[0]} and {dark[1]}."


def ceiling_sentence(truth: pd.DataFrame) -> str:
    """How well the section's own follicle count separates the phantoms: what a perfect counter reaches."""
    positive, negative = truth.FNPS[truth.label == 1].to_numpy(), truth.FNPS[truth.label == 0].to_numpy()
    found = within.meetings(truth.assign(source=range(len(truth)), logit=truth.FNPS)[["source", "label", "logit"]])
    row = pd.Series(within.auc_row(found, resamples=2000))
    return (
        f"The section shows {np.median(positive):.0f} follicles in the median polycystic phantom and "
        f"{np.median(negative):.0f} in the median normal one. Counting them without error gives an AUC of "
        f"{interval(row)} on these {len(truth)} sources, what a perfect counter reaches."
    )


def saliency_sentence(titles: list[str], maps: np.ndarray, name: str) -> str:
    """How many of the shown answers are right, and how much of a picture half of the saliency covers."""
    right = sum(title.startswith("true") for title in titles)
    strongest_first = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1].cumsum(axis=1)
    cover = (strongest_first < strongest_first[:, -1:] / 2).mean(axis=1)
    return (
        f"{name}, fold 0: {right} of these {len(titles)} answers are right. Half of the saliency lies on "
        f"{np.median(cover):.0%} of the median picture (a uniform map would need 50%)."
    )


def ranking_sentence(metrics: pd.DataFrame, models: list[str]) -> str:
    """Which readers rank sources better than chance, and the best AUC."""
    rows = metrics[(metrics.protocol == "grouped") & (metrics.level == "source") & (metrics.metric == "auc")]
    rows = rows[~rows.beside.astype(bool)].set_index("model").loc[models]
    better = [MODEL_NAMES[model] for model, row in rows.iterrows() if verdict(row) == "better than chance"]
    best = rows.value.idxmax()
    who = ", ".join(better) if better else "none of them"
    return f"Better than chance at ranking: {who}. Highest AUC: {MODEL_NAMES[best]}, {interval(rows.loc[best])}."


def confusion_sentence(model: str, table: pd.DataFrame) -> str:
    """How many sources of each class were called polycystic at the threshold fixed beforehand."""
    called, positive = table.called, table.label == 1
    found, wrong = int((called & positive).sum()), int((called & ~positive).sum())
    return (
        f"{MODEL_NAMES[model]} finds {found} of {many(int(positive.sum()), 'polycystic source')} "
        f"and calls {wrong} of {many(int((~positive).sum()), 'normal source')} polycystic."
    )


def calibration_sentence(model: str, table: pd.DataFrame) -> str:
    """The range of the probabilities beside the share of polycystic sources."""
    low, high = table.probability.quantile([0.05, 0.95])
    return (
        f"{MODEL_NAMES[model]}: nine of ten probabilities lie between {number(low)} and {number(high)}, around a share "
        f"of {number(table.label.mean())}."
    )


def shared_failures(answers: pd.DataFrame) -> str:
    """How many sources every reader calls wrong, and how many each calls right."""
    wrong = answers.called.astype(bool) != (answers.label == 1)
    per_source = wrong.groupby(answers.source).mean()
    readers = answers.model.nunique()
    return (
        f"Of {many(len(per_source), 'source')} all of {many(readers, 'reader')} are wrong about "
        f"{(per_source == 1).sum()} "
        f"and right about {(per_source == 0).sum()}."
    )
