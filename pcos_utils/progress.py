"""Show progress: one bar for terminals and notebooks."""

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def plain() -> bool:
    """Return whether bars are off: with PCOS_PLAIN in the environment, as papermill stores each update as a line."""
    return "PCOS_PLAIN" in os.environ


def bar(steps: Iterable | None = None, name: str = "", *, total: int | None = None, hidden: bool = False) -> tqdm:
    """Return a bar to iterate over ``steps`` with, or to update by hand; ``hidden`` turns this one off."""
    return tqdm(steps, name, total, mininterval=0.5, disable=hidden or plain())
