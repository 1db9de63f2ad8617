"""The reader: a process that sends one run's events to one tracker, `process.py track KIND [--background] RUN`.

It only reads the run: the engine neither waits for it nor knows it. What it writes is its own record, lock and log.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import CrildError, RunError, UsageError
from engine.record.events import EventTail
from engine.record.files import cause
from engine.record.home import provide_home
from engine.record.lock import FileLock
from engine.record.owner import TEMPORARY, Owner
from engine.record.run import read_run, read_status
from engine.record.run_folder import RunFolder
from engine.record.secrets import without_secrets
from engine.record.standard_streams import open_standard_streams
from engine.record.states import ACTIVE, IN_PROGRESS
from engine.record.status import Status
from engine.record.tracking import (
    NAMES,
    TAKES_STUDENT,
    TRACKERS,
    Tracking,
    ending,
    is_ended,
    now,
    read_tracking,
    tracking_lock,
    write_tracking,
)
from engine.track.curves import KINDS, Curves, Point, last_steps, without
from engine.track.facts import RunFacts, facts_of, outcome_of
from engine.track.tracker import Tracker, make_tracker
from engine.user.settings import Track, read_settings

BACKGROUND, WITH_STUDENT = "--background", "--student"
BUSY = 75
"""Exit code where another reader sends the run to this tracker."""
POLL = 2.0
"""Seconds between two looks at the events of a running run."""
AT_ONCE = 1000
"""Points handed over between two records of it."""
PATIENCE = 300.0
"""Seconds that a call of a tracker may take; an upload of a student may take ten times as long."""
DELAYS = (5.0, 15.0, 60.0)
"""Seconds until the next try after an error, the last again and again; after the end of the run, as many tries as here."""
_ALONE = {
    # No GPU, one thread, and nothing sent to anybody but the tracker that the user chose.
    "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
}  # fmt: skip
_DEFAULTS = {
    "WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
    "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false", "GIT_PYTHON_REFRESH": "quiet",
}  # fmt: skip
"""Variables that the user's own override."""

Make = Callable[[str, RunFacts, Track], Tracker]


@dataclass(frozen=True)
class Timing:
    """How a reader waits; tests wait less."""

    poll: float = POLL
    delays: tuple[float, ...] = DELAYS
    patience: float = PATIENCE


