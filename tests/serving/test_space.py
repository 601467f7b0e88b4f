"""The folder for a Space is whole: its code imports and answers with the repository off the path."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from pcos_utils.config import ROOT, StudyError
from pcos_utils.serving import space


@pytest.fixture(scope="module")
def packed(served, tmp_path_factory):
    """A packed Space."""
    folder = tmp_path_factory.mktemp("space") / "space"
    space.pack(served, folder)
    return folder


@pytest.mark.slow
def test_it_answers_without_the_repository(packed):
    # The editable install names the repository in a finder; it is taken away as well.
    code = (
        "import sys; sys.meta_path = [each for each in sys.meta_path if 'editable' not in str(each)]; "
        f"sys.path = [{str(packed)!r}] + [place for place in sys.path if place and {str(ROOT)!r} != place]\n"
        "import app, pcos_utils\nfrom pcos_utils.serving.app import Desk, build\n"
        "from pcos_utils.serving.model import Served\n"
        "from pathlib import Path\nmodel = Served(Path(app.__file__).parent / 'model'); build(Desk(model))\n"
        "example = sorted(Path(app.__file__).parent.glob('model/examples/*.png'))[0]\n"
        "print(pcos_utils.__file__, model.answer(example).decision, 'torch' in sys.modules, sep='|')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=packed.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(packed)) and done.stdout.strip().endswith("|False")


def test_its_pins_are_exact_and_those_of_the_front_matter_and_the_lock(packed):
    pins = (packed / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", pin) for pin in pins) and len(pins) > 20
    gradio = re.search(r"sdk_version: (\S+)", (packed / "README.md").read_text()).group(1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"gradio=={gradio}" in pins and f"gradio=={gradio}" in project["optional-dependencies"]["app"]
    assert not [pin for pin in pins if pin.startswith(("torch", "pcos"))]


def test_it_names_no_place_of_this_machine_and_turns_telemetry_off(packed):
    for path in packed.rglob("*"):
        if path.suffix in (".py", ".md", ".txt", ".json"):
            assert str(ROOT) not in path.read_text() and str(packed.parent) not in path.read_text()
    assert "ORT_DISABLE_TELEMETRY" in (packed / "pcos_utils" / "__init__.py").read_text()


def test_it_replaces_no_foreign_folder(served, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other files"):
        space.pack(served, tmp_path)


@pytest.mark.slow
def test_a_wheel_holds_what_a_space_needs(served, tmp_path):
    source = shutil.copytree(ROOT / "pcos_utils", tmp_path / "source" / "pcos_utils").parent
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path / "installed", source], check=True, cwd=tmp_path)
    code = (
        "from pathlib import Path; from pcos_utils import config; from pcos_utils.serving import space; "
        f"space.pack(Path({str(served)!r}), Path('space')); print(config.ROOT, space.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")})  # fmt: skip
    assert done.stdout.split() == [str(tmp_path), str(tmp_path / "installed/pcos_utils/serving/space.py")], done.stderr
    assert (tmp_path / "space" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
