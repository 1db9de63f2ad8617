"""The lock of a run, tried with real processes: it dies with its owner, and nothing else lets it go."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.launch.start import engine_environment
from engine.record.annotations import set_note
from engine.record.lock import FileLock, RunLock, file_held, held
from engine.record.owner import Owner
from engine.record.run import create_run
from engine.record.session import RunSession
from tests.errors import raises

HOLD = """
import os, sys, time
from pathlib import Path
from engine.record.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.take()
child = os.fork()
if child == 0:
    time.sleep(60)          # as a data loading worker that outlives its engine
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "", name="r", environment={})


@pytest.fixture
def holder(run: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that holds the run's lock, and a forked child of it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, env=engine_environment())
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    process.stdout.close()
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("exists", [True, False])
def test_a_lock_that_is_a_link_is_not_followed(run: Path, tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "mine.txt"
    if exists:
        target.write_text("mine")
    for name in ("lock", ".annotations.lock"):
        (run / name).symlink_to(target)
    with raises("cannot-lock-run", "lock", "link"):
        RunLock(run).take()
    with raises("cannot-write-annotations", ".annotations.lock"):
        set_note(run, "x")
    assert target.exists() == exists
    assert held(run) is False


def test_a_lock_dies_with_its_owner_though_its_forked_child_lives(
    run: Path, holder: tuple[subprocess.Popen[bytes], int]
) -> None:
    process, child = holder
    assert held(run)
    with raises("run-in-use", "another process"):
        RunLock(run).take()
    process.kill()  # as kill -9 at the shell
    process.wait()
    os.kill(child, 0)  # the child is still there
    assert not held(run)
    with RunLock(run) as lock:
        lock.take()
        assert held(run)
    assert not held(run)


def test_asking_neither_takes_nor_drops_the_lock(run: Path, holder: tuple[subprocess.Popen[bytes], int]) -> None:
    for _ in range(3):
        assert held(run)


def test_nobody_holds_a_run_without_a_lock_file_and_asking_makes_none(run: Path) -> None:
    assert not held(run)
    assert not (run / "lock").exists()
    assert not held(run / "nowhere")


def test_asking_in_the_owning_process_does_not_drop_its_lock(run: Path) -> None:
    """Closing any descriptor of the file would: the trap of POSIX locks."""
    question = "import sys;from pathlib import Path;from engine.record.lock import held;print(held(Path(sys.argv[1])))"
    with RunLock(run) as lock:
        lock.take()
        assert held(run)
        with pytest.raises(RunError):
            RunLock(run).take()
        (run.parent / "other-name").symlink_to(run)
        assert held(run.parent / "other-name")
        answer = subprocess.run(
            [sys.executable, "-c", question, str(run)], capture_output=True, check=True, env=engine_environment()
        )
        assert answer.stdout.strip() == b"True"


def test_a_forked_child_does_not_own_its_parents_lock(run: Path) -> None:
    with RunLock(run) as lock:
        lock.take()
        child = os.fork()
        if child == 0:  # in the child: the lock is its parent's, and releasing takes nothing away from it
            others = held(run)
            lock.release()
            os._exit(0 if others and held(run) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_threads_never_both_get_it(run: Path) -> None:
    won = []
    start = threading.Barrier(8)

    def race() -> None:
        start.wait()
        if FileLock(run / "lock").try_acquire():
            won.append(1)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_waiting_for_a_moment_is_enough_for_a_short_holder(run: Path) -> None:
    first = RunLock(run)
    first.take()
    threading.Timer(0.2, first.release).start()
    with RunLock(run) as second:
        second.take(wait=5.0)
        assert held(run)


def test_the_refusal_names_the_owner(run: Path) -> None:
    session = RunSession(run, signals=False)
    with raises("run-in-use", "'r-s0'", f"process {os.getpid()} on "):
        RunLock(run).take()
    session.finish("finished", 0)


def test_a_living_owner_guards_where_the_file_system_knows_no_locks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    assert not held(run)
    session = RunSession(run, signals=False)
    session.finish("finished", 0)
    other = subprocess.Popen([sys.executable, "-c", "import time;time.sleep(60)"])
    try:
        time.sleep(0.05)
        _pretend_owner(run, other.pid)
        assert held(run)
        with pytest.raises(RunError, match=f"process {other.pid}"):
            RunSession(run, signals=False)
    finally:
        other.kill()
        other.wait()
    assert not held(run)
    RunSession(run, signals=False).finish("finished", 0)


def _pretend_owner(run: Path, pid: int) -> None:
    from dataclasses import replace

    from engine.record.files import write_json
    from engine.record.owner import start_time
    from engine.record.run import read_status

    owner = replace(Owner.current(), pid=pid, started=start_time(pid) or 0.0)
    write_json(run / "status.json", replace(read_status(run), state="running", owner=owner).to_dict())


def test_a_folder_that_is_gone_is_a_sentence(run: Path) -> None:
    with raises("cannot-lock-run", "the folder does not exist"):
        RunLock(run / "gone").take()


def test_a_lock_on_a_file_that_was_replaced_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the run was deleted and another took its name."""
    real = fcntl.lockf

    def replaced(handle: int, how: int) -> None:
        (run / "lock").unlink()
        (run / "lock").touch()
        real(handle, how)

    monkeypatch.setattr(fcntl, "lockf", replaced)
    with raises("cannot-lock-run"):
        RunLock(run).take()
    monkeypatch.undo()
    assert file_held(run / "lock") is False
