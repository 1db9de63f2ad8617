"""The NVIDIA GPUs of this machine as nvidia-smi reports them, what programs see of them, and whether one is busy."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.record.run import list_runs
from engine.record.states import ACTIVE

FULL = 0.5
"""Share of a GPU's memory in use above which it counts as busy."""
TIMEOUT = 15.0
"""Seconds that nvidia-smi may take: a driver in trouble answers late or never."""
FIELDS = "index,uuid,name,utilization.gpu,memory.used,memory.total"


@dataclass(frozen=True)
class Gpu:
    """One GPU: its utilization from 0 to 1 (None: unknown), and its memory in bytes (0: unknown)."""

    index: int
    uuid: str
    name: str
    load: float | None
    memory_used: int
    memory_total: int


def gpus(timeout: float = TIMEOUT) -> tuple[Gpu, ...] | None:
    """The GPUs of this machine; None where nvidia-smi is missing, fails, or takes longer than `timeout` seconds."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_gpus(done.stdout.decode(errors="replace"))


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """The GPUs in what nvidia-smi prints. Skips other lines; a figure such as `[N/A]` is unknown."""
    parsed = []
    for line in text.splitlines():
        if line.count(",") < 5:
            continue
        index, uuid, *name, load, used, total = (field.strip() for field in line.split(","))
        if not (index.isascii() and index.isdecimal()):
            continue
        share = _number(load)
        parsed.append(
            Gpu(
                int(index),
                uuid,
                ", ".join(name),
                None if share is None else min(1.0, share / 100),
                round((_number(used) or 0) * 2**20),
                round((_number(total) or 0) * 2**20),
            )
        )
    return tuple(parsed)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e15 else None


def visible_gpus(installed: int) -> list[str]:
    """The indices or UUIDs of the GPUs that CUDA programs see as cuda:0, cuda:1, ..., of so many installed ones."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(installed)]
    names = []
    for name in map(str.strip, visible.split(",")):
        if not name or name.startswith("-") or (name.isdecimal() and int(name) >= installed):
            break  # CUDA ignores everything after an invalid entry
        names.append(name)
    return names


def busy_gpu(device: str, runs_dir: Path) -> str | None:
    """Why a run should wait for its GPU, as the end of a sentence; None when it can start.

    `device` is as in a preset: only runs on "auto", "cuda" and "cuda:<n>" can have to wait, and only where nvidia-smi
    answers. A GPU is busy when another run of `runs_dir` is using it, or more than half of its memory is in use.
    """
    if device not in ("auto", "cuda") and not device.startswith("cuda:"):
        return None
    installed = gpus()
    if not installed:
        return None
    index = int(device[5:]) if device[5:].isdigit() else 0
    name = f"cuda:{index}"
    for entry in list_runs(runs_dir):
        status = entry.status
        if status is None or entry.state not in ACTIVE or status.owner is None:
            continue
        if status.device in (name, "cuda" if index == 0 else name) and status.owner.state() == "alive":
            return f"the run {entry.id!r} is using {name}"
    wanted = visible_gpus(len(installed))[index : index + 1]
    for gpu in installed:
        if gpu.memory_total and {str(gpu.index), gpu.uuid} & set(wanted) and gpu.memory_used / gpu.memory_total > FULL:
            return f"{gpu.memory_used / gpu.memory_total:.0%} of the memory of {name} is in use"
    return None
