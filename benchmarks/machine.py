"""What a machine gives and takes: memory of a process and its workers, the ceiling of its sums, shares of a step."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def peak_memory(process: subprocess.Popen) -> Iterator[Callable[[], float]]:
    """A function that tells the most memory, MiB, that a process and its workers had until the block ended."""
    seen = [0.0]
    watch = threading.Thread(target=_watch, args=(process, seen))
    watch.start()
    yield lambda: max(seen)
    watch.join()


def _watch(process: subprocess.Popen, seen: list[float]) -> None:
    while process.poll() is None:
        seen[0] = max(seen[0], sum(pss(each) for each in tree(process.pid)))
        time.sleep(0.5)  # the sum itself takes milliseconds from what is measured


def tree(process: int) -> list[int]:
    """The process and all that it started, by number."""
    try:
        own = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return [process]
    return [process] + [each for child in own for each in tree(int(child))]


def pss(process: int) -> float:
    """Memory of a process in MiB, in proportion: what several share counts once."""
    try:
        return next(
            int(line.split()[1]) / 1024
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
    except (OSError, StopIteration):
        return 0.0


def ceiling() -> dict[str, float]:
    """The largest matrix product's speed here, operations per second, by precision that the processor has."""
    import torch

    from pcos_utils.models.devices import has_bfloat16

    speeds = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        if name == "bfloat16" and not has_bfloat16(torch.device("cpu")):
            continue  # it would be imitated, for minutes
        a, b = torch.rand(3072, 3072).to(kind), torch.rand(3072, 3072).to(kind)
        took = []
        for _ in range(6):
            began = time.perf_counter()
            a @ b
            took.append(time.perf_counter() - began)
        speeds[name] = 2 * 3072**3 / min(took)
    return speeds


def operations(name: str, side: int) -> dict[str, float]:
    """Multiplications and additions for one image of ``side`` pixels a side: forward, and of a whole training step."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pcos_utils.models import architectures

    model = architectures.build(name, side).train()
    x = architectures.prepare(name, torch.zeros(2, side, side, 3, dtype=torch.uint8))
    with FlopCounterMode(display=False) as forward:
        logits = model(x)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    return {"validation": forward.get_total_flops() / 2, "train": both / 2}


def profile(work) -> dict[str, float]:
    """The share of the time of one step's operations, the largest first."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        work()
    spent = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    largest = sorted(spent, key=spent.get, reverse=True)[:10]
    return {name: round(spent[name] / sum(spent.values()), 4) for name in largest}
