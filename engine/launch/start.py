"""Start engine processes that outlive their terminal, and the readers that send their runs to trackers."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import CrildError, RunError
from engine.launch.launcher import EngineProcess, Launcher, LauncherGoneError
from engine.launch.rank import OF_OTHERS, Rank
from engine.record.files import cause
from engine.record.lock import busy, held
from engine.record.logs import last_lines
from engine.record.owner import temporary_name
from engine.record.paths import event_files, log_file
from engine.record.removal import OpenFolder, remove_file
from engine.record.run import read_status, update_status
from engine.record.session import START_LOG
from engine.record.states import ENDED
from engine.record.status import Fault
from engine.record.tracking import Tracking, read_tracking, tracking_log, write_tracking
from engine.user.consent import NONE, Consent
from engine.user.notification import absolute_folders
from engine.user.tracking import chosen_trackers

LOCK_RELEASE_WITHIN = 2.0
"""Seconds that an engine may hold the run's lock after its last status."""
PACE = {
    # Threads that wait for one another sleep instead of spinning: on shared cores, spinning makes a step several times
    # slower (docs/speed.md).
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc keeps the memory that a step frees for the next step instead of returning it and asking for it again.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
"""Environment variables of engine processes, which the user's own override."""

START_WITHIN = 10.0
"""Seconds that a starter waits for the engine to become the run's owner."""

_children: dict[int, EngineProcess] = {}
"""Processes that this one started, so that `reap` can collect them."""


def start_engine(
    run_dir: Path,
    *,
    resume: bool = False,
    consent: Consent = NONE,
    rank: Rank | None = None,
    command: Sequence[str] | None = None,
    wait: float = START_WITHIN,
    launcher: Launcher | None = None,
) -> int:
    """Start the engine of a run in a session of its own; returns its process id once it owns the run.

    The engine reads nothing from the terminal, prints to `log.<attempt>.txt`, has the run directory as its working
    directory, and keeps running after its starter exits. It loads torch only later, so this returns quickly. `resume`
    allows a run that was started before. `consent` is handed on in its command line. `rank` is 0 of those that torchrun or
    srun has started. `command` replaces that command line (for tests); consent and run directory are appended to it. The
    `launcher` starts it, where it can.

    Raises RunError when another process owns the run, or with what the engine printed when it exits at once.
    """
    run_dir = run_dir.resolve()
    status = read_status(run_dir)
    deadline = time.monotonic() + LOCK_RELEASE_WITHIN
    while held(run_dir):
        gone = status.state in ENDED or (status.owner is not None and status.owner.state() == "gone")
        if not gone or time.monotonic() > deadline:
            raise busy(run_dir)
        time.sleep(0.02)  # the previous engine has ended or was killed, and is about to release the lock
    if event_files(run_dir) and not resume:
        sentence = f"the run {run_dir.name!r} was started before: `crild resume {run_dir.name}` continues it"
        raise RunError(sentence, kind="run-started-before")
    log = run_dir / temporary_name("start-log")
    words = [*(command if command is not None else engine_command("train")), *consent.words(), str(run_dir)]
    try:
        pid = _start(words, run_dir, log, status.attempt, rank, wait, None if command is not None else launcher)
    except RunError:
        remove_file(log, missing_ok=True)  # an engine that owns the run has renamed it after its attempt
        raise
    start_readers(run_dir)
    return pid


def _start(
    words: list[str], run_dir: Path, log: Path, attempts: int, rank: Rank | None, wait: float, launcher: Launcher | None
) -> int:
    """Start the process, by the launcher where it can, and wait until it owns the run."""
    forked = None if launcher is None else _fork(words, run_dir, log, launcher)
    if forked is not None:
        with contextlib.suppress(LauncherGoneError):
            return _await_owner(run_dir, forked, log, attempts, wait, launcher)
    child = _spawn(words, run_dir, log, rank)
    track(child)
    return _await_owner(run_dir, child, log, attempts, wait)


def start_readers(run_dir: Path) -> None:
    """Start a reader for each tracker that the user chose. Never raises: a run starts without them, too."""
    with contextlib.suppress(CrildError):  # in what chooses them: reported before the first run starts
        for kind in chosen_trackers():
            try:
                track(start_reader(run_dir, kind, "--background"))
            except RunError as error:
                with contextlib.suppress(RunError):
                    record = read_tracking(run_dir, kind) or Tracking()
                    write_tracking(run_dir, kind, replace(record, error=str(error)))


def start_reader(run_dir: Path, kind: str, *options: str) -> subprocess.Popen[bytes]:
    """Start the process that sends a run to a tracker (`engine/track/process.py`), in a session of its own.

    It prints to the tracker's log. Raises RunError.
    """
    reap()
    try:
        output = _open_reader_log(tracking_log(run_dir, kind))
        try:
            return subprocess.Popen(
                process_command("track", kind, *options, str(run_dir.resolve())), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, cwd=run_dir, env=engine_environment(),
            )  # fmt: skip
        finally:
            os.close(output)
    except OSError as error:
        sentence = f"the reader for {kind} cannot be started: {cause(error)}"
        raise RunError(sentence, kind="cannot-start-reader", file=str(run_dir)) from error


def _open_reader_log(path: Path) -> int:
    """Open a log to append to, or create it. Raises OSError for what is no file: a link, or a pipe, which would hang."""
    if path.is_symlink():
        raise OSError(f"{path.name} is a symbolic link, which crild does not follow")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path.name} is not a regular file")
    return handle


