"""Queues (`crild run --seeds`): in order, past failures, through hang-ups and kills, one at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.launch.background import StopSignals
from engine.launch.signals import stop
from engine.launch.start import start_engine
from engine.record.owner import Owner
from engine.record.paths import queue_file
from engine.record.run import list_runs, read_run, read_status
from engine.sweep import engines, execute
from engine.sweep.queue import continue_queue, enqueue
from engine.sweep.record import CellRecord, SweepRecord, list_queues, list_sweeps, read_sweep_record, write_sweep_record
from engine.sweep.slots import Slot
from tests.errors import raises
from tests.launch.fake_engines import COMMAND, clear, make, reached, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs whose queues and engines are gone when the test ends."""
    runs = tmp_path / "runs"
    yield runs
    for record in list_queues(runs):
        if record.owner is not None and record.owner.pid != os.getpid() and record.owner.state() == "alive":
            kill_queue(runs, record.name)
    clear(runs)


def record_of(folder: Path, queue: str) -> SweepRecord:
    return read_sweep_record(queue_file(folder, queue))


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
    queue = enqueue(runs, command=COMMAND)
    assert ended(folder, queue)
    assert [read_status(run).state for run in runs] == ["finished", "failed", "failed", "finished"]
    assert [read_status(run).queue for run in runs] == [queue] * 4
    assert "torch cannot be imported" in str(read_status(runs[2]).error)
    starts = [(read_status(run).started or 0.0, read_status(run).ended or 0.0) for run in runs if run.name != "c-s0"]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(starts))
    assert record_of(folder, queue).waiting is None
    assert list_sweeps(folder) == []
    assert "c-s0" in queue_file(folder, queue).with_suffix(".log").read_text()


def test_only_one_run_works_while_the_others_wait_and_a_hang_up_changes_nothing(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], command=COMMAND)
    pid = queue_pid(folder, queue)
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGHUP)
    assert reached(first, "running")
    os.kill(read_status(first).owner.pid, signal.SIGHUP)  # type: ignore[union-attr]
    assert (read_run(first).state, read_run(second).state) == ("running", "queued")
    assert record_of(folder, queue).alive()
    stop(first)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")


def test_a_killed_queue_leaves_its_engine_and_can_be_continued(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], command=COMMAND)
    assert reached(first, "running")
    kill_queue(folder, queue)
    assert (read_run(first).state, read_run(second).state) == ("running", "lost")
    assert continue_queue(second, command=COMMAND) == queue
    assert read_run(second).state == "queued"
    pid = queue_pid(folder, queue)
    assert continue_queue(second, command=COMMAND) == queue
    assert queue_pid(folder, queue) == pid
    time.sleep(0.6)
    assert read_status(second).state == "queued"  # the first one still works
    assert read_status(first).attempt == 1
    stop(first)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")


def test_a_queue_and_its_engine_killed_together_go_on_where_they_were(folder: Path) -> None:
    """As after a power cut."""
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], command=COMMAND)
    assert reached(first, "running")
    kill_queue(folder, queue)
    os.kill(read_status(first).owner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert wait_for(lambda: read_run(first).state == "lost")
    (first / "preset.toml").write_text("quick")
    continue_queue(second, command=COMMAND)
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(first).attempt) == ("finished", 2)
    assert read_status(second).state == "finished"


