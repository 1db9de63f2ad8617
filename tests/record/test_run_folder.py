"""An engine follows its run directory when it is renamed, and writes nothing when it is gone or another one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.launch.signals import stop
from engine.record import session
from engine.record.events import read_events
from engine.record.lock import held
from engine.record.run import create_run, read_run, read_status
from engine.record.run_folder import RunFolder
from engine.record.session import RunSession
from tests.errors import raises


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "", name="r", seed=5, total=10, environment={})


def wait_for(condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# -- the folder


def test_a_folder_that_stays_is_where_it_was(run: Path) -> None:
    folder = RunFolder(run)
    assert folder.path() == run
    assert not folder.is_gone()
    folder.close()


def test_a_renamed_folder_is_found_again_and_again(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    (tmp_path / "elsewhere").mkdir()
    for new in (run.with_name("a"), run.with_name("b"), tmp_path / "elsewhere" / "c"):
        folder.path().rename(new)
        assert folder.path() == new
    folder.close()


def test_a_parent_that_is_renamed_is_followed_too(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    run.parent.rename(tmp_path / "all-runs")
    assert folder.path() == tmp_path / "all-runs" / run.name
    folder.close()


def replace_by_another(run: Path) -> None:
    shutil.copytree(run, run.with_name("other"))
    shutil.rmtree(run)
    run.with_name("other").rename(run)


def move_to_another_disk(run: Path) -> None:
    """As `mv` does it: copy, then delete."""
    shutil.copytree(run, run.with_name("there"))
    shutil.rmtree(run)


def empty(run: Path) -> None:
    for path in run.iterdir():
        path.unlink()


@pytest.mark.parametrize("remove", [shutil.rmtree, replace_by_another, move_to_another_disk, empty])
def test_a_folder_that_was_removed_is_missed(run: Path, remove: Callable[[Path], None]) -> None:
    folder = RunFolder(run)
    remove(run)
    assert folder.is_gone()
    with raises("run-directory-gone"):
        folder.path()
    folder.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_file_server_that_is_away_for_a_moment_proves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = RunFolder(run)

    def away(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", away)
        assert folder.path() == run
    folder.close()


def test_a_folder_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with raises("cannot-open-run", "does not exist"):
        RunFolder(tmp_path / "nowhere")


# -- the session


def test_a_session_writes_into_the_renamed_folder_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FLUSH", 0.01)
    new = run.with_name("nice-name")
    with RunSession(run, signals=False) as work:
        run.rename(new)
        work.update(step=3)
        assert wait_for(lambda: read_status(new).step == 3)
        assert (read_status(new).id, read_run(new).state) == ("nice-name", "running")
        assert held(new)
        assert work.run_dir == new
        work.finish("stopped", 143)
    assert not run.exists()
    assert not held(new)
    (message,) = read_events(new, {"message"})
    assert all(name in message["text"] for name in (run.name, "nice-name"))
    with RunSession(new, signals=False) as work:
        assert work.attempt == 2
        work.finish("finished", 0)


def test_asking_for_the_lock_under_the_new_name_does_not_drop_it(run: Path) -> None:
    """Closing any descriptor of the lock file would, and the engine's process knows it under its old name."""
    new = run.with_name("new")
    with RunSession(run, signals=False) as work:
        run.rename(new)
        assert held(new)
        child = os.fork()
        if child == 0:
            os._exit(0 if held(new) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with raises("run-in-use"):
            RunSession(new, signals=False)
        work.finish("finished", 0)


def test_a_session_whose_folder_is_gone_asks_to_stop_and_writes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FLUSH", 0.01)
    monkeypatch.setattr(session, "HEARTBEAT", 0.0)
    work = RunSession(run, signals=False)
    shutil.rmtree(run)
    assert wait_for(lambda: work.request.signal == signal.SIGTERM)
    with raises("run-directory-gone"):
        work.update(step=1)
    with raises("run-directory-gone"):
        _ = work.run_dir
    work.events.write("message", level="info", text="into a file that is gone")
    work.finish("failed", 1)
    assert not run.exists()


def test_two_runs_that_exchange_their_names_stay_apart(run: Path) -> None:
    other = create_run(run.parent, "", name="other", environment={})
    between = run.with_name("between")
    with RunSession(run, signals=False) as first, RunSession(other, signals=False) as second:
        run.rename(between)
        other.rename(run)
        between.rename(other)
        first.update(step=1)
        second.update(step=2)
        first.finish("stopped", 143)
        second.finish("stopped", 143)
    assert (read_status(other).step, read_status(run).step) == (1, 2)


# -- copies


def test_a_copy_of_a_running_run_is_lost_and_leaves_the_original_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = run.with_name("copy")
    with RunSession(run, signals=False) as work:
        shutil.copytree(run, copy)
        entry = read_run(copy)
        assert (entry.state, read_run(run).state) == ("lost", "running")
        assert "copy" in (entry.problem or "")
        with pytest.raises(RunError) as caught:
            stop(copy)
        assert caught.value.kind == "engine-gone"
        assert work.request.signal is None
        child = os.fork()
        if child == 0:  # another process takes the copy while the original runs
            own = RunSession(copy, signals=False)
            own.finish("finished", 0)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (read_run(copy).state, read_run(run).state) == ("finished", "running")
        work.finish("finished", 0)


def test_on_a_file_system_without_locks_a_copy_stays_its_owners(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, nothing but the status tells who owns a run: better to refuse than to have two engines."""
    from engine.record import lock

    copy = run.with_name("copy")
    with RunSession(run, signals=False) as work:
        shutil.copytree(run, copy)
        monkeypatch.setattr(lock, "_query", lambda _: None)
        child = os.fork()
        if child == 0:
            try:
                RunSession(copy, signals=False)
            except RunError as error:
                os._exit(0 if error.kind == "run-in-use" else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        work.finish("finished", 0)
