"""Papermill runs a notebook strictly: unknown parameters are refused, a failed run leaves its banner."""

import nbformat
import pytest

from pcos_utils.config import StudyError
from pcos_utils.notebooks import run_notebook
from pcos_utils.reporting.readme import refresh

KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def notebook(path, *cells, settings="width = 1  # how wide"):
    """A small notebook with a parameters cell and these cells."""
    node = nbformat.v4.new_notebook(metadata=KERNEL)
    node.cells = [nbformat.v4.new_code_cell(settings, metadata={"tags": ["parameters"]})]
    node.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(node, path)
    return path


def test_parameters_reach_the_notebook_and_html_comes_with_it(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "print(width * 21)")
    run_notebook(source, tmp_path / "out" / "n.ipynb", {"width": 2})
    cells = nbformat.read(tmp_path / "out" / "n.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "42\n"
    page = (tmp_path / "out" / "n.html").read_text()
    assert "42" in page and 'src="http' not in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["n.html", "n.ipynb"]


def test_a_file_that_is_no_notebook_and_a_folder_in_the_way_are_sentences_and_leave_nothing(tmp_path):
    (tmp_path / "n.ipynb").write_text('<<<<<<< HEAD\n{"cells": []}')
    with pytest.raises(StudyError, match="n.ipynb is no notebook that can be read"):
        run_notebook(tmp_path / "n.ipynb", tmp_path / "out" / "n.ipynb", {})
    (tmp_path / "out" / "n.ipynb").mkdir(parents=True)
    with pytest.raises(StudyError, match="a folder where the file should be; move it away"):
        run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out" / "n.ipynb", {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["n.html", "n.ipynb"]


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    source = notebook(tmp_path / "n.ipynb", f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(StudyError, match="no parameter widht; it knows: width"):
        run_notebook(source, tmp_path / "out.ipynb", {"widht": 2})
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out.ipynb").exists()


def test_a_failed_notebook_is_kept_under_its_own_name(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "1 / 0")
    with pytest.raises(StudyError, match="ZeroDivisionError: division by zero; see the red banner"):
        run_notebook(source, tmp_path / "out.ipynb", {})
    assert not (tmp_path / "out.ipynb").exists()
    assert "An Exception was encountered" in (tmp_path / "out.failed.ipynb").read_text()


def test_a_study_error_is_its_own_sentence(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "from pcos_utils.config import StudyError\nraise StudyError('No data.')")
    with pytest.raises(StudyError, match="^No data.$"):
        run_notebook(source, tmp_path / "out.ipynb", {})


def test_a_killed_kernel_is_one_sentence(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(StudyError, match="n.ipynb was killed, perhaps because memory ran out.*goes on"):
        run_notebook(source, tmp_path / "out.ipynb", {})
    assert not (tmp_path / "out.ipynb").exists()


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


def test_refresh_keeps_outputs_and_drops_the_machine(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "width")
    run_notebook(source, tmp_path / "done.ipynb", {"width": 7})
    refresh(tmp_path / "done.ipynb", source)
    node = nbformat.read(source, as_version=4)
    assert len(node.cells) == 2 and node.cells[1].outputs[0].data["text/plain"] == "7"
    assert node.metadata.kernelspec.name == "python3" and "papermill" not in source.read_text()
    assert [cell.execution_count for cell in node.cells] == [1, 2]
