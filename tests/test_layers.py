"""The house: a lower room never imports a higher one, and every room stays small."""

import ast
import subprocess
import sys

import pytest

from pcos_utils.config import ROOT

PACKAGE = ROOT / "pcos_utils"
GROUND = ["config options progress clean", "files", "phantom data", "audit models", "follicles published"]
ABOVE = ["evaluation", "reporting", "serving", "notebooks", "cli"]
FLOORS = {room: floor for floor, rooms in enumerate([*GROUND, *ABOVE]) for room in rooms.split()}
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


def loaded_of(rooms: list[str], heavy: set[str]) -> list[str]:
    """Return which of these libraries a new Python has imported with the rooms."""
    imports = "; ".join(f"import pcos_utils.{name}" for name in rooms)
    command = f"import sys; {imports}; print(*sorted({heavy} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()


def test_numbers_are_computed_without_torch_and_without_figures():
    rooms = [".".join(module.with_suffix("").parts) for module in MODULES if module.parts[0] in ("audit", "evaluation")]
    rooms.append("reporting.audit")  # of `pcos audit`, which starts in a second and not in four
    assert loaded_of(rooms, {"torch", "torchvision", "matplotlib", "seaborn", "IPython"}) == []


def test_the_processes_of_an_audit_start_without_pandas_and_scipy():
    assert loaded_of(["audit.parallel", "audit.families", "data.images"], {"pandas", "scipy"}) == []


@pytest.mark.parametrize("room", sorted({module.parts[0] for module in MODULES if len(module.parts) > 1}))
def test_a_room_has_at_most_twenty_files(room):
    assert len(list((PACKAGE / room).glob("*.py"))) <= 20
