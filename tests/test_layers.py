"""The house: a lower room never imports a higher one, and every room stays small."""

import ast
from collections import Counter

import pytest

from pcos_utils.config import ROOT
from tests.conftest import python

PACKAGE = ROOT / "pcos_utils"
GROUND = ["config options progress clean", "files", "phantom data", "audit models", "follicles published"]
ABOVE = ["evaluation", "reporting", "serving", "notebooks", "cli"]
FLOORS = {room: floor for floor, rooms in enumerate([*GROUND, *ABOVE]) for room in rooms.split()}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_no_higher_room_and_stays_under_250_lines(module):
    text, names = (PACKAGE / module).read_text(), set()
    for node in ast.walk(ast.parse(text)):  # functions' own imports included
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = FLOORS[module.parts[0].removesuffix(".py")]
    rooms = {name.split(".")[1] for name in names if name.startswith("pcos_utils.")}
    assert {room for room in rooms if FLOORS[room] > own} == set() and len(text.splitlines()) < 250


def loaded_of(rooms: list[str], heavy: set[str]) -> list[str]:
    """Return which of these libraries a new Python has imported with the rooms."""
    imports = "; ".join(f"import pcos_utils.{name}" for name in rooms)
    return python(f"import sys; {imports}; print(*sorted({heavy} & set(sys.modules)))").stdout.split()


def test_numbers_are_computed_without_torch_and_figures_and_an_audits_processes_start_without_pandas_and_scipy():
    rooms = [".".join(module.with_suffix("").parts) for module in MODULES if module.parts[0] in ("audit", "evaluation")]
    rooms.append("reporting.audit")  # of `pcos audit`, which starts in a second and not in four
    assert loaded_of(rooms, {"torch", "torchvision", "matplotlib", "seaborn", "IPython"}) == []
    assert loaded_of(["audit.parallel", "audit.families", "data.images"], {"pandas", "scipy"}) == []


def test_a_room_has_at_most_twenty_files():
    counted = Counter(path.parent for path in PACKAGE.glob("*/*.py"))
    assert {room: files for room, files in counted.items() if files > 20} == {}
