"""Check, without torch and before a run is created, whether this machine has a device; count its CPU cores.

The engine decides in the end (`engine.train.hardware`); this module refuses only what cannot work. What it does not know
(a driver that shows no device file, a new kind of GPU) is left to the engine.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path

from engine.launch.cgroups import cpu_quota
from engine.launch.gpu import gpus, visible_gpus
from engine.preset.text import shown

_FORM = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?|cuda:[0-9]{1,3}(,cuda:[0-9]{1,3})+")
_OTHER_GPUS = ("kfd", "dxg", "nvhost-gpu", "nvgpu")
"""Device files of other GPUs that torch calls "cuda": AMD's, those of WSL and of Jetson boards."""


def device_fault(device: str) -> str | None:
    """Why a run cannot use this device here and what the machine has, as a sentence; None where it may work."""
    if not _FORM.fullmatch(device):
        return f'the device must be "auto", "cpu", "mps", "cuda" or "cuda:1", or several as "cuda:0,cuda:1", not {shown(device)}'
    names = device.split(",")
    if len(set(names)) < len(names):
        return f'"{device}" names a device twice; each process needs one of its own'
    reason = next(filter(None, map(_why_unavailable, names)), None)
    if reason is None:
        return None
    return f'device "{device}" is not available: {reason}; this machine has {", ".join(devices())} (or use "auto")'


def devices() -> list[str]:
    """The devices of this machine, the fastest first."""
    names = [f"cuda:{index}" for index in range(_nvidia_gpus())] if not _without_cuda() else []
    if sys.platform == "darwin":
        names.append("mps")
    return [*names, "cpu"]


def cores() -> int:
    """CPU cores that this process may keep busy: those that it may run on, or fewer in a container with a CPU quota.

    A quota of 2.5 cores is 2: threads that wait for one another would all wait for the one that is paused.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _why_unavailable(device: str) -> str | None:
    """Why a device is not available, as the end of a sentence; None when it is, or when only the engine can tell."""
    if device == "mps":
        return None if sys.platform == "darwin" else "only Macs have it"
    if not device.startswith("cuda"):
        return None
    if _without_cuda():
        return "the installed torch was built without CUDA"
    if any((Path("/dev") / name).exists() for name in _OTHER_GPUS):
        return None
    index, count = int(device[5:] or 0), _nvidia_gpus()
    if not count:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "no NVIDIA GPU is visible" + ("" if hidden is None else f" with CUDA_VISIBLE_DEVICES={hidden!r}")
    return None if index < count else f"only {count} GPU{'s are' if count > 1 else ' is'} visible, counted from 0"


def _without_cuda() -> bool:
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False


def _nvidia_gpus() -> int:
    """How many GPUs a CUDA program sees here."""
    device_files = len(list(Path("/dev").glob("nvidia[0-9]*")))
    installed = max(device_files, len(gpus() or ()))
    return len(visible_gpus(installed)) if installed else 0
