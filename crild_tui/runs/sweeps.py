"""Read the runs of a sweep, and put its matrix into text for the command line and the dashboard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crild_tui.runs import formatting
from crild_tui.runs.filter import exactly, progress
from crild_tui.runs.states import label_of, sign_of
from engine.errors import RunError
from engine.preset.text import shown
from engine.record.files import read_json
from engine.record.inputs import RunInputs, known_inputs
from engine.record.paths import RESULTS
from engine.record.run import RunEntry, is_run, read_run
from engine.record.states import STARTED
from engine.report.majority import MARK, at_or_below
from engine.sweep.matrix import Matrix, MatrixCell, matrix, row_of
from engine.sweep.record import CellRecord, SweepRecord, read_sweep_record, sweep_file

ORDER = (
    "running", "created", "stopping", "stalled", "queued", "failed", "lost", "unreadable", "stopped", "preempted", "left",
)  # fmt: skip
"""States other than "finished", in the order of their counts."""
Distance = Literal["near the teacher", "between", "not above the majority"]
NEAR = 0.9
"""Share of the teacher's margin over the majority guess from which a mean is near the teacher."""


@dataclass(frozen=True)
class SweepSnapshot:
    """A sweep at one moment; `problem` says why it could not be read (again)."""

    name: str
    record: SweepRecord | None = None
    found: Matrix | None = None
    entries: Mapping[str, RunEntry] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    """The metrics of saved students, by run."""
    inputs: Mapping[str, RunInputs | None] = field(default_factory=dict)
    """The data and models of finished runs, by run; None where they are not recorded."""
    problem: str | None = None


# -- reading


def read_sweep(runs_dir: Path, name: str) -> SweepRecord:
    """The record of a sweep. Raises RunError with the reason when there is none or it cannot be read."""
    if Path(name).name != name or not name.isprintable():  # it may come from another's status.json
        raise RunError(f"{shown(name)} is not a name of a sweep", kind="bad-sweep-name")
    return read_sweep_record(sweep_file(runs_dir, name))


def entries_of(record: SweepRecord, runs_dir: Path, known: Mapping[str, RunEntry] | None = None) -> dict[str, RunEntry]:
    """The entries of a sweep's runs, by id; those in `known` that are finished are not read again."""
    found: dict[str, RunEntry] = {}
    for cell in record.cells:
        before = None if known is None else known.get(cell.run)
        if before is not None and before.state == "finished":
            found[cell.run] = before
        elif is_run(runs_dir / cell.run):
            found[cell.run] = read_run(runs_dir / cell.run)
    return found


