"""Where an interrupted training goes on: its whole state after an epoch, in one file that is old or new, never half.

The file is torch's zip of tensors and plain values. It is read without running code (``weights_only``) and only after
the checksum of every entry was compared, which torch itself leaves out.
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


class Best(NamedTuple):
    """The epoch of the lowest selection loss so far, that loss, and the weights it had."""

    epoch: int
    loss: float
    weights: dict[str, torch.Tensor]


class Checkpoint:
    """The file of one run. ``identity`` names all that must agree for two sittings to be one run: settings, device.

    ``share`` bounds what writing may cost: a write waits until the time since the last one is so many times its own
    that it stays below this share. None writes after every epoch. ``say`` takes a sentence for a person.
    """

    def __init__(
        self, path: Path, identity: str, *, share: float | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.path, self.identity, self.share, self.say = path, identity, share, say
        self._earlier, self._started = 0.0, time.perf_counter()
        self._due = 0.0

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, earlier sittings included up to the last epoch that they kept."""
        return self._earlier + time.perf_counter() - self._started

    def save(self, parts: dict, generator: torch.Generator, rows: list[dict], best: Best | None) -> None:
        """Nothing; the file holds the parts' states, all generators, the history and the best weights.

        ``parts``: name to anything with a ``state_dict``; where one is the ``average``, the best weights are those of
        its model. Raises StudyError where the file cannot be written; the one before it is then still there.
        """
        begun = time.perf_counter()
        if begun < self._due:
            return
        state = {
            "identity": self.identity,
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "generators": _generators(generator),
            "rows": rows,
            # The weights of an epoch that is the best so far are in the file already.
            "best": best and (*best[:2], None if best.epoch == len(rows) else best.weights),
            "seconds": self.seconds,
        }
        with appearing(self.path) as temporary, _Stream(io.FileIO(temporary, "w")) as stream:
            try:
                torch.save(state, stream)
            except RuntimeError:
                if stream.error:
                    raise stream.error from None  # torch hides the reason behind its own
                raise
        if self.share:
            now = time.perf_counter()
            self._due = now + (now - begun) / self.share

    def restore(self, parts: dict, generator: torch.Generator) -> tuple[list[dict], Best | None]:
        """The history and the best weights so far, with every part and generator as it was; or ([], None).

        A file that is damaged or no checkpoint is removed with a sentence, one of another identity without.
        """
        state = self._read()
        if state is None:
            return [], None
        model, optimiser = parts["model"], parts["optimiser"]
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        for parameter, kept in optimiser.state.items():
            for name, value in kept.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    # As the parameter lies in memory: other strides may take another path, and round differently.
                    kept[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        _set_generators(generator, state["generators"])
        self._earlier = state["seconds"]
        best = None
        if state["best"]:
            epoch, loss, weights = state["best"]
            judged = parts["average"].module if "average" in parts else model
            weights = weights or {name: tensor.clone() for name, tensor in judged.state_dict().items()}
            best = Best(epoch, loss, weights)
        self.say(f"goes on after epoch {len(state['rows'])}")
        return state["rows"], best

    def remove(self) -> None:
        """Nothing; the file is gone, unless the folder forbids it."""
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
            identity = state["identity"]
        except Exception as error:  # whatever zipfile, zlib, pickle and torch make of bytes that are not theirs
            self.say(f"the checkpoint cannot be used ({type(error).__name__}); training begins again at epoch 1")
            self.remove()
            return None
        if identity != self.identity:
            self.remove()
            return None
        return state


class _Stream(io.BufferedWriter):
    """A file that remembers why it could not be written."""

    error: OSError | None = None

    def write(self, data) -> int:
        """The number of bytes written; the error, if there is one, is remembered and raised."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _generators(generator: torch.Generator) -> dict:
    # Asking a GPU that is not in use for its generators would start it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"order": generator.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}


def _set_generators(generator: torch.Generator, states: dict) -> None:
    generator.set_state(states["order"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
