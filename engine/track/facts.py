"""What trackers get of a run besides its curves: name, project, settings, and its results at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import CrildError, RunError
from engine.preset.field_types import PROJECT_NAME
from engine.record.annotations import read_annotations
from engine.record.files import read_json
from engine.record.json_values import mapping
from engine.record.paths import RESULTS, STUDENT
from engine.record.run import read_status
from engine.record.secrets import without_secrets
from engine.record.states import FAULTY
from engine.record.status import Status
from engine.record.tracking import tracking_id
from engine.report.closing_table import ClosingTable, closing_table
from engine.report.compare import flat, read_preset
from engine.report.units import amount, metric, milliseconds, rate, size

PROJECT = "crild"
"""The project of runs whose presets name none."""
_COSTS = (
    ("parameters", "parameters", amount), ("size", "bytes", size), ("latency", "latency_ms", milliseconds),
    ("examples/s", "throughput", rate),
)  # fmt: skip


@dataclass(frozen=True)
class RunFacts:
    """A run as trackers know it. `config` is its preset by the keys of `--set`; texts without credentials."""

    run_dir: Path
    id: str
    name: str
    project: str
    tags: tuple[str, ...]
    note: str
    created: float
    config: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Outcome:
    """How a run has ended: its state, the figures of its results by name, and its table in Markdown ("" without results).

    `student` is the folder of its student, if that is to be sent. Figures that are metrics are shares of 1.
    """

    state: str
    ended: float | None
    figures: Mapping[str, float]
    table: str
    student: Path | None = None
    again: bool = False
    """Whether the tracker has all of this but the student: it must only be left in the right state."""

    @property
    def failed(self) -> bool:
        """Whether the run came to no orderly end."""
        return self.state in FAULTY


def facts_of(run_dir: Path) -> RunFacts:
    """What a run's files say. Raises RunError without a status; a preset that cannot be read gives no settings."""
    status, notes = read_status(run_dir), read_annotations(run_dir)
    try:
        preset = read_preset(run_dir)
    except CrildError:
        preset = {}
    project = preset.get("project")
    return RunFacts(
        run_dir=run_dir,
        id=tracking_id(status),
        name=run_dir.name,
        project=project if isinstance(project, str) and re.fullmatch(PROJECT_NAME, project) else PROJECT,
        tags=notes.tags,
        note=without_secrets(notes.note),
        created=status.created,
        config={"crild_id": tracking_id(status), **dict(_config(preset, status))},
    )


def _config(preset: Mapping[str, Any], status: Status) -> Iterator[tuple[str, str | int | float | bool]]:
    for name in ("method", "task"):
        yield name, str(getattr(status, name))
    for key, value in flat(preset):
        if isinstance(value, bool | int | float):
            yield key, value
        elif key not in ("tags", "project", "schema"):
            yield key, without_secrets(value if isinstance(value, str) else json.dumps(value, default=str))


def outcome_of(run_dir: Path, state: str, *, student: bool) -> Outcome:
    """How a run has ended. Raises RunError without a status."""
    results = mapping(read_json(run_dir / RESULTS)) if state == "finished" else {}
    try:
        table = closing_table(results) if results else None
    except RunError:
        table = None
    folder = run_dir / STUDENT
    return Outcome(
        state=state,
        ended=read_status(run_dir).ended,
        figures=dict(_figures(table)) if table is not None else {},
        table=_markdown(table) if table is not None else "",
        student=folder if student and state == "finished" and folder.is_dir() else None,
    )


def _figures(table: ClosingTable) -> Iterator[tuple[str, float]]:
    model = ""
    for row in table.models:
        name = row.name.strip().partition(",")[0]
        if row.name.startswith(" "):  # a further set of rows of the model above, as "on test"
            place = f"results/{model}/{name.removeprefix('on ')}"
        else:
            model = name.replace(" ", "_")
            place = f"results/{model}"
        yield from ((f"{place}/{key}", value) for key, value in row.metrics.items() if value is not None)
        for key in ("parameters", "bytes", "latency_ms", "throughput", "speedup"):
            if (value := getattr(row, key)) is not None:
                yield f"{place}/{key}", float(value)


def _markdown(table: ClosingTable) -> str:
    """The closing table of the run, and its sentences."""
    costs = [cost for cost in _COSTS if any(getattr(row, cost[1]) is not None for row in table.models)]
    lines = [
        ["", *table.metrics, *(title for title, _, _ in costs)],
        ["---"] + ["---:"] * (len(table.metrics) + len(costs)),
    ]
    for row in table.models:
        figures = ["" if (v := row.metrics.get(name)) is None else metric(v) for name in table.metrics]
        measured = ["" if (v := getattr(row, key)) is None else words(v) for _, key, words in costs]
        lines.append([row.name.strip(), *figures, *measured])
    body = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    return "\n\n".join([f"{table.task}, {table.split}", body, *table.statements])
