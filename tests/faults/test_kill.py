"""kill -9 of the engine process in every stage, then resume: the same bytes as a run that nobody touched."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from engine.launch.start import start_engine
from engine.record.events import EventTail, read_events
from engine.record.run import read_run, read_status
from tests.conftest import PATIENCE
from tests.train.tiny_run import make, materials


def finish(run_dir: Path) -> None:
    """Wait until the engine is done."""
    deadline = time.monotonic() + PATIENCE
    while read_status(run_dir).state not in ("finished", "failed", "stopped", "preempted"):
        assert time.monotonic() < deadline, f"the engine did not end: {read_status(run_dir)}"
        time.sleep(0.1)


def kill_at(run_dir: Path, stage: str, step: int) -> None:
    """kill -9 as soon as the events tell of the step."""
    tail, deadline = EventTail(run_dir), time.monotonic() + PATIENCE
    while not any(e["kind"] == "step" and e["stage"] == stage and e["step"] >= step for e in tail.poll()):
        assert time.monotonic() < deadline, f"stage {stage} did not come to step {step}"
        assert read_status(run_dir).state != "failed", read_status(run_dir).error
        time.sleep(0.005)
    owner = read_status(run_dir).owner
    assert owner is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(owner.pid, signal.SIGKILL)
    while read_run(run_dir).state != "lost":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = materials(tmp_path)
    slower = ["stage.ild.epochs=6", "stage.kd.epochs=6", "teacher.finetune.epochs=8"]  # room to be killed in
    whole = make(tmp_path, text, *slower, name="whole")
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-whole"))
    start_engine(whole)
    finish(whole)
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-killed"))
    killed = make(tmp_path, text, *slower, name="killed")
    start_engine(killed)
    for stage, step in (("teacher", 5), ("ild", 7), ("kd", 5), ("baseline", 9)):
        kill_at(killed, stage, step)
        start_engine(killed, resume=True)
    finish(killed)
    assert read_status(killed).attempt == 5
    for file in ("student/model.safetensors", "student/config.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()
    curve = [(e["stage"], e["step"], e["loss"], e["terms"]) for e in read_events(killed, {"step"})]
    assert curve == [(e["stage"], e["step"], e["loss"], e["terms"]) for e in read_events(whole, {"step"})]


def test_a_terminated_engine_writes_a_checkpoint_and_says_so(tmp_path: Path) -> None:
    run_dir = make(tmp_path, materials(tmp_path), "stage.ild.epochs=200")
    start_engine(run_dir)
    tail = EventTail(run_dir)
    deadline = time.monotonic() + PATIENCE
    while not any(e["kind"] == "step" and e["stage"] == "ild" for e in tail.poll()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    owner = read_status(run_dir).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGTERM)
    finish(run_dir)
    status = read_status(run_dir)
    assert (status.state, status.exit_code) == ("stopped", 143)
    last = list(read_events(run_dir, {"checkpoint"}))[-1]
    assert (run_dir / last["path"] / "manifest.json").exists()
    assert last["step"] == status.step
