"""Which device, which precision, how many threads: decided once, before a model is made."""

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


def set_threads(wanted: int | None) -> int:
    """Use `wanted` CPU threads, or one for each core this process may run on; returns how many."""
    threads = wanted or cores()
    torch.set_num_threads(threads)
    return threads


def pick_device(wanted: str) -> torch.device:
    """The device that a preset's `device` means here. Raises RunError when it isn't there, saying what is."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    device = torch.device(wanted)
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }
    if not there[device.type]:
        raise RunError(f'device "{wanted}" is not there; this machine has {", ".join(devices())}', key="train.device")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def devices() -> list[str]:
    """Every device that a run can be given here."""
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
    """The precision of forwards: bf16 where the hardware has it, unless the preset says otherwise."""
    if wanted == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return wanted


def compute_alike() -> None:
    """Choose kernels on a GPU that give the same bits for the same input, so that a resumed run is the same run.

    They cost nothing here; cuDNN's attention is left out because it is slower for sentences (docs/speed.md).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, and reads it at its first product
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only what was written is read
    torch.backends.cuda.enable_cudnn_sdp(False)


def make_accelerator(train: Train) -> Accelerator:
    """Accelerate's view of the device and precision of a run; one for each engine process."""
    device = pick_device(train.device)
    precision = pick_precision(train.precision, device)
    if device.type == "cuda":
        compute_alike()
    os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)  # Accelerate would take the first GPU it sees
    PartialState._reset_state()
    AcceleratorState._reset_state(True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")


def environment(accelerator: Accelerator, threads: int) -> dict[str, object]:
    """What a run's environment.json says beyond what light code knows."""
    device = accelerator.device
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "precision": "bf16" if accelerator.mixed_precision == "bf16" else "fp32",
        "threads": threads,
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
