"""The matrix of a sweep, method x task: mean and standard deviation over seeds, progress, time left. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.record.inputs import RunInputs
from engine.record.run import RunEntry
from engine.report.compare import Spread, spread
from engine.report.inputs import RunContent, dev_of, difference_note, differing
from engine.report.majority import LEGEND, at_or_below
from engine.sweep.estimate import eta
from engine.sweep.record import CellRecord, SweepRecord

Position = tuple[str, str]
"""Row and task of a cell."""
LEFT = "left"
"""The state of a run that has not been created yet."""
UNKNOWN = "?"
"""The method or task of a cell whose record names none."""


@dataclass(frozen=True)
class MatrixCell:
    """The runs of one method (and value of every other axis) on one task, over seeds."""

    states: Mapping[str, int]
    """How many runs are in which state: those of runs, and "left"."""
    values: tuple[float, ...]
    """The task's metric of the finished runs, in the order of the seeds."""
    progress: float
    """Share of the steps that are done, from 0 to 1."""
    metric: str | None = None
    differs: str | None = None
    """Why its runs are not averaged: they had other data or models."""
    majority: float | None = None
    """The metric of the majority guess on their dev set."""

    @property
    def below_majority(self) -> bool:
        """Whether the mean is at or below the majority guess."""
        return self.spread is not None and at_or_below(self.spread.mean, self.majority)

    @property
    def spread(self) -> Spread | None:
        """Mean, sample standard deviation and number of seeds; None before the first run is finished, and where runs
        had other data or models."""
        return None if self.differs else spread(self.values)

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return sum(self.states.values())


@dataclass(frozen=True)
class Matrix:
    """A sweep at a moment. `entries` has no key for what is not in the grid."""

    name: str
    rows: tuple[str, ...]
    """Methods, with followed by the values of further axes."""
    tasks: tuple[str, ...]
    entries: Mapping[tuple[str, str], MatrixCell]
    """By row and task."""
    states: Mapping[str, int]
    """How many runs are in which state."""
    progress: float
    eta: float | None
    """Seconds until all runs are done; None where that can't be estimated."""
    alive: bool
    """Whether the sweep's process is running."""
    waiting: str | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    """The sentences of failed runs, by run."""
    notes: tuple[str, ...] = ()
    """What must be known to read it: which cells cannot be averaged or compared, and what the mark means."""

    @property
    def runs(self) -> int:
        """How many runs the sweep has."""
        return sum(self.states.values())


def matrix(
    record: SweepRecord,
    entries: Mapping[str, RunEntry],
    *,
    now: float,
    figures: Mapping[str, float] | None = None,
    inputs: Mapping[str, RunInputs | None] | None = None,
) -> Matrix:
    """The matrix of a sweep from the entries of its runs, by id; runs that aren't created yet have none.

    `figures` are the metrics of saved students, by run, where results.json was read; the last evaluation otherwise.
    `inputs` are the data and models of finished runs, by run; None where they are not recorded.
    """
    metrics, known = figures or {}, inputs or {}
    several: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in record.cells:
        several.setdefault((row_of(cell.cell), cell.cell.get("task", UNKNOWN)), []).append(cell)
    made = {key: _matrix_cell(key, cells, entries, metrics, known) for key, cells in several.items()}
    states: Counter[str] = Counter()
    for entry in made.values():
        states.update(entry.states)
    faults = dict(line.partition(": ")[::2] for line in record.failed)
    faults |= {
        run: str(entry.status.error)
        for run, entry in entries.items()
        if entry.state == "failed" and entry.status is not None and entry.status.error is not None
    }
    runs = len(record.cells)
    return Matrix(
        name=record.name,
        rows=tuple(sorted(dict.fromkeys(row for row, _ in several), key=_order(record))),
        tasks=tuple(task for task in record.axes.get("task", ()) if any(task == key[1] for key in several)),
        entries=made,
        states=dict(states),
        progress=sum(entry.progress * entry.runs for entry in made.values()) / runs if runs else 0.0,
        eta=eta(record, entries, now),
        alive=record.alive(now),
        waiting=record.waiting,
        faults=faults,
        notes=tuple(_notes(several, made, known)),
    )


def row_of(coordinates: Mapping[str, str]) -> str:
    """The row of a cell: its method, and the values of axes other than task and seed."""
    others = [f"{axis} {value}" for axis, value in coordinates.items() if axis not in ("method", "task", "seed")]
    return ", ".join([coordinates.get("method", UNKNOWN), *others])


def _order(record: SweepRecord) -> Callable[[str], tuple[int, ...]]:
    """The order of rows in the file: by method, then by the values of each further axis."""
    free = [axis for axis in record.axes if axis not in ("method", "task", "seed")]
    coordinates = {row_of(cell.cell): cell.cell for cell in record.cells}

    def key(row: str) -> tuple[int, ...]:
        own = coordinates[row]
        return tuple(
            record.axes[axis].index(own[axis]) if own.get(axis) in record.axes.get(axis, ()) else -1
            for axis in ("method", *free)
        )

    return key


def _notes(
    several: Mapping[Position, Sequence[CellRecord]],
    made: Mapping[Position, MatrixCell],
    inputs: Mapping[str, RunInputs | None],
) -> Iterator[str]:
    """Why runs of a cell are not averaged, what the mark of the majority guess means, and which tasks have cells on other
    dev sets."""
    yield from (cell.differs for cell in made.values() if cell.differs)
    if any(cell.below_majority for cell in made.values()):
        yield LEGEND
    for task in dict.fromkeys(task for _, task in several):
        runs = [cell.run for (_, column), cells in several.items() if column == task for cell in cells]
        settings = dict.fromkeys(
            differing([RunContent(inputs.get(run), None) for run in runs if run in inputs], dev_of)
        )
        if len(settings) > 1:
            sets = "; ".join(", ".join(f"{name} {text}" for name, text in setting) for setting in settings)
            yield f"{task}: its runs were measured on other dev sets ({sets}), so its figures cannot be compared"


def _matrix_cell(
    position: Position,
    cells: Sequence[CellRecord],
    entries: Mapping[str, RunEntry],
    figures: Mapping[str, float],
    inputs: Mapping[str, RunInputs | None],
) -> MatrixCell:
    contents: list[RunContent] = []
    states: Counter[str] = Counter()
    values, done, metric = [], 0.0, None
    for cell in cells:
        entry = entries.get(cell.run)
        if entry is None or entry.status is None:
            states[LEFT if entry is None else entry.state] += 1
            continue
        status = entry.status
        states[entry.state] += 1
        metric = status.metric_name or metric
        if entry.state == "finished":
            done += 1.0
            value = figures.get(cell.run, status.last)
            if value is not None:
                values.append(value)
                contents.append(RunContent(inputs.get(cell.run), status.majority))
        elif status.total > 0:
            done += min(1.0, max(0.0, status.done / status.total))
    differs = difference_note(" on ".join(position), contents)
    majority = next((content.majority for content in contents if content.majority is not None), None)
    return MatrixCell(dict(states), tuple(values), done / len(cells), metric, differs, majority)
