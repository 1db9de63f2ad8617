"""The loop that follows one run: polls its files, tells what is new, passes on what is asked for."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli.follow.controls import Controls
from crild_tui.cli.follow.narrators import Narrator
from crild_tui.cli.follow.outcome import Outcome
from crild_tui.cli.follow.picture import Picture, fold, with_status
from crild_tui.cli.follow.told import summary, told

if TYPE_CHECKING:
    from engine.record.events import Event
    from engine.record.status import Status

POLL = 0.25
"""Seconds between two looks at the files."""
PATIENCE = 2.0
"""Seconds for which a run must look lost before it counts as lost."""
KILL_PATIENCE = 10.0
STOPPING = "stopping at the next step with a checkpoint; press Ctrl-C again to kill the run instead"
KILLING = "killing the run"
ENDS = frozenset({"finished", "failed", "stopped", "preempted"})


@dataclass(frozen=True)
class Mode:
    """What signals mean: `owner` passes them on to the engine, else Ctrl-C only detaches.

    `on_stop` is done besides when Ctrl-C asks for the stop: emptying the queue, say.
    """

    owner: bool
    on_stop: Callable[[], None] | None = None
    stop_sentence: str = STOPPING


class Follower:
    """Follows one run until it ends or the person turns away."""

    def __init__(self, run_dir: Path, narrator: Narrator, controls: Controls, mode: Mode):
        from engine.record.events import EventTail

        self.run_dir, self.narrator, self.controls, self.mode = run_dir, narrator, controls, mode
        self.tail = EventTail(run_dir)
        self.picture = Picture()
        self._generation = self.tail.generation
        self._handled: dict[int, int] = {}
        self._lost_since: float | None = None
        self._killed_at: float | None = None
        self._noted = ""

    def history(self) -> None:
        """Take in what is there already, and tell it in summary."""
        events = self.tail.poll()
        self.picture = fold(self.picture, events)
        for story in self.picture.stages:
            self.narrator.tell("info", summary(story, self.picture.metric_name))
        for event in [e for e in events if e.get("kind") == "message" and e.get("level") in ("warning", "error")][-10:]:
            self._tell(event)

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
            self.narrator.close()

    def _look(self) -> tuple[str, Status | None]:
        from engine.record.run import read_run

        entry = read_run(self.run_dir)
        self._events()
        if entry.status is not None:
            self.picture = with_status(self.picture, entry.status, entry.state)
        if entry.state == "stalled" != self._noted:
            self.narrator.tell("warning", "the engine lives but has said nothing for a minute")
        self._noted = entry.state
        self.narrator.update(self.picture)
        return entry.state, entry.status

    def _events(self) -> None:
        events = self.tail.poll()
        if self.tail.generation != self._generation:  # files were replaced: what was seen no longer holds
            self._generation = self.tail.generation
            self.picture = fold(Picture(), events)
            return
        for event in events:
            self.picture = fold(self.picture, (event,))
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for level, line in told(event, self.picture):
            self.narrator.tell(level, line)

    def _ended(self, state: str, status: Status | None) -> Outcome | None:
        if state in ENDS:
            self._events()  # the engine writes its last events before its last status
            return self._outcome(state, status)
        if state not in ("lost", "unreadable"):
            self._lost_since = None
            return None
        now = time.monotonic()
        self._lost_since = now if self._lost_since is None else self._lost_since
        if now - self._lost_since >= PATIENCE or self._killed_at is not None:
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
        if self._killed_at is not None and time.monotonic() - self._killed_at > KILL_PATIENCE:
            return self._outcome(state, status)
        return None

    def _new(self, which: signal.Signals) -> bool:
        count = self.controls.count(which)
        if count <= self._handled.get(which, 0):
            return False
        self._handled[which] = min(count, self._handled.get(which, 0) + 1)
        return True

    def _interrupt(self) -> None:
        from engine import launch

        if self._handled[signal.SIGINT] == 1:
            self.narrator.tell("info", self.mode.stop_sentence)
            if self.mode.on_stop is not None:
                self.mode.on_stop()
            self._send(launch.stop)
        elif self._killed_at is None:
            self.narrator.tell("warning", KILLING)
            self._send(launch.kill)
            self._killed_at = time.monotonic()

    def _pass_on(self, what: str) -> None:
        from engine import launch

        self.narrator.tell("info", "asked to end: waiting for the engine's checkpoint")
        self._send(launch.preempt if what == "preempt" else launch.stop)

    def _send(self, signal_of: Callable[[Path], object]) -> None:
        from engine.errors import CrildError

        try:
            signal_of(self.run_dir)
        except CrildError as error:  # it ended meanwhile: the next look says how
            self.narrator.tell("warning", error.sentence)

    def _outcome(self, state: str, status: Status | None) -> Outcome:
        return Outcome(
            self.run_dir,
            state,
            status,
            interrupted=self.controls.count(signal.SIGINT) > 0,
            terminated=bool(self.controls.count(signal.SIGTERM) or self.controls.count(signal.SIGUSR1)),
            killed=self._killed_at is not None,
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
