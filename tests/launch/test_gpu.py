"""GPUs as nvidia-smi reports them, and when one is busy."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from engine.launch.gpu import Gpu, busy_gpu, gpus, parse_gpus
from engine.record.owner import Owner
from tests.launch.fake_engines import make

REPORT = "0, GPU-aa, NVIDIA H100 80GB HBM3, 37, 1024, 81559\n1, GPU-bb, Odd, Name, [N/A], [Not Supported], 16384\n"


def test_gpus_are_parsed_as_nvidia_smi_prints_them() -> None:
    assert parse_gpus(REPORT) == (
        Gpu(0, "GPU-aa", "NVIDIA H100 80GB HBM3", 0.37, 1024 * 2**20, 81559 * 2**20),
        Gpu(1, "GPU-bb", "Odd, Name", None, 0, 16384 * 2**20),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found\n",
        "a, b, c, d, e, f\n",
        ",,,,,\n",
        "-1, u, x, 2, 3, 4\n",
        "\x1b[31m,,,,,,\n",
        "1, 2, 3\n",
        "²3, u, x, 1, 2, 3\n",
    ],
)
def test_lines_that_are_no_gpu_are_skipped(text: str) -> None:
    assert parse_gpus(text) == ()


def test_absurd_figures_of_a_gpu_are_unknown() -> None:
    assert parse_gpus("0, u, x, nan, inf, -3\n1, v, y, 250, 1e300, 5\n") == (
        Gpu(0, "u", "x", None, 0, 0),
        Gpu(1, "v", "y", 1.0, 0, 5 * 2**20),
    )


def _program(folder: Path, script: str) -> Path:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_nvidia_smi_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    _program(tmp_path, f"printf '{REPORT}'")
    assert gpus() == parse_gpus(REPORT)
    _program(tmp_path, "echo 'driver mismatch'; exit 9")
    assert gpus() is None
    _program(tmp_path, "exec sleep 5")
    assert gpus(timeout=0.05) is None


def test_nothing_is_started_where_there_is_no_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    assert gpus() is None


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi: says what the file beside it holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat {folder}/answer\n")
    tool.chmod(0o755)
    answer = folder / "answer"
    answer.write_text("0, GPU-aa, H100, 9, 100, 40000\n1, GPU-bb, H100, 9, 30000, 40000\n")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return answer


@pytest.mark.usefixtures("smi")
def test_more_than_half_of_the_memory_is_busy(tmp_path: Path) -> None:
    assert busy_gpu("cuda:0", tmp_path) is None
    assert busy_gpu("cuda:1", tmp_path) == "75% of the memory of cuda:1 is in use"
    assert busy_gpu("auto", tmp_path) is None
    assert busy_gpu("cpu", tmp_path) is None
    assert busy_gpu("mps", tmp_path) is None
    assert busy_gpu("cuda:7", tmp_path) is None


@pytest.mark.usefixtures("smi")
@pytest.mark.parametrize(
    ("visible", "busy"), [("1", True), ("0,1", False), ("GPU-bb", True), ("GPU-aa", False), ("-1", False)]
)
def test_the_first_visible_gpu_is_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, busy: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (busy_gpu("cuda", tmp_path) is not None) is busy


@pytest.mark.usefixtures("smi")
def test_a_gpu_that_another_run_works_on_is_busy(tmp_path: Path) -> None:
    make(tmp_path, "other", state="running", device="cuda:0", owner=Owner.current(), heartbeat=2e9)
    make(tmp_path, "dead", state="running", device="cuda:0", owner=None)
    for device in ("auto", "cuda"):
        reason = busy_gpu(device, tmp_path)
        assert reason is not None
        assert "other-s0" in reason
        assert "cuda:0" in reason


@pytest.mark.parametrize(
    "answer", ["", "No devices were found\n", "0, GPU-aa, GB10, 1, [N/A], [N/A]\n", "0, x, y, 1, 5, 0\n", "\0\xff"]
)
def test_an_answer_that_says_nothing_holds_nobody_up(tmp_path: Path, smi: Path, answer: str) -> None:
    smi.write_bytes(answer.encode("latin-1"))
    make(tmp_path / "runs", "other", state="running", device="cuda:0", owner=Owner.current(), heartbeat=2e9)
    assert busy_gpu("cuda:1", tmp_path / "runs") is None


def test_a_machine_without_a_gpu_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    make(tmp_path / "runs", "other", state="running", device="cuda:0", owner=Owner.current(), heartbeat=2e9)
    assert busy_gpu("auto", tmp_path / "runs") is None
