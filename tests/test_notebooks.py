"""The notebooks: short cells, half prose, parameters as the Makefile's, all outputs or none; and every cell runs."""

import ast
import re
from importlib import import_module
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import papermill
import pytest
from IPython.display import display

from pcos_utils import config
from pcos_utils.config import ROOT
from pcos_utils.models.recipes import RECIPES
from pcos_utils.reporting import page

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {"preset", "data", "labels", "models", "seed", "epochs", "weights", "allow_cpu"}  # what `pcos run` passes


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def tiny(home, monkeypatch) -> Path:
    small = dict(image_side=32, phantoms_per_class=8, folds=2)
    monkeypatch.setitem(config.PRESETS, "demo", config.PRESETS["demo"] | small)
    for name in ("PCOS_OFFLINE", "PCOS_PLAIN"):
        monkeypatch.setenv(name, "1")
    matplotlib.use("agg")
    return home


def run_all(paths: list[Path], **parameters) -> dict:
    """Run every code cell of the notebooks with one epoch and the parameters; return the last one's variables."""
    for path in paths:
        variables = {"display": display}  # which Jupyter provides
        for number, cell in enumerate(code(nbformat.read(path, as_version=4))):
            exec(compile(cell.source, f"{path.name}, code cell {number}", "exec"), variables)
            if "parameters" in cell.metadata.get("tags", []):
                variables |= {"epochs": 1} | parameters
        plt.close("all")
    return variables


@pytest.mark.slow
def test_the_count_alone_is_a_study_and_another_seed_after_the_first_one_of_its_own(tiny):
    tables = run_all([PATHS[0], PATHS[1], PATHS[5]], models="follicles")["made"]
    assert set(tables["answers"].model) == {"follicles"} and tables["published_rerun"].empty
    paths = [path for path in PATHS if path.name[:2] not in ("03", "04")]
    metrics = [run_all(paths, models="iustnet", seed=seed)["made"]["metrics"] for seed in (0, 1, 0)]
    assert not metrics[1].value.equals(metrics[0].value) and metrics[2].value.equals(metrics[0].value)


def test_every_cell_runs_in_a_tiny_study_and_its_asserts_hold(tiny):
    variables = run_all(PATHS)
    report = page.build(variables["cfg"], ROOT / "notebooks").read_text(encoding="utf-8")
    assert set(re.findall(r'href="#([^"]+)"', report)) <= set(re.findall(r'id="([^"]+)"', report))


def test_there_are_six_of_less_than_three_megabytes_together():
    assert [path.name[:2] for path in PATHS] == ["01", "02", "03", "04", "05", "06"]
    assert all((ROOT / "notebooks").glob(f"0?_*{model}.ipynb") for model, _ in RECIPES)
    assert sum(path.stat().st_size for path in PATHS) < 3_000_000


def test_cells_are_few_and_short_half_is_prose_and_none_holds_classes_long_functions_magics_or_shells(notebook):
    lengths = sorted(len(cell.source.splitlines()) for cell in code(notebook))
    assert len(notebook.cells) <= 25 and lengths[-1] <= 20 and lengths[len(lengths) // 2] <= 7
    words = sum(len(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words >= 0.5 * sum(len(cell.source) for cell in notebook.cells)
    for cell in code(notebook):
        assert not cell.source.lstrip().startswith(("!", "%"))
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef)
            assert not isinstance(node, ast.FunctionDef) or node.end_lineno - node.lineno < 3


def test_every_name_of_the_package_that_a_cell_uses_exists(notebook):
    """Also in the branches that the stored demo never takes."""
    tree = ast.parse("\n".join(cell.source for cell in code(notebook)))
    rooms = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pcos_utils"):
            for alias in node.names:
                try:
                    rooms[alias.asname or alias.name] = import_module(f"{node.module}.{alias.name}")
                except ModuleNotFoundError:
                    assert hasattr(import_module(node.module), alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms:
            assert hasattr(rooms[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


def test_the_opening_is_a_question_and_what_must_hold_is_asserted_before_the_end(notebook):
    first = notebook.cells[0].source
    assert first.startswith("# ") and "?" in first
    assert all(f"**{word}:**" in first for word in ("Needs", "Makes", "Takes", "Next"))
    assert "synthetic" in first and "not a diagnostic device" in first
    asserts = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and "assert " in cell.source]
    assert asserts == [len(notebook.cells) - 2] and "**Learned:**" in notebook.cells[-1].source


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_parameters_are_the_makefiles_and_literals(path):
    cell = nbformat.read(path, as_version=4).cells[1]
    assert cell.metadata.tags == ["parameters"] and set(papermill.inspect_notebook(str(path))) == PARAMETERS
    assert all(isinstance(node.value, ast.Constant) for node in ast.parse(cell.source).body)
    assert all("  # " in line for line in cell.source.splitlines())


def test_outputs_are_stored_for_all_cells_without_errors_or_machines_and_a_reading_follows_every_figure(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    for cell in code(notebook):
        assert all(each.output_type != "error" and each.get("name") != "stderr" for each in cell.outputs)
        if "store.show(" in cell.source:
            texts = [output.data.get("text/markdown", "") for output in cell.outputs if "data" in output]
            assert any(output.output_type == "display_data" for output in cell.outputs) and max(map(len, texts)) > 30
    text = nbformat.writes(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert str(ROOT) not in text and "papermill" not in notebook.metadata and "/home/" not in text
