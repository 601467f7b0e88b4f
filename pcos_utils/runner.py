"""One notebook, executed by papermill as the Makefile needs it: strict about parameters, clean about files."""

import base64
import logging
import os
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from pcos_utils.config import ROOT, StudyError, TooFewSources
from pcos_utils.files import write_text

ANSWERS = {"answer": "phantom-demo", "real": "local-dataset-b-full"}  # blocks of the README, and whose tables they say
CELL_TIMEOUT = 6 * 3600  # seconds; a hung cell is then named, while a full study's longest cell still ends
START_TIMEOUT = 120
# nbconvert names scripts on other hosts unless these are blank; a report must open without a network.
OFFLINE = (
    "mathjax_url", "require_js_url", "mermaid_js_url", "mermaid_layout_elk_js_url", "jquery_url",
    "jupyter_widgets_base_url", "widget_renderer_url",
)  # fmt: skip


def run_notebook(notebook: Path, target: Path, parameters: dict) -> None:
    """The executed notebook at ``target`` and, beside it, as HTML. They appear whole.

    A notebook that ends itself with TooFewSources is a result: the reason takes the place of what was not run. Raises
    StudyError for an unknown parameter, and for a failed cell, whose notebook stays as ``*.failed.ipynb``.
    """
    known = papermill.inspect_notebook(str(notebook))
    given = {name: value for name, value in parameters.items() if value is not None}
    unknown = sorted(set(given) - set(known))
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
            str(notebook), str(temporary), given, kernel_name="python3", cwd=str(ROOT / "notebooks"),
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
            raise _failure(notebook, failed, error) from None
        _end_early(temporary, error.evalue)
    failed.unlink(missing_ok=True)
    write_text(target.with_suffix(".html"), as_html(nbformat.read(temporary, as_version=4)))
    os.replace(temporary, target)


def _failure(notebook: Path, failed: Path, error: PapermillExecutionError) -> StudyError:
    if error.ename == StudyError.__name__:
        return StudyError(error.evalue)
    first = error.evalue.splitlines()[0] if error.evalue else ""
    return StudyError(f"{notebook.name} stopped with {error.ename}: {first}; see the red banner in {failed}.")


def _end_early(executed: Path, reason: str) -> None:
    """Nothing: in the notebook at ``executed`` the reason stands where the study ended, and nothing follows it."""
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


def as_html(notebook: nbformat.NotebookNode) -> str:
    """The notebook as one HTML page that asks nothing of the network."""
    exporter = HTMLExporter(embed_images=True)
    for trait in OFFLINE:
        setattr(exporter, trait, "")
    return exporter.from_notebook_node(notebook)[0]


def refresh_all(executed: Path) -> None:
    """The committed notebooks, and the README's answers, from the folder of the demo's executed notebooks."""
    for path in sorted(executed.glob("[0-9]*.ipynb")):
        if not path.stem.endswith(".failed"):
            refresh(path, ROOT / "notebooks" / path.name)
    refresh_readme()


def with_block(text: str, block: str, name: str) -> str:
    """The README with another text between the two marks of a name; what the first mark says of itself stays."""
    before, rest = text.split(f"<!-- {name}:")
    mark, after = rest.split("-->", 1)
    return f"{before}<!-- {name}:{mark}-->\n{block}\n<!-- /{name} -->{after.split(f'<!-- /{name} -->')[1]}"


def refresh_readme() -> None:
    """Nothing; each answer in the README is that of the committed tables which ANSWERS names."""
    from pcos_utils.evaluation.unfitted import block

    text = (ROOT / "README.md").read_text()
    for place, name in ANSWERS.items():
        text = with_block(text, block(ROOT / "reports" / name), place)
    write_text(ROOT / "README.md", text)


def lean(picture: str) -> str:
    """A base64 PNG of 256 colours at most, a third of the size: what is committed must stay small."""
    from pcos_utils.evaluation.paper import pictures

    return base64.b64encode(pictures.lean(base64.b64decode(picture))).decode()


def refresh(executed: Path, notebook: Path) -> None:
    """The committed notebook with the outputs of an executed one, and nothing of the machine that ran it."""
    node = nbformat.read(executed, as_version=4)
    node.cells = [cell for cell in node.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    node.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    count = 0
    for number, cell in enumerate(node.cells):
        cell.id = f"cell-{number:02d}"
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
