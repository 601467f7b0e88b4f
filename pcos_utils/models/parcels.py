"""Carry a run to a worker that sees no PCOS_HOME or no images, and its files back, as messages of dask.

There go the pixels and the plan. Back come the files of the run, and the network behind its features if it has one.
All that a worker keeps lies in a folder that dask removes with it, so a lost worker's run begins again on another one.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pcos_utils.config import home
from pcos_utils.files import RECORD, appearing, read_record, sha256
from pcos_utils.models.run import Job, pixels_of, split


def sees(wanted: dict) -> bool:
    """Return whether this worker sees the disk of the process that sends the runs, and the images."""
    return all(map(os.path.exists, wanted["seen"]))


def pack(client, jobs: dict[int, Job], table: pd.DataFrame) -> dict:
    """Send the pixels of each job to all workers, those of equal images once, and return what stands for them."""
    sent, pixels = {}, {}
    for number, job in jobs.items():
        rows = split(job, table)[0]
        key = json.dumps([job.recipe.side, job.recipe.seed, rows[["sha256", "copy"]].to_numpy().tolist()])
        if key not in sent:
            sent[key] = client.scatter(np.asarray(pixels_of(job, rows)), broadcast=True, hash=False)
        pixels[number] = sent[key]
    return pixels


def unpacked(job: Job, scratch: str, plan: bytes, execute: Callable[[], dict]) -> dict:
    """Return the record of a run that is executed below a worker's ``scratch``, with the content of its files."""
    os.environ["PCOS_HOME"] = str(Path(scratch, "pcos"))
    with appearing(job.study.plan_path) as temporary:
        temporary.write_bytes(plan)
    record = execute()
    if "error" not in record:
        folders = (job.folder, *job.study.runs_dir.glob(f"{job.model}/features/*"))
        paths = [path for folder in folders for path in folder.glob("[!.]*") if path.suffix != ".npy"]
        record["carried"] = {str(path.relative_to(home())): path.read_bytes() for path in paths}
        shutil.rmtree(job.folder)
    return record


def unpack(record: dict) -> dict:
    """Write the files that came with a record to PCOS_HOME, each folder's own record last; return it without them."""
    for name, content in sorted(record.pop("carried", {}).items(), key=lambda file: file[0].endswith(RECORD)):
        with appearing(home() / name) as temporary:
            temporary.write_bytes(content)
    return record


def finished(job: Job) -> dict:
    """Return the record of a run that is finished here by the same settings, whichever device made it, or {}."""
    record, wanted = read_record(job.folder), json.loads(json.dumps(job.settings, default=str))
    wanted["threads"] = record.get("threads") and torch.get_num_threads()
    files = {job.folder / name: digest for name, digest in record.get("files", {}).items()}
    same = record.items() >= wanted.items()
    return record if same and all(path.is_file() and sha256(path) == files[path] for path in files) else {}
