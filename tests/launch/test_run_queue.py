"""Queues: in order, past failures, through hang-ups and kills, one at a time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from engine.errors import RunError, UsageError
from engine.launch import continue_queue, enqueue, start_engine, stop, stop_queue
from engine.launch import queue as queueing
from engine.launch.background import Asked
from engine.record.queue import QueueRecord, list_queues, queue_file, read_queue, write_queue
from engine.record.run import read_run, read_status
from tests.launch.fake_engines import COMMAND, clear, make, reached, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs whose queues and engines are gone when the test ends."""
    runs = tmp_path / "runs"
    yield runs
    for record in list_queues(runs):
        if record.owner is not None and record.owner.pid != os.getpid() and record.owner.state() == "alive":
            kill_queue(runs, record.id)
    clear(runs)


def record_of(folder: Path, queue: str) -> QueueRecord:
    return read_queue(queue_file(folder, queue))


def ended(folder: Path, queue: str, state: str = "ended") -> bool:
    return wait_for(lambda: record_of(folder, queue).state == state)


def queue_pid(folder: Path, queue: str) -> int:
    owner = record_of(folder, queue).owner
    assert owner is not None
    return owner.pid


def kill_queue(folder: Path, queue: str) -> None:
    owner = record_of(folder, queue).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: owner.state() == "gone")


def test_runs_go_in_order_and_a_failure_stops_nothing(folder: Path) -> None:
    runs = [make(folder, name, how) for name, how in (("a", "quick"), ("b", "fail"), ("c", "crash"), ("d", "quick"))]
    queue = enqueue(runs, folder, command=COMMAND)
    assert ended(folder, queue)
    assert [read_status(run).state for run in runs] == ["finished", "failed", "failed", "finished"]
    assert [read_status(run).queue for run in runs] == [queue] * 4
    assert "torch cannot be imported" in str(read_status(runs[2]).error)
    starts = [(read_status(run).started or 0.0, read_status(run).ended or 0.0) for run in runs if run.name != "c-s0"]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(starts))
    record = record_of(folder, queue)
    assert (record.next, record.present, record.waiting) == (4, None, None)
    assert "c-s0" in queue_file(folder, queue).with_suffix(".log").read_text()


def test_only_one_run_works_while_the_others_wait_and_a_hang_up_changes_nothing(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], folder, command=COMMAND)
    pid = queue_pid(folder, queue)
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGHUP)
    assert reached(first, "running")
    os.kill(read_status(first).owner.pid, signal.SIGHUP)  # type: ignore[union-attr]
    assert (read_run(first).state, read_run(second).state) == ("running", "queued")
    assert record_of(folder, queue).present == "a-s0"
    assert record_of(folder, queue).alive()
    stop(first)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")


def test_a_killed_queue_leaves_its_engine_and_can_be_continued(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], folder, command=COMMAND)
    assert reached(first, "running")
    kill_queue(folder, queue)
    assert (read_run(first).state, read_run(second).state) == ("running", "lost")
    assert continue_queue(folder, command=COMMAND) == [queue]
    assert read_run(second).state == "queued"
    assert continue_queue(folder, command=COMMAND) == []
    time.sleep(0.6)
    assert read_status(second).state == "queued"  # the first one still works
    assert read_status(first).attempt == 1
    stop(first)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")


def test_a_queue_and_its_engine_killed_together_go_on_where_they_were(folder: Path) -> None:
    """As after a power cut."""
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], folder, command=COMMAND)
    assert reached(first, "running")
    kill_queue(folder, queue)
    os.kill(read_status(first).owner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert wait_for(lambda: read_run(first).state == "lost")
    (first / "preset.toml").write_text("quick")
    continue_queue(folder, command=COMMAND)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(first).attempt) == ("finished", 2)
    assert read_status(second).state == "finished"


def test_a_queued_run_that_is_stopped_leaves_the_queue(folder: Path) -> None:
    first, second, third = make(folder, "a", "long"), make(folder, "b"), make(folder, "c")
    queue = enqueue([first, second, third], folder, command=COMMAND)
    assert reached(first, "running")
    stop(second)
    stop(first)
    assert ended(folder, queue)
    assert [read_status(run).state for run in (first, second, third)] == ["stopped", "stopped", "finished"]
    assert read_status(second).attempt == 0


