"""The engine's side of a run directory: lock, owner, heartbeat, events, phases, signals. Needs nothing heavy.

An engine process opens its session before it loads torch, so that whoever started it sees within a moment that it lives:

    with RunSession(run_dir) as session:
        with session.reading("importing the libraries"):
            import torch
        ...
        session.events.write("run_started", attempt=session.attempt, stages=[...], stage="ild", step=0)
        session.update(stage="ild", step=10, eta=42.0)
        if session.request.state is not None:
            ...                                            # save a checkpoint, then
            session.finish(session.request.state, session.request.exit_code)
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.errors import CrildError, RunError
from engine.record.events import EventWriter
from engine.record.files import json_text, overwrite, write_json
from engine.record.inventory import remove_run_leftovers
from engine.record.lock import RunLock
from engine.record.owner import Owner
from engine.record.paths import REQUEST, STATUS, event_files, events_file, log_file
from engine.record.phases import Phase, Phases, Report
from engine.record.remote_request import read_request
from engine.record.removal import OpenFolder, remove_file
from engine.record.run import read_status
from engine.record.run_folder import RunFolder
from engine.record.secrets import without_secrets
from engine.record.states import ENDED
from engine.record.status import Fault, Job, Status
from engine.record.stop_request import Stopped, StopRequest

HEARTBEAT = 5.0
"""Seconds between two heartbeats."""
FLUSH = 0.5
"""Seconds within which progress and requests by signal reach status.json."""
ENDS_WITH = "CRILD_ENDS_WITH"
"""Environment variable: the process id of a starter without which an engine must not go on (see `engine.sweep.node_process`)."""
START_LOG = "CRILD_START_LOG"
"""Environment variable: the file with an engine's output until its attempt has a number."""


