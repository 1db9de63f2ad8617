"""When a GPU counts as busy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.launch import busy_gpu
from engine.record.owner import Owner
from tests.launch.fake_engines import make


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi: says what the file beside it holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat {folder}/answer\n")
    tool.chmod(0o755)
    answer = folder / "answer"
    answer.write_text("0, GPU-aa, 100, 40000\n1, GPU-bb, 30000, 40000\n")
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
    assert busy_gpu("auto", tmp_path) == "the run 'other-s0' works on cuda:0"
    assert busy_gpu("cuda", tmp_path) == "the run 'other-s0' works on cuda:0"
    assert busy_gpu("auto", tmp_path, apart_from="other-s0") is None


@pytest.mark.parametrize(
    "answer", ["", "No devices were found\n", "0, GPU-aa, [N/A], [N/A]\n", "0, x, 5, 0\n", "\0\xff"]
)
def test_an_answer_that_says_nothing_holds_nobody_up(tmp_path: Path, smi: Path, answer: str) -> None:
    smi.write_bytes(answer.encode("latin-1"))
    make(tmp_path / "runs", "other", state="running", device="cuda:0", owner=Owner.current(), heartbeat=2e9)
    assert busy_gpu("cuda:1", tmp_path / "runs") is None


def test_a_machine_without_a_gpu_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    make(tmp_path / "runs", "other", state="running", device="cuda:0", owner=Owner.current(), heartbeat=2e9)
    assert busy_gpu("auto", tmp_path / "runs") is None
