"""Is the GPU that a run wants busy with other work?"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from engine.record.run import list_runs
from engine.record.states import ACTIVE

FULL = 0.5
"""Share of a GPU's memory in use from which it counts as busy."""


def busy_gpu(device: str, runs_dir: Path, *, apart_from: str | None = None) -> str | None:
    """Why a run should wait for its GPU, as the end of a sentence; None when it can start.

    `device` is as in a preset: only "auto", "cuda" and "cuda:<n>" can have to wait, and only where `nvidia-smi` answers.
    Busy is a GPU that another run of `runs_dir` works on, or of whose memory more than half is in use.
    """
    if device not in ("auto", "cuda") and not device.startswith("cuda:"):
        return None
    gpus = _memory()
    if not gpus:
        return None
    index = int(device[5:]) if device[5:].isdigit() else 0
    name = f"cuda:{index}"
    for entry in list_runs(runs_dir):
        status = entry.status
        if status is None or entry.id == apart_from or entry.state not in ACTIVE or status.owner is None:
            continue
        if status.device in (name, "cuda" if index == 0 else name) and status.owner.state() == "alive":
            return f"the run {entry.id!r} works on {name}"
    share = gpus.get(_physical(index))
    if share is not None and share > FULL:
        return f"{share:.0%} of the memory of {name} is in use"
    return None


def _physical(index: int) -> str:
    """The number or UUID by which the driver knows the GPU that CUDA programs see under `index`."""
    visible = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    if not visible:
        return str(index)
    return visible[index] if index < len(visible) else ""


def _memory() -> dict[str, float]:
    """Share of memory in use of each GPU, by number and by UUID; empty where there is none to ask."""
    question = "--query-gpu=index,uuid,memory.used,memory.total"
    try:
        done = subprocess.run(
            ["nvidia-smi", question, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=15, text=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return {}
    shares: dict[str, float] = {}
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split(",")]
        try:
            number, uuid, used, total = fields
            share = float(used) / float(total)
        except (ValueError, ZeroDivisionError):
            continue
        shares[number] = shares[uuid] = share
    return shares
