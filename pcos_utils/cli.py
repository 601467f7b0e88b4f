"""The command ``pcos``. Heavy libraries are imported by the subcommand that needs them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcos_utils.config import StudyError, home, study
from pcos_utils.evaluation import command as evidence
from pcos_utils.serving import command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Preset = Annotated[str, typer.Option(help="demo (CPU, minutes) or full (GPU)")]
Data = Annotated[str, typer.Option(help="a registered data set, or a folder of class folders")]
Labels = Annotated[str | None, typer.Option(help="a table (.csv, .xlsx) of image and label, for a folder without them")]
Models = Annotated[str | None, typer.Option(help="some of densenet201,densenet121d,iustnet,follicles")]
Seed = Annotated[int, typer.Option(min=0)]
Epochs = Annotated[int | None, typer.Option(help="instead of the recipe's")]
Weights = Annotated[str, typer.Option(help="imagenet, none or a .safetensors file")]
NetworkClass = Annotated[list[str] | None, typer.Option(help="a class that the network's authors wrote themselves")]
AllowCpu = Annotated[bool, typer.Option("--allow-cpu/--no-allow-cpu", help="run the full preset without a GPU")]


@app.command()
def check(
    preset: Preset = "demo",
    data: Data = "phantom",
    labels: Labels = None,
    models: Models = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    weights: Weights = "imagenet",
    allow_cpu: AllowCpu = False,
) -> None:
    """Whether a study can start: its settings, folder, table of labels, device and the place for its results."""
    given = dict(labels=labels, models=models, seed=seed, epochs=epochs, weights=weights, allow_cpu=allow_cpu)
    made = study(preset, data, **given)
    if made.labels_path is not None:
        from pcos_utils.data.manifest import listing

        listing(made.folder, made.labels_path)
    for folder in (made.data_dir, made.runs_dir, made.report_dir):
        _must_be_writable(folder)
    if made.preset == "full":
        from pcos_utils.models.devices import choose_device

        choose_device(made)
    typer.echo(f"study {made.name}: {made.folds} folds x {made.repeats}, {made.image_side} pixels, seed {made.seed}")


@app.command()
def pretrain(
    out: Annotated[Path | None, typer.Option(help="for weights, history and record; runs/follicles/s<seed>")] = None,
    phantoms: Annotated[int, typer.Option(min=1, help="of each class")] = 1500,
    seed: Seed = 0,
    keep: Annotated[bool, typer.Option("--keep", help="put the float16 weights where the code reads them")] = False,
) -> None:
    """The network that outlines follicles, trained on phantoms alone: about ten minutes on two cores."""
    from tqdm.auto import tqdm

    from pcos_utils.models.devices import fastest
    from pcos_utils.models.pretraining import pretrain
    from pcos_utils.models.recipes import FOLLICLES

    out = out or home() / "runs" / "follicles" / f"s{seed}"
    with tqdm(total=FOLLICLES.epochs, desc="follicle_unet") as bar:
        told = pretrain(out, phantoms, seed, fastest(), on_epoch=lambda row: bar.update())
    typer.echo("\n".join(f"{name} {told[name]}" for name in told if name.startswith(("dice_", "count_"))))
    if keep:
        from pcos_utils.models import counts

        typer.echo(f"kept: {counts.keep(out)}")


@app.command()
def run(
    notebook: Annotated[Path, typer.Argument(help="a notebook under notebooks/")],
    target: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    preset: Preset = "demo",
    data: Data = "phantom",
    labels: Labels = None,
    models: Models = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    weights: Weights = "imagenet",
    allow_cpu: AllowCpu = False,
) -> None:
    """One notebook of a study, executed by papermill."""
    from pcos_utils.runner import run_notebook

    given = dict(preset=preset, data=data, labels=labels, models=models, seed=seed, epochs=epochs, weights=weights)
    run_notebook(notebook, target, given | {"allow_cpu": allow_cpu})


@app.command()
def download(
    name: Annotated[str | None, typer.Argument(help="a registered entry")] = None,
    to: Annotated[Path | None, typer.Option(help="folder to put it under, instead of PCOS_DATA_DIR or data/")] = None,
    show: Annotated[bool, typer.Option("--list", help="every entry: address, counts, licence, known problems")] = False,
) -> None:
    """One registered data set or file of weights, fetched or, where it lies already, verified; PCOS_MIRROR=http://...
    takes it from another place."""
    if show:
        from pcos_utils.data.datasets import listing

        typer.echo(listing())
        return
    from pcos_utils.data import download as downloads

    typer.echo(downloads.fetch(name or "", downloads.place(name or "", to)))


@app.command()
def audit(
    folders: Annotated[list[Path], typer.Argument(help="one folder of images, or several to compare")],
    out: Annotated[Path, typer.Option(help="where sources.csv, audit.json and the contact sheet go")],
    labels: Labels = None,
) -> None:
    """The source pictures behind the images of any folder: copies, leaks, two labels, shortcuts.

    Exit code 0: nothing found; 3: a picture stands in train and test, in two folders, or carries both labels; 2: the
    input cannot be used. Class and split are read from folder names where these carry them.
    """
    import pandas as pd

    from pcos_utils.data import manifest
    from pcos_utils.data.audit import find_sources
    from pcos_utils.evaluation import audit_report

    if labels and len(folders) > 1:
        raise StudyError("--labels goes with one folder; put the classes of several folders into folder names.")
    for folder in folders:
        if not folder.is_dir():
            raise StudyError(f"{folder} is no folder; name folders of images.")
        if out.resolve().is_relative_to(folder.resolve()):
            # The contact sheet would be read as an image of the set, one that shows every picture of it.
            raise StudyError(f"{out} lies inside {folder}, which is audited; name another place with --out.")
    _must_be_writable(out)
    names = audit_report.short_names(folders)
    table = Path(labels) if labels else None
    tables = [manifest.scan(folder, table, every=True).assign(dataset=name) for name, folder in names.items()]
    joined = pd.concat(tables, ignore_index=True)
    if len(folders) == 1:
        joined = joined.drop(columns="dataset")
    sources = find_sources(joined, names if len(folders) > 1 else folders[0])
    content = audit_report.write(sources, names, out)
    for fact, count in content["summary"].items():
        typer.echo(f"{count:>9,}  {fact}")
    typer.echo("\n" + "\n".join([content["verdict"], *content["reading"]]).replace("**", ""))
    typer.echo(f"written to {out}: sources.csv, audit.json, local/contact_sheet.png")
    if content["leaks_or_conflicts"]:
        raise typer.Exit(3)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="a published .pth file")],
    model: Annotated[str, typer.Option(help="densenet201, densenet121d or iustnet")],
    out: Annotated[Path, typer.Option(help="the .safetensors file to write")],
    network_class: NetworkClass = None,
) -> None:
    """A published network's pickled file as weights of ours; nothing in it is run, and the logit's sign is turned."""
    from pcos_utils.models.admitted import OWN
    from pcos_utils.models.published import convert

    _must_be_writable(out.parent)
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
    """The published networks' probability for every readable image of a folder, and how far they are right."""
    from pcos_utils.data import manifest
    from pcos_utils.data.audit import find_sources
    from pcos_utils.evaluation import replay as tables
    from pcos_utils.evaluation.readings import interval
    from pcos_utils.models import replay
    from pcos_utils.models.admitted import OWN

    if not folder.is_dir():
        raise StudyError(f"{folder} is no folder; name a folder of images.")
    _must_be_writable(out)
    places = replay.gather(weights, out / "weights", [*OWN, *(network_class or [])])
    scanned = manifest.scan(folder, Path(labels) if labels else None, every=True)
    made = tables.write(replay.predict(find_sources(scanned, folder), folder, places), out)
    for row in made[made.metric.isin(["auc", "recall", "specificity"])].itertuples():
        where = f"{row.model}, {row.folder_split or 'all'} images, by {row.level}"
        typer.echo(f"{where:<45} {row.metric:<12} {interval(row)}  n = {row.sources} sources")
    typer.echo(f"{tables.CAVEAT}\nwritten to {out}: predictions.csv, metrics.csv")


@app.command()
def refresh(executed: Annotated[Path, typer.Argument(help="folder of the demo's executed notebooks")]) -> None:
    """The committed notebooks and the README's answer, from the demo's outputs."""
    from pcos_utils.runner import refresh_all

    refresh_all(executed)


for _name, _elsewhere in {
    "check-tables": evidence.check_tables,
    "pdf": evidence.pdf,
    "predict": command.predict,
    "export": command.export,
    "app": command.page,
}.items():
    app.command(_name)(_elsewhere)


def _must_be_writable(folder: Path) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise StudyError(f"{place} is a file, and results go to a folder; name another place.")
    if not os.access(place, os.W_OK):
        raise StudyError(
            f"{place} is not writable; give yourself permission there, or set PCOS_HOME to another folder."
        )


def main() -> None:
    """The command line, where a StudyError is one sentence and exit code 2."""
    try:
        app()
    except StudyError as error:
        print(f"pcos: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
