"""Which devices a machine has, without torch."""

from __future__ import annotations

import pytest

from engine.launch import devices
from engine.launch.devices import device_fault
from engine.launch.gpu import Gpu


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with a torch for CUDA, two GPUs that nvidia-smi lists, and no other device files."""
    monkeypatch.setattr("engine.launch.devices.sys.platform", "linux")
    monkeypatch.setattr("engine.launch.devices.metadata.version", lambda _: "2.13.0")
    monkeypatch.setattr(devices, "_OTHER_GPUS", ("no such device",))
    gpus(monkeypatch, 2)
    return monkeypatch


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    listed = tuple(Gpu(index, f"GPU-{index}", "NVIDIA H100", None, 0, 0) for index in range(count))
    monkeypatch.setattr(devices, "gpus", lambda: listed or None)
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
    assert '"auto", "cpu", "mps", "cuda" or "cuda:1"' in told
    assert told.isprintable()


def test_an_index_beyond_the_gpus() -> None:
    told = device_fault("cuda:7") or ""
    assert all(fact in told for fact in ('"cuda:7"', "only 2 GPUs", "cuda:0, cuda:1, cpu"))


def test_no_gpu(machine: pytest.MonkeyPatch) -> None:
    gpus(machine, 0)
    told = device_fault("cuda") or ""
    assert all(fact in told for fact in ('"cuda"', "no NVIDIA GPU", "this machine has cpu"))


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
    assert "built without CUDA" in told
    assert "this machine has cpu" in told


def test_mps_is_for_macs(machine: pytest.MonkeyPatch) -> None:
    told = device_fault("mps")
    assert told is not None
    assert "Macs" in told
    machine.setattr("engine.launch.devices.sys.platform", "darwin")
    assert device_fault("mps") is None


def test_other_kinds_of_gpus_are_left_to_the_engine(machine: pytest.MonkeyPatch) -> None:
    gpus(machine, 0)
    machine.setattr(devices, "_OTHER_GPUS", ("null",))
    assert device_fault("cuda:3") is None
