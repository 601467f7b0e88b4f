"""What a training runs on: the device, the precision and the memory layout, chosen once and handed on.

Lightning Fabric owns device and precision, so that more GPUs can come through the same object later.
"""

import ctypes
import logging
import os
import sys
from contextlib import suppress

import torch
from torch import Tensor, nn

from pcos_utils.config import Study, StudyError

# Processors without these instructions imitate bfloat16, and are slower with it than without.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
# Of glibc's mallopt: give nothing back below 2 GB, grow by 256 MB, and take no block from the system on its own.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


class Engine:
    """A device with a precision ("float32" or "bfloat16") and a layout. Weights and gradients stay float32.

    ``channels_last`` keeps the channels of a pixel side by side in memory, which convolutions on CPUs and on GPUs
    with tensor cores are fastest with. ``compiled`` lets torch.compile fuse the network: minutes at first, for GPUs.
    ``keep_memory``: what is freed on a CPU stays with the process, see ``keep_freed_memory``.
    """

    def __init__(
        self,
        device: str = "cpu",
        precision: str = "float32",
        *,
        channels_last: bool = True,
        compiled: bool = False,
        keep_memory: bool = True,
    ) -> None:
        from lightning_fabric import Fabric  # here, because it takes seconds to import and only training needs it

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if keep_memory and device == "cpu":
            keep_freed_memory()
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # else convolutions "in float32" keep 10 of its 23 bits
        self.precision, self.compiled = precision, compiled
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[precision])

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self.fabric.device

    def exact(self) -> "Engine":
        """The same device in float32: what is reported is answered with, whatever the training was sped up by."""
        return Engine(self.device.type, channels_last=self.layout == torch.channels_last, keep_memory=False)

    def place(self, model: nn.Module) -> nn.Module:
        """The model itself, on the device and in the layout."""
        return model.to(self.device, memory_format=self.layout)

    def hold(self, pixels: Tensor) -> Tensor:
        """The pixels, on the GPU for the whole training where a quarter of its free memory is enough."""
        if self.device.type != "cuda" or pixels.nbytes > torch.cuda.mem_get_info(self.device)[0] / 4:
            return pixels
        return pixels.to(self.device)

    def at_once(self, wanted: int | None, images: int) -> int:
        """How many of a batch's images to compute together: on a CPU in float32 those ``wanted``, twice as many in
        bfloat16, which has half the bytes; all of them on a GPU or where None are wanted."""
        if wanted is None or self.device.type != "cpu":
            return images
        return wanted * (2 if self.precision == "bfloat16" else 1)

    def compiled_or_not(self, model: nn.Module) -> nn.Module:
        """The model, behind torch.compile where that was asked for; both have the same weights."""
        return torch.compile(model) if self.compiled else model

    def batch(self, x: Tensor) -> Tensor:
        """A network's input in the layout; features, which have no rows and columns, as they are."""
        return x.contiguous(memory_format=self.layout) if x.ndim == 4 else x


def engine_for(study: Study) -> Engine:
    """What the study trains with. Raises StudyError where the preset needs a GPU that is not there."""
    device = choose_device(study)
    precision = study.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    return Engine(
        device.type,
        precision,
        channels_last=study.channels_last,
        compiled=study.compiled,
        keep_memory=study.keep_memory,
    )


def keep_freed_memory() -> None:
    """Nothing; from here on this process keeps the memory that it frees, for its next allocation.

    A training step frees and asks for the same gigabytes again and again. By default each large block comes from the
    system anew, which clears it page by page: a third of the time of IustNet's step. Does nothing but on Linux's glibc.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 0)
            library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
            library.mallopt(M_TOP_PAD, 2**28)


def fastest() -> Engine:
    """The GPU where there is one, else the CPU; in bfloat16 where it computes in that."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Engine(device.type, "bfloat16" if has_bfloat16(device) else "float32")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself: asked of the processor or the GPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def choose_device(study: Study) -> torch.device:
    """The device a study trains on: the CPU for a demo, a GPU for the full study.

    Raises StudyError, naming the driver and the remedy, when the full study finds no usable GPU.
    """
    if study.preset == "demo":
        # The same sums in the same order: the demo's tables must agree to the last byte.
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if study.allow_cpu:
        return torch.device("cpu")
    raise StudyError(
        f"PRESET=full needs a CUDA GPU and none is usable (torch {torch.__version__} wants NVIDIA driver 580 or "
        "newer; check nvidia-smi); install the driver, or state ALLOW_CPU=1 and expect hours."
    )
