"""Choose the device, the precision and the memory layout of a training, and hold them in one object.

Lightning Fabric manages device and precision, so that the same object can support more GPUs later.
"""

import logging
import os

import torch
from torch import Tensor, nn

from pcos_utils.config import Study, StudyError

# Processors without these emulate bfloat16, which is slower than float32.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class Engine:
    """A device with a precision and a memory layout. Weights and gradients stay float32.

    ``precision``: "float32", "bfloat16", or "auto", which is bfloat16 if the device computes in it. ``channels_last``
    stores the channels of a pixel side by side, which is fastest for convolutions.
    """

    def __init__(self, device: str = "cpu", precision: str = "float32", *, channels_last: bool = True) -> None:
        from lightning_fabric import Fabric  # imported here, because it takes seconds and only training needs it

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # else "float32" convolutions keep only 10 of 23 mantissa bits
        if precision == "auto":
            precision = "bfloat16" if has_bfloat16(device) else "float32"
        self.precision = precision
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[precision])
        self.device = self.fabric.device

    def exact(self) -> "Engine":
        """Return an engine of the same device in float32, for the predictions that are reported."""
        return Engine(self.device.type, channels_last=self.layout == torch.channels_last)

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model to the device and into the layout, and return it."""
        return model.to(self.device, memory_format=self.layout)

    def hold(self, pixels: Tensor) -> Tensor:
        """Return the pixels, on the GPU for the whole training if they fit in a quarter of its free memory."""
        if self.device.type != "cuda" or pixels.nbytes > torch.cuda.mem_get_info(self.device)[0] / 4:
            return pixels
        return pixels.to(self.device)

    def at_once(self, wanted: int | None, images: int) -> int:
        """Return how many of a batch's images to compute together.

        On a CPU this is ``wanted`` in float32, and twice that in bfloat16, which has half the bytes. On a GPU, or if
        ``wanted`` is None, it is all of them.
        """
        if wanted is None or self.device.type != "cpu":
            return images
        return wanted * (2 if self.precision == "bfloat16" else 1)

    def batch(self, x: Tensor) -> Tensor:
        """Return a network's input in the layout; features have no rows and columns and stay as they are."""
        return x.contiguous(memory_format=self.layout) if x.ndim == 4 else x


def engine_for(study: Study) -> Engine:
    """Return the engine that a study trains with. Raises StudyError if the preset needs a GPU and none is usable."""
    return Engine(choose_device(study), study.precision, channels_last=study.channels_last)


def fastest() -> Engine:
    """Return an engine on the GPU if there is one, else on the CPU; in bfloat16 if the device computes in it."""
    return Engine("cuda" if torch.cuda.is_available() else "cpu", "auto")


def has_bfloat16(device: str) -> bool:
    """Return whether the processor ("cpu") or GPU ("cuda") itself computes in bfloat16, without emulation."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = torch.cpu.get_capabilities()
    return any(instructions.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def choose_device(study: Study) -> str:
    """Return the device a study trains on: "cpu" for a demo, "cuda" for the full study.

    With ``allow_cpu``, the full study may use the CPU. Otherwise StudyError, which names driver and remedy, is raised
    if no GPU is usable. A demo also sets torch to deterministic algorithms and to as many threads as OMP_NUM_THREADS
    says, or 2.
    """
    if study.preset == "demo":
        # Sums must run in the same order each time, because the demo's tables must agree to the last byte.
        torch.use_deterministic_algorithms(True)
        first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # of a list the first counts, as in OpenMP
        torch.set_num_threads(int(first) if first.isdecimal() and int(first) else 2)
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if study.allow_cpu:
        return "cpu"
    raise StudyError(
        f"PRESET=full needs a CUDA GPU and none is usable (torch {torch.__version__} wants NVIDIA driver 580 or "
        "newer; check nvidia-smi); install the driver, or state ALLOW_CPU=1 and expect hours."
    )
