"""The commands predict, export and app; cli.py lists them. Heavy libraries are imported by the one that needs them."""

import csv as tables
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcos_utils.config import StudyError, home, study

SERVED = "served"
Model = Annotated[
    str | None, typer.Option(help="a served model's folder, or runs/STUDY/NETWORK; else the demo's served model")
]


def default() -> Path:
    """Where the demo's served model lies."""
    return home() / "runs" / SERVED / study().name


def predict(
    images: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="one object a line")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="a table")] = False,
) -> None:
    """A calibrated answer for every image, or why it cannot be said. Research only, not a diagnostic device."""
    from tqdm import tqdm

    from pcos_utils.serving.predict import FIELDS, Served, files_of

    if as_json and as_csv:
        raise StudyError("--json and --csv exclude each other; give one of them.")
    files = files_of(images)
    served = Served(_served(model))
    table = tables.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    if as_csv:
        table.writeheader()
    for path in tqdm(files, desc="answer", disable=len(files) == 1 or not sys.stderr.isatty()):
        # A name of bytes that are no UTF-8 is shown, not a reason to stop.
        answer = served.answer(path, str(path).encode("utf-8", "backslashreplace").decode())
        if as_json:
            typer.echo(json.dumps(answer.record(), ensure_ascii=False))
        elif as_csv:
            table.writerow(answer.row())
        else:
            typer.echo(sentence(answer))
    if not (as_json or as_csv):
        card = served.card
        typer.echo(f"{card['caveat']} Model {card['model']}, run {card['run']}, {card['data']}.")


def sentence(answer) -> str:
    """An answer as one line for a person."""
    found = f"{answer.image}: {answer.decision}"
    if answer.probability is not None:
        low, high = answer.interval
        found += (
            f", probability {answer.probability:.2f} [{low:.2f}, {high:.2f}], {answer.follicles} follicles outlined"
        )
    return f"{found}. {' '.join(answer.reasons)}".strip()


def export(
    out: Annotated[Path | None, typer.Option(help="the served model's folder; runs/served/<study>")] = None,
    model: Annotated[str | None, typer.Option(help="a network, follicles, runs/STUDY/NETWORK, or the best")] = None,
    space: Annotated[Path | None, typer.Option(help="a folder for a Hugging Face Space; --model may be served")] = None,
    preset: Annotated[str, typer.Option(help="demo or full")] = "demo",
    data: Annotated[str, typer.Option(help="a registered data set, or a folder of class folders")] = "phantom",
    labels: Annotated[str | None, typer.Option(help="a table of image and label")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    weights: Annotated[str, typer.Option(help="imagenet, none or a .safetensors file")] = "imagenet",
    allow_cpu: Annotated[bool, typer.Option("--allow-cpu/--no-allow-cpu")] = False,
) -> None:
    """One model of a finished study as a folder that answers without torch: ONNX, calibration, card."""
    if model and (Path(model) / "model.json").is_file():
        if not space:
            raise StudyError(f"{model} is a served model already; name --space DIR to pack it.")
        folder = Path(model)
    else:
        given = dict(preset=preset, data=data, labels=labels, seed=seed, weights=weights, allow_cpu=allow_cpu)
        folder = _exported(model, out, given)
    if space:
        from pcos_utils.serving.space import pack

        pack(folder, space)
        typer.echo(f"written to {space}: app.py, requirements.txt, README.md, the model and examples")


def _exported(model: str | None, out: Path | None, given: dict, err: bool = False) -> Path:
    from pcos_utils.config import JUDGED
    from pcos_utils.serving.export import export
    from pcos_utils.serving.fit import best

    if model and "/" in model:
        # As in runs/phantom-demo/iustnet.
        place = Path(model)
        data, _, preset = place.parent.name.rpartition("-")
        if not data.startswith("local-"):
            given = given | {"data": data, "preset": preset}
        model = place.name
    made = study(**given)
    if model and model not in JUDGED:
        raise StudyError(f"MODEL={model} is unknown; use one of: {', '.join(JUDGED)}.")
    out = out or home() / "runs" / SERVED / made.name
    told = export(model or best(made), made, out)
    typer.echo(f"{told['model']}, run {told['run']}: held-out AUC {told['auc']:.2f}", err=err)
    typer.echo(f"written to {out}: {', '.join(sorted(told['files']))}, model.json, card.md, examples", err=err)
    return out


def page(
    model: Model = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
) -> None:
    """The web page, on this machine alone, until it is stopped."""
    try:
        from pcos_utils.serving import app
    except ModuleNotFoundError as error:
        raise StudyError(f"The page needs {error.name}; install it with: pip install 'pcos-utils[app]'.") from None
    app.run(_served(model), port=port)


def _served(model: str | None) -> Path:
    """The folder that answers. A finished run is exported when it is first named."""
    if not model:
        return _made()
    run = Path(model)
    if (run / "model.json").exists() or not any(run.rglob("run.json")):
        return run
    of_study = run.resolve().parent.name
    folder = home() / "runs" / SERVED / f"{of_study}-{run.name}"
    if not (folder / "model.json").exists():
        if of_study.startswith("local-"):
            raise StudyError(f"{model} is of your own images: 'pcos export --model {run.name} --data FOLDER' first.")
        _exported(f"{of_study}/{run.name}", folder, {}, err=True)
    return folder


def _made() -> Path:
    folder = default()
    if not (folder / "model.json").exists():
        raise StudyError(
            f"There is no served model at {folder}; run 'make reproduce' and 'pcos export', or name one with --model."
        )
    return folder
