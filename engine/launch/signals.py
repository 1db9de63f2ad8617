"""Stop, preempt and kill running engines, and cancel the jobs of those that wait in SLURM."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from engine.errors import RunError
from engine.launch.slurm import cancel
from engine.record.lock import FREE, UNSEEN, held, lock_holder
from engine.record.owner import Owner
from engine.record.remote_request import send_request
from engine.record.run import read_run, read_status, update_status
from engine.record.states import ACTIVE, ENDED
from engine.record.status import LOST_AFTER

REMOTE_WAIT = 30.0
"""Seconds that an engine on another host has to react: shared storage may show new files late."""


def stop(run_dir: Path) -> None:
    """Ask the engine of a run to write a checkpoint and stop (SIGTERM), or take a queued run off its queue.

    Returns at once: the state becomes "stopping", then "stopped". A job that waits in SLURM is cancelled; an engine in one
    gets SIGINT, because SIGTERM means there that SLURM preempts it. An engine on another host reads the request in the run
    directory (`engine/record/remote_request.py`). Raises RunError when there is nothing to stop.
    """
    if _leave_queue(run_dir):
        return
    in_job = read_status(run_dir).job is not None
    _ask(run_dir, "stop", signal.SIGINT if in_job else signal.SIGTERM)


def interrupt(run_dir: Path) -> None:
    """As `stop`, for Ctrl-C at the terminal (SIGINT): the engine exits with code 130."""
    _ask(run_dir, "stop", signal.SIGINT)


def preempt(run_dir: Path) -> None:
    """Ask the engine of a run to write a checkpoint and release its device (SIGUSR1). Raises RunError as `stop` does."""
    _ask(run_dir, "preempt", signal.SIGUSR1)


def kill(run_dir: Path, *, wait: float = 10.0) -> None:
    """Kill the engine of a run and all its children at once, without a checkpoint; the state becomes "stopped".

    A run that has ended keeps its state; only its engine, if it is still exiting, is killed. Raises RunError as `stop`
    does, and when the engine is not gone after `wait` seconds; one on another host has `REMOTE_WAIT`.
    """
    if _leave_queue(run_dir):
        return
    owner = _reachable(run_dir, "kill")
    if owner.state() == "elsewhere":
        _kill_elsewhere(run_dir, owner)
        return
    group = owner.pid if _leads_group(owner.pid) else None
    send(owner, signal.SIGKILL)
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + wait
    while owner.state() == "alive" or held(run_dir):
        if time.monotonic() > deadline:
            sentence = f"{owner} was killed but is still there after {wait:g} seconds: its device or disk may hang"
            raise RunError(sentence, kind="killed-engine-remains")
        time.sleep(0.02)
    if read_status(run_dir).state not in ENDED:
        update_status(run_dir, state="stopped", ended=time.time(), exit_code=137, eta=None, error=None)


def _ask(run_dir: Path, verb: str, number: signal.Signals) -> None:
    """Send a signal to the engine of a run, or a request where it is on another host. Raises as `stop`."""
    owner = _reachable(run_dir, verb)
    if owner.state() == "elsewhere":
        send_request(run_dir, owner, number)
    else:
        send(owner, number)


def _kill_elsewhere(run_dir: Path, owner: Owner) -> None:
    """Let an engine on another host kill itself, and wait until its status says so. Raises RunError when it does not react."""
    send_request(run_dir, owner, signal.SIGKILL)
    deadline = time.monotonic() + REMOTE_WAIT
    while (status := read_status(run_dir)).owner == owner and status.state not in ENDED:
        if time.monotonic() > deadline:
            sentence = f"{owner} has not reacted for {REMOTE_WAIT:g} seconds: its process may be paused, or its host gone. Kill it there"
            raise RunError(sentence, kind="no-reaction-elsewhere")
        time.sleep(0.1)


def _leave_queue(run_dir: Path) -> bool:
    """Mark a queued run as stopped; False when it is not queued, or its turn has just come."""
    status = read_status(run_dir)
    if status.state != "queued":
        return False
    if status.job is not None and status.job.id:
        cancel(status.job)
    try:
        update_status(run_dir, expect=("queued",), state="stopped", ended=time.time(), queue=None)
    except RunError:
        if read_status(run_dir).state == "queued":
            raise
        return False
    return True


def _reachable(run_dir: Path, verb: str) -> Owner:
    """The live engine process of a run, here or on another host. Raises RunError with the reason when there is none."""
    deadline = time.monotonic() + 10.0
    entry = read_run(run_dir)
    while entry.state == "created" and entry.status and entry.status.owner is None and time.monotonic() < deadline:
        time.sleep(0.05)  # its engine is starting
        entry = read_run(run_dir)
    status = entry.status
    if status is None:
        raise RunError(f"cannot read the run: {entry.problem}", kind="unreadable-run", file=str(entry.path))
    owner = status.owner
    if owner is not None and owner.pid == os.getpid() and owner.state() == "alive":
        raise RunError(f"the engine of {entry.id!r} is this process", kind="engine-is-this-process")
    exiting = verb == "kill" and owner is not None and owner.state() == "alive"
    if (status.state in ENDED and not exiting) or status.state in ("created", "queued"):
        raise RunError(f"nothing to {verb}: the run {entry.id!r} is {entry.state}", kind="run-not-running")
    if owner is not None and owner.state() == "elsewhere":
        if entry.state in ACTIVE:
            return owner
        sentence = (
            f"nothing to {verb}: {owner}, the engine of {entry.id!r}, has not written to the run directory for "
            f"{LOST_AFTER:.0f} seconds; `crild resume {entry.id}` continues the run"
        )
        raise RunError(sentence, kind="engine-silent-elsewhere")
    if owner is None or owner.state() == "gone":
        sentence = f"nothing to {verb}: the engine of {entry.id!r} is gone; `crild resume {entry.id}` continues the run"
        raise RunError(sentence, kind="engine-gone")
    holder = lock_holder(run_dir)
    if holder not in (None, UNSEEN, owner.pid) and not (exiting and holder == FREE and _is_engine(owner.pid, run_dir)):
        sentence = (
            f"nothing to {verb}: {owner}, which the status of {entry.id!r} names, does not hold the lock of the run"
        )
        raise RunError(sentence, kind="not-the-engine")
    return owner


def _is_engine(pid: int, run_dir: Path) -> bool:
    """Whether the command line of a process names the run; True where the system doesn't show command lines."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return not Path("/proc/self/cmdline").exists()
    return os.fsencode(run_dir.name) in map(os.path.basename, words)


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid and pid != os.getpgrp()
    except OSError:
        return False


def send(owner: Owner, number: signal.Signals) -> None:
    """Send a signal to exactly this process, never to another one that reuses its id."""
    try:
        if hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal"):
            handle = os.pidfd_open(owner.pid)
            try:
                if owner.state() == "alive":  # checked while the handle pins the process
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        elif owner.state() == "alive":
            os.kill(owner.pid, number)
    except ProcessLookupError:
        return  # it has just exited
    except PermissionError as error:
        sentence = f"{owner} belongs to another user: only they can signal it"
        raise RunError(sentence, kind="engine-of-another-user") from error
