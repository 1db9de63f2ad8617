"""Starting an engine process that outlives the screen it was started from."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from engine.errors import RunError
from engine.record.files import cause
from engine.record.lock import busy, held
from engine.record.logs import last_lines
from engine.record.paths import event_files, log_file
from engine.record.run import read_status, update_status
from engine.record.session import START_LOG
from engine.record.states import ENDED
from engine.record.status import Fault

LETTING_GO = 2.0
"""Seconds between an engine's last status and its letting go of the run."""
PACE = {
    # Threads that wait for one another sleep rather than spin: on cores that are shared, spinning makes a step several
    # times slower (docs/speed.md).
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc keeps what a step frees for the next step, rather than giving it back and asking for it anew.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
"""Set for an engine process, where the user has not set them: they are read before its first line runs."""

START_WITHIN = 10.0
"""Seconds that a starter waits for its engine to take the run."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes started by this one: kept so that their remains are cleared away."""


def start_engine(
    run_dir: Path, *, resume: bool = False, command: Sequence[str] | None = None, wait: float = START_WITHIN
) -> int:
    """Start the engine of a run in a session of its own; returns its process id once it has taken the run.

    The engine reads nothing from the terminal, prints into `log.<attempt>.txt`, stands in the run directory, and
    goes on when whoever started it is gone. It loads torch after that, so this returns within a moment. `resume` allows
    to go on with a run that was started before. `command` replaces the engine's command line (for tests); the run
    directory is appended to it. Raises RunError when another process works on the run, or with what the engine printed
    when it ended at once.
    """
    run_dir = run_dir.resolve()
    status = read_status(run_dir)
    until = time.monotonic() + LETTING_GO
    while held(run_dir):
        gone = status.state in ENDED or (status.owner is not None and status.owner.state() == "gone")
        if not gone or time.monotonic() > until:
            raise RunError(busy(run_dir))
        time.sleep(0.02)  # the engine before has ended, or was killed, and is about to let go
    if event_files(run_dir) and not resume:
        raise RunError(f"the run {run_dir.name!r} was started before: `crild resume {run_dir.name}` goes on with it")
    log = run_dir / f".start-{os.urandom(6).hex()}.txt"
    words = list(command) if command is not None else engine_command("train")
    try:
        child = _spawn([*words, str(run_dir)], run_dir, log)
        keep(child)
        return _await_owner(run_dir, child, log, status.attempt, wait)
    except RunError:
        log.unlink(missing_ok=True)  # an engine that takes the run gives it its attempt's name
        raise


def engine_command(*words: str) -> list[str]:
    """The command line of an engine process: this Python, deaf to what lies in the working folder."""
    return [sys.executable, "-P", "-m", "engine.worker", *words]


def engine_environment() -> dict[str, str]:
    """The environment for engine processes: they import the very `engine` that this process runs.

    Relative entries of PYTHONPATH would mean other folders there (or one with an `engine/` of the user's), so they are
    left out; a source tree that is not installed is put first. `PACE` is added where nothing else is set.
    """
    environment = {**PACE, **os.environ}
    entries = [entry for entry in environment.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    root = Path(__file__).resolve().parents[2]
    if root not in {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}:
        entries.insert(0, str(root))
    if entries:
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def keep(child: subprocess.Popen[bytes]) -> None:
    """Remember a process that goes on by itself, to clear away its remains when it has ended."""
    _children[child.pid] = child


def reap() -> None:
    """Clear away the remains of engines that this process started and that have ended."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


def _spawn(words: list[str], run_dir: Path, log: Path) -> subprocess.Popen[bytes]:
    reap()
    environment = {**engine_environment(), START_LOG: str(log)}
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                cwd=run_dir, env=environment,
            )  # fmt: skip
        finally:
            os.close(output)
    except OSError as error:
        raise RunError(f"the engine cannot be started: {cause(error)}", file=str(run_dir)) from error


def _await_owner(run_dir: Path, child: subprocess.Popen[bytes], log: Path, attempts: int, wait: float) -> int:
    until = time.monotonic() + wait
    while True:
        ended = child.poll() is not None  # looked at first: an engine may take the run, and end, in between
        with contextlib.suppress(RunError):
            status = read_status(run_dir)
            if status.owner is not None and status.owner.pid == child.pid and status.attempt > attempts:
                return child.pid
        if ended:
            raise _came_to_nothing(run_dir, child.returncode, log)
        if time.monotonic() > until:  # a slow disk, a busy machine: it lives, and the followers will see it
            return child.pid
        time.sleep(0.02)


def _came_to_nothing(run_dir: Path, code: int, log: Path) -> RunError:
    """The engine ended before it took the run: because another was faster, or because it cannot run at all."""
    reap()
    if held(run_dir):
        return RunError(busy(run_dir))
    lines = [line for line in last_lines(log) if line.strip()]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    sentence = (
        f"the engine of {run_dir.name!r} {how} before it began: {lines[-1].strip() if lines else 'it said nothing'}"
    )
    with contextlib.suppress(OSError):
        log.rename(log_file(run_dir, max(event_files(run_dir), default=0) + 1))
    with contextlib.suppress(RunError):
        update_status(run_dir, state="failed", ended=time.time(), exit_code=1, error=Fault("run", sentence))
    return RunError(sentence)
