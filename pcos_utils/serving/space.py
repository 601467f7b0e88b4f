"""A served model as a folder for a Hugging Face Space: it starts by itself, without the repository."""

import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from pcos_utils.config import ROOT, StudyError
from pcos_utils.files import write_text
from pcos_utils.serving.export import read_card

# What answering and the page need of the package; nothing of it imports torch.
CODE = ("config", "data/images", "data/grey", "models/counting")
CODE += tuple(
    f"serving/{name}" for name in ("predict", "suitability", "saliency", "app", "page", "words", "gate", "upload")
)
DIRECT = ("gradio", "onnxruntime", "numpy", "scipy", "pillow", "opencv-python-headless", "pydantic")
MODEL = ("model.json", "model.onnx", "follicles.onnx", "card.md")
START = '''"""The page of this Space. Research only, not a diagnostic device."""

import os
from pathlib import Path

from pcos_utils.serving.app import run

if __name__ == "__main__":
    # A Space is reached through its host; on your own machine only you reach it.
    host = "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"
    run(Path(__file__).parent / "model", host=host, port=int(os.environ.get("GRADIO_SERVER_PORT", 7860)))
'''
FRONT = """---
title: Polycystic ovarian morphology, a research page
colorFrom: green
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: mit
pinned: false
short_description: Research only, not a diagnostic device
---

"""


def pack(served: Path, folder: Path) -> None:
    """Nothing; ``folder`` then holds app.py, requirements.txt, README.md, the code and the served model.

    Raises StudyError where ``served`` is none or the folder holds something else already.
    """
    read_card(served)
    if folder.exists() and any(folder.iterdir()) and not (folder / "app.py").exists():
        raise StudyError(f"{folder} holds other files; name an empty folder for the Space.")
    shutil.rmtree(folder / "pcos_utils", ignore_errors=True)
    for name in CODE:
        write_text(folder / "pcos_utils" / f"{name}.py", (ROOT / "pcos_utils" / f"{name}.py").read_text())
    for room in ("", "data", "models", "serving"):
        write_text(folder / "pcos_utils" / room / "__init__.py", '"""Part of pcos-utils: what serving needs."""\n')
    write_text(
        folder / "pcos_utils" / "serving" / "page.css", (ROOT / "pcos_utils" / "serving" / "page.css").read_text()
    )
    for name in MODEL:
        if (served / name).exists():
            (folder / "model").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(served / name, folder / "model" / name)
    shutil.copytree(served / "examples", folder / "model" / "examples", dirs_exist_ok=True)
    write_text(folder / "requirements.txt", "\n".join(pins()) + "\n")
    write_text(folder / "LICENSE", (ROOT / "LICENSE").read_text())
    front = FRONT.format(gradio=version("gradio"))
    write_text(folder / "README.md", front + (served / "card.md").read_text(encoding="utf-8"))
    write_text(folder / "app.py", START)


def pins() -> list[str]:
    """Exact pins of all that the Space needs, its dependencies' dependencies too, as they are installed here."""
    found, todo = {}, list(DIRECT)
    while todo:
        name = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = version(name)
        except PackageNotFoundError:
            raise StudyError(
                f"The Space needs {name}; install it with: pip install 'pcos-utils[app,export]'."
            ) from None
        for text in requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo.append(needed.name)
    return [f"{name}=={found[name]}" for name in sorted(found)]
