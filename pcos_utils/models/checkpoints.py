"""Save the whole state of a training after an epoch, so that an interrupted training can resume.

The state is one file, replaced as a whole: it is the old one or the new one, never half of one. The file is torch's zip
of tensors and plain values. It is read without running code (``weights_only``), and only after the checksum of every
entry was compared, which torch does not do.
"""

import io
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from pcos_utils.files import appearing

BUSY = "another process is at this run; waiting for it to end"


class Best(NamedTuple):
    """The epoch with the lowest selection loss so far, that loss, and the weights after it."""

    epoch: int
    loss: float
    weights: dict[str, torch.Tensor]


class Checkpoint:
    """The checkpoint file of one run.

    ``identity`` names everything that must agree for two sittings to be one run, such as settings and device. ``share``
    limits the time spent on writing: after a write of t seconds, the next one comes at least t / ``share`` seconds
    later. None writes after every epoch. ``say`` takes messages for the user.
    """

    def __init__(self, path: Path, identity: str, *, share: float | None = None, say: Callable = print) -> None:
        self.path, self.identity, self.share, self.say = path, identity, share, say
        self._earlier, self._started, self._due = 0.0, time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds that the run has taken, with earlier sittings up to the last epoch they saved."""
        return self._earlier + time.perf_counter() - self._started

    def save(self, parts: dict, generator: torch.Generator, rows: list[dict], best: Best | None) -> None:
        """Save the states of all parts and generators, the history and the best weights.

        A call that comes too soon after the last write, by ``share``, does nothing. ``parts`` maps names to anything
        with a ``state_dict``. Raises StudyError if the file cannot be written; the previous file is then still there.
        """
        begun = time.perf_counter()
        if begun < self._due:
            return
        # Reading the generators of a GPU that is not in use would start it.
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        state = {
            "identity": self.identity,
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "generators": {"order": generator.get_state(), "torch": torch.get_rng_state(), "cuda": cuda},
            "rows": rows,
            "best": best and tuple(best),
            "seconds": self.seconds,
        }
        torch.save(state, content := io.BytesIO())  # to a file, torch would hide why the disk refuses
        with appearing(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())
        if self.share:
            now = time.perf_counter()
            self._due = now + (now - begun) / self.share

    def restore(self, parts: dict, generator: torch.Generator) -> tuple[list[dict], Best | None]:
        """Restore every part and generator, and return the history and the best weights so far, or ([], None).

        A damaged file, or one that is no checkpoint, is removed with a message, and one of another identity silently.
        """
        state = self._read()
        if state is None:
            return [], None
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        for parameter, values in parts["optimiser"].state.items():
            for name, value in values.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    # Keep the parameter's strides: with others, torch may take another path and round differently.
                    values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        generators = state["generators"]
        generator.set_state(generators["order"])
        torch.set_rng_state(generators["torch"])
        if len(generators["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(generators["cuda"])
        self._earlier = state["seconds"]
        self.say(f"goes on after epoch {len(state['rows'])}")
        return state["rows"], state["best"] and Best(*state["best"])

    def remove(self) -> None:
        """Remove the file, unless the folder forbids it."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _read(self) -> dict | None:
        if not self.path.exists():
            return None
        try:
            with zipfile.ZipFile(self.path) as entries:
                if broken := entries.testzip():
                    raise ValueError(f"{broken} is not what was written")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["identity"] == self.identity:
                return state
        except Exception as error:  # zipfile, zlib, pickle and torch each raise their own kinds on a damaged file
            self.say(f"the checkpoint cannot be used ({type(error).__name__}); training begins again at epoch 1")
        self.remove()
        return None
