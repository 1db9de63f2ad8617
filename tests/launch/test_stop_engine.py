"""Stopping, making room, killing: exactly the engine that owns the run, and no other process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.launch.signals import interrupt, kill, preempt, send, stop
from engine.launch.start import start_engine
from engine.record.files import write_json
from engine.record.lock import held
from engine.record.owner import Owner, start_time
from engine.record.run import read_run, read_status, update_status
from tests.errors import raises
from tests.launch.fake_engines import COMMAND, clear, make, reached, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs whose engines are gone when the test ends."""
    yield tmp_path / "runs"
    clear(tmp_path / "runs")


def pretend(run: Path, **changes: object) -> None:
    """Write another status than the engine's."""
    write_json(run / "status.json", replace(read_status(run), **changes).to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "state", "code"), [(stop, "stopped", 143), (interrupt, "stopped", 130), (preempt, "preempted", 143)]
)
def test_an_engine_ends_as_it_was_asked(folder: Path, ask: Callable[[Path], None], state: str, code: int) -> None:
    run = make(folder, "r", "long")
    start_engine(run, command=COMMAND)
    ask(run)
    assert reached(run, state)
    assert read_status(run).exit_code == code
    assert wait_for(lambda: not held(run))


def test_a_kill_ends_the_whole_group_and_says_stopped(folder: Path) -> None:
    run = make(folder, "r", "deaf fork")
    pid = start_engine(run, command=COMMAND)
    children = Path(f"/proc/{pid}/task/{pid}/children")
    assert wait_for(lambda: bool(children.read_text()))
    child = int(children.read_text())
    stop(run)  # it does not listen
    kill(run)
    status = read_status(run)
    assert (status.state, status.exit_code, status.error) == ("stopped", 137, None)
    assert status.ended is not None
    assert not held(run)
    assert wait_for(lambda: start_time(child) is None)


@pytest.mark.parametrize("state", ["finished", "failed", "stopped", "preempted"])
@pytest.mark.parametrize(("ask", "verb"), [(stop, "stop"), (kill, "kill"), (preempt, "preempt")])
def test_what_has_ended_cannot_be_stopped(folder: Path, ask: Callable[[Path], None], verb: str, state: str) -> None:
    run = make(folder, "r", state=state)
    with raises("run-not-running", verb, "'r-s0'", state):
        ask(run)


def test_a_lost_run_is_told_from_a_living_one(folder: Path) -> None:
    run = make(folder, "r")
    pretend(run, state="running", owner=replace(Owner.current(), started=-1000.0))
    with raises("engine-gone", "'r-s0'", "`crild resume r-s0`"):
        stop(run)


def test_a_process_that_was_given_the_owners_id_is_never_signalled(folder: Path) -> None:
    run = make(folder, "r")
    innocent = os.fork()
    if innocent == 0:
        signal.pause()
        os._exit(0)
    try:
        owner = replace(Owner.current(), pid=innocent, started=(start_time(innocent) or 0.0) - 50.0)
        pretend(run, state="running", owner=owner)
        for ask in (stop, kill, preempt):
            with raises("engine-gone"):
                ask(run)
        send(owner, signal.SIGKILL)  # asked and ended in between: the last look is at the pinned process
        time.sleep(0.05)
        assert start_time(innocent) is not None
    finally:
        os.kill(innocent, signal.SIGKILL)
        os.waitpid(innocent, 0)


def test_a_silent_engine_on_another_host_is_named(folder: Path) -> None:
    run = make(folder, "r")
    pretend(run, state="running", owner=Owner("node7.cluster", 4242, 1.0, "other", ""), heartbeat=time.time() - 121)
    for ask in (stop, kill):
        with raises("engine-silent-elsewhere", "process 4242 on 'node7.cluster'"):
            ask(run)
    assert not (run / "request.json").exists()


def test_a_stop_waits_for_an_engine_that_is_just_starting(folder: Path) -> None:
    run = make(folder, "r", "slow long")
    start_engine(run, command=COMMAND, wait=0.0)
    assert read_status(run).state == "created"
    stop(run)
    assert reached(run, "stopped")


def test_a_queued_run_is_simply_taken_off(folder: Path) -> None:
    for name, ask in (("a", stop), ("b", kill)):
        run = make(folder, name, state="queued", queue="gone")
        assert read_run(run).state == "lost"
        ask(run)
        assert read_status(run).state == "stopped"


def test_a_damaged_run_is_a_sentence(folder: Path) -> None:
    run = make(folder, "r")
    (run / "status.json").write_text('{"schema": 99}')
    with raises("newer-record", "status.json"):
        stop(run)


def test_a_stalled_engine_can_be_killed(folder: Path) -> None:
    run = make(folder, "r", "long")
    pid = start_engine(run, command=COMMAND)
    os.kill(pid, signal.SIGSTOP)
    kill(run)
    assert read_status(run).state == "stopped"
    update_status(run, best=1.0)  # and the run is free


def test_an_engine_that_has_finished_but_does_not_go_can_be_killed(folder: Path) -> None:
    run = make(folder, "r", "quick linger")
    pid = start_engine(run, command=COMMAND)
    assert reached(run, "finished")
    with raises("run-not-running"):
        stop(run)
    kill(run)
    assert start_time(pid) is None
    assert read_status(run).state == "finished"


@pytest.mark.parametrize("ask", [stop, interrupt, preempt, kill])
@pytest.mark.parametrize("state", ["running", "finished"])
def test_a_process_without_the_lock_is_not_the_engine(folder: Path, ask: Callable[[Path], None], state: str) -> None:
    run = make(folder, "r")
    (run / "lock").touch()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            pretend(
                run,
                state=state,
                owner=replace(Owner.current(), pid=stranger.pid, started=start_time(stranger.pid) or 0.0),
            )
            with raises("run-not-running" if state == "finished" and ask is not kill else "not-the-engine"):
                ask(run)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_process_does_not_kill_itself(folder: Path) -> None:
    run = make(folder, "r")
    pretend(run, state="running", owner=Owner.current())
    with raises("engine-is-this-process"):
        kill(run)
