"""The commands freeze, confirm and power, which cli.py registers. Each command imports its own heavy libraries."""

from pathlib import Path
from typing import Annotated

import typer

from pcos_utils.config import JUDGED, StudyError, home, study
from pcos_utils.options import of_study
from pcos_utils.serving.commands import Source, best

Frozen = Annotated[Path | None, typer.Option(help="the plan's folder; runs/plans/<study>")]
Threshold = Annotated[float | None, typer.Option(help="of somebody's own scores, from which on they call polycystic")]
DEVELOPED = "with --threshold: the folder of images that developed the method"
Developed = Annotated[Path | None, typer.Option(help=DEVELOPED)]
Plan = Annotated[Path, typer.Argument(help="a folder that pcos freeze made")]
New = Annotated[Path, typer.Argument(help="a folder of new images, in class folders or with a table of labels")]
Table = Annotated[Path | None, typer.Argument(help="a table (.csv, .xlsx) of image and label")]
Scores = Annotated[Path | None, typer.Option(help="a CSV of image and score, in place of weights")]


@of_study
def freeze(
    out: Frozen = None, model: Source = None, threshold: Threshold = None, developed: Developed = None, *, given: dict
) -> None:
    """Freeze a finished study's model, or somebody's own method, before new data are looked at.

    The plan holds weights, calibration, threshold, endpoint, digests of the analysis code, and digests and keypoints of
    the images that developed the method; no picture, no file's name. Own method: --threshold, --developed and --out.
    """
    from pcos_utils.serving import freeze

    if (threshold is None) != (developed is None) or (developed and (out is None or model)):
        raise StudyError("A method of your own needs --threshold, --developed and --out, and no --model.")
    if developed:
        if not developed.is_dir():
            raise StudyError(f"{developed} is no folder; name the images that developed the method.")
        if not abs(threshold) < float("inf"):
            raise StudyError(f"--threshold {threshold} is no number; give the score from which on it is polycystic.")
        from pcos_utils.audit.sources import find_sources
        from pcos_utils.data.survey import survey

        freeze.need_new(out)
        facts = {"method": {"kind": "predictions"}, "threshold": threshold, "expected_auc": None}
        found = find_sources(survey(developed), developed)
        for row in found[~found.status.isin(["ok", "litter"])].itertuples():
            typer.echo(f"not among them: {row.path} ({row.reason})")
        plan = freeze.freeze(out, found, developed, facts)
    else:
        chosen = study(**given)
        if model and model not in JUDGED and not (Path(model) / "model.json").is_file():
            raise StudyError(f"MODEL={model} is unknown; use one of: {', '.join(JUDGED)}, or a served model's folder.")
        out = out or home() / "runs" / "plans" / chosen.name
        plan = freeze.freeze_study(out, model or best(chosen), chosen)
    sizes = plan["development"]
    typer.echo(f"frozen in {out}: {sizes['images']} images of {sizes['sources']} sources developed the method")
    typer.echo(f"plan {plan['sha256']}: put this digest where it gets a date, such as a registry or a mail")


def confirm(plan: Plan, folder: New, labels: Table = None, predictions: Scores = None) -> None:
    """Apply a frozen method to a new folder, once: leave out what developed it, then measure the frozen endpoint.

    The result is kept in the plan's folder. A further look at the same images is marked as such.
    """
    from pcos_utils.serving import confirm

    if not folder.is_dir():
        raise StudyError(f"{folder} is no folder; name a folder of new images.")
    for table in (labels, predictions):
        if table and not table.is_file():
            raise StudyError(f"{table} is no file; give a table of the folder's images.")
    record, path = confirm.confirm(plan, folder, labels, predictions)
    typer.echo("\n".join([*confirm.sentences(record), f"written to {path}"]))


def power(
    low: Annotated[float, typer.Option("--from", help="the AUC to beat")] = 0.85,
    high: Annotated[float, typer.Option("--to", help="the AUC that is hoped for")] = 0.90,
    prevalence: Annotated[float, typer.Option(help="share of polycystic sources")] = 0.3,
    power: Annotated[float, typer.Option(help="chance to show what is there")] = 0.8,
    correlation: Annotated[float, typer.Option(help="of the two methods' scores within a class")] = 0.5,
    recall: Annotated[float, typer.Option(help="the recall that is hoped for")] = 0.9,
    above: Annotated[float, typer.Option(help="what its lower limit is to exceed")] = 0.8,
) -> None:
    """Say how many sources a study needs: for a gain in AUC, paired or against a fixed value, and for a recall."""
    from pcos_utils.evaluation.power import table

    sizes = dict(prevalence=prevalence, power=power, correlation=correlation, recall=recall, above=above)
    for row in table(low, high, **sizes).itertuples():
        needed = f"{row.sources:,} sources, {row.polycystic:,} polycystic"
        typer.echo(f"{row.question + ', ' + row.design:<58} {needed:<36} half-width ± {row.half_width:.3f}")
    assumed = f"{100 * prevalence:g} % polycystic, {100 * power:g} % power, two-sided 5 %"
    typer.echo(f"({assumed}; a source is one original picture)")
