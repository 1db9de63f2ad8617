"""Runs as a listing gives them, without directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.record.run import RunEntry
from engine.record.status import Status

NOW = 1_800_000_000.0
KEYS = {
    "live.resume": "r", "live.stop": "s", "live.kill": "K", "live.messages": "m", "live.command": "c",
    "runs.resume": "r", "runs.stop": "s", "runs.kill": "K", "runs.watch": "enter", "runs.sweep": "m",
    "launch.undo": "u", "launch.editor": "e", "mode.launch": "1",
}  # fmt: skip
"""Names of keys, by the ids of their bindings."""
HOSTILE = "\x1b[31m[bold]evil[/bold]\u202e\n|,$=@"


def entry(run_id: str = "rte-crild-s1", state: str = "finished", **fields: Any) -> RunEntry:
    """A run that was made a minute ago, with the figures of a sample."""
    note, tags = fields.pop("note", ""), fields.pop("tags", ())
    age = fields.pop("age", 60.0)
    if state == "unreadable":
        return RunEntry(Path("/runs") / run_id, None, state, "status.json is not complete JSON", note, tags)
    known: dict[str, Any] = {
        "task": "rte", "method": "crild", "preset": "crild+rte", "seed": 1, "metric_name": "accuracy", "last": 0.67,
        "best": 0.68, "teacher": 0.69, "done": 10, "total": 20, **fields,
    }  # fmt: skip
    written = state if state not in ("lost", "stalled") else "running"
    status = Status(id=run_id, created=NOW - age, state=written, **known)
    return RunEntry(Path("/runs") / run_id, status, state, None, note, tags)