def figures_of(
    record: SweepRecord, runs_dir: Path, entries: Mapping[str, RunEntry], known: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The task's metric of each finished run's saved student; those in `known` are not read again."""
    found = {}
    for cell in record.cells:
        if cell.run not in entries or entries[cell.run].state != "finished":
            continue
        if known is not None and cell.run in known:
            found[cell.run] = known[cell.run]
            continue
        results = read_json(runs_dir / cell.run / RESULTS) or {}
        try:
            found[cell.run] = float(results["student"]["metrics"][results["metric"]])
        except (KeyError, TypeError, ValueError):
            continue  # the last evaluation in the status counts then
    return found


def inputs_by_run(
    entries: Mapping[str, RunEntry], runs_dir: Path, known: Mapping[str, RunInputs | None] | None = None
) -> dict[str, RunInputs | None]:
    """The data and models of each finished run, None where they are not recorded; those in `known` are not read again."""
    finished = (run for run, entry in entries.items() if entry.state == "finished")
    return {run: known[run] if known is not None and run in known else known_inputs(runs_dir / run) for run in finished}


class SweepReader:
    """Reads a sweep repeatedly, its finished runs only once."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        self._runs_dir, self._name = runs_dir, name
        self._entries: dict[str, RunEntry] = {}
        self._figures: dict[str, float] = {}
        self._inputs: dict[str, RunInputs | None] = {}

    def read(self, now: float) -> SweepSnapshot:
        """The sweep at a moment (seconds since 1970). Raises RunError when its record cannot be read."""
        record = read_sweep(self._runs_dir, self._name)
        self._entries = entries_of(record, self._runs_dir, self._entries)
        self._figures = figures_of(record, self._runs_dir, self._entries, self._figures)
        self._inputs = inputs_by_run(self._entries, self._runs_dir, self._inputs)
        found = matrix(record, self._entries, now=now, figures=self._figures, inputs=self._inputs)
        return SweepSnapshot(self._name, record, found, self._entries, self._figures, self._inputs)


# -- what its figures are compared with


@dataclass(frozen=True)
class References:
    """Teacher and majority guess of a task, each with its smallest and largest figure among the task's runs."""

    teacher: tuple[float, float] | None = None
    majority: tuple[float, float] | None = None


def references(seen: SweepSnapshot) -> dict[str, References]:
    """Teacher and majority guess of each task, as far as its runs have reported them."""
    if seen.record is None or seen.found is None:
        return {}
    found = {}
    for task in seen.found.tasks:
        runs = [cell.run for cell in seen.record.cells if cell.cell.get("task") == task]
        statuses = [entry.status for run in runs if (entry := seen.entries.get(run)) is not None and entry.status]
        found[task] = References(_ends(each.teacher for each in statuses), _ends(each.majority for each in statuses))
    return found


def _ends(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return (min(known), max(known)) if known else None


def range_text(ends: tuple[float, float] | None) -> str:
    """`0.6943`, or `0.6912 to 0.6943` where runs differ."""
    if ends is None:
        return formatting.NONE
    low, high = map(formatting.metric, ends)
    return low if low == high else f"{low} to {high}"


def distance_of(entry: MatrixCell, known: References) -> tuple[float, Distance] | None:
    """How far a cell's mean is from its task's teacher, and where that is; None where either is not known."""
    mean = entry.spread
    if mean is None or known.teacher is None:
        return None
    teacher = known.teacher[1]
    majority = None if known.majority is None else known.majority[1]
    if at_or_below(mean.mean, majority):
        return mean.mean - teacher, "not above the majority"
    near = majority is not None and mean.mean >= majority + NEAR * (teacher - majority)
    return mean.mean - teacher, "near the teacher" if near or mean.mean >= teacher else "between"


# -- in words


def mean_of(entry: MatrixCell) -> str:
    """The mean over seeds with its standard deviation, marked if it is at or below the majority guess; `-` before the first
    run is finished, `other inputs` where runs had other data or models."""
    if entry.differs:
        return "other inputs"
    mean = entry.spread
    if mean is None:
        return formatting.NONE
    deviation = "" if mean.deviation is None else f" ± {formatting.metric(mean.deviation)}"
    return f"{formatting.metric(mean.mean)}{deviation}{f' {MARK}' if entry.below_majority else ''}"


def progress_of(entry: MatrixCell) -> str:
    """How many runs of a cell are finished, the states of the others, and their progress: `1/3 ▶1 ✗1 40 %`."""
    parts = [_signs(entry.states)]
    if any(entry.states.get(state) for state in STARTED):
        parts.append(formatting.percent(entry.progress))
    return " ".join(parts)


def counts(found: Matrix) -> str:
    """`12 of 27 runs finished, 1 failed, 2 running, 12 left`."""
    parts = [f"{found.states.get('finished', 0):,} of {formatting.plural(found.runs, 'run')} finished"]
    parts += [f"{found.states[state]:,} {state}" for state in ORDER if found.states.get(state)]
    return ", ".join(parts)


def short_counts(seen: SweepSnapshot) -> str:
    """As `counts`, in signs: `12/27 ✗1 ▶2`."""
    return _signs(seen.found.states) if seen.found is not None else ""


def _signs(states: Mapping[str, int]) -> str:
    parts = [f"{states.get('finished', 0)}/{sum(states.values())}"]
    return " ".join([*parts, *(f"{sign_of(state)}{states[state]}" for state in ORDER[:-1] if states.get(state))])


def state_of(seen: SweepSnapshot) -> str:
    """The state of the sweep as a whole: running, finished, ended (not all finished), stopped, or lost with its process."""
    if seen.record is None or seen.found is None:
        return "unknown"
    if not seen.found.alive and seen.found.states.get("finished") == seen.found.runs:
        return "finished"  # however the last process came to its end
    if seen.record.state != "active":
        return seen.record.state
    return "running" if seen.found.alive else "lost"


def standing(seen: SweepSnapshot) -> str:
    """The sweep in one line: state, progress, time left, what it is waiting for."""
    found = seen.found
    if found is None:
        return state_of(seen)
    left = [] if found.eta is None or not found.alive else [f"{formatting.duration(found.eta)} left"]
    waits = [f"waiting {found.waiting}"] if found.waiting else []
    return ", ".join([state_of(seen), formatting.percent(found.progress), *left, *waits])


def metrics_of(found: Matrix) -> str:
    """The metrics of its tasks."""
    return ", ".join(dict.fromkeys(entry.metric for entry in found.entries.values() if entry.metric))


def cells_of(record: SweepRecord, row: str, task: str) -> list[CellRecord]:
    """The runs of one cell of the matrix, in the order of the seeds."""
    return [cell for cell in record.cells if row_of(cell.cell) == row and cell.cell.get("task") == task]


def run_line(cell: CellRecord, seen: SweepSnapshot) -> str:
    """One run in one line: sign, seed, metric (of the saved student once it has finished) and progress."""
    entry = seen.entries.get(cell.run)
    seed = f"seed {cell.cell.get('seed', cell.seed)}"
    if entry is None:
        return f"· {seed} left"
    sign = label_of(entry.state)
    if entry.status is None:
        return f"{sign}, {seed}"
    figure = seen.figures.get(cell.run, entry.status.last)
    last = "" if figure is None else f" {formatting.metric(figure)}"
    share = "" if entry.state == "finished" else f" {formatting.percent(progress(entry))}"
    return f"{sign}, {seed}{last}{share}"


def filter_of(record: SweepRecord, cells: list[CellRecord]) -> str:
    """The filter that leaves the runs of one cell in the list of runs: the sweep, and each axis but the seed."""
    places = (
        [exactly("cell", f"{axis}={value}") for axis, value in cells[0].cell.items() if axis != "seed"] if cells else []
    )
    return " ".join([exactly("sweep", record.name), *places])