class Reader:
    """Sends the events of one run to one tracker, from where the tracker is to the end of the run."""

    def __init__(
        self, run_dir: Path, kind: str, settings: Track, *, background: bool, make: Make = make_tracker, timing: Timing
    ) -> None:
        self._folder = RunFolder(run_dir.resolve())
        self._kind, self._settings, self._background, self._make, self._timing = (
            kind,
            settings,
            background,
            make,
            timing,
        )
        self._record = Tracking()
        self._tracker: Tracker | None = None
        self._busy_since: float | None = None
        self._allowed = timing.patience

    @property
    def run_dir(self) -> Path:
        """Where the run is now. Raises RunError when it was removed, or is being removed."""
        path = self._folder.path()
        if TEMPORARY.fullmatch(path.name):
            raise RunError("the run is being deleted", kind="run-being-deleted", file=str(path))
        return path

    def _is_gone(self) -> bool:
        with suppress(RunError):
            return not self.run_dir.is_dir()
        return True

    def run(self) -> int:
        """Send everything; returns the exit code: 0, 1 after an error, BUSY. A run that was removed ends it."""
        with FileLock(tracking_lock(self.run_dir, self._kind)) as lock:
            try:
                while not lock.try_acquire():
                    if not self._background or not self._is_active():
                        return BUSY
                    time.sleep(self._timing.poll)  # the reader of the attempt before is about to end
            except OSError as error:
                sentence = f"cannot be locked: {cause(error)}"
                raise RunError(sentence, kind="cannot-lock-tracking", file=str(lock.path)) from error
            self._record = replace(read_tracking(self.run_dir, self._kind) or Tracking(), owner=Owner.current())
            self._write()
            threading.Thread(target=self._watch, name="watch", daemon=True).start()
            return self._until_the_end()

    def _until_the_end(self) -> int:
        delays = self._timing.delays
        failures, left = 0, len(delays)
        while True:
            try:
                self._send_all()
                return 0
            except Exception as error:  # noqa: BLE001 - what a tracker raises must not end the others, nor this
                failures = 0 if self._record.error is None else failures + 1  # something was sent in between
                self._note(error)
                self._drop()
            if self._is_gone() or not self._background:
                return 1
            if not self._is_active():
                left -= 1
            if left < 0:
                return 1
            time.sleep(delays[min(failures, len(delays) - 1)])

    def _send_all(self) -> None:
        """Open the tracker, and send until the run has ended and its results are there. Raises what the tracker raises."""
        facts = facts_of(self.run_dir)
        tracker = self._tracker = self._make(self._kind, facts, self._settings)
        with self._calling():
            arrived = dict(tracker.open(self._record))
        self._update(remote=tracker.remote, where=without_secrets(tracker.where), sent=arrived)
        tail, curves, generation = EventTail(self.run_dir, KINDS), Curves(), 0
        while True:
            state = read_run(self.run_dir).state  # before the events: what an ended run wrote is all there
            if tail.run_dir != self.run_dir:
                tail, curves = EventTail(self.run_dir, KINDS), Curves()
            events = tail.poll(AT_ONCE)
            if tail.generation != generation:  # a file was replaced: count again from the start
                tail, curves, generation = EventTail(self.run_dir, KINDS), Curves(), 0
                continue
            self._send(tracker, curves.add(events))
            if not events and state not in IN_PROGRESS:
                break
            if not events:
                time.sleep(self._timing.poll)
        self._finish(tracker, state)

    def _send(self, tracker: Tracker, points: list[Point]) -> None:
        fresh = without(points, self._record.sent)
        if not fresh:
            return
        with self._calling():
            tracker.send(fresh)
        sent = {**self._record.sent, **last_steps(fresh)}
        self._update(sent=sent, points=max(self._record.points, fresh[-1].number + 1), error=None)

    def _finish(self, tracker: Tracker, state: str) -> None:
        """Send how the run ended, unless that is there, and close the tracker."""
        status = replace(read_status(self.run_dir), state=state)  # lost, where its engine was killed
        student = self._settings.student and self._kind in TAKES_STUDENT
        known = is_ended(self._record, status, self._kind, student=student)
        outcome = outcome_of(self.run_dir, state, student=student and not known)
        if known or self._has_results(status):
            outcome = replace(outcome, figures={}, table="", again=True)
        with self._calling(10 if student else 1):
            tracker.finish(outcome)
            tracker.close()
        self._tracker = None
        changes: dict[str, Any] = {} if known else {"ended": ending(status), "student": student}
        self._update(confirmed=self._record.sent, error=None, **changes)

    def _has_results(self, status: Status) -> bool:
        """Whether the results of this attempt are there, also where a kill kept that from the record."""
        if self._record.ended:
            return self._record.ended == ending(status)
        return any(name.startswith("results/") for name in self._record.sent)

    def _is_active(self) -> bool:
        return read_run(self.run_dir).state in ACTIVE | {"created"}

    # -- the record

    def _update(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        self._write()

    def _write(self) -> None:
        self._record = replace(self._record, updated=now())
        write_tracking(self.run_dir, self._kind, self._record)

    def _note(self, error: Exception) -> None:
        """Put an error into the record, and its traceback into the log, unless it is the one before."""
        sentence = sentence_of(error, self._kind)
        if sentence != self._record.error:
            print(without_secrets("".join(traceback.format_exception(error))), file=sys.stderr, flush=True)
        with suppress(CrildError):  # a full disk, a run that was removed: the log has it
            self._update(error=sentence)

    def _drop(self) -> None:
        """Give a tracker that raised an error the chance to write what it has."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            with suppress(Exception), self._calling():
                tracker.close()

    # -- trackers that hang

    @contextmanager
    def _calling(self, times: int = 1) -> Iterator[None]:
        """A call of the tracker, which may take `times` the patience."""
        self._busy_since, self._allowed = time.monotonic(), times * self._timing.patience
        try:
            yield
        finally:
            self._busy_since = None

    def _watch(self) -> None:
        """End this process when a call never returns, or start it again: the record says where to continue."""
        while True:
            time.sleep(min(1.0, self._timing.patience / 4))
            since = self._busy_since
            if since is not None and time.monotonic() - since > self._allowed:
                self._note(TimeoutError(f"no answer within {self._allowed:.0f} seconds"))
                with suppress(CrildError, OSError):
                    if self._background and self._is_active():
                        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this process again
                os._exit(1)


def sentence_of(error: Exception, kind: str) -> str:
    """An error as one sentence without credentials: what a tracker's library says, or crild."""
    if isinstance(error, CrildError):
        return without_secrets(str(error))
    text = without_secrets(" ".join(str(error).split()))[:300]
    if isinstance(error, ImportError):
        return f"{NAMES[kind]} cannot be imported ({text}): pip install 'crild[{kind}]'"
    return f"{NAMES[kind]} raised {type(error).__name__}{f': {text}' if text else ''}".rstrip(".")


def main(words: Sequence[str]) -> int:
    """Send a run to a tracker; returns the exit code."""
    open_standard_streams()
    provide_home()
    options = [word for word in words if word.startswith("--")]
    rest = [word for word in words if not word.startswith("--")]
    try:
        if len(rest) != 2 or rest[0] not in TRACKERS or not {*options} <= {BACKGROUND, WITH_STUDENT}:
            sentence = f"a reader takes one of {', '.join(TRACKERS)}, {BACKGROUND}, {WITH_STUDENT}, and a run"
            raise UsageError(sentence, kind="unknown-reader")
        background = BACKGROUND in options
        if background:
            os.nice(19)
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):  # SLURM sends them to every process of a job
                signal.signal(number, signal.SIG_IGN)
        os.environ.update(_ALONE)
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        for name in ("MLFLOW_RUN_ID", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME"):  # of another run
            os.environ.pop(name, None)
        settings = read_settings(Track)
        if WITH_STUDENT in options:
            settings = settings.model_copy(update={"student": True})
        run_dir = Path(rest[1]).resolve()
        reader = Reader(run_dir, rest[0], settings, background=background, timing=Timing())
        os.chdir(run_dir.parent.parent)  # where the trackers' own defaults put their files
        return reader.run()
    except CrildError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