def test_a_queue_that_is_asked_to_stop_asks_its_run_and_keeps_the_rest(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], folder, command=COMMAND)
    assert reached(first, "running")
    stop_queue(folder, queue)
    assert ended(folder, queue, "stopped")
    assert (read_status(first).state, read_status(second).state) == ("stopped", "queued")
    assert wait_for(lambda: read_run(second).state == "lost")
    with pytest.raises(RunError, match="there is nothing to stop"):
        stop_queue(folder, queue)
    assert continue_queue(folder, command=COMMAND) == [queue]
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")
    assert continue_queue(folder, command=COMMAND) == []


def test_queues_for_one_device_wait_for_each_other(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    older = enqueue([first], folder, command=COMMAND)
    younger = enqueue([second], folder, command=COMMAND)
    assert wait_for(lambda: record_of(folder, younger).waiting == f"for queue {older} to end")
    assert read_run(second).state == "queued"
    stop(first)
    assert ended(folder, younger)
    assert read_status(second).state == "finished"


def test_queues_for_different_devices_work_side_by_side(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    (first / "preset.toml").write_text('# long\n[train]\ndevice = "cuda:1"\n')
    (second / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    enqueue([first], folder, command=COMMAND)
    queue = enqueue([second], folder, command=COMMAND)
    assert ended(folder, queue)
    assert (read_run(first).state, read_run(second).state) == ("running", "finished")


def test_a_run_waits_for_a_busy_gpu(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "0, GPU-x, 39000, 40000"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    run, other = make(folder, "a"), make(folder, "b")
    (run / "preset.toml").write_text('# quick\n[train]\ndevice = "cuda:0"\n')
    (other / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    queue = enqueue([run, other], folder, command=COMMAND)
    assert wait_for(lambda: record_of(folder, queue).waiting == "for the GPU: 98% of the memory of cuda:0 is in use")
    assert read_run(run).state == "queued"
    stop(run)  # it need not have waited to its end
    assert ended(folder, queue)
    assert (read_status(run).state, read_status(other).state) == ("stopped", "finished")


def test_a_run_that_vanishes_is_passed_over(folder: Path) -> None:
    import shutil

    first, second, third = make(folder, "a", "long"), make(folder, "b"), make(folder, "c")
    queue = enqueue([first, second, third], folder, command=COMMAND)
    assert reached(first, "running")
    shutil.rmtree(second)
    stop(first)
    assert ended(folder, queue)
    assert read_status(third).state == "finished"


def test_only_runs_that_can_wait_are_queued(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        enqueue([], folder)
    elsewhere = make(tmp_path / "other", "a")
    with pytest.raises(UsageError, match="a queue serves one folder of runs"):
        enqueue([elsewhere], folder)
    finished = make(folder, "f", state="finished")
    with pytest.raises(RunError, match="the run 'f-s0' cannot be queued: it is finished"):
        enqueue([finished], folder, command=COMMAND)
    assert list_queues(folder) == []
    with pytest.raises(RunError, match="there is no such queue"):
        stop_queue(folder, "nothing")


def test_a_queue_that_cannot_start_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    run = make(folder, "a")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RunError, match="the queue cannot be started"):
        enqueue([run], folder, command=COMMAND)
    assert read_run(run).state == "lost"  # and `resume` starts it


def test_a_run_that_was_started_out_of_turn_is_waited_for(folder: Path) -> None:
    first, second, third = make(folder, "a", "long"), make(folder, "b", "long"), make(folder, "c")
    queue = enqueue([first, second, third], folder, command=COMMAND)
    assert reached(first, "running")
    start_engine(second, command=COMMAND)
    stop(first)
    assert wait_for(lambda: record_of(folder, queue).present == "b-s0")
    time.sleep(0.6)
    assert (read_status(second).attempt, read_run(third).state) == (1, "queued")
    stop(second)
    assert ended(folder, queue)
    assert read_status(third).state == "finished"


def test_a_run_that_is_stopped_just_as_its_turn_comes_is_not_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(folder, "a", state="queued", queue="q")
    file = queue_file(folder, "q")
    file.parent.mkdir()
    write_queue(file, QueueRecord(id="q", created=time.time(), runs=(run.name,)))

    def stopped_meanwhile(device: str, runs_dir: Path, *, apart_from: str | None = None) -> None:
        stop(run)

    monkeypatch.setattr(queueing, "busy_gpu", stopped_meanwhile)
    queueing._Worker(file, Asked(), COMMAND).run_all()
    assert read_status(run).state == "stopped"
    assert not list(run.glob("events.*"))
