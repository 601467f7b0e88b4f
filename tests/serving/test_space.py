"""The folder for a Space is whole: its code imports and answers with the repository off the path."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from pcos_utils.config import ROOT
from pcos_utils.serving import space
from tests.conftest import python, refused


@pytest.fixture(scope="module")
def packed(served, tmp_path_factory):
    space.pack(served, folder := tmp_path_factory.mktemp("space") / "space")
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
    said = python(code, cwd=packed.parent, env=environment).stdout
    assert said.startswith(str(packed)) and said.strip().endswith("|False")


def test_its_pins_are_exact_and_those_of_the_project_no_place_is_named_and_no_foreign_folder_replaced(packed, tmp_path):
    pins = (packed / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", pin) for pin in pins) and len(pins) > 20
    gradio = re.search(r"sdk_version: (\S+)", (packed / "README.md").read_text()).group(1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"gradio=={gradio}" in pins and f"gradio=={gradio}" in project["optional-dependencies"]["app"]
    assert not [pin for pin in pins if pin.startswith(("torch", "pcos"))]
    texts = [path.read_text() for path in packed.rglob("*") if path.suffix in (".py", ".md", ".txt", ".json")]
    assert any("ORT_DISABLE_TELEMETRY" in text for text in texts)
    assert not [text for text in texts if str(ROOT) in text or str(packed.parent) in text]
    (tmp_path / "mine.txt").write_text("mine")
    refused("holds other files", space.pack, packed / "model", tmp_path)


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
    said = python(code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")}).stdout
    assert said.split() == [str(tmp_path), str(tmp_path / "installed/pcos_utils/serving/space.py")]
    assert (tmp_path / "space" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
