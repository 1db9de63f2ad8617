from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crild_tui.cli import stop
from engine.launch import signals
from engine.record.owner import Owner
from engine.record.run import read_run, read_status, update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.conftest import PATIENCE

Behave = Callable[..., None]


def _wait(run_dir: Path, *states: str) -> None:
    until = time.monotonic() + PATIENCE
    while read_run(run_dir).state not in states:
        assert time.monotonic() < until, read_run(run_dir)
        time.sleep(0.02)


def test_stop_asks_and_waits_for_the_checkpoint(crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(hold=2)
    crild("run", str(preset), "--name", "mine", "--detach")
    said = crild("stop", "mine")
    assert said.code == 0
    assert "stops at its next step" in said.err
    assert "with a checkpoint; run `crild resume mine-s1`" in said.err
    assert read_status(runs_dir / "mine-s1").state == "stopped"


def test_stop_kill_ends_an_engine_that_does_not_react(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    fake_engine(end="mute")
    crild("run", str(preset), "--name", "mine", "--detach")
    said = crild("stop", "mine", "--kill")
    assert said.code == 0
    assert "killed" in said.err
    owner = read_status(runs_dir / "mine-s1").owner
    assert owner is not None
    assert owner.state() == "gone"


@pytest.mark.parametrize("state", ["running", "stopping"])
def test_an_engine_that_does_not_react_is_reported(
    state: str, crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "REACTION", 0.0)
    monkeypatch.setattr(stop, "PATIENCE", 0.3)
    monkeypatch.setattr(signals, "stop", lambda _: None)
    run_dir = make_run(runs_dir, state="running")
    update_status(run_dir, state=state, owner=Owner.current(), heartbeat=time.time())
    hint = "crild stop rte-crild-s1 --kill"
    assert crild("stop", "rte-crild").err.count(hint) == (1 if state == "running" else 0)


def test_stop_of_a_finished_run_is_a_usage_error(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    said = crild("stop", "rte-crild")
    assert said.code == 2
    assert "rte-crild-s1 is finished" in said.err


def test_stop_of_a_queued_run_takes_it_off_the_queue(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    fake_engine(hold=2)
    crild("run", str(preset), "--name", "mine", "--seeds", "1,2", "--detach")
    said = crild("stop", "mine-s2")
    assert "stopped before it started" in said.err
    assert read_status(runs_dir / "mine-s2").attempt == 0
    _wait(runs_dir / "mine-s1", "running")
    crild("stop", "mine-s1", "--kill")


def test_attach_tells_the_whole_history_then_the_end(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    said = crild("attach", "rte-crild")
    assert said.code == 0
    assert "kd: step 10/10, loss 0.9000 to 0.4000" in said.err
    assert "warning: 3 of 100 inputs were cut" in said.err
    assert "majority guess" in said.out


@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("stopped", 143), ("preempted", 143)])
def test_attach_to_a_run_that_ended_otherwise_gives_its_exit_code(
    crild: Call, runs_dir: Path, state: str, code: int
) -> None:
    make_run(runs_dir, state=state)
    assert crild("attach", "rte-crild").code == code


def test_attach_to_a_lost_run_says_so(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="running", owner=None)
    (run_dir / "log.1.txt").write_text("one\ntwo\n")
    said = crild("attach", "rte-crild")
    assert said.code == 1
    assert "its engine is gone" in said.err
    assert "log: two" in said.err


def test_logs_show_hostile_text_without_executing_it(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    (run_dir / "log.1.txt").write_bytes(b"a\tb\x1b]0;title\x07\r 10%\r 20%\r\nend \xff \xe2\x80\xae\x9b2J\n")
    said = crild("logs", "rte-crild")
    assert said.out == "a\tb\\x1b]0;title\\x07\n 10%\n 20%\nend \\xff \\u202e\\x9b2J\n"


def test_logs_of_one_attempt(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    (run_dir / "log.1.txt").write_text("first\n")
    (run_dir / "log.2.txt").write_text("second\n")
    assert crild("logs", "rte-crild").out == "second\n"
    assert crild("logs", "rte-crild", "--attempt", "1").out == "first\n"
    said = crild("logs", "rte-crild", "--attempt", "7")
    assert said.code == 2
    assert "1, 2" in said.err


def test_a_run_without_a_log_says_so(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, state="created")
    assert crild("logs", "rte-crild").code == 2


def test_following_a_log_ends_with_the_run_and_loses_nothing(crild: Call, fake_engine: Behave, preset: Path) -> None:
    fake_engine(pause=0.05, steps=10, end="die")
    crild("run", str(preset), "--name", "mine", "--detach")
    assert "about to \\x1b[31mdie" in crild("logs", "mine", "-f").out
