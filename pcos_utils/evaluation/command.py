"""The commands check-tables and pdf; cli.py lists them. Heavy libraries are imported by the one that needs them."""

from pathlib import Path
from typing import Annotated

import typer


def check_tables(
    committed: Annotated[Path, typer.Argument(help="a report's folder, such as reports/phantom-demo")],
    made: Annotated[Path, typer.Argument(help="the folder of the same report, made again elsewhere")],
) -> None:
    """Every cell of two reports' tables that differs by more than its band. Exit code 0: none; 1: some are named."""
    from pcos_utils.evaluation import check

    found, cells = check.compare(committed, made)
    for sentence in check.sentences(found):
        typer.echo(sentence)
    typer.echo(check.verdict(found, cells))
    if len(found):
        raise typer.Exit(1)


def pdf(report: Annotated[Path, typer.Argument(help="a report's folder, such as reports/phantom-demo")]) -> None:
    """The report as report.pdf beside report.html, by Chromium; without one, a sentence that says so."""
    from pcos_utils.evaluation.paper.pdf import write

    typer.echo(write(report))
