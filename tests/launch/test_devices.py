"""What is said of a device that a machine has not, without torch."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from engine.launch import devices
from engine.launch.devices import device_fault


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with a torch for CUDA, two GPUs that nvidia-smi lists, and no other device files."""
    monkeypatch.setattr("engine.launch.devices.sys.platform", "linux")
    monkeypatch.setattr("engine.launch.devices.metadata.version", lambda _: "2.13.0")
    monkeypatch.setattr(devices, "_OTHER_GPUS", ("no such device",))
    gpus(monkeypatch, 2)
    return monkeypatch


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    listed = "".join(f"GPU {index}: NVIDIA H100 (UUID: GPU-{index})\n" for index in range(count))

    def run(*_: Any, **__: Any) -> SimpleNamespace:
        if not count:
            raise FileNotFoundError("nvidia-smi")
        return SimpleNamespace(stdout=listed)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("engine.launch.devices.Path.glob", lambda *_: iter(()))


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda", "cuda:0", "cuda:1"])
def test_what_is_there_is_no_fault(wanted: str) -> None:
    assert device_fault(wanted) is None


@pytest.mark.parametrize(
    "wanted", ["gpu", "cuda:", "CUDA", "", "cuda:٣", "cpu:0", "cuda:-1", "cuda:1000", "\x1b[31m", "cuda\n"]
)
def test_what_is_no_device_at_all(wanted: str) -> None:
    told = device_fault(wanted)
    assert told is not None
    assert told.startswith('the device must be "auto", "cpu", "mps", "cuda" or "cuda:1", not ')
    assert told.isprintable()


def test_an_index_beyond_the_gpus() -> None:
    assert device_fault("cuda:7") == (
        'the device "cuda:7" is not there: only 2 GPUs can be seen, counted from 0; '
        'this machine has cuda:0, cuda:1, cpu (or say "auto")'
    )


def test_no_gpu(machine: pytest.MonkeyPatch) -> None:
    gpus(machine, 0)
    assert device_fault("cuda") == (
        'the device "cuda" is not there: no NVIDIA GPU can be seen; this machine has cpu (or say "auto")'
    )


@pytest.mark.parametrize(
    ("visible", "wanted", "fits"),
    [
        ("0", "cuda:0", True),
        ("0", "cuda:1", False),
        ("", "cuda", False),
        ("-1", "cuda", False),
        ("1,0", "cuda:1", True),
        ("0,7", "cuda:1", False),
        ("GPU-1,GPU-0", "cuda:1", True),
    ],
)
def test_hidden_gpus_do_not_count(machine: pytest.MonkeyPatch, visible: str, wanted: str, fits: bool) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", visible)
    told = device_fault(wanted)
    assert (told is None) == fits
    if not fits and wanted == "cuda":
        assert told is not None
        assert f"with CUDA_VISIBLE_DEVICES={visible!r}" in told


def test_a_torch_without_cuda(machine: pytest.MonkeyPatch) -> None:
    machine.setattr("engine.launch.devices.metadata.version", lambda _: "2.13.0+cpu")
    told = device_fault("cuda")
    assert told is not None
    assert "the torch that is installed here was built without CUDA; this machine has cpu" in told


def test_mps_is_for_macs(machine: pytest.MonkeyPatch) -> None:
    told = device_fault("mps")
    assert told is not None
    assert "only Macs have that device" in told
    machine.setattr("engine.launch.devices.sys.platform", "darwin")
    assert device_fault("mps") is None


def test_other_kinds_of_gpus_are_left_to_the_engine(machine: pytest.MonkeyPatch) -> None:
    gpus(machine, 0)
    machine.setattr(devices, "_OTHER_GPUS", ("null",))
    assert device_fault("cuda:3") is None
