from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crild_tui.cli import watch as watch_command
from crild_tui.cli.watch import lines
from engine.record.owner import Owner
from engine.record.run import RunEntry, read_run, update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run

Behave = Callable[..., None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_command, "POLL", 0.02)


def working(runs_dir: Path, name: str = "rte-crild", **fields: Any) -> Path:
    """A run whose engine is this process."""
    run_dir = make_run(runs_dir, name, state="running")
    update_status(run_dir, owner=Owner.current(), heartbeat=time.time(), **fields)
    return run_dir


def later(*actions: Callable[[], object], seconds: float = 0.3) -> threading.Thread:
    """Do this while the command watches."""

    def act() -> None:
        for action in actions:
            time.sleep(seconds)
            action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_it_ends_with_the_last_run(crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(hold=2)
    for name in ("one", "two"):
        crild("run", str(preset), "--name", name, "--detach")
    later((runs_dir / "go").touch)
    said = crild("watch")
    assert said.code == 0
    assert all(read_run(runs_dir / f"{name}-s1").state == "finished" for name in ("one", "two"))
    assert all(f"{name}-s1: finished" in said.err for name in ("one", "two"))
    assert said.out == ""


def test_a_run_that_fails_is_said_and_counts(crild: Call, runs_dir: Path) -> None:
    good, bad = working(runs_dir, "good"), working(runs_dir, "bad")
    later(lambda: update_status(good, state="finished"), lambda: update_status(bad, state="failed", exit_code=1))
    said = crild("watch")
    assert said.code == 1
    assert "bad-s1: failed" in said.err


def test_runs_that_start_meanwhile_join_in(crild: Call, runs_dir: Path) -> None:
    first = working(runs_dir, "first")
    second = runs_dir / "second-s1"
    later(
        lambda: working(runs_dir, "second"),
        lambda: update_status(first, state="finished"),
        lambda: update_status(second, state="stopped"),
    )
    said = crild("watch")
    assert said.code == 1
    assert "second-s1: stopped" in said.err


def test_only_runs_that_are_named_or_match(crild: Call, runs_dir: Path) -> None:
    other = working(runs_dir, "other")
    wanted = working(runs_dir, "wanted")
    for words in (("wanted",), ("--filter", "id:wanted")):
        update_status(wanted, state="running")
        later(lambda: update_status(wanted, state="finished"))
        said = crild("watch", *words)
        assert said.code == 0
        assert "other" not in said.err
    assert read_run(other).state == "running"


def test_named_runs_that_have_ended_are_said_at_once(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "good")
    make_run(runs_dir, "bad", state="failed")
    assert crild("watch", "good").code == 0
    said = crild("watch", "good", "bad")
    assert said.code == 1
    assert "bad-s1: failed" in said.err


def test_without_a_run_at_work_there_is_nothing_to_watch(crild: Call, runs_dir: Path) -> None:
    assert crild("watch").code == 0  # no such folder
    make_run(runs_dir)
    said = crild("watch")
    assert (said.code, said.out) == (0, "")
    assert str(runs_dir) in said.err


def test_a_run_that_ends_between_two_reads_of_it_is_not_lost(
    crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = working(runs_dir)
    looks: list[str] = []
    original = watch_command.Watcher._watched

    def look(self: watch_command.Watcher) -> dict[str, RunEntry]:
        entries = original(self)
        looks.append("")
        if len(looks) == 2:  # its status was read before its engine wrote the last one and ended
            update_status(run_dir, state="finished")
            return {run: replace(entry, state="lost") for run, entry in entries.items()}
        return entries

    monkeypatch.setattr(watch_command.Watcher, "_watched", look)
    said = crild("watch")
    assert said.code == 0
    assert "lost" not in said.err


def test_a_lost_run_ends_it(crild: Call, runs_dir: Path) -> None:
    run_dir = working(runs_dir)
    later(lambda: update_status(run_dir, owner=None))
    said = crild("watch")
    assert said.code == 1
    assert "lost" in said.err


@pytest.fixture
def entries(runs_dir: Path) -> Sequence[RunEntry]:
    working(runs_dir, "tickets-with-a-name-that-is-long-enough-to-be-cut", eta=754.0)
    working(runs_dir, "kd", state="stopping")
    make_run(runs_dir, "waits", state="queued")
    return [read_run(path) for path in sorted(runs_dir.iterdir())]


@pytest.mark.parametrize("width", [24, 40, 80, 120, 200])
def test_lines_fit_and_give_up_the_least_needed_first(entries: Sequence[RunEntry], width: int) -> None:
    shown = [line.plain for line in lines(entries, width, ascii_only=False)]
    assert all(len(line) <= width for line in shown)
    assert all("70 %" in line for line in shown[:2])
    assert "queued" in shown[2]
    for words, least in (("accuracy 67.51", 80), ("stopping", 80), ("teacher 69.43", 120)):
        assert (words in shown[0]) == (width >= least)
    assert ("12:34 left" in shown[1]) == (width >= 80)


def test_ascii_is_ascii(entries: Sequence[RunEntry]) -> None:
    assert all(line.plain.isascii() for line in lines(entries[:1], 120, ascii_only=True))
