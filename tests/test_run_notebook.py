"""Papermill runs a notebook strictly: unknown parameters are refused, a failed run leaves its banner."""

import nbformat
import pytest

from pcos_utils.notebooks import run_notebook
from pcos_utils.reporting.readme import refresh
from tests.conftest import refused

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
          "language_info": {"name": "python"}}  # fmt: skip


def notebook(path, *cells, settings="width = 1  # how wide"):
    """A small notebook with a parameters cell and these cells."""
    node = nbformat.v4.new_notebook(metadata=KERNEL)
    node.cells = [nbformat.v4.new_code_cell(settings, metadata={"tags": ["parameters"]})]
    node.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(node, path)
    return path


def test_parameters_reach_the_notebook_html_comes_with_it_and_refresh_keeps_outputs_and_drops_the_machine(tmp_path):
    source, made = notebook(tmp_path / "n.ipynb", "print(width * 21)"), tmp_path / "out" / "n.ipynb"
    run_notebook(source, made, {"width": 2})
    assert nbformat.read(made, as_version=4).cells[-1].outputs[0].text == "42\n"
    page = made.with_suffix(".html").read_text()
    assert "42" in page and 'src="http' not in page
    assert sorted(path.name for path in made.parent.iterdir()) == ["n.html", "n.ipynb"]
    refresh(made, source)
    node = nbformat.read(source, as_version=4)
    assert len(node.cells) == 2 and node.cells[1].outputs[0].text == "42\n"
    assert node.metadata.kernelspec.name == "python3" and "papermill" not in source.read_text()
    assert [cell.execution_count for cell in node.cells] == [1, 2]


def test_a_file_that_is_no_notebook_and_a_folder_in_the_way_are_sentences_and_leave_nothing(tmp_path):
    source, target = tmp_path / "n.ipynb", tmp_path / "out" / "n.ipynb"
    source.write_text('<<<<<<< HEAD\n{"cells": []}')
    refused("n.ipynb is no notebook that can be read", run_notebook, source, target, {})
    target.mkdir(parents=True)
    refused("a folder where the file should be; move it away", run_notebook, notebook(source, "1"), target, {})
    assert sorted(path.name for path in target.parent.iterdir()) == ["n.html", "n.ipynb"]


@pytest.mark.parametrize(("code", "given", "said"), [
    ("open('HERE/ran', 'w')", {"widht": 2}, "no parameter widht; it knows: width"),
    ("1 / 0", {}, "ZeroDivisionError: division by zero; see the red banner"),
    ("from pcos_utils.config import StudyError\nraise StudyError('No data.')", {}, "^No data.$"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", {},
     "n.ipynb was killed, perhaps because memory ran out.*goes on"),
], ids=["unknown parameter", "failure", "study error", "killed kernel"])  # fmt: skip
def test_what_does_not_come_to_its_end_is_one_sentence_and_a_failed_notebook_is_kept(tmp_path, code, given, said):
    source = notebook(tmp_path / "n.ipynb", code.replace("HERE", str(tmp_path)))
    refused(said, run_notebook, source, tmp_path / "out.ipynb", given)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out.ipynb").exists()
    assert code != "1 / 0" or "An Exception was encountered" in (tmp_path / "out.failed.ipynb").read_text()


def test_a_study_that_ends_with_its_description_is_a_result(tmp_path):
    ends = "from pcos_utils.config import TooFewSources\nraise TooFewSources('Eight pictures are too few.')"
    source = notebook(tmp_path / "n.ipynb", "print('described')", ends, "print('trained')")
    run_notebook(source, tmp_path / "out.ipynb", {})
    text = (tmp_path / "out.ipynb").read_text()
    assert "described" in text and "trained" not in text and "An Exception was" not in text
    assert "**The study ends here, as it should.** Eight pictures are too few." in text
    assert '"output_type": "error"' not in text and '"exception": true' not in text
    assert "Eight pictures are too few." in (tmp_path / "out.html").read_text()
    assert not (tmp_path / "out.failed.ipynb").exists()