def engine_command(*words: str) -> list[str]:
    """The command line of an engine process."""
    return process_command("worker", *words)


def new_launcher() -> Launcher:
    """A launcher of engines, not yet started."""
    return Launcher(engine_command("launcher"), engine_environment())


def process_command(*words: str) -> list[str]:
    """The command line of a background process of crild: this Python on `crild/process.py`, found by its path.

    So it runs the same code as this process, whatever the working directory, PYTHONPATH or the environment's packages
    hold under crild's names.
    """
    packages = Path(__file__).resolve().parents[2]
    crild = packages.parent if packages.name == "_packages" else packages / "crild"  # an installation, a source tree
    return [sys.executable, "-P", str(crild / "process.py"), *words]


def engine_environment() -> dict[str, str]:
    """The environment for engine processes; `PACE` supplies defaults.

    Relative entries of PYTHONPATH and PATH are dropped: from another working directory they would mean other folders. A
    relative `$CRILD_CONFIG` becomes absolute. PYTHONOPTIMIZE is dropped: transformers reads the docstrings of its models.
    So are the variables of torchrun, srun and MPI: with them, Accelerate would wait for processes that don't exist.
    """
    environment = {name: value for name, value in {**PACE, **os.environ}.items() if name not in OF_OTHERS}
    environment.pop("PYTHONOPTIMIZE", None)
    entries = [entry for entry in environment.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    if entries:
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    environment["PYTHONUNBUFFERED"] = "1"
    if "PATH" in environment:
        environment["PATH"] = absolute_folders(environment["PATH"])
    if settings := environment.get("CRILD_CONFIG"):
        from engine.user.settings import settings_path

        environment["CRILD_CONFIG"] = str(settings_path(settings))
    return environment


def track(child: EngineProcess) -> None:
    """Remember a background process, for `reap` to collect once it has exited."""
    _children[child.pid] = child


def reap() -> None:
    """Collect the processes that this one started and that have exited: they must not stay zombies."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


def wait_for_children(within: float) -> bool:
    """Wait until the processes that this one started have ended, for so many seconds; returns whether they have."""
    until = time.monotonic() + within
    while _children and time.monotonic() < until:
        reap()
        time.sleep(0.05)
    return not _children


def _fork(words: list[str], run_dir: Path, log: Path, launcher: Launcher) -> EngineProcess | None:
    """As `_spawn`, by the launcher; None where it cannot."""
    if launcher.gone:
        return None
    arguments = words[len(engine_command()) :]
    environment = {**engine_environment(), START_LOG: str(log)}
    try:
        output = _open_log(log)
        try:
            child = launcher.start(words, arguments, run_dir, environment, output)
        finally:
            os.close(output)
    except LauncherGoneError:
        remove_file(log)
        return None
    except OSError as error:
        raise _cannot_start(run_dir, error) from error
    track(child)
    return child


def _open_log(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _cannot_start(run_dir: Path, error: OSError) -> RunError:
    sentence = f"cannot start the engine: {cause(error)}"
    return RunError(sentence, kind="cannot-start-engine", file=str(run_dir))


def _spawn(words: list[str], run_dir: Path, log: Path, rank: Rank | None) -> subprocess.Popen[bytes]:
    reap()
    environment = {**engine_environment(), START_LOG: str(log), **({} if rank is None else rank.environment())}
    try:
        output = _open_log(log)
        try:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                cwd=run_dir, env=environment,
            )  # fmt: skip
        finally:
            os.close(output)
    except OSError as error:
        raise _cannot_start(run_dir, error) from error


def _await_owner(
    run_dir: Path, child: EngineProcess, log: Path, attempts: int, wait: float, launcher: Launcher | None = None
) -> int:
    """The process id of an engine, once it owns the run. Raises LauncherGoneError if its launcher ended before it did."""
    deadline = time.monotonic() + wait
    while True:
        exited = child.poll() is not None  # asked first: an engine may become the owner, and exit, in between
        with contextlib.suppress(RunError):
            status = read_status(run_dir)
            if status.owner is not None and status.owner.pid == child.pid and status.attempt > attempts:
                return child.pid
        if exited:
            if launcher is not None and launcher.gone and not held(run_dir):
                remove_file(log, missing_ok=True)
                raise LauncherGoneError
            raise _failed_start(run_dir, child.returncode or 0, log)
        if time.monotonic() > deadline:  # a slow disk or a busy machine: it is alive, and followers will see the rest
            return child.pid
        time.sleep(0.02)


def _failed_start(run_dir: Path, code: int, log: Path) -> RunError:
    """The error for an engine that exited before it owned the run: another was faster, or it cannot run at all."""
    reap()
    if held(run_dir):
        return busy(run_dir)
    lines = [line for line in last_lines(log) if line.strip()]
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    error = RunError(
        f"the engine of {run_dir.name!r} {how} at startup: {lines[-1].strip() if lines else 'it printed nothing'}",
        kind="engine-exited-at-start",
    )
    with contextlib.suppress(OSError), OpenFolder.at(run_dir) as run:
        run.rename(log.name, log_file(run_dir, max(event_files(run_dir), default=0) + 1).name)
    with contextlib.suppress(RunError):
        update_status(run_dir, state="failed", ended=time.time(), exit_code=1, error=Fault.from_error(error))
    return error
