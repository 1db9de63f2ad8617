"""Engines on another host: stopped and killed through their run directory, and replaced once their host is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.launch import signals
from engine.launch.background import is_engine_alive
from engine.launch.signals import interrupt, kill, preempt, stop
from engine.launch.start import reap, start_engine
from engine.record.files import write_json
from engine.record.inventory import foreign_files
from engine.record.lock import RunLock, held
from engine.record.owner import Owner, start_time
from engine.record.remote_request import send_request
from engine.record.removal import OpenFolder
from engine.record.run import read_run, read_status, release_owner
from tests.conftest import PATIENCE
from tests.errors import raises
from tests.launch.fake_engines import COMMAND, COMMAND_ELSEWHERE, make, wait_for


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make(tmp_path, "r", "long")


def started(run: Path) -> Owner:
    """The engine of a run, which takes itself to be on another host."""
    start_engine(run, command=COMMAND_ELSEWHERE, wait=PATIENCE)
    owner = read_status(run).owner
    assert owner is not None
    assert owner.host == "node-7"
    assert owner.state() == "elsewhere"
    return owner


def is_gone(pid: int) -> bool:
    reap()
    return start_time(pid) is None


@pytest.mark.parametrize(
    ("ask", "state", "code"), [(stop, "stopped", 143), (interrupt, "stopped", 130), (preempt, "preempted", 143)]
)
def test_it_obeys_a_request_as_it_does_a_signal(run: Path, ask: Callable[[Path], None], state: str, code: int) -> None:
    owner = started(run)
    assert read_run(run).state == "running"
    assert is_engine_alive(run)
    ask(run)
    assert wait_for(lambda: is_gone(owner.pid))
    status = read_status(run)
    assert (status.state, status.exit_code) == (state, code)
    assert not (run / "request.json").exists()
    assert not is_engine_alive(run)


def test_it_can_be_killed_also_after_it_was_asked_to_stop(tmp_path: Path) -> None:
    run = make(tmp_path, "r", "deaf")
    owner = started(run)
    stop(run)
    assert wait_for(lambda: read_status(run).state == "stopping")
    kill(run)
    status = read_status(run)
    assert (status.state, status.exit_code) == ("stopped", 137)
    assert wait_for(lambda: is_gone(owner.pid))
    assert not held(run)
    start_engine(run, resume=True, command=COMMAND, wait=PATIENCE)
    kill(run)


def test_a_request_to_an_earlier_attempt_is_ignored(run: Path) -> None:
    first = started(run)
    stop(run)
    assert wait_for(lambda: is_gone(first.pid))
    send_request(run, first, signal.SIGKILL)
    with OpenFolder.at(run) as folder:
        assert foreign_files(folder) == []
    second = started_again(run)
    time.sleep(1.2)  # two heartbeats
    assert read_run(run).state == "running"
    send_request(run, first, signal.SIGKILL)
    time.sleep(1.2)
    assert read_run(run).state == "running"
    kill(run)
    assert wait_for(lambda: is_gone(second.pid))


def started_again(run: Path) -> Owner:
    start_engine(run, resume=True, command=COMMAND_ELSEWHERE, wait=PATIENCE)
    owner = read_status(run).owner
    assert owner is not None
    return owner


def test_one_that_is_paused_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "REMOTE_WAIT", 0.3)
    owner = started(run)
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        with raises("no-reaction-elsewhere", f"process {owner.pid} on 'node-7'"):
            kill(run)
    finally:
        os.kill(owner.pid, signal.SIGKILL)


def pretend(run: Path, owner: Owner, silent: float) -> None:
    """The status of a run as an engine elsewhere left it, some seconds ago."""
    status = replace(read_status(run), state="running", owner=owner, heartbeat=time.time() - silent)
    write_json(run / "status.json", status.to_dict())


FAR = Owner("node-7", 4242, 1.0, "the uptime of node-7", "")


def test_its_run_is_taken_over_only_when_it_is_silent_or_known_to_be_gone(run: Path) -> None:
    pretend(run, FAR, 10.0)
    with raises("run-in-use", "process 4242 on 'node-7'"):
        RunLock(run).take()
    pretend(run, FAR, 130.0)
    with RunLock(run) as lock:
        lock.take()
    pretend(run, FAR, 10.0)
    release_owner(run, replace(FAR, pid=4243))
    assert read_status(run).owner == FAR
    release_owner(run, FAR)
    assert read_run(run).state == "lost"
    start_engine(run, resume=True, command=COMMAND, wait=PATIENCE)
    with raises("run-in-use"):
        owner = read_status(run).owner
        assert owner is not None
        release_owner(run, owner)
    kill(run)


def test_a_lock_of_a_host_that_is_gone_is_replaced(run: Path) -> None:
    """The file system of a lost client may hold its locks for long: here, a process that nobody signals does."""
    owner = started(run)
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        assert held(run)
        release_owner(run, owner)
        assert not held(run)
        assert read_run(run).state == "lost"
        start_engine(run, resume=True, command=COMMAND, wait=PATIENCE)
        assert read_status(run).attempt == 2
        kill(run)
    finally:
        os.kill(owner.pid, signal.SIGKILL)
