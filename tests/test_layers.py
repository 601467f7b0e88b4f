"""The house: a lower room never imports a higher one, and every room stays small."""

import ast

import pytest

from pcos_utils.config import ROOT

PACKAGE = ROOT / "pcos_utils"
FLOORS = {"config": 0, "files": 1, "data": 2, "models": 3, "evaluation": 4, "serving": 5, "runner": 6, "cli": 7}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def imported(path) -> set[str]:
    """Every module that the file imports, functions' own imports included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_room_imports_a_higher_one(module):
    own = FLOORS[module.parts[0].removesuffix(".py")]
    rooms = {name.split(".")[1] for name in imported(PACKAGE / module) if name.startswith("pcos_utils.")}
    assert {room for room in rooms if FLOORS[room] > own} == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_stays_under_250_lines(module):
    assert len((PACKAGE / module).read_text().splitlines()) < 250


def test_evaluation_imports_torch_only_to_explain():
    guilty = {
        path.stem
        for path in (PACKAGE / "evaluation").glob("*.py")
        if any(name.split(".")[0] in ("torch", "torchvision", "captum") for name in imported(path))
    }
    assert guilty == {"explain", "saliency_checks"}
