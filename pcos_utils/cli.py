"""Run a reproducible study of polycystic ovaries in ultrasound images, audit image folders, and serve the models."""

import io
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pcos_utils import options, progress
from pcos_utils.config import StudyError, home, study
from pcos_utils.files import need_writable, write_csv
from pcos_utils.models.train import train
from pcos_utils.options import Labels, Seed, of_study
from pcos_utils.serving import commands, validation

# Each command imports its own heavy libraries, so that the command line starts at once.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

NetworkClass = Annotated[list[str] | None, typer.Option(help="a class that the network's authors wrote themselves")]


@app.command()
@of_study
def reproduce(given: dict, jobs: options.Jobs = "", cluster: options.Cluster = "") -> None:
    """Run a study's notebooks in order and write its report; what is finished already is not run again."""
    cfg = study(**given)
    os.environ |= {"PCOS_SET_JOBS": jobs, "PCOS_SET_CLUSTER": cluster}  # where each notebook looks
    elsewhere = nullcontext()
    if options.place_of_runs():
        from pcos_utils.models.runs import scheduler

        elsewhere = scheduler()
    if cfg.labels_path is not None:
        from pcos_utils.data.manifest import listing

        listing(cfg.folder, cfg.labels_path)
    if cfg.preset == "full" and not options.place_of_runs():
        from pcos_utils.models.devices import choose_device

        choose_device(cfg)
    from pcos_utils import notebooks

    typer.echo(f"study {cfg.name}: {cfg.folds} folds x {cfg.repeats}, {cfg.image_side} pixels, seed {cfg.seed}")
    _ended_as_by_ctrl_c()  # so that the notebooks end with this process
    try:
        with elsewhere:
            report = notebooks.reproduce(cfg, given)
    except KeyboardInterrupt:
        typer.echo("pcos: stopped; what is finished is kept, and the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"report: {report}")


def _ended_as_by_ctrl_c() -> None:
    """Let a request to end, and a terminal that is closed, do what Ctrl-C does, unless the caller had them ignored."""
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:  # Windows has no SIGHUP
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)


@app.command()
def pretrain(
    out: Annotated[Path | None, typer.Option(help="for weights, history and record; runs/follicles/s<seed>")] = None,
    phantoms: Annotated[int, typer.Option(min=1, help="of each class")] = 1500,
    seed: Seed = 0,
    keep: Annotated[bool, typer.Option("--keep", help="put the float16 weights where the code reads them")] = False,
    iustnet: Annotated[bool, typer.Option("--iustnet", help="teach IustNet the labels instead, and keep it")] = False,
    locator: Annotated[
        bool, typer.Option("--locator", help="teach where ovaries lie in whole sectors, and keep")
    ] = False,
) -> None:
    """Train the network that outlines follicles, on phantoms alone (about ten minutes on two cores)."""
    from pcos_utils.follicles import labels, locator_training, pretrain
    from pcos_utils.models.devices import fastest
    from pcos_utils.models.recipes import FOLLICLES

    if iustnet or locator:
        name, teacher = ("iustnet", labels) if iustnet else ("locator", locator_training)
        with progress.bar(name=f"{name} on phantoms", total=teacher.EPOCHS) as bar:
            facts = teacher.teach(phantoms, seed, lambda row: bar.update())
        typer.echo("\n".join(f"{name} {value}" for name, value in facts.items()))
        return
    out = out or home() / "runs" / "follicles" / f"s{seed}"
    with progress.bar(name="follicle_unet", total=FOLLICLES.epochs) as bar:
        record = pretrain.pretrain(out, phantoms, seed, fastest(), on_epoch=lambda row: bar.update())
    typer.echo("\n".join(f"{name} {record[name]}" for name in record if name.startswith(("dice_", "count_"))))
    if keep:
        typer.echo(f"kept: {pretrain.keep(out)}")


