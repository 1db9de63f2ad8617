"""When a run that is followed has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crild_tui.cli.follow.controls import Lasting
from engine.record.states import ENDED

if TYPE_CHECKING:
    from engine.record.run import RunEntry

START_PATIENCE = 60.0
"""Seconds that an engine which was just started has to take its run."""
REQUEUE_WITHIN = 15.0
"""Seconds that a job of SLURM may take to requeue itself after its run was preempted."""


class Ending:
    """Tells from what a run is like, look by look, whether it has ended."""

    def __init__(self, after: int = 0):
        """`after` is the number of the attempt that was just started, 0 for any: the end of an earlier one is ignored."""
        self._after, self._started = after, time.monotonic()
        self._lost = Lasting()
        self._preempted = Lasting(REQUEUE_WITHIN)

    def state_of(self, entry: RunEntry) -> str:
        """The state of the run; "created" as long as the engine that was just started has not taken it."""
        early = entry.status is not None and entry.status.attempt < self._after
        return "created" if early and time.monotonic() - self._started < START_PATIENCE else entry.state

    def has_come(self, entry: RunEntry) -> bool:
        """Whether the run has ended, or has been lost for a while."""
        state, status = self.state_of(entry), entry.status
        requeues = state == "preempted" and status is not None and status.job is not None
        if requeues and not self._preempted.holds(requeues):
            return False
        return state in ENDED or self._lost.holds(state in ("lost", "unreadable"))
