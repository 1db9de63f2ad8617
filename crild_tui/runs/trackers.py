"""What has been sent of a run to trackers, as lines and as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from crild_tui.runs import formatting
from engine.errors import RunError
from engine.launch.readers import readers_of
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS
from engine.record.tracking import NAMES, Tracking, is_ended, trackings


def is_complete(entry: RunEntry, kind: str, record: Tracking, *, student: bool = False) -> bool:
    """Whether a tracker has everything of a run that has ended, and its student if that is wanted."""
    if entry.status is None or entry.state in IN_PROGRESS or record.error is not None:
        return False
    return is_ended(record, replace(entry.status, state=entry.state), kind, student=student)


def tracker_lines(entry: RunEntry) -> list[str]:
    """A line for each tracker that the run was sent to: how much, where, and what is wrong."""
    sending = readers_of(entry.path)
    return [_line(entry, kind, record, sending=kind in sending) for kind, record in trackings(entry.path).items()]


def _line(entry: RunEntry, kind: str, record: Tracking | RunError, *, sending: bool) -> str:
    name = NAMES[kind]
    if isinstance(record, RunError):
        return f"{name}: {record}"
    points = formatting.plural(record.points, "point")
    parts = [f"{name}: {points} sent{f' to {record.where}' if record.where else ''}"]
    if record.error is not None:
        parts.append(record.error)
    if sending:
        parts.append("a reader is running")
    elif not is_complete(entry, kind, record):
        parts.append(f"{formatting.command('track', entry.path)} --to {kind} sends the rest")
    return "; ".join(parts)


def tracker_documents(run_dir: Path) -> dict[str, Any]:
    """The same for `--json`, by the name of the tracker."""
    sending = readers_of(run_dir)
    return {
        kind: {"error": str(record)}
        if isinstance(record, RunError)
        else {"points": record.points, "where": record.where, "run": record.remote, "error": record.error, "ended": record.ended,
              "student": record.student, "reading": kind in sending}
        for kind, record in trackings(run_dir).items()
    }  # fmt: skip
