"""Chains of runs in Python."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import crild
from engine.record.run import read_status
from tests.api.test_run import until

Behave = Callable[..., None]


def test_each_starts_as_the_student_of_the_run_before(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine()
    first = crild.load_preset(preset, settings={"student.layers": 1})
    second = crild.load_preset(preset, settings={"train.batch_size": 8})
    runs = first.run_chain(second, name="a", quiet=True)
    assert [(run.name, run.state) for run in runs] == [("a-s1", "finished"), ("a-2-s1", "finished")]
    assert runs[0].settings["student.layers"] == 1
    assert runs[1].settings["student.init"] == str(runs_dir / "a-s1")
    assert [run.settings["train.batch_size"] for run in runs] == [first["train.batch_size"], 8]
    assert [run.status["method"] for run in runs] == ["small", "small+after-toy-entailment"]


def test_detached_both_exist_from_the_start(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(hold=2)
    loaded = crild.load_preset(preset)
    one, other = loaded.run_chain(loaded, name="a", detached=True)
    until(lambda: one.state == "running")
    assert other.state == "queued"
    (runs_dir / "go").touch()
    assert other.wait(quiet=True).state == "finished"


def test_the_error_of_the_first_is_raised(fake_engine: Behave, preset: Path) -> None:
    fake_engine(end="data")
    loaded = crild.load_preset(preset)
    with pytest.raises(crild.CrildError) as caught:
        loaded.run_chain(loaded, name="a", quiet=True)
    assert caught.value.kind == "run-failed"
    assert any("a-s1" in note for note in caught.value.__notes__)


def test_interrupting_the_kernel_stops_the_present_run_and_takes_the_others_off(
    fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    fake_engine(hold=2)

    def interrupt() -> None:
        until(lambda: (runs_dir / "a-s1" / "status.json").is_file() and read_status(runs_dir / "a-s1").done >= 2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    loaded = crild.load_preset(preset)
    with pytest.raises(KeyboardInterrupt):
        loaded.run_chain(loaded, name="a", quiet=True)
    thread.join()
    assert [crild.open_run(name).state for name in ("a-s1", "a-2-s1")] == ["stopped", "stopped"]


def test_what_is_refused_leaves_no_run(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    loaded = crild.load_preset(preset)
    with pytest.raises(crild.CrildError) as caught:
        loaded.run_chain(loaded.override({"train.device": "cuda:7"}), name="a")
    assert caught.value.kind == "unusable-device"
    assert not runs_dir.exists()
