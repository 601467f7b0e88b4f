"""Execute a notebook with papermill: unknown parameters are errors, and outputs appear complete or not at all."""

import logging
import os
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from pcos_utils.config import ROOT, StudyError, TooFewSources
from pcos_utils.files import write_text

CELL_TIMEOUT = 6 * 3600  # seconds; enough for a full study's longest cell, and a hung cell is reported after it
START_TIMEOUT = 120


def run_notebook(notebook: Path, target: Path, parameters: dict) -> None:
    """Execute a notebook into ``target``, and write it as HTML beside it. Both appear complete or not at all.

    A notebook that ends with TooFewSources is a result: the reason takes the place of the cells that were not run.
    Raises StudyError for an unknown parameter, and for a failed cell; the failed notebook is kept as
    ``*.failed.ipynb``.
    """
    known = papermill.inspect_notebook(str(notebook))
    parameters = {name: value for name, value in parameters.items() if value is not None}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise StudyError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it knows: {', '.join(sorted(known))}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    failed = target.with_suffix(".failed.ipynb")
    temporary = target.with_name(f".{target.name}")
    os.environ["PCOS_PLAIN"] = "1"  # inherited by the kernel: plain lines instead of progress bars
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(notebook), str(temporary), parameters, kernel_name="python3", cwd=str(ROOT / "notebooks"),
            progress_bar=False, extra_arguments=["--log-level=ERROR"],
            execution_timeout=CELL_TIMEOUT, start_timeout=START_TIMEOUT,
        )  # fmt: skip
    except DeadKernelError:
        os.replace(temporary, failed)
        raise StudyError(
            f"The process of {notebook.name} was killed, perhaps because memory ran out; end what else fills the "
            "memory and give the same command again: what is finished is read, what is unfinished goes on."
        ) from None
    except PapermillExecutionError as error:
        if error.ename != TooFewSources.__name__:
            os.replace(temporary, failed)
            reason = f"{error.ename}: {error.evalue.splitlines()[0] if error.evalue else ''}"
            text = f"{notebook.name} stopped with {reason}; see the red banner in {failed}."
            raise StudyError(error.evalue if error.ename == StudyError.__name__ else text) from None
        _end_early(temporary, error.evalue)
    failed.unlink(missing_ok=True)
    from pcos_utils.reporting.page import as_html  # imported late: it takes a second

    write_text(target.with_suffix(".html"), as_html(nbformat.read(temporary, as_version=4), notebook.stem))
    os.replace(temporary, target)


def _end_early(executed: Path, reason: str) -> None:
    """Put the reason where the study ended, and remove all later cells, in the notebook at ``executed``."""
    node = nbformat.read(executed, as_version=4)
    cells = [cell for cell in node.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    for number, cell in enumerate(cells):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            text = {"text/markdown": f"**The study ends here, as it should.** {reason}"}
            cell.outputs = [nbformat.v4.new_output("display_data", text)]
            node.cells = cells[: number + 1]
    for part in (node, *node.cells):
        part.metadata.get("papermill", {}).pop("exception", None)
    nbformat.write(node, executed)
