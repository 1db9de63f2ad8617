"""The loop that follows one run: polls its files, tells what is new, passes on what is asked for."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli.follow.controls import Controls
from crild_tui.cli.follow.displays import Display
from crild_tui.cli.follow.event_messages import describe, stage_sentence
from crild_tui.cli.follow.outcome import Outcome
from crild_tui.runs import states
from crild_tui.runs.summary import RunSummary, apply_events, loading, with_status
from engine.record.states import ENDED

if TYPE_CHECKING:
    from engine.record.events import Event
    from engine.record.status import Status

POLL = 0.25
"""Seconds between two looks at the files."""
PATIENCE = 2.0
"""Seconds for which a run must look lost before it counts as lost."""
START_PATIENCE = 60.0
"""Seconds that an engine which was just started has to take its run."""
STOPPING = "stopping at the next step with a checkpoint; press Ctrl-C again to kill the run instead"
KILLING = "killing the run"


@dataclass(frozen=True)
class Mode:
    """What signals mean: `owner` passes them on to the engine, else Ctrl-C only detaches.

    `on_stop` is done before the engine is asked to stop: emptying the queue, say.
    """

    owner: bool
    on_stop: Callable[[], None] | None = None
    stop_sentence: str = STOPPING


class Follower:
    """Follows one run until it ends or the person turns away."""

    def __init__(self, run_dir: Path, display: Display, controls: Controls, mode: Mode, *, after: int = 0):
        """`after` is the number of the attempt that was just started, 0 for any: how those before ended is no end."""
        from engine.record.events import EventTail

        self._after, self._began = after, time.monotonic()
        self.run_dir, self.display, self.controls, self.mode = run_dir, display, controls, mode
        self.tail = EventTail(run_dir)
        self.summary = RunSummary()
        self._generation = self.tail.generation
        self._handled: dict[int, int] = {}
        self._lost_since: float | None = None
        self._noted = ""
        self._waiting: str | None = None

    def history(self, *, loads: bool = False) -> None:
        """Take in what is there already, and tell it in summary; with `loads` a new attempt is about to begin."""
        events = self.tail.poll()
        self.summary = apply_events(self.summary, events)
        for stage in self.summary.stages:
            self.display.message("info", stage_sentence(stage, self.summary.metric_name))
        for event in [e for e in events if e.get("kind") == "message" and e.get("level") in ("warning", "error")][-10:]:
            self._tell(event)
        if loads:
            self.summary = loading(self.summary)

    def go(self) -> Outcome:
        """Follow to the end."""
        try:
            while True:
                state, status = self._look()
                outcome = self._ended(state, status) or self._signals(state, status)
                if outcome is not None:
                    return outcome
                self._wait()
        finally:
            self.display.close()

    def _look(self) -> tuple[str, Status | None]:
        from engine.record.run import read_run

        entry = read_run(self.run_dir)
        state = entry.state
        if entry.status and entry.status.attempt < self._after and time.monotonic() - self._began < START_PATIENCE:
            state = "created"  # the engine that was just started has not taken the run yet
        self._events()
        if entry.status is not None:
            self.summary = with_status(self.summary, entry.status, state)
        if state == "stalled" != self._noted:
            stalled = states.describe(entry, states.command_hints(self.run_dir), time.time())
            self.display.message("warning", stalled.fact)
        self._noted = state
        self._tell_waiting(entry.status)
        self.display.update(self.summary)
        return state, entry.status

    def _tell_waiting(self, status: Status | None) -> None:
        """What a queue waits for: an older queue, a busy GPU."""
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
        if self.tail.generation != self._generation:  # files were replaced: what was seen no longer holds
            self._generation = self.tail.generation
            self.summary = apply_events(RunSummary(), events)
            return
        for event in events:
            self.summary = apply_events(self.summary, (event,))
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for level, line in describe(event, self.summary):
            self.display.message(level, line)

    def _ended(self, state: str, status: Status | None) -> Outcome | None:
        if state in ENDED:
            self._events()  # the engine writes its last events before its last status
            return self._outcome(state, status)
        if state not in ("lost", "unreadable"):
            self._lost_since = None
            return None
        now = time.monotonic()
        self._lost_since = now if self._lost_since is None else self._lost_since
        if now - self._lost_since >= PATIENCE:
            return self._outcome(state, status)
        return None

    def _signals(self, state: str, status: Status | None) -> Outcome | None:
        if not self.mode.owner:
            if self.controls.count(signal.SIGINT):
                return Outcome(self.run_dir, state, status, detached=True)
            return None
        if self._new(signal.SIGINT):
            self._interrupt()
        if self._new(signal.SIGTERM):
            self._pass_on("stop")
        if self._new(signal.SIGUSR1):
            self._pass_on("preempt")
        return None

    def _new(self, which: signal.Signals) -> bool:
        count = self.controls.count(which)
        if count <= self._handled.get(which, 0):
            return False
        self._handled[which] = min(count, self._handled.get(which, 0) + 1)
        return True

    def _interrupt(self) -> None:
        from engine.launch.signals import interrupt, kill

        if self._handled[signal.SIGINT] == 1:
            self.display.message("info", self.mode.stop_sentence)
            if self.mode.on_stop is not None:
                self.mode.on_stop()
            self._send(interrupt)
        else:
            self.display.message("warning", KILLING)
            self._send(kill)

    def _pass_on(self, what: str) -> None:
        from engine.launch.signals import preempt, stop

        self.display.message("info", "asked to end: waiting for the engine's checkpoint")
        if self.mode.on_stop is not None:
            self.mode.on_stop()
        self._send(preempt if what == "preempt" else stop)

    def _send(self, signal_of: Callable[[Path], object]) -> None:
        from engine.errors import CrildError

        try:
            signal_of(self.run_dir)
        except CrildError as error:  # it ended meanwhile: the next look says how
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

    def _wait(self) -> None:
        until = time.monotonic() + POLL
        handled = sum(self._handled.values())
        while (left := until - time.monotonic()) > 0:
            if self._pending() != handled:
                return
            time.sleep(min(left, 0.05))

    def _pending(self) -> int:
        return sum(self.controls.count(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
