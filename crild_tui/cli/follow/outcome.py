"""How following a run ended, as an exit code and in sentences."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli.follow.event_messages import Line
from crild_tui.runs import formatting
from crild_tui.runs.states import KILLED, command_hints, describe

if TYPE_CHECKING:
    from engine.record.status import Status

INTERRUPTED = 130
TERMINATED = 143
_OF_KIND = {"usage": 2, "preset": 2, "data": 3, "model": 3}
LOG_LINES = 12
"""Lines of the log to show when the engine died without reporting anything."""


@dataclass(frozen=True)
class Outcome:
    """What a run was like when following it ended.

    `state` is the derived one, and `problem` is why the status cannot be read. `interrupted` and `terminated` say what
    was asked for here. `position` is the last stage and step in its events, which may be later than those in its status.
    """

    run_dir: Path
    state: str
    status: Status | None
    interrupted: bool = False
    terminated: bool = False
    detached: bool = False
    position: tuple[str, int] | None = None
    problem: str | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the design's table."""
        if self.detached:
            return 0
        if self.state == "finished":
            return (self.status.exit_code if self.status else None) or 0
        if self.interrupted:
            return INTERRUPTED
        if self.terminated and self.state in ("stopped", "preempted"):
            return TERMINATED
        if self.state == "failed":
            return self._failure()
        if self.state in ("stopped", "preempted"):
            code = self.status.exit_code if self.status else None
            return 1 if code == KILLED else code or TERMINATED
        return 1

    def _failure(self) -> int:
        if self.status is None:
            return 1
        if self.status.exit_code:
            return self.status.exit_code
        return _OF_KIND.get(self.status.error.kind, 1) if self.status.error else 1

    def sentences(self) -> Iterator[Line]:
        """How the run ended and what to do next, to go with the closing table."""
        from engine.record.logs import log_tail
        from engine.record.run import RunEntry

        if self.detached:
            again = formatting.command("attach", self.run_dir)
            yield "info", f"detached; the run keeps going. Run `{again}` to watch it again"
            return
        if self.state == "finished":
            if self.status is not None and self.status.error is not None:
                yield "error", f"{self.status.error}"
                yield "info", f"still finished, as it was: {self.run_dir}"
            else:
                yield "info", f"finished: {self.run_dir}"
            return
        status = self.status
        if status is not None and self.position is not None:
            status = replace(status, stage=self.position[0], step=self.position[1])
        entry = RunEntry(self.run_dir, status, self.state, self.problem)
        state = describe(entry, command_hints(self.run_dir), time.time())
        if self.state == "failed":
            yield from ((state.level, reason) for reason in state.reasons)
            yield "info", f"run `{formatting.command('logs', self.run_dir)}` to see what the engine printed"
            yield "info", state.advice
        elif self.state == "lost":
            yield state.level, state.fact
            for line in log_tail(self.run_dir, LOG_LINES):
                yield "info", f"  log: {line}"
            yield "info", state.advice
        else:
            yield state.level, str(state)
