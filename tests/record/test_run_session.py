"""The engine's side of a run: owner, attempts, heartbeat, requests by signal, and an honest end."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, RunError
from engine.record import files, phases, session
from engine.record.events import read_events
from engine.record.lock import held
from engine.record.owner import Owner, temporary_name
from engine.record.phases import Phases
from engine.record.run import create_run, read_run, read_status
from engine.record.session import RunSession
from engine.record.status import Fault
from engine.record.stop_request import Stopped, StopRequest
from tests.conftest import PATIENCE
from tests.errors import raises
from tests.record.own_files import gone_name, gone_pid, model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "", name="r", seed=5, total=10, environment={})


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers of the test runner come back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def hang_after(number: signal.Signals) -> None:
    """A library that doesn't come back after a signal."""
    os.kill(os.getpid(), number)
    time.sleep(30)


def asked(work: RunSession) -> tuple[str | None, int]:
    return work.request.state, work.request.exit_code


def test_a_session_takes_the_run_and_lets_it_go(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        status = read_status(run)
        assert (status.state, status.attempt, status.owner, status.seed) == ("running", 1, Owner.current(), 5)
        assert held(run)
        assert read_run(run).state == "running"
        work.events.write("run_started", attempt=1)
        work.update(stage="ild", step=3, done=3)
        work.finish("finished", 0)
    status = read_status(run)
    assert (status.state, status.exit_code, status.step, status.error) == ("finished", 0, 3, None)
    assert status.started is not None
    assert status.ended is not None
    assert status.started <= status.ended
    assert not held(run)
    assert [event["kind"] for event in read_events(run)] == ["run_started"]
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_the_next_attempt_has_a_number_and_files_of_its_own(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        work.finish("failed", 3, DataError("no rows", file="a.csv"))
    assert read_status(run).error == Fault("data", "no rows", "a.csv")
    with RunSession(run, signals=False) as work:
        assert work.attempt == 2
        assert work.before.state == "failed"
        assert work.status.error is None
        assert work.status.exit_code is None
        assert work.status.ended is None
        work.finish("stopped", 143)
    assert (run / "events.2.jsonl").exists()
    (run / "events.1.jsonl").unlink()
    with RunSession(run, signals=False) as work:
        assert work.attempt == 3  # a number is never used again
        work.finish("finished", 0)


def test_progress_reaches_the_file_within_a_moment_and_not_at_every_step(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    real = files.write_json

    def counted(path: Path, value: dict[str, object]) -> None:
        nonlocal writes
        writes += 1
        real(path, value)

    monkeypatch.setattr(session, "write_json", counted)
    with RunSession(run, signals=False) as work:
        for step in range(1, 1001):
            work.update(step=step)
        assert writes < 20
        assert wait_for(lambda: read_status(run).step == 1000)
        work.finish("finished", 0)


def test_the_heart_beats_while_the_loop_is_busy(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", 0.0)
    monkeypatch.setattr(session, "FLUSH", 0.01)
    with RunSession(run, signals=False) as work:
        first = read_status(run).heartbeat
        assert wait_for(lambda: read_status(run).heartbeat != first)
        work.finish("finished", 0)
        last = read_status(run)
        time.sleep(0.05)
        assert read_status(run) == last  # a session that has ended writes no more


def test_readers_never_see_a_part_of_a_status(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", 0.0)
    monkeypatch.setattr(session, "FLUSH", 0.0005)
    with RunSession(run, signals=False) as work:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            work.update(step=work.status.step + 1)
            assert read_run(run).state == "running"
        work.finish("finished", 0)


def test_a_second_session_is_refused_and_changes_nothing(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        code = "import sys;from pathlib import Path;from engine.record.session import RunSession\nRunSession(Path(sys.argv[1]))"
        from engine.launch.start import engine_environment

        other = subprocess.run(
            [sys.executable, "-c", code, str(run)],
            capture_output=True,
            env=engine_environment(),
            check=False,
            text=True,
        )
        assert other.returncode == 1
        assert f"process {os.getpid()} on" in other.stderr
        assert read_status(run).attempt == 1
        assert read_status(run).owner == Owner.current()
        assert sorted(path.name for path in run.glob("events.*")) == ["events.1.jsonl"]
        work.finish("finished", 0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("no rows"), ("failed", 3, Fault("data", "no rows"))),
        (RunError("the loss is no number"), ("failed", 1, Fault("run", "the loss is no number"))),
        (KeyboardInterrupt(), ("stopped", 130, None)),
        (
            ZeroDivisionError("by\nzero at https://u:p@h/x"),
            ("failed", 1, Fault("bug", "a bug in crild: ZeroDivisionError: by zero at https://h/x; the log has the traceback")),
        ),
    ],
)  # fmt: skip
def test_an_error_that_leaves_the_session_ends_the_run(
    run: Path, error: BaseException, expected: tuple[str, int, Fault | None]
) -> None:
    with pytest.raises(type(error)), RunSession(run, signals=False):
        raise error
    status = read_status(run)
    assert (status.state, status.exit_code, status.error) == expected
    assert not held(run)


def test_a_session_that_just_ends_is_a_fault(run: Path) -> None:
    with RunSession(run, signals=False):
        pass
    status = read_status(run)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.kind == "bug"


def test_only_ends_end_a_run(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        with pytest.raises(ValueError, match="does not end a run"):
            work.finish("running", 0)
        work.finish("preempted", 143)
        work.finish("failed", 1)  # too late to say otherwise
        with pytest.raises(ValueError, match="has ended"):
            work.update(step=1)
    assert read_status(run).state == "preempted"


def test_a_damaged_status_is_written_again(run: Path) -> None:
    (run / "status.json").write_text("torn")
    with RunSession(run, signals=False) as work:
        assert read_status(run).state == "running"
        work.finish("stopped", 143)
    assert read_run(run).problem is None


def test_a_status_of_a_newer_crild_is_a_sentence_and_leaves_the_run_free(run: Path) -> None:
    (run / "status.json").write_text('{"schema": 99}')
    with raises("newer-record", "schema 99"):
        RunSession(run, signals=False)
    assert not held(run)


def test_a_full_disk_at_the_start_leaves_the_run_free(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match="no space is left"):
        RunSession(run, signals=False)
    monkeypatch.undo()
    assert not held(run)
    assert read_status(run).state == "created"


def test_a_disk_that_stays_full_is_told_to_the_loop(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FLUSH", 0.01)
    with RunSession(run, signals=False) as work:
        real, clock = files.write_atomic, time.monotonic
        broken = threading.Event()
        tried = threading.Event()

        def write(path: Path, data: str, **more: Any) -> None:
            if broken.is_set():
                tried.set()
                raise OSError(errno.ENOSPC, "full")
            real(path, data, **more)

        monkeypatch.setattr(files, "write_atomic", write)
        broken.set()
        work.update(step=1)
        assert tried.wait(5)
        work.update(step=2)  # perhaps it is emptied in a moment
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 120.0)
        with pytest.raises(RunError, match="no space is left on the device"):
            work.update(step=3)
        monkeypatch.setattr(time, "monotonic", clock)
        broken.clear()
        assert wait_for(lambda: read_status(run).step == 2)
        work.update(step=4)  # it was emptied
        work.finish("finished", 0)
    assert read_status(run).step == 4


def test_leftovers_of_killed_processes_are_removed_when_a_run_resumes(run: Path) -> None:
    left = [run / gone_name("status.json"), run / f".status.json.tmp-{gone_pid()}-2-3"]
    for file in left:
        file.write_text("half")
    for folder in (run / gone_name("student"), run / "checkpoints" / gone_name("001-kd-00000001")):
        model(folder)
        left.append(folder)
    other = run / temporary_name("annotations.json")
    other.write_text("somebody is writing it")
    with RunSession(run, signals=False) as work:
        assert not any(path.exists() for path in left)
        assert other.exists()
        work.finish("finished", 0)


def test_a_forked_child_cannot_write_its_parents_status(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        child = os.fork()
        if child == 0:
            try:
                work.update(step=99)
            except RuntimeError:
                work.__exit__(None, None, None)  # what unwinding the child's stack does
                os._exit(0 if read_status(run).state == "running" else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        work.finish("finished", 0)
    assert read_status(run).step == 0


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "state", "code"),
    [(signal.SIGTERM, "stopped", 143), (signal.SIGINT, "stopped", 130), (signal.SIGUSR1, "preempted", 143)],
)
def test_a_signal_is_a_request(run: Path, number: signal.Signals, state: str, code: int) -> None:
    with RunSession(run) as work:
        assert asked(work) == (None, 143)
        os.kill(os.getpid(), signal.SIGHUP)  # a hang-up is none of its business
        os.kill(os.getpid(), number)
        assert asked(work) == (state, code)
        os.kill(os.getpid(), signal.SIGTERM)  # the first request is kept
        assert asked(work) == (state, code)
        assert wait_for(lambda: read_status(run).state == "stopping")
        work.finish(str(work.request.state), work.request.exit_code)
    assert (read_status(run).state, read_status(run).exit_code) == (state, code)


@pytest.mark.usefixtures("handlers")
def test_signals_that_a_starter_blocked_arrive_all_the_same() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    request = StopRequest().install()
    os.kill(os.getpid(), signal.SIGTERM)
    assert request.state == "stopped"


@pytest.mark.usefixtures("handlers")
def test_a_forked_child_dies_of_a_signal_as_any_process() -> None:
    StopRequest().install()
    waiting, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready, b"1")
        time.sleep(30)
        os._exit(0)
    os.read(waiting, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_request_ends_what_only_reads_wherever_it_is(run: Path, number: signal.Signals) -> None:
    with RunSession(run) as work:
        with pytest.raises(Stopped), work.reading("loading"):
            hang_after(number)
        work.finish(str(work.request.state), work.request.exit_code)
    assert read_status(run).state == ("preempted" if number == signal.SIGUSR1 else "stopped")


@pytest.mark.usefixtures("handlers")
def test_an_error_that_a_library_raises_because_of_a_request_is_the_request() -> None:
    request = StopRequest().install()

    def library() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except BaseException as error:
            raise ValueError("cannot read the file") from error

    with pytest.raises(Stopped), request.interrupting():
        library()
    with pytest.raises(ValueError, match="too"):  # outside, an error is an error
        raise ValueError("too")
    with pytest.raises(Stopped), request.interrupting():
        pytest.fail("what only reads does not begin after a request")


@pytest.mark.usefixtures("handlers")
def test_a_request_waits_for_what_is_written(run: Path) -> None:
    with RunSession(run) as work:
        with work.phases.writing("saving"):
            os.kill(os.getpid(), signal.SIGTERM)
            written = True
        assert written
        with pytest.raises(Stopped):
            work.phases("evaluating", 64, 128, "rows")
        work.finish("stopped", 143)


def test_a_phase_that_takes_long_is_in_the_events(run: Path) -> None:
    with RunSession(run, signals=False) as work:
        clock = itertools.count(0, 10.0)
        work.phases = Phases(
            lambda phase: work.events.write("phase", **phase.to_dict()), lambda: None, lambda: next(clock)
        )
        with work.phases.open("reading"):
            work.phases("reading", 5, 10, "rows")
            work.phases.beat()
        work.finish("finished", 0)
    *_, first, last = read_events(run, {"phase"})  # the heartbeat may have written another
    assert (first["phase"], first["done"], first["total"], first["unit"], first["ended"]) == (
        "reading",
        5,
        10,
        "rows",
        False,
    )
    assert last["ended"] is True


def test_a_full_disk_fails_no_run_for_a_report_of_progress(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(phases, "QUIET", 0.0)
    with RunSession(run, signals=False) as work:
        monkeypatch.setattr(os, "write", full)
        with work.phases.open("reading"):
            work.phases.beat()
        monkeypatch.undo()
        work.finish("finished", 0)
    assert list(read_events(run, {"phase"})) == []


def test_output_so_far_takes_the_attempts_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = run / ".start-1.txt"
    start.write_text("hello\n")
    monkeypatch.setenv(session.START_LOG, str(start))
    with RunSession(run, signals=False) as work:
        assert (run / "log.1.txt").read_text() == "hello\n"
        assert session.START_LOG not in os.environ
        work.finish("finished", 0)
    elsewhere = run.parent / "precious.txt"
    elsewhere.write_text("mine")
    monkeypatch.setenv(session.START_LOG, str(elsewhere))
    with RunSession(run, signals=False) as work:
        work.finish("finished", 0)
    assert elsewhere.read_text() == "mine"


def test_a_run_that_fails_on_a_full_disk_says_so_and_is_not_lost(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    work = RunSession(run, signals=False)
    work.update(step=7)
    assert wait_for(lambda: read_status(run).step == 7)
    monkeypatch.setattr(os, "write", full)  # no new file can be filled; the old one's space is there
    with pytest.raises(RunError, match="no space is left"), work:
        work.events.write("message", text="x", level="info")
    monkeypatch.undo()
    status = read_status(run)
    assert (status.state, status.exit_code, status.step) == ("failed", 1, 7)
    assert status.error is not None
    assert "no space is left on the device" in status.error.sentence
    assert not held(run)


def test_the_error_that_ended_the_run_is_told_though_nothing_can_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    work = RunSession(run, signals=False)
    monkeypatch.setattr(os, "write", broken)
    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(DataError, match="no rows"), work:
        raise DataError("no rows")
    monkeypatch.undo()
    assert "status.json: cannot be written: " in capsys.readouterr().err
    assert not held(run)


def test_what_may_go_once_a_run_has_ended_goes_while_it_is_still_locked(run: Path) -> None:
    seen = []
    with RunSession(run, signals=False) as work:
        work.finish("finished", 0, then=lambda folder: seen.append((read_status(folder).state, held(folder))))
    assert seen == [("finished", True)]
    assert not held(run)


def test_a_failure_after_the_end_leaves_the_run_finished_and_free(run: Path) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"), RunSession(run, signals=False) as work:
        work.finish("finished", 0, then=fail)
    assert read_run(run).state == "finished"
    assert not held(run)