class RunSession:
    """One engine process working on one run directory, from taking its lock to its last status.

    Raises RunError when another process owns the run, or its files cannot be read or written. As a context manager,
    an exception ends the run as failed, with the sentence of a CrildError or as a bug.
    """

    def __init__(self, run_dir: Path, *, signals: bool = True, job: Job | None = None) -> None:
        """`job` is the scheduler's job that this process runs in."""
        self._job = job
        self.request = StopRequest(scheduled=job is not None)
        self.phases = Phases(self._write_phase, self.request.check)
        """What the engine does besides steps; rooms that take a `Report` get this."""
        if signals:
            self.request.install()
        self._guard = threading.RLock()
        self.trained = False
        """Whether a stage of this attempt has started: from then on a finished run is being extended."""
        self._process = os.getpid()
        self._ended = threading.Event()
        self._owner = Owner.current()
        self._starter = int(os.environ.pop(ENDS_WITH, None) or 0)
        self._obeyed: signal.Signals | None = None
        """The request of another host that was obeyed last."""
        self._dirty = False
        self._silent_since: float | None = None
        self._fault: RunError | None = None
        self._path = run_dir.absolute()
        """Where the folder was when it was last looked for."""
        self._folder = RunFolder(self._path)
        self._lock = RunLock(self._path)
        try:
            self._lock.take(wait=1.0)
            self.before = read_status(self._path)
            """The status as the last attempt left it."""
            self.attempt = max(event_files(self._path), default=0) + 1
            self._adopt_log()
            self._remove_request()
            remove_run_leftovers(self._path)
            self.events = EventWriter(events_file(self._path, self.attempt), self.attempt)
            self._status = self._started_status()
            self._write()
        except BaseException:
            self._lock.release()
            self._folder.close()
            raise
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def _started_status(self) -> Status:
        now = time.time()
        return replace(
            self.before, id=self._path.name, state="running", attempt=self.attempt, started=now, ended=None, heartbeat=now,
            owner=self._owner, inode=self._folder.inode, error=None, exit_code=None, eta=None, rate=None,
            job=self._job,
        )  # fmt: skip

    @property
    def ended(self) -> bool:
        """Whether the last status was written, or could not be: nothing can be recorded any more."""
        return self._ended.is_set()

    @property
    def run_dir(self) -> Path:
        """The run directory, wherever it is now: a renamed one is followed. Raises RunError when it was removed."""
        with self._guard:
            if not self._ended.is_set():
                self._follow()
            return self._path

    def _follow(self) -> None:
        """Find the run directory if it was renamed, and say so. Raises RunError when it was removed."""
        path = self._folder.path()
        if path == self._path:
            return
        text = f"the run directory was renamed from {str(self._path)!r} to {str(path)!r}; the run continues in it"
        self._path = path
        self._status = replace(self._status, id=path.name)
        self._dirty = True
        print(f"warning: {text}", flush=True)
        with contextlib.suppress(RunError):  # a full disk
            self.events.write("message", level="warning", text=text)

    @property
    def status(self) -> Status:
        """The present status."""
        with self._guard:
            return self._status

    def update(self, **changes: Any) -> None:
        """Change fields of the status. A new state is written at once, progress within half a second.

        Raises RunError when the run directory was removed, and when the status could not be written for a minute: such a run
        could not be followed or resumed.
        """
        self._only_owner()
        with self._guard:
            if self._ended.is_set():
                raise ValueError("the session has ended")
            self._follow()
            if self._fault and self._silent_since and time.monotonic() - self._silent_since > 60.0:
                raise self._fault
            state = self._status.state
            self._status = replace(self._status, **changes)
            self._dirty = True
            if self._status.state != state:
                self._write()

    @contextmanager
    def reading(self, phase: str) -> Iterator[Report]:
        """A phase that loses nothing when it is killed: a request to stop ends it at once, wherever it is.

        Rooms that are called in it may report other phases. Raises Stopped.
        """
        with self.request.interrupting(), self.phases.open(phase) as report:
            yield report

    def outcome(self, state: str) -> str:
        """The state in which this attempt leaves the run if it ends in `state`.

        A finished run stays finished, with its results, when an attempt to extend it ends before it trains.
        """
        return "finished" if self.before.state == "finished" and not self.trained else state

    def finish(
        self,
        state: str,
        exit_code: int,
        error: CrildError | Fault | None = None,
        *,
        then: Callable[[Path], None] | None = None,
    ) -> None:
        """End the attempt in `state`, and the run in its `outcome`: finished, failed, stopped or preempted.

        The lock is released, events are closed. `then` is called with the run directory once the status is written, while
        the run is still locked: for what may be deleted of a run that has ended. Raises RunError when the status cannot be
        written; the lock is released anyway. A run whose directory was removed has no status any more.
        """
        if state not in ENDED:
            raise ValueError(f"{state!r} does not end a run")
        fault = Fault.from_error(error) if isinstance(error, CrildError) else error
        before, changes = self.before, {"ended": time.time()}
        if self.outcome(state) != state:
            changes = {name: getattr(before, name) for name in ("started", "ended", "device")}
            fault = fault or Fault("run", "stopped before it trained; the run is finished, as it was")
        self._end(then, state=self.outcome(state), exit_code=exit_code, error=fault, **changes)

    def _end(self, then: Callable[[Path], None] | None, **changes: Any) -> None:
        """Write the last status, release the lock, close the events."""
        self._only_owner()
        with self._guard:
            if self._ended.is_set():
                return
            gone = self._folder.is_gone()
            if not gone:
                self._follow()
            self._ended.set()
            self._status = replace(self._status, heartbeat=time.time(), eta=None, **changes)
            try:
                if not gone:
                    self._remove_request()
                    self._write_last()
                    if then is not None:
                        then(self._path)
            finally:
                self.events.close()
                self._lock.release()
                self._folder.close()
        self._thread.join(timeout=10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process != os.getpid() or self._ended.is_set():
            return
        try:
            self._finish_after(error)
        except RunError as second:  # the error that ended the run matters more
            if error is None:
                raise
            print(f"could not write the status: {second}", file=sys.stderr, flush=True)

    def _finish_after(self, error: BaseException | None) -> None:
        if isinstance(error, CrildError):
            self.finish("failed", error.exit_code, error)
        elif isinstance(error, Stopped):
            self.finish(self.request.state or "stopped", self.request.exit_code)
        elif isinstance(error, KeyboardInterrupt):
            self.finish("stopped", 130)
        elif isinstance(error, SystemExit) or error is None:
            self.finish("failed", 1, Fault("bug", "the engine exited without a result"))
        else:
            self.finish("failed", 1, Fault("bug", _as_sentence(error)))

    def _only_owner(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a forked child may not write the status of its parent's run")

    def _write(self) -> None:
        write_json(self.run_dir / STATUS, self._status.to_dict())
        self._dirty = False
        self._silent_since = self._fault = None

    def _write_last(self) -> None:
        """Write the final status even on a full device; otherwise a failed run looks lost."""
        try:
            self._write()
        except RunError:
            try:
                overwrite(self.run_dir / STATUS, json_text(self._status.to_dict()))
            except OSError:
                pass
            else:
                return
            raise

    def _beat(self) -> None:
        """Write progress and requests every half second, and a heartbeat every five."""
        while not self._ended.wait(FLUSH):
            with self._guard:
                if self._ended.is_set():
                    return
                self.phases.beat()
                self._obey()
                if self._starter not in (0, os.getppid()):
                    self._kill()  # the run is lost: whoever ended its starter gives the device to another
                status = self._status
                asked = self.request.signal is not None and status.state == "running"
                late = time.time() - (status.heartbeat or 0.0) >= HEARTBEAT
                if not (asked or late or self._dirty or status.heartbeat is None or status.heartbeat > time.time()):
                    continue
                self._status = replace(status, heartbeat=time.time(), state="stopping" if asked else status.state)
                try:
                    self._write()
                except RunError as error:  # a full disk may be temporary; `update` raises when it lasts
                    self._fault = error
                    self._silent_since = self._silent_since or time.monotonic()
                    if self._folder.is_gone():  # the next check between two pieces of work ends the run
                        self.request.ask()

    def _obey(self) -> None:
        """Do what another host requests: stop as by a signal; on SIGKILL, end at once as "stopped", without a checkpoint."""
        number = read_request(self._path, self._owner)
        if number is None or number == self._obeyed:
            return
        self._obeyed = number
        if number != signal.SIGKILL:
            os.kill(self._process, number)  # its handler runs in the main thread, as for a signal from this host
            return
        outcome, now = self.outcome("stopped"), time.time()
        self._status = replace(self._status, state=outcome, ended=now, heartbeat=now, eta=None, exit_code=137)
        with contextlib.suppress(RunError):  # the run is lost then, instead of stopped
            self._remove_request()
            self._write()
        self._kill()

    def _kill(self) -> None:
        """End this process and its children at once."""
        if os.getpgid(0) == self._process:
            os.killpg(self._process, signal.SIGKILL)
        os.kill(self._process, signal.SIGKILL)

    def _remove_request(self) -> None:
        with contextlib.suppress(OSError):
            remove_file(self._path / REQUEST, missing_ok=True)

    def _write_phase(self, phase: Phase) -> None:
        """Write how far a phase is. A device that is full or broken ends no run for that: the next real event does."""
        with contextlib.suppress(RunError):
            self.events.write("phase", **phase.to_dict())

    def _adopt_log(self) -> None:
        """Rename the file with the output so far after this attempt."""
        start = os.environ.pop(START_LOG, None)
        if start and Path(start).parent == self._path:
            with contextlib.suppress(OSError), OpenFolder.at(self._path) as run:
                run.rename(Path(start).name, log_file(self._path, self.attempt).name)


def _as_sentence(error: BaseException) -> str:
    text = without_secrets(" ".join(str(error).split()))[:500]
    return f"a bug in crild: {type(error).__name__}: {text or 'no message'}; the log has the traceback"
