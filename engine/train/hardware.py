"""Choose device, precision and number of threads, once, before a model is made."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from engine.errors import RunError
from engine.launch.devices import cores
from engine.preset.schema import Train

Precision = Literal["fp32", "bf16"]


def set_threads(wanted: int | None, processes: int = 1) -> int:
    """Use `wanted` CPU threads, or this process's share of the cores if `processes` are on this machine; returns how many."""
    threads = wanted or max(1, cores() // processes)
    torch.set_num_threads(threads)
    return threads


def processes_of(train: Train) -> int:
    """How many processes share the steps of a run: one for each device of a list, else what the preset says."""
    return max(train.processes, train.device.count(",") + 1)


def pick_device(wanted: str, rank: int = 0) -> torch.device:
    """The device that a preset's `device` means for the process `rank` of the run on this machine.

    Where each process sees one GPU, as a scheduler may arrange, all use the first that they see. Raises RunError, naming
    the devices that exist.
    """
    names = wanted.split(",")
    if len(names) > 1 and rank >= len(names):
        sentence = (
            f'train.device = "{wanted}" names {len(names)} devices, and process {rank + 1} of this machine needs one'
        )
        raise RunError(sentence, kind="fewer-devices-than-processes", key="train.device")
    wanted = names[rank] if len(names) > 1 else wanted
    if wanted in ("auto", "cuda") and rank and torch.cuda.device_count() > 1:
        wanted = f"cuda:{rank}"
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    device = torch.device(wanted)
    available = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }
    if not available[device.type]:
        sentence = f'this machine has no device "{wanted}"; it has {", ".join(devices())}'
        raise RunError(sentence, kind="missing-device", key="train.device")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def devices() -> list[str]:
    """All devices of this machine that a run can use."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 matrices faster than fp32 ones."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def pick_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Precision of forward passes: bf16 if the hardware has it, unless the preset says otherwise."""
    if wanted == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return wanted


def use_deterministic_kernels() -> None:
    """Choose deterministic GPU kernels, so that a resumed run gives the same bits.

    They cost no measurable time; cuDNN's attention is off because it is slower for sentences (docs/speed.md).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS requires it, and reads it once
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing is read before it is written
    torch.backends.cuda.enable_cudnn_sdp(False)


def make_accelerator(train: Train, rank: int = 0) -> Accelerator:
    """The `Accelerator` with the run's precision and the device of process `rank`; one per process."""
    device = pick_device(train.device, rank)
    precision = pick_precision(train.precision, device)
    if device.type == "cuda":
        use_deterministic_kernels()
    os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)  # otherwise Accelerate picks the first GPU
    PartialState._reset_state()
    AcceleratorState._reset_state(True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")


def environment(accelerator: Accelerator, threads: int, processes: int) -> dict[str, object]:
    """The part of a run's environment.json that needs torch."""
    device = accelerator.device
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "precision": "bf16" if accelerator.mixed_precision == "bf16" else "fp32",
        "threads": threads,
        "processes": processes,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    names = (
        "torch",
        "transformers",
        "tokenizers",
        "accelerate",
        "datasets",
        "safetensors",
        "numpy",
        "scikit-learn",
        "POT",
    )
    return {name: metadata.version(name) for name in names}
