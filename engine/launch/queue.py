"""Queues: a small detached process that starts runs one after the other."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import CrildError, RunError, UsageError
from engine.launch.background import Asked, device_of, start_detached, works
from engine.launch.gpu import busy_gpu
from engine.launch.signals import send, stop
from engine.launch.start import start_engine
from engine.record.files import cause
from engine.record.lock import FileLock, held
from engine.record.owner import Owner
from engine.record.queue import QueueRecord, list_queues, queue_file, read_queue, write_queue
from engine.record.run import read_status, update_status
from engine.record.states import ENDED
from engine.record.status import Fault

WAITING = ("created", "queued")
"""States of runs that can be put into a queue."""
POLL = 0.5
"""Seconds between two looks at the present run."""
GPU_POLL = 10.0
"""Seconds between two looks at a busy GPU."""
HEARTBEAT = 30.0
"""Seconds between two signs of life in the record."""


def enqueue(runs: Sequence[Path], runs_dir: Path, *, command: Sequence[str] | None = None) -> str:
    """Let a detached process start these runs of `runs_dir` in this order, one at a time; returns the queue's id.

    The runs become "queued". The process works in a session of its own; it waits for older queues of the same runs
    directory and device, and for a busy GPU. A run that fails does not stop the ones after it. `command` replaces the
    engine's command line (for tests). Raises UsageError for runs of another folder, RunError for runs that were started
    before and when the process cannot be started (its runs are lost then: resuming one starts it).
    """
    runs_dir = runs_dir.resolve()
    if not runs:
        raise UsageError("a queue needs at least one run")
    for run in runs:
        if run.resolve().parent != runs_dir:
            raise UsageError(f"{str(run)!r} is no run of {str(runs_dir)!r}: a queue serves one folder of runs")
        state = read_status(run).state
        if state not in WAITING:
            raise RunError(f"the run {run.name!r} cannot be queued: it is {state}")
    record = QueueRecord(
        id=f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}",
        created=time.time(),
        runs=tuple(run.name for run in runs),
        device=device_of(runs[0]),
    )
    file = queue_file(runs_dir, record.id)
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"no queue can be made: {cause(error)}", file=str(file.parent)) from error
    _clear_old(runs_dir)
    write_queue(file, record)
    try:
        for run in runs:
            update_status(run, expect=WAITING, state="queued", queue=record.id)
        _start(file, command)
    except RunError:
        write_queue(file, replace(record, state="stopped"))
        raise
    return record.id


def continue_queue(runs_dir: Path, *, command: Sequence[str] | None = None) -> list[str]:
    """Start again the processes of queues that were killed or stopped with runs left; returns their ids."""
    runs_dir = runs_dir.resolve()
    continued = []
    for record in list_queues(runs_dir):
        if record.state == "ended" or record.alive():
            continue
        _start(queue_file(runs_dir, record.id), command)
        continued.append(record.id)
    return continued


def stop_queue(runs_dir: Path, queue: str) -> None:
    """Ask a queue to stop: its present run writes a checkpoint and stops, the rest stay queued for `continue_queue`.

    Raises RunError when there is no such queue, or its process is gone or out of reach from here.
    """
    record = read_queue(queue_file(runs_dir, queue))
    where = None if record.owner is None else record.owner.state()
    if record.state != "active" or record.owner is None or where == "gone":
        raise RunError(f"there is nothing to stop: the process of queue {queue} has ended")
    if where == "elsewhere":
        raise RunError(f"queue {queue} is {record.owner}, out of reach from here: stop it there")
    send(record.owner, signal.SIGTERM)


def work(file: Path, command: Sequence[str] | None = None) -> int:
    """The queue's process: start each run in its turn and wait for it; returns the exit code.

    Raises RunError when another process works on this queue, or its record can be neither read nor written.
    """
    asked = Asked().install()
    with FileLock(file.with_suffix(".lock")) as own:
        if not own.try_acquire():
            raise RunError("another process works on this queue", file=str(file))
        worker = _Worker(file, asked, command)
        with FileLock(file.parent / f"{_plain(worker.record.device)}.turn") as turn:
            if worker.await_turn(turn):
                worker.run_all()
        worker.end()
        own.path.unlink(missing_ok=True)
    return 143 if asked.times else 0


class _Worker:
    """Works through one record, and writes down where it stands."""

    def __init__(self, file: Path, asked: Asked, command: Sequence[str] | None) -> None:
        self.file = file
        self.runs_dir = file.parent.parent
        self.asked = asked
        self.command = command
        self.record = read_queue(file)
        self.interrupted = self.record.present
        """The run that a killed process of this queue was at."""
        self._note(owner=Owner.current(), state="active", waiting=None)

    def _note(self, **changes: Any) -> None:
        self.record = replace(self.record, heartbeat=time.time(), **changes)
        write_queue(self.file, self.record)

    def _sleep(self, waiting: str | None) -> None:
        late = time.time() - (self.record.heartbeat or 0.0) > HEARTBEAT
        if late or waiting != self.record.waiting:
            self._note(waiting=waiting)
        time.sleep(POLL)

    def await_turn(self, turn: FileLock) -> bool:
        """Wait until older queues for this device are done; False when asked to end meanwhile."""
        while not self.asked.times:
            older = [other for other in list_queues(self.runs_dir) if self._comes_first(other)]
            if not older and turn.try_acquire():
                return True
            self._sleep(f"for queue {older[0].id} to end" if older else "for another queue to end")
        return False

    def _comes_first(self, other: QueueRecord) -> bool:
        mine = self.record
        return other.device == mine.device and (other.created, other.id) < (mine.created, mine.id) and other.alive()

    def run_all(self) -> None:
        """Give each run its turn. A run that cannot be started, or fails, does not stop the ones after it."""
        for index in range(self.record.next, len(self.record.runs)):
            if self.asked.times:
                return
            name = self.record.runs[index]
            self._note(next=index, present=name, waiting=None)
            try:
                self._give_turn(self.runs_dir / name)
            except CrildError as error:
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            if not self.asked.times:
                self._note(next=index + 1, present=None)

    def end(self) -> None:
        """Write down how it ended."""
        done = self.record.next >= len(self.record.runs)
        self._note(state="ended" if done else "stopped", waiting=None)

    def _give_turn(self, run_dir: Path) -> None:
        status = read_status(run_dir)
        if status.queue != self.record.id:
            return  # it was stopped, or put into another queue
        if status.state == "queued":
            if not self._await_gpu(run_dir):
                return
            # Fails when the run was stopped in this moment: of the two, exactly one gets it.
            update_status(run_dir, expect=("queued",), state="created", heartbeat=time.time())
            self._start(run_dir)
        elif status.state in ENDED:
            return
        elif not held(run_dir):  # otherwise it was started out of turn, or by this queue before it was killed
            if self.interrupted != run_dir.name:
                return
            self._start(run_dir)
        self._follow(run_dir)

    def _start(self, run_dir: Path) -> None:
        try:
            start_engine(run_dir, resume=True, command=self.command)
        except RunError as error:
            with contextlib.suppress(RunError):  # so that it does not look as if it were about to start
                fault = Fault.from_error(error)
                update_status(
                    run_dir,
                    expect=("created",),
                    state="failed",
                    ended=time.time(),
                    exit_code=error.exit_code,
                    error=fault,
                )
            raise

    def _await_gpu(self, run_dir: Path) -> bool:
        """Wait until the GPU that a run wants is free; False when asked to end, or the run left the queue."""
        device = device_of(run_dir)
        looked = -GPU_POLL
        reason = None
        while not self.asked.times and read_status(run_dir).state == "queued":
            if time.monotonic() - looked >= GPU_POLL:
                reason = busy_gpu(device, self.runs_dir, apart_from=run_dir.name)
                looked = time.monotonic()
            if reason is None:
                return True
            self._sleep(f"for the GPU: {reason}")
        return False

    def _follow(self, run_dir: Path) -> None:
        """Wait until the engine of a run has ended; pass on, once, that it should stop."""
        passed_on = False
        while works(run_dir) and self.asked.times < 2:
            if self.asked.times and not passed_on:
                passed_on = True
                with contextlib.suppress(RunError):
                    stop(run_dir)
            self._sleep(None)


def _plain(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", device.lower())[:32] or "auto"


def _start(file: Path, command: Sequence[str] | None) -> None:
    """Start the process of a queue and wait until it has taken it. Raises RunError with what it printed otherwise."""
    start_detached("queue", file, ["engine.launch", "queue", str(file)], lambda: read_queue(file).owner, command)


def _clear_old(runs_dir: Path) -> None:
    """Remove the records of queues that ended more than a week ago."""
    for record in list_queues(runs_dir):
        if record.state == "ended" and time.time() - (record.heartbeat or record.created) > 7 * 86400:
            for ending in (".json", ".log"):
                queue_file(runs_dir, record.id).with_suffix(ending).unlink(missing_ok=True)