def test_a_killed_run_of_a_chain_resumes_before_the_one_that_starts_from_it(folder: Path) -> None:
    """The last run of a chain, which nothing waits for, isn't resumed, nor is one of a queue that is no chain."""
    runs = [make(folder, name, "long") for name in ("a", "b")]
    other = make(folder, "c", "quick")
    queue = enqueue([*runs, other], chain=2, command=COMMAND)
    assert [cell.after for cell in record_of(folder, queue).cells] == [None, runs[0].name, None]
    assert reached(runs[0], "running")
    (runs[0] / "preset.toml").write_text("quick")
    os.kill(read_status(runs[0]).owner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert reached(runs[1], "running")
    assert (read_status(runs[0]).state, read_status(runs[0]).attempt) == ("finished", 2)
    assert read_status(other).state == "queued"
    os.kill(read_status(runs[1]).owner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert ended(folder, queue)
    assert (read_run(runs[1]).state, read_status(runs[1]).attempt) == ("lost", 1)
    assert read_status(other).state == "finished"


def test_a_queued_run_that_is_stopped_leaves_the_queue(folder: Path) -> None:
    first, second, third = make(folder, "a", "long"), make(folder, "b"), make(folder, "c")
    queue = enqueue([first, second, third], command=COMMAND)
    assert reached(first, "running")
    stop(second)
    stop(first)
    assert ended(folder, queue)
    assert [read_status(run).state for run in (first, second, third)] == ["stopped", "stopped", "finished"]
    assert read_status(second).attempt == 0


def test_a_queue_that_is_asked_to_stop_asks_its_run_and_keeps_the_rest(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    queue = enqueue([first, second], command=COMMAND)
    assert reached(first, "running")
    os.kill(queue_pid(folder, queue), signal.SIGTERM)
    assert ended(folder, queue, "stopped")
    assert (read_status(first).state, read_status(second).state) == ("stopped", "queued")
    assert wait_for(lambda: read_run(second).state == "lost")
    assert continue_queue(second, command=COMMAND) == queue
    assert ended(folder, queue)
    assert (read_status(first).state, read_status(second).state) == ("stopped", "finished")


def test_queues_for_one_device_wait_for_each_other(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    older = enqueue([first], command=COMMAND)
    younger = enqueue([second], command=COMMAND)
    assert wait_for(lambda: record_of(folder, younger).waiting == f"for queue {older} to end")
    assert read_run(second).state == "queued"
    stop(first)
    assert ended(folder, younger)
    assert read_status(second).state == "finished"


def test_queues_for_different_devices_work_side_by_side(folder: Path) -> None:
    first, second = make(folder, "a", "long"), make(folder, "b", "quick")
    (first / "preset.toml").write_text('# long\n[train]\ndevice = "cuda:1"\n')
    (second / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    enqueue([first], command=COMMAND)
    queue = enqueue([second], command=COMMAND)
    assert ended(folder, queue)
    assert (read_run(first).state, read_run(second).state) == ("running", "finished")


def test_a_run_waits_for_a_busy_gpu(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "0, GPU-x, H100, 99, 39000, 40000"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    run, other = make(folder, "a"), make(folder, "b")
    (run / "preset.toml").write_text('# quick\n[train]\ndevice = "cuda:0"\n')
    (other / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    queue = enqueue([run, other], command=COMMAND)
    assert wait_for(lambda: record_of(folder, queue).waiting == "for the GPU: 98% of the memory of cuda:0 is in use")
    assert read_run(run).state == "queued"
    stop(run)  # it need not have waited to its end
    assert ended(folder, queue)
    assert (read_status(run).state, read_status(other).state) == ("stopped", "finished")


def test_a_run_that_vanishes_is_passed_over(folder: Path) -> None:
    first, second, third = make(folder, "a", "long"), make(folder, "b"), make(folder, "c")
    queue = enqueue([first, second, third], command=COMMAND)
    assert reached(first, "running")
    shutil.rmtree(second)
    stop(first)
    assert ended(folder, queue)
    assert read_status(third).state == "finished"


def test_only_runs_that_can_wait_are_queued(folder: Path) -> None:
    finished = make(folder, "f", state="finished")
    with pytest.raises(RunError) as caught:
        enqueue([finished], command=COMMAND)
    assert "f-s0" in str(caught.value)
    assert "finished" in str(caught.value)
    assert [record.alive() for record in list_queues(folder)] == [False]


def test_a_run_whose_queue_left_no_record_gets_one_of_its_own(folder: Path) -> None:
    for name, queue in (("a", "gone"), ("b", None), ("c", "../../c")):
        run = make(folder, name, state="queued", queue=queue)
        assert ended(folder, continue_queue(run, command=COMMAND))
        assert read_status(run).state == "finished"


def test_a_queue_that_cannot_start_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    run = make(folder, "a")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with raises("cannot-start-process", "queue"):
        enqueue([run], command=COMMAND)
    assert read_run(run).state == "lost"  # and `resume` starts it


def test_a_run_that_was_started_out_of_turn_is_waited_for(folder: Path) -> None:
    first, second, third = make(folder, "a", "long"), make(folder, "b", "long"), make(folder, "c")
    queue = enqueue([first, second, third], command=COMMAND)
    assert reached(first, "running")
    start_engine(second, command=COMMAND)
    stop(first)
    assert reached(first, "stopped")
    time.sleep(0.8)
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
    cell = CellRecord(run.name, {}, 0, None)
    write_sweep_record(file, SweepRecord("q", "", time.time(), {}, (cell,), (Slot("auto", 0),)))

    def stopped_meanwhile(device: str, runs_dir: Path) -> None:
        stop(run)

    monkeypatch.setattr(engines, "busy_gpu", stopped_meanwhile)
    worker = execute.Worker(file, StopSignals(), COMMAND)
    worker.survey()
    worker.run_all()
    worker.end()
    assert read_status(run).state == "stopped"
    assert not list(run.glob("events.*"))


OLD = Path(__file__).parents[1] / "fixtures" / "queue-0.1"
"""A queue as crild wrote it before queues were sweeps: a-s1 has finished, a-s2 and the queue's process were killed."""


@pytest.fixture
def old(folder: Path) -> Path:
    shutil.copytree(OLD, folder)
    return folder


def test_an_old_queue_is_listed(old: Path) -> None:
    assert [(entry.id, entry.state) for entry in list_runs(old)][::-1] == [
        ("a-s1", "finished"), ("a-s2", "lost"), ("a-s3", "lost"), ("a-s4", "lost"),
    ]  # fmt: skip
    (record,) = list_queues(old)
    assert [cell.run for cell in record.cells] == ["a-s1", "a-s2", "a-s3", "a-s4"]
    assert not record.alive()


def test_a_living_process_of_an_old_queue_is_waited_for(old: Path) -> None:
    file = next((old / ".queue").glob("*.json"))
    owner = {"owner": asdict(Owner.current()), "heartbeat": time.time()}
    file.write_text(json.dumps({**json.loads(file.read_text()), **owner}))
    assert [read_run(old / f"a-s{seed}").state for seed in (3, 4)] == ["queued", "queued"]
    run = make(old, "b")
    (run / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    queue = enqueue([run], command=COMMAND)
    assert wait_for(lambda: file.stem in str(record_of(old, queue).waiting))


def test_an_old_queue_continues_and_what_was_taken_off_stays_so(old: Path) -> None:
    (old / "a-s2" / "preset.toml").write_text('# quick\n[train]\ndevice = "cpu"\n')
    stop(old / "a-s3")
    assert read_run(old / "a-s3").state == "stopped"
    queue = continue_queue(old / "a-s4", command=COMMAND)
    assert ended(old, queue)
    statuses = [read_status(old / f"a-s{seed}") for seed in (1, 2, 3, 4)]
    assert [status.state for status in statuses] == ["finished", "finished", "stopped", "finished"]
    assert [status.attempt for status in statuses] == [1, 2, 0, 1]


def test_old_records_of_queues_are_deleted_by_their_own_names(old: Path, tmp_path: Path) -> None:
    (file,) = (old / ".queue").glob("*.json")
    record = replace(read_sweep_record(file), state="ended", heartbeat=1.0)
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    stay = {"20231115-101720-aaaaaa": "../../mine", "mine": "mine", "20231115-101720-bbbbbb": "20231115-101720-eb3c41"}
    for stem, name in {**stay, file.stem: file.stem}.items():
        write_sweep_record(file.with_name(f"{stem}.json"), replace(record, name=name))
        file.with_name(f"{stem}.log").write_text("")
    enqueue([make(old, "b")], command=COMMAND)
    assert mine.read_text() == "mine"
    assert not file.exists()
    assert not file.with_suffix(".log").exists()
    assert all(file.with_name(f"{stem}{suffix}").exists() for stem in stay for suffix in (".json", ".log"))
