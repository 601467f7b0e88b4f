"""Choose the device, the precision and the memory layout of a training, and hold them in one object.

Lightning Fabric manages them, and the processes that torchrun starts for one training.
"""

import logging
import os

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from pcos_utils.config import Study, StudyError

# Processors without these emulate bfloat16, which is slower than float32.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class Engine:
    """A device with a precision and a memory layout. Weights and gradients stay float32.

    ``precision``: "float32", "bfloat16", or "auto", which is bfloat16 if the device computes in it. ``channels_last``
    stores the channels of a pixel side by side, which is fastest for convolutions. ``shared``: all processes of
    torchrun train one network together, a GPU each. Raises StudyError if they are more than this machine's GPUs.
    """

    processes = property(lambda self: self.fabric.world_size)  # that train one network together
    rank = property(lambda self: self.fabric.global_rank)  # of this process among them; only number 0 writes and prints

    def __init__(self, device: str = "cpu", precision: str = "float32", *, channels_last=True, shared=False) -> None:
        from lightning_fabric import Fabric  # imported here, because it takes seconds and only training needs it

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # else "float32" convolutions keep only 10 of 23 mantissa bits
        if precision == "auto":
            precision = "bfloat16" if has_bfloat16(device) else "float32"
        self.precision = precision
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        own = os.environ.get("LOCAL_RANK") if device == "cuda" else None  # torchrun's number of this process
        how = {"devices": [int(own)] if own else 1}
        if shared:
            here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
            if device == "cuda" and here > (found := torch.cuda.device_count()):
                raise StudyError(f"{here} processes share {found} GPU(s) here; give torchrun --nproc-per-node {found}.")
            how = {"devices": here, "num_nodes": everywhere // here, "strategy": "ddp"}
        self.fabric = Fabric(accelerator=device, precision=PRECISIONS[precision], **how)
        if shared:
            self.fabric.launch()
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

        On a CPU this is ``wanted`` in float32, and twice that in bfloat16, which has half the bytes. On a GPU, with
        several processes, or if ``wanted`` is None, it is all of them.
        """
        if wanted is None or self.device.type != "cpu" or self.processes > 1:
            return images
        return wanted * (2 if self.precision == "bfloat16" else 1)

    def share(self, images: int) -> slice:
        """Return which images of a batch this process computes; it may be none of them."""
        return slice(*(images * number // self.processes for number in (self.rank, self.rank + 1)))

    def total(self, value: float) -> float:
        """Return the sum of all processes' values."""
        value = torch.tensor(value, dtype=torch.float64, device=self.device)
        return self.fabric.all_reduce(value, reduce_op="sum").item()

    def join_norms(self, model: nn.Module) -> None:
        """Let the batch norms of a model see the whole batch, of which each process holds a share."""
        if self.processes > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        elif self.processes > 1:
            for part in model.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.__class__ = JoinedNorm

    def batch(self, x: Tensor) -> Tensor:
        """Return a network's input in the layout; features have no rows and columns and stay as they are."""
        return x.contiguous(memory_format=self.layout) if x.ndim == 4 else x


class JoinedNorm(nn.BatchNorm2d):
    """A batch norm over the shares of all processes on CPUs, for which torch has none."""

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised maps, of the shape and type of ``x``: (n, channels, H, W); n may be 0."""
        if not self.training:
            return super().forward(x)
        maps = x.float()
        pixels = maps.new_tensor([maps[:, 0].numel()])
        *sums, n = all_reduce(torch.cat([maps.sum((0, 2, 3)), pixels])).split([self.num_features, 1])
        mean = sums[0] / n
        maps = maps - mean[:, None, None]
        variance = all_reduce(maps.square().sum((0, 2, 3))) / n
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (maps * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def engine_for(study: Study) -> Engine:
    """Return the engine that a study trains with. Raises StudyError if the preset needs a GPU and none is usable."""
    shared = torch.distributed.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1"
    return Engine(choose_device(study), study.precision, channels_last=study.channels_last, shared=shared)


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
    """Return the device a study trains on: "cpu" for a demo, else "cuda" or, where ``allow_cpu`` is set, "cpu".

    A demo also sets torch to deterministic algorithms and to as many threads as OMP_NUM_THREADS says, or 2. Raises
    StudyError, which names driver and remedy, if no GPU is usable.
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
