"""Pack a served model as a folder for a Hugging Face Space, which runs without the repository."""

import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pcos_utils.config import StudyError
from pcos_utils.files import PACKAGE, need_writable, write_text
from pcos_utils.serving import model

# What answering and the page need; nothing of it imports torch.
PAGE = ("app.py", "clips.py", "maps.py", "page.py", "uploads.py", "page.css", "box.js")
CODE = ("__init__.py", "config.py", *model.CODE, *(f"serving/{name}" for name in PAGE))
DIRECT = ("gradio", "onnxruntime", "numpy", "pandas", "scipy", "pillow", "opencv-python-headless", "pydantic")
START = '''"""The page of this Space. Research only, not a diagnostic device."""

from pathlib import Path
from pcos_utils.serving.app import run

if __name__ == "__main__":
    run(Path(__file__).parent / "model")
'''
FRONT = """---
title: Polycystic ovarian morphology, a research page
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: mit
short_description: Research only, not a diagnostic device
---

"""


def pack(served: Path, folder: Path) -> None:
    """Write app.py, requirements.txt, README.md, the code and the served model into ``folder``, all or nothing."""
    model.Served(served)
    need_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "app.py").exists():
        raise StudyError(f"{folder} holds other files; name an empty folder for the Space.")
    texts = {f"pcos_utils/{name}": (PACKAGE / name).read_text(encoding="utf-8") for name in CODE}
    licence = distribution("pcos-utils").read_text("licenses/LICENSE")  # also where the repository is not there
    texts |= {"app.py": START, "requirements.txt": "\n".join(pins()) + "\n", "LICENSE": licence}
    texts["README.md"] = FRONT.format(gradio=version("gradio")) + (served / "card.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        shutil.copytree(served, Path(temporary, "model"))
        for name, text in texts.items():
            write_text(Path(temporary, name), text)
        for part in Path(temporary).iterdir():
            old = folder / part.name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            os.replace(part, old)


def pins() -> list[str]:
    """Return exact pins of all packages that the Space needs, also indirectly, at the versions installed here."""
    versions, names = {}, list(DIRECT)
    try:
        while names:
            name = canonicalize_name(names.pop())
            if name not in versions:
                versions[name] = version(name)
                needed = map(Requirement, requires(name) or [])
                names += [each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    except PackageNotFoundError as error:
        raise StudyError(f"The Space needs {error.name}; run: pip install 'pcos-utils[app,export]'.") from None
    return [f"{name}=={versions[name]}" for name in sorted(versions)]
