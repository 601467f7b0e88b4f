"""Execute the notebooks with papermill: unknown parameters are errors, outputs appear complete or not at all."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import nbformat

from pcos_utils import files
from pcos_utils.config import MODELS, ROOT, Study, StudyError, TooFewSources

CELL_TIMEOUT = 6 * 3600  # seconds; enough for a full study's longest cell, and a hung cell is reported after it
START_TIMEOUT = 120
LONGEST_FIRST = ("iustnet", "densenet201", "densenet121d")  # of those that are trained at the same time


def reproduce(study: Study, given: dict) -> Path:
    """Execute a study's notebooks in order, each in a process of its own; return the path of the report.

    ``given``: the settings that the user gave, by name. A notebook whose code and inputs have not changed since it was
    executed is skipped. One process at a time works on a study; another one waits. Three networks are trained at a time
    in the demo. Raises StudyError with the sentence of the notebook that failed; all finished work is kept.
    """
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    if not notebooks:
        raise StudyError(f"There are no notebooks in {ROOT}; run this in a clone of the repository.")
    left_out = tuple(name for name in MODELS if name not in study.models)
    notebooks = [path for path in notebooks if not path.stem.endswith(left_out)]
    for folder in (study.data_dir, study.runs_dir, study.report_dir):
        files.need_writable(folder)
    # Executed notebooks of real data show real images, so they go where git does not look.
    out = study.report_dir / ("" if study.synthetic else "local") / "notebooks"
    environment = os.environ | {f"PCOS_SET_{name.upper()}": str(value or "") for name, value in given.items()}
    with files.alone_in(study.runs_dir, lambda: print(f"waiting for another run of {study.name} to end", flush=True)):
        files.remove_left_over(out)
        package = sorted(path for path in files.PACKAGE.rglob("[!.]*") if path.is_file() and path.suffix != ".pyc")
        code = "".join(f"{path.relative_to(files.PACKAGE)} {files.sha256(path)}\n" for path in package)
        common, before = files.digest(files.fingerprint(study) + code), ""
        for _, group in groupby(notebooks, key=lambda path: path.stem.endswith(MODELS) or path):
            todo, digests = [], []
            for notebook in group:
                digests.append(files.digest(common + before + files.sha256(notebook)))
                if _executed_with(out / notebook.name) != digests[-1]:
                    name = f"{notebooks.index(notebook) + 1}/{len(notebooks)} {notebook.stem[3:].replace('_', ' ')}"
                    words = ["run", str(notebook), str(out / notebook.name), "--inputs", digests[-1]]
                    todo.append((name, [sys.executable, "-m", "pcos_utils.cli", *words]))
            todo.sort(key=lambda job: [name in job[0] for name in LONGEST_FIRST], reverse=True)
            _execute(todo, environment, 3 if study.preset == "demo" else 1)
            before = files.digest("".join(digests))
    return study.report_dir / "report.html"


def _executed_with(target: Path) -> str:
    """Return the digest of what an executed notebook was made from, or "" where it or its page is missing."""
    if not target.with_suffix(".html").exists():
        return ""
    try:
        return nbformat.read(target, as_version=4).metadata.get("pcos", {}).get("inputs", "")
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return ""


def _execute(jobs: list[tuple[str, list[str]]], environment: dict, at_once: int) -> None:
    """Run commands, ``at_once`` at a time, and tell when each begins and ends. The first that fails ends the others."""
    running, failures = [], []

    def execute(job: tuple[str, list[str]]) -> None:
        """Run one command to its end, unless another one has failed."""
        name, command = job
        if failures:
            return
        started = time.monotonic()
        print(f"{name}\n", end="", flush=True)  # at once with its line's end, because two threads print
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment)
        running.append(process)
        said = process.communicate()[1]
        if process.returncode:
            killed = f"pcos: the process of {name} was killed; give the same command again, and it goes on."
            failures.append(killed if process.returncode < 0 else said)
            for other in running:
                other.terminate()  # what a script starts in the background ignores an interrupt
        else:
            print(f"{name}: {time.monotonic() - started:.0f} s\n", end="", flush=True)

    with ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(execute, jobs))
        except KeyboardInterrupt:
            failures.append("")
            time.sleep(2)  # a terminal has told the processes, too; asked twice, they could not end their kernels
            for process in running:
                process.terminate()
            raise
    if failures:
        sentences = [line.removeprefix("pcos: ") for line in failures[0].splitlines() if line.startswith("pcos: ")]
        raise StudyError(sentences[0] if sentences else f"A notebook could not be executed:\n{failures[0]}")


def run_notebook(notebook: Path, target: Path, parameters: dict, inputs: str = "") -> None:
    """Execute a notebook into ``target``, and write it as HTML beside it. Both appear complete or not at all.

    ``inputs``: a digest of what the notebook is made from, which is written into the executed one. A notebook that ends
    with TooFewSources is a result: the reason takes the place of the cells that were not run. Raises StudyError for an
    unknown parameter, and for a failed cell; the failed notebook is kept as ``*.failed.ipynb``.
    """
    _prepare_environment()
    import papermill  # imported late: reproduce runs each notebook in another process
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        known = papermill.inspect_notebook(str(notebook))
    except ValueError:  # no JSON, as after a merge with conflicts, or no text
        raise StudyError(f"{notebook} is no notebook that can be read; take it again from the repository.") from None
    parameters = {name: value for name, value in parameters.items() if value is not None}
    if unknown := sorted(set(parameters) - set(known)):
        knows = f"it knows: {', '.join(sorted(known))}"
        raise StudyError(f"{notebook.name} has no parameter {', '.join(unknown)}; {knows}.")
    failed = target.with_suffix(".failed.ipynb")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Neither start-up files nor settings of the user's own IPython are read.
    with files.appearing(target) as temporary, tempfile.TemporaryDirectory() as settings:
        os.environ["IPYTHONDIR"] = settings
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
        from pcos_utils.reporting.html import as_html  # imported late: it takes a second

        node = nbformat.read(temporary, as_version=4)
        files.write_text(target.with_suffix(".html"), as_html(node, notebook.stem))
        node.metadata["pcos"] = {"inputs": inputs}
        nbformat.write(node, temporary)


def _prepare_environment() -> None:
    """Set what the kernel inherits: plain lines for progress bars, this Python, its figures, the code of this checkout.

    Otherwise a kernel named python3 of another installation could be started, and the package of another checkout be
    imported: of the one from which this folder was copied together with its environment.
    """
    os.environ |= {"PCOS_PLAIN": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    for name in ("JUPYTER_PATH", "MPLBACKEND"):  # with another backend a notebook shows no figure
        os.environ.pop(name, None)
    places = str(files.PACKAGE.parent), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))


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
