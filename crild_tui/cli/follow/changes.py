"""What to report of runs whose state changes while they are followed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from crild_tui.cli.follow.event_messages import Line
from crild_tui.runs import formatting
from crild_tui.runs.states import command_hints, describe
from engine.record.states import IN_PROGRESS

if TYPE_CHECKING:
    from engine.record.run import RunEntry


class Changes:
    """Remembers the states of some runs from one look to the next."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None

    def since_last(self, entries: Mapping[str, RunEntry]) -> Iterator[tuple[str, Line]]:
        """The ids of runs whose state has changed since the last look, with what to say; nothing at the first look."""
        states = {run: entry.state for run, entry in entries.items()}
        before, self._states = states if self._states is None else self._states, states
        for run, state in states.items():
            if before.get(run) == state or (state == "running" and before.get(run) == "stalled"):
                continue
            if (change := change_of(entries[run], time.time())) is not None:
                yield run, change


def change_of(entry: RunEntry, now: float) -> Line | None:
    """What to report of a run whose state has changed: level and sentence; None for a state that needs no report."""
    status = entry.status
    if entry.state == "running" and status is not None:
        return "info", f"{entry.id} {'started' if status.attempt <= 1 else f'resumed (attempt {status.attempt})'}"
    if entry.state in IN_PROGRESS:
        return None
    state = describe(entry, command_hints(entry.path), now)
    took = formatting.took(status) if entry.state == "finished" else None
    return state.level, f"{entry.id}: {': '.join((state.fact, *state.reasons[:1]))}{f' in {took}' if took else ''}"
