"""Follow one run: poll its files, show what is new, pass signals on to its engine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli.follow.controls import Controls
from crild_tui.cli.follow.displays import Display
from crild_tui.cli.follow.ending import Ending
from crild_tui.cli.follow.event_messages import describe, stage_sentence
from crild_tui.cli.follow.outcome import Outcome
from crild_tui.runs import states
from crild_tui.runs.summary import RunSummary, apply_events, loading, with_status
from engine.record.states import ENDED

if TYPE_CHECKING:
    from engine.record.events import Event
    from engine.record.run import RunEntry
    from engine.record.status import Status

POLL = 0.25
"""Seconds between two looks at the files."""
STOPPING = "stopping at the next step with a checkpoint; press Ctrl-C again to kill the run instead"
STOPPING_BEFORE = "stopping before the next step; press Ctrl-C again to kill the run instead"
QUEUE_STOP = (
    "stopping this run at its next step with a checkpoint; the runs behind it are taken off the queue. "
    "Press Ctrl-C again to kill this run instead"
)


class Follower:
    """Follows one run until it ends or the user detaches."""

    def __init__(
        self,
        run_dir: Path,
        display: Display[RunSummary],
        controls: Controls,
        *,
        owner: bool,
        after: int = 0,
        empty_queue: Callable[[], None] | None = None,
    ):
        """An `owner` passes signals on to the engine; otherwise Ctrl-C only detaches.

        `after` is the number of the attempt that was just started, 0 for any: the end of an earlier one is ignored.
        `empty_queue` is called before the engine is asked to stop.
        """
        from engine.record.events import EventTail

        self.run_dir, self.display, self.controls = run_dir, display, controls
        self._owner, self._empty_queue = owner, empty_queue
        self.tail = EventTail(run_dir)
        self.summary = RunSummary()
        self._generation = self.tail.generation
        self._ending = Ending(after)
        self._last_state = ""
        self._waiting: str | None = None

    def history(self, *, loads: bool = False) -> None:
        """Read the events so far and show a summary of them; with `loads` a new attempt is about to start."""
        events = self.tail.poll()
        self.summary = apply_events(self.summary, events)
        for stage in self.summary.stages:
            self.display.message("info", stage_sentence(stage, self.summary.metric_name))
        if loads:  # the new attempt repeats what still holds
            self.summary = loading(self.summary)
            return
        repeated = self._error()
        messages = {
            event.get("text"): event
            for event in events
            if event.get("kind") == "message"
            and event.get("level") in ("warning", "error")
            and event.get("text") != repeated
        }
        for event in [*messages.values()][-10:]:
            for level, line in describe(event, self.summary):
                self.display.message(level, line)

    def _error(self) -> str | None:
        """The error that the run ended with, which the outcome says; None for any other run."""
        from engine.record.run import read_run

        status = read_run(self.run_dir).status
        return str(status.error) if status is not None and status.error is not None else None

    def go(self) -> Outcome:
        """Follow to the end."""
        try:
            while True:
                entry, state = self._poll()
                outcome = self._ended(entry, state) or self._signals(state, entry.status)
                if outcome is not None:
                    return outcome
                self.controls.wait(POLL)
        finally:
            self.display.close()

    def _poll(self) -> tuple[RunEntry, str]:
        from engine.record.run import read_run

        entry = read_run(self.run_dir)
        state = self._ending.state_of(entry)
        self._events()
        if entry.status is not None:
            self.summary = with_status(self.summary, entry.status, state)
        if state == "stalled" != self._last_state:
            stalled = states.describe(entry, states.command_hints(self.run_dir), time.time())
            self.display.message("warning", stalled.fact)
        self._last_state = state
        self._show_waiting(entry.status)
        self.display.update(self.summary)
        return entry, state

    def _show_waiting(self, status: Status | None) -> None:
        """Show what the queue is waiting for: an older queue, a busy GPU."""
        from engine.record.files import read_json
        from engine.record.paths import queue_file

        if status is None or status.state != "queued" or status.queue is None:
            return
        waiting = (read_json(queue_file(self.run_dir.parent, status.queue)) or {}).get("waiting")
        if waiting and waiting != self._waiting:
            self.display.message("info", f"waiting {waiting}")
        self._waiting = waiting

    def _events(self) -> None:
        events = self.tail.poll()
        if self.tail.generation != self._generation:  # files were replaced: start over
            self._generation = self.tail.generation
            self.summary = apply_events(RunSummary(), events)
            return
        for event in events:
            self.summary = apply_events(self.summary, (event,))
            self._describe(event)

    def _describe(self, event: Event) -> None:
        if event.get("kind") == "message" and event.get("level") == "error":
            return  # it ends the attempt, and the outcome says it
        for level, line in describe(event, self.summary):
            self.display.message(level, line)

    def _ended(self, entry: RunEntry, state: str) -> Outcome | None:
        if not self._ending.has_come(entry):
            return None
        if state in ENDED:
            self._events()  # the engine writes its last events before its last status
        return self._outcome(state, entry.status)

    def _signals(self, state: str, status: Status | None) -> Outcome | None:
        from engine.launch.signals import interrupt, kill, preempt, stop

        if not self._owner:
            if self.controls.count(signal.SIGINT):
                return Outcome(self.run_dir, state, status, detached=True)
            return None
        presses = self.controls.take(signal.SIGINT)
        if presses == 1:
            message = STOPPING_BEFORE if self.summary.stage is None else STOPPING
            self._stop(message if self._empty_queue is None else QUEUE_STOP, interrupt)
        elif presses:
            self.display.message("warning", "killing the run")
            self._send(kill)
        for which, action in ((signal.SIGTERM, stop), (signal.SIGUSR1, preempt)):
            if self.controls.take(which):
                self._stop("asked to stop: waiting for the engine's checkpoint", action)
        return None

    def _stop(self, message: str, action: Callable[[Path], object]) -> None:
        self.display.message("info", message)
        if self._empty_queue is not None:
            self._empty_queue()
        self._send(action)

    def _send(self, action: Callable[[Path], object]) -> None:
        from engine.errors import CrildError

        try:
            action(self.run_dir)
        except CrildError as error:  # it has ended: the next poll reports how
            self.display.message("warning", error.sentence)

    def _outcome(self, state: str, status: Status | None) -> Outcome:
        from engine.record.run import read_run

        return Outcome(
            self.run_dir,
            state,
            status,
            interrupted=self.controls.count(signal.SIGINT) > 0,
            terminated=bool(self.controls.count(signal.SIGTERM) or self.controls.count(signal.SIGUSR1)),
            position=(self.summary.stage, self.summary.step) if self.summary.stage else None,
            problem=read_run(self.run_dir).problem if state == "unreadable" else None,
        )
