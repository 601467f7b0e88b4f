"""Which version of the code decided a number: what was made by another is made again."""

import ast
import functools
import hashlib
from pathlib import Path

from pcos_utils.data import images, offline

# The modules that decide a run's numbers.
CODE = ("architectures", "augmentation", "checkpoints", "devices", "features", "lessons", "training", "weights")
CODE += ("run", "sweep")


@functools.cache
def code_hash() -> str:
    """SHA-256 of the code that decides a run's numbers; comments and docstrings do not count."""
    digest = hashlib.sha256()
    files = [Path(__file__).parent / f"{name}.py" for name in CODE] + [Path(images.__file__), Path(offline.__file__)]
    for path in files:
        digest.update(meaning(path.read_text()).encode())
    return digest.hexdigest()


def meaning(code: str) -> str:
    """What the code says, without its comments and docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = body[1:]
    return ast.dump(tree)
