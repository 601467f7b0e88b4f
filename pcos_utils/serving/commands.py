"""The commands audit, predict, export and app, which cli.py registers. Each command imports its own heavy libraries."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcos_utils.config import JUDGED, Study, StudyError, study
from pcos_utils.files import need_writable
from pcos_utils.options import Labels, of_study
from pcos_utils.progress import bar

Images = Annotated[list[Path], typer.Argument(help="images, or folders of them")]
Model = Annotated[Path | None, typer.Option(help="a served model's folder, instead of the demo's")]
Json = Annotated[bool, typer.Option("--json", help="one object a line")]
Csv = Annotated[bool, typer.Option("--csv", help="a table")]
Out = Annotated[Path | None, typer.Option(help="the served model's folder; runs/served/<study>")]
Source = Annotated[str | None, typer.Option(help="a network, or follicles; with --space also a served model's folder")]
Space = Annotated[Path | None, typer.Option(help="a folder for a Hugging Face Space")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Boxed = Annotated[str | None, typer.Option("--box", help="x0,y0,x1,y1 in pixels: the part of one frame to answer")]
Boxes = Annotated[Path | None, typer.Option(help="a CSV table image,x0,y0,x1,y1: the boxes that are answered")]
Folders = Annotated[list[Path], typer.Argument(help="one folder of images, or several to compare")]
Found = Annotated[Path, typer.Option(help="where sources.csv, audit.json and the page audit.html go")]
Baseline = Annotated[Path | None, typer.Option(help="an earlier sources.csv: only what is new gives 3")]
GroupBy = Annotated[str, typer.Option(help="a regular expression whose groups name the patient or clip in a path")]
SHARDS = "a folder for Parquet files with which a killed job goes on; predict then takes lists, too"
Shards = Annotated[Path | None, typer.Option(help=SHARDS)]
LEVEL = "source: only copies are findings; clip: probable frames of one clip are, too"
Level = Annotated[str, typer.Option(help=LEVEL)]


def audit(
    folders: Folders, out: Found, labels: Labels = None, baseline: Baseline = None, group_by: GroupBy = "",
    level: Level = "source", shards: Shards = None,
) -> None:  # fmt: skip
    """Find the source pictures behind the images of any folder, and report copies, leaks, double labels and shortcuts.

    A class is a folder's name, of any words and number, and a split too: train, training, val, valid, dev, test,
    holdout, fold 1 and the like, above or below the class. A table (--labels: image, label or one column a class,
    patient or clip, split) may say so instead. Masks, plain pictures, thumbnails and other files are counted and not
    compared; of a file of several frames each is an image.

    Exit code 0: nothing found; 2: the input cannot be used; 3: a picture, a patient or a clip is in two splits, or a
    picture in two classes or in two folders.
    """
    from pcos_utils.audit.findings import LEVELS
    from pcos_utils.reporting.audit import run

    for folder in folders:
        if not folder.is_dir():
            raise StudyError(f"{folder} is no folder; name folders of images.")
        for place in (out, shards or out):
            if place.resolve().is_relative_to(folder.resolve()):
                # A later audit of the folder would read what this one writes.
                raise StudyError(f"{place} lies inside {folder}, which is audited; name another place.")
    if labels and len(folders) > 1:
        raise StudyError("--labels goes with one folder; put the classes of several folders into folder names.")
    if baseline and not baseline.is_file():
        raise StudyError(f"{baseline} is no file; name the sources.csv of an earlier audit.")
    if level not in LEVELS:
        raise StudyError(f"--level {level} is unknown; give {' or '.join(LEVELS)}.")
    if labels and not Path(labels).is_file():
        raise StudyError(f"{labels} is no file; name a table of the folder's images.")
    need_writable(out)
    content = run(folders, out, Path(labels) if labels else None, baseline, group_by, level, shards)
    said = [f"{count:>9,}  {fact}" for fact, count in content["summary"].items()]
    said += [f"cannot be read: {row['path']} ({row['reason']})" for row in content["unreadable"]]
    said += ["", *(sentence.replace("**", "") for sentence in (content["verdict"], *content["reading"]))]
    typer.echo("\n".join([*said, f"written to {out}: sources.csv, audit.json, audit.html"]))
    if content["leaks_or_conflicts"]:
        raise typer.Exit(3)


def predict(
    images: Images, model: Model = None, box: Boxed = None, boxes: Boxes = None, as_json: Json = False,
    as_csv: Csv = False, shards: Shards = None,
) -> None:  # fmt: skip
    """Give a calibrated answer for every image, or the reason for none. Research only, not a diagnostic device.

    Of a DICOM file, a volume or a clip every fifth frame is answered, of other files every frame, and a row of its own
    shows the range. Exit code 2: nothing could be read.
    """
    from pcos_utils.data.shards import listed
    from pcos_utils.serving import clips
    from pcos_utils.serving.answer import FIELDS, UNREAD
    from pcos_utils.serving.boxes import UNUSABLE, parse, read
    from pcos_utils.serving.model import Served
    from pcos_utils.serving.page import spreadsheet_cell

    if bool(as_json) + bool(as_csv) + bool(shards) > 1:
        raise StudyError("--json, --csv and --shards exclude each other; give one of them.")
    if shards and (box is not None or boxes):
        raise StudyError("--shards answers whole images; give boxes without it.")
    for path in images:
        if not path.exists():
            raise StudyError(f"{path} does not exist; name images, or folders of them.")
    if shards:
        from pcos_utils.serving import archive

        need_writable(shards)
        total, unread, number = archive.answer(images, model or prepared(study()), shards)
        typer.echo(f"written to {shards}: {total:,} answers in {number:,} shards; {unread:,} could not be read")
        if unread == total:
            raise typer.Exit(2)
        return
    files = [each for path in images for each in (sorted(listed([path])) if path.is_dir() else [path])]
    if not files:
        raise StudyError("There is no image to answer; name files, or a folder that holds some.")
    if box is not None and (boxes or len(files) > 1):
        raise StudyError("--box goes with one image; give the boxes of several as a table with --boxes.")
    wanted = read(boxes, files) if boxes else {files[0]: [parse(box.split(","))]} if box is not None else {}
    served = Served(model or prepared(study()))
    table = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    asked = [(path, each) for path in files for each in wanted.get(path, [None])]
    shown = bar(asked, "answer", hidden=len(asked) == 1 or not sys.stderr.isatty())
    answers = (answer for path, part in shown for answer in clips.of_file(served, path, box=part))  # several of a clip
    read_any = False
    for number, answer in enumerate(answers):
        read_any |= answer.refusal not in UNREAD
        if box is not None and answer.refusal == UNUSABLE:
            raise StudyError(answer.reasons[0])
        if as_csv and not number:
            table.writeheader()
        if as_csv:
            table.writerow({name: spreadsheet_cell(cell) for name, cell in answer.row().items()})
        else:
            typer.echo(json.dumps(answer.record(), ensure_ascii=False) if as_json else answer.sentence())
    if not (as_json or as_csv):
        typer.echo("{caveat} Model {model}, run {run}, {data}.".format(**served.card))
    if not read_any:
        raise typer.Exit(2)


@of_study
def export(out: Out = None, model: Source = None, space: Space = None, *, given: dict) -> None:
    """Export the best or the named model of a finished study as a folder that answers without torch."""
    if model and (Path(model) / "model.json").is_file():
        if not space:
            raise StudyError(f"{model} is a served model already; name --space DIR to pack it.")
        folder = Path(model)
    else:
        chosen = study(**given)
        if model and model not in JUDGED:
            raise StudyError(f"MODEL={model} is unknown; use one of: {', '.join(JUDGED)}.")
        model = model or best(chosen)
        from pcos_utils.serving.export import export

        folder = out or chosen.served_dir
        card = export(model, chosen, folder)
        typer.echo(f"{model}, run {card['run']}: held-out AUC {card['auc']:.2f}")
        typer.echo(f"written to {folder}: {', '.join(sorted(card['files']))}, model.json, card.md, examples")
    if space:
        from pcos_utils.serving.space import pack

        pack(folder, space)
        typer.echo(f"written to {space}: app.py, requirements.txt, README.md, the model and examples")


def best(chosen: Study) -> str:
    """Return the model that ranks held-out sources best. Raises StudyError where the study is not evaluated."""
    from pcos_utils.evaluation.predictions import read_table

    table = read_table(chosen, "metrics").query("protocol == 'grouped' and metric == 'auc'")
    table = table[table.model.isin(JUDGED)]
    if table.empty:
        raise StudyError(f"{chosen.name} has no finished model to serve; run 'make reproduce' first.")
    return table.loc[table.value.idxmax(), "model"]


@of_study
def page(model: Model = None, port: Port = 7860, *, given: dict) -> None:
    """Run the web page, on this machine only, until it is stopped; the best model of a study is exported first."""
    try:
        from pcos_utils.serving import app
    except ModuleNotFoundError as error:
        raise StudyError(f"The page needs {error.name}; install it with: pip install 'pcos-utils[app]'.") from None
    app.run(model or prepared(study(**given)), port=port)


def prepared(chosen: Study) -> Path:
    """Return the folder of a study's served model. Where there is none, the study's best model is exported first."""
    folder = chosen.served_dir
    if not (folder / "model.json").exists():
        if not (chosen.data_dir / "manifest.csv").exists():  # a clone holds the demo's tables, but none of its images
            remedy = "run 'make reproduce' first, or name a model with --model"
            raise StudyError(f"{chosen.name} was not run here; {remedy}.")
        name = best(chosen)
        typer.echo(f"preparing the best model of {chosen.name}, a minute or two ...", err=True)
        from pcos_utils.serving.export import export

        export(name, chosen, folder)
    return folder
