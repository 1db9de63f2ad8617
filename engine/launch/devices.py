"""Which devices a run can be given here, as far as can be told without torch: asked before a run is made.

The engine has the last word (`engine.train.hardware`); here only what cannot be is refused. What this module does not
know (a driver that shows no device file, a kind of GPU that is new) is left to the engine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from engine.preset.text import shown

_FORM = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
_OTHER_GPUS = ("kfd", "dxg", "nvhost-gpu", "nvgpu")
"""Device files of GPUs that torch calls "cuda" and that are no NVIDIA card: AMD's, those of WSL, of Jetson boards."""


def device_fault(wanted: str) -> str | None:
    """Why a run cannot have this device here, with what there is, as a sentence; None when nothing speaks against it."""
    if not _FORM.fullmatch(wanted):
        return f'the device must be "auto", "cpu", "mps", "cuda" or "cuda:1", not {shown(wanted)}'
    reason = _why_not(wanted)
    if reason is None:
        return None
    return f'the device "{wanted}" is not there: {reason}; this machine has {", ".join(devices())} (or say "auto")'


def devices() -> list[str]:
    """The devices that can be seen here, the fastest first."""
    found = [f"cuda:{index}" for index in range(_nvidia_gpus())] if not _without_cuda() else []
    if sys.platform == "darwin":
        found.append("mps")
    return [*found, "cpu"]


def _why_not(wanted: str) -> str | None:
    """Why a device cannot be had, as the end of a sentence; None when it can, or when only the engine can tell."""
    if wanted == "mps":
        return None if sys.platform == "darwin" else "only Macs have that device"
    if not wanted.startswith("cuda"):
        return None
    if _without_cuda():
        return "the torch that is installed here was built without CUDA"
    if any((Path("/dev") / name).exists() for name in _OTHER_GPUS):
        return None
    index, there = int(wanted[5:] or 0), _nvidia_gpus()
    if not there:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "no NVIDIA GPU can be seen" + ("" if hidden is None else f" with CUDA_VISIBLE_DEVICES={hidden!r}")
    return None if index < there else f"only {there} GPU{'s' * (there > 1)} can be seen, counted from 0"


def _without_cuda() -> bool:
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False


def _nvidia_gpus() -> int:
    """How many GPUs a CUDA program would see: those of the machine, or those that CUDA_VISIBLE_DEVICES leaves."""
    there = _installed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not there:
        return there
    seen = 0
    for word in visible.split(","):
        name = word.strip()
        if not name or name.startswith("-") or (name.isdecimal() and int(name) >= there):
            break  # CUDA ignores what comes after an entry that means nothing
        seen += 1
    return seen


def _installed() -> int:
    """GPUs of this machine: as nvidia-smi lists them, else as the driver's device files show them."""
    files = len(list(Path("/dev").glob("nvidia[0-9]*")))
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=15, text=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return files
    listed = [line for line in done.stdout.splitlines() if line.lstrip().startswith(("GPU ", "MIG "))]
    return max(files, len(listed))