@app.command()
@of_study
def run(
    notebook: Annotated[Path, typer.Argument(help="a notebook under notebooks/")],
    target: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    given: dict,
    inputs: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Execute one notebook of a study with papermill; after the last one, build the report."""
    from pcos_utils.notebooks import run_notebook

    _ended_as_by_ctrl_c()
    run_notebook(notebook, target, given, inputs)
    if notebook.stem.startswith("06"):
        from pcos_utils.reporting import page

        page.build(study(**given), target.parent)


@app.command()
def download(
    name: Annotated[str | None, typer.Argument(help="a registered entry")] = None,
    to: Annotated[Path | None, typer.Option(help="folder to put it under, instead of PCOS_DATA_DIR or data/")] = None,
    show: Annotated[bool, typer.Option("--list", help="every entry: address, counts, licence, known problems")] = False,
) -> None:
    """Fetch a registered data set or file of weights, or verify it if it is already there.

    Set PCOS_MIRROR=http://... to fetch from another place.
    """
    if show:
        from pcos_utils.data.datasets import listing

        typer.echo(listing())
        return
    from pcos_utils.data import download as downloads

    typer.echo(downloads.fetch(name or "", downloads.place(name or "", to)))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="a published .pth file")],
    model: Annotated[str, typer.Option(help="densenet201, densenet121d or iustnet")],
    out: Annotated[Path, typer.Option(help="the .safetensors file to write")],
    network_class: NetworkClass = None,
) -> None:
    """Convert a published network's pickled file into our weights. Nothing in it is run; the logit's sign is turned."""
    from pcos_utils.published.networks import convert
    from pcos_utils.published.reader import OWN

    need_writable(out.parent)
    for fact, value in convert(file, model, out, [*OWN, *(network_class or [])]).items():
        typer.echo(f"{fact:>14}  {value}")


@app.command()
def published(
    folder: Annotated[Path, typer.Argument(help="a folder of images, in class folders for metrics")],
    weights: Annotated[Path, typer.Option(help="a folder with the published .pth files, or those of them you have")],
    out: Annotated[Path, typer.Option(help="where predictions.csv, metrics.csv and converted weights go")],
    labels: Labels = None,
    network_class: NetworkClass = None,
) -> None:
    """Predict every readable image of a folder with the published networks, and measure how often they are right."""
    from pcos_utils.audit.sources import find_sources
    from pcos_utils.data.survey import survey
    from pcos_utils.evaluation import published as tables
    from pcos_utils.published import networks
    from pcos_utils.published.reader import OWN
    from pcos_utils.reporting.text import interval

    if not folder.is_dir():
        raise StudyError(f"{folder} is no folder; name a folder of images.")
    need_writable(out)
    places = networks.gather(weights, out / "weights", [*OWN, *(network_class or [])])
    scanned = survey(folder, Path(labels) if labels else None)
    predictions = networks.predict(find_sources(scanned, folder), folder, places)
    metrics = tables.of_folder(predictions)
    write_csv(out / "predictions.csv", predictions)
    write_csv(out / "metrics.csv", metrics)
    for row in metrics[metrics.metric.isin(["auc", "recall", "specificity"])].to_dict("records"):
        where = f"{row['model']}, {row['folder_split'] or 'all'} images"
        typer.echo(f"{where:<35} {row['metric']:<12} {interval(row)}  n = {row['sources']} sources")
    typer.echo(f"{tables.CAVEAT}\nwritten to {out}: predictions.csv, metrics.csv")


@app.command()
def refresh(executed: Annotated[Path, typer.Argument(help="folder of the demo's executed notebooks")]) -> None:
    """Update the committed notebooks and the README's answer from the demo's outputs."""
    from pcos_utils.reporting.readme import refresh_all

    refresh_all(executed)


@app.command("check-tables")
def check_tables(
    committed: Annotated[Path, typer.Argument(help="a report's folder, such as reports/phantom-demo")],
    again: Annotated[Path, typer.Argument(help="the folder of the same report, made again elsewhere")],
) -> None:
    """List every cell of two reports' tables that differs by more than its band. Exit code 0: none; 1: some."""
    from pcos_utils.evaluation import compare_reports

    differences, cells = compare_reports.compare(committed, again)
    verdict = compare_reports.verdict(differences, cells)
    typer.echo("\n".join([*compare_reports.sentences(differences), verdict]))
    if len(differences):
        raise typer.Exit(1)


for command in (train, commands.audit, commands.predict, commands.export):
    app.command()(command)
app.command("app")(commands.page)
for command in (validation.freeze, validation.confirm, validation.power):
    app.command()(command)


def main() -> None:
    """Run the command line; a StudyError and what the system refuses are one sentence each, with exit code 2."""
    sys.stdout = sys.stdout or io.StringIO()  # the caller has closed it
    try:
        app()
    except StudyError as error:
        sentence = str(error)
    except OSError as error:
        name = "The output" if error.filename is None else error.filename
        sentence = f"{name} cannot be used ({(error.strerror or str(error)).lower()}); correct that and try again."
    print(f"pcos: {sentence}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
