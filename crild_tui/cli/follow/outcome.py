"""How following a run ended, as an exit code and as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli.follow.event_messages import Line
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.record.status import Status

INTERRUPTED = 130
TERMINATED = 143
KILLED = 137
_OF_KIND = {"usage": 2, "preset": 2, "data": 3, "model": 3}
LOG_LINES = 12
"""Lines of the log that are shown of an engine that died without a word."""


@dataclass(frozen=True)
class Outcome:
    """The last that was seen of a run.

    `state` is the derived one; `interrupted` and `terminated` say what was asked for here; `place` is the last stage
    and step that its events tell of, which may be later than what the status says.
    """

    run_dir: Path
    state: str
    status: Status | None
    interrupted: bool = False
    terminated: bool = False
    detached: bool = False
    place: tuple[str, int] | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the design's table."""
        if self.detached or self.state == "finished":
            return 0
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
        """What is said at the end, beside the closing table."""
        from engine.record.logs import log_tail

        go_on = f"go on with: {formatting.command('resume', self.run_dir)}"
        where = self._where()
        if self.detached:
            yield (
                "info",
                f"detached; the run goes on. Watch it again with: {formatting.command('attach', self.run_dir)}",
            )
        elif self.state == "finished":
            yield "info", f"finished: {self.run_dir}"
        elif self.state == "failed":
            yield from self._why()
        elif self.state == "unreadable":
            yield "error", f"the run's status cannot be read: {self.run_dir}"
        elif self.state == "stopped" and self.status is not None and self.status.exit_code == KILLED:
            yield "warning", f"killed{where}: what came after the last checkpoint is lost; {go_on}"
        elif self.state == "stopped" and self.status is not None and not self.status.attempt:
            yield "info", f"taken off the queue before it began; {go_on}"
        elif self.state in ("stopped", "preempted"):
            yield "info", f"{self.state}{where}, with a checkpoint; {go_on}"
        elif self.state == "lost" and self.status is not None and self.status.state == "queued":
            yield "error", f"the queue that would have started it is gone; {go_on}"
        elif self.state == "lost":
            yield "error", f"the engine ended without a word{where}: it was killed, or the machine was restarted"
            for line in log_tail(self.run_dir, LOG_LINES):
                yield "info", f"  log: {line}"
            yield "info", go_on
        else:
            yield "info", f"the run is {self.state}; watch it with: {formatting.command('attach', self.run_dir)}"

    def _where(self) -> str:
        if self.place is not None:
            return f" in stage {self.place[0]} at step {self.place[1]}"
        if self.status is not None and self.status.stage is not None:
            return f" in stage {self.status.stage} at step {self.status.step}"
        return ""

    def _why(self) -> Iterator[Line]:
        fault = self.status.error if self.status else None
        for line in (str(fault) if fault else "the run failed").splitlines():
            yield "error", line
        yield "info", f"what the engine printed: {formatting.command('logs', self.run_dir)}"
        if any((self.run_dir / "checkpoints").glob("[0-9]*")):
            yield (
                "info",
                f"when that is mended, go on from the last checkpoint with: {formatting.command('resume', self.run_dir)}",
            )
