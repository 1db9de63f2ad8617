"""Build the tables of a report: methods are rows, tasks are columns, a cell is mean ± deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from engine.errors import UsageError
from engine.preset.names import task_title
from engine.preset.text import listed, nearest, shown
from engine.report.best_marks import ColumnGroups, ColumnMarks, Reference, mark_column, mark_notes, reference_named
from engine.report.collect import CollectedRuns, FinishedRun, left_out_notes
from engine.report.compare import spread
from engine.report.final_metrics import BASELINE, MAJORITY, TEACHER
from engine.report.inputs import Setting, inputs_text
from engine.report.majority import MARK, at_or_below
from engine.report.published import official_dev_rows, published
from engine.report.result_table import Mark
from engine.report.settings import Group, group_runs, input_notes, own_names, setting_text

if TYPE_CHECKING:
    from engine.report.significance import MeanDifference

Kind = Literal["method", "baseline", "teacher", "majority", "published"]
PRIMARY = "primary"
"""The choice of metric that takes each task's own."""
MOST_NAMES = 8
"""Methods that a note names; more are counted."""
ELSEWHERE = "published elsewhere"
"""The heading of figures that are not one's own."""


@dataclass(frozen=True)
class SeedMean:
    """A metric over the runs of a group: mean, sample standard deviation (None for one), and each seed's figure.

    mark: "best" where it is significantly better than all others of its column, "tied" where it is not significantly
    different from the highest. p: corrected, against the highest of the column; None where that was not tested. Where one
    method was named, both are against that one (significantly "above" or "below"), and `gap` says by how much.
    """

    mean: float
    deviation: float | None = None
    values: tuple[tuple[int | None, float], ...] = ()
    mark: Mark = ""
    p: float | None = None
    gap: MeanDifference | None = None
    below_majority: bool = False
    """Whether the mean is at or below the majority guess."""

    @property
    def count(self) -> int:
        """Seeds (of published figures, tables)."""
        return len(self.values)


@dataclass(frozen=True)
class MethodRow:
    """A row: a method under a setting, or what methods are compared with; cells by task, and their average."""

    kind: Kind
    name: str
    setting: str = ""
    cells: Mapping[str, SeedMean] = field(default_factory=dict)
    average: float | None = None
    runs: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Data and teacher of its runs by task, in short, where they are recorded."""

    @property
    def label(self) -> str:
        """Name and setting."""
        return f"{self.name} ({self.setting})" if self.setting else self.name


@dataclass(frozen=True)
class Block:
    """Rows on equal terms: the same data setting and size of student, which the heading names where there are several."""

    heading: str
    rows: tuple[MethodRow, ...]


@dataclass(frozen=True)
class MetricTable:
    """One choice of metric. `metrics` names that of each task; footers explain the marks and say what is missing;
    `against` is the method that all others are compared with, None for the highest of each column."""

    choice: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, str]
    blocks: tuple[Block, ...]
    footers: tuple[str, ...]
    against: str | None = None


@dataclass(frozen=True)
class Report:
    """Everything that the formats write: tables (the primary one first), the groups behind them, and what is left out."""

    tables: tuple[MetricTable, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def runs(self) -> tuple[FinishedRun, ...]:
        """Every run that counts."""
        return tuple(run for group in self.groups for run in group.runs)


def build_report(
    collected: CollectedRuns,
    choices: Sequence[str] = (PRIMARY,),
    *,
    with_published: bool = False,
    against: str | None = None,
) -> Report:
    """The report over finished runs, a table for each choice of metric; `against` names the method to compare the others
    with, instead of the highest.

    Raises UsageError where there is no finished run, or no run has a metric or method that was named.
    """
    notes = left_out_notes(collected.left_out)
    if not collected.runs:
        sentence = f"there is nothing to report: no finished run{'; ' if notes else ''}{'; '.join(notes)}"
        raise UsageError(sentence, kind="no-finished-run")
    groups, repeated = _once(group_runs(collected.runs))
    if repeated:
        notes.append(
            f"{len(repeated)} left out, the same preset and seed again (the newest counts): {listed(repeated, 'and', 3)}"
        )
    notes += input_notes(groups)
    known = list(dict.fromkeys(name for run in collected.runs for name in run.metrics))
    for choice in choices:
        if choice != PRIMARY and choice not in known:
            near = nearest(choice, known)
            hint = f"did you mean {shown(near)}?" if near else f"there are {listed(map(shown, known), 'and')}"
            raise UsageError(f"no run has the metric {shown(choice)}; {hint}", kind="unknown-metric", key="--metric")
    other = None if against is None else reference_named(against, groups)
    marked: dict[tuple[str, str, Setting], ColumnMarks] = {}
    tables = tuple(_table(choice, groups, marked, with_published=with_published, against=other) for choice in choices)
    return Report(tables, tuple(groups), tuple(notes))


def metric_choices(collected: CollectedRuns) -> tuple[str, ...]:
    """Every choice that gives a table of its own: "primary", then the metrics that are not some task's primary one alone."""
    primaries = {run.metric for run in collected.runs}
    names = dict.fromkeys(name for run in collected.runs for name in run.metrics)
    several = len(primaries) > 1
    return (PRIMARY, *(name for name in names if several or name not in primaries))


def _once(groups: Iterable[Group]) -> tuple[list[Group], list[str]]:
    """Groups in which each seed stands once, its newest run; and the names of the runs that gave way."""
    unique, repeated = [], []
    for group in groups:
        newest = {run.seed: run for run in group.runs}  # runs come in the order in which they were made
        repeated += [run.name for run in group.runs if newest[run.seed] is not run]
        unique.append(replace(group, runs=tuple(newest[seed] for seed in sorted(newest))))
    return unique, repeated


# -- one table


def _table(
    choice: str,
    groups: Sequence[Group],
    marked: dict[tuple[str, str, Setting], ColumnMarks],
    *,
    with_published: bool,
    against: Reference | None,
) -> MetricTable:
    """The table of one choice. `marked` keeps what was tested already, by task, metric and common setting."""
    tasks, metrics = [], {}
    for group in groups:
        metric = group.runs[0].metric if choice == PRIMARY else choice
        if group.task not in metrics and any(metric in run.metrics for run in group.runs):
            tasks.append(group.task)
            metrics[group.task] = metric
    blocks, columns, failed = [], [], list[str]()
    commons = list(dict.fromkeys(group.common for group in groups))
    for common in commons:
        own = [group for group in groups if group.common == common and group.task in metrics]
        rows = list(_method_rows(own, tasks, metrics))
        for task in tasks:
            key = (task, metrics[task], common)
            if key not in marked:
                column = ColumnGroups(task, metrics[task], tuple(group for group in own if group.task == task))
                marked[key] = mark_column(column, against)
            columns.append(marked[key])
            rows = [_with_marks(row, task, marked[key]) for row in rows]
        others = list(_comparison_rows(own, tasks, metrics))
        least = next((row.cells for row in others if row.kind == "majority"), {})
        rows = [_with_majority(row, least) for row in (*rows, *others)]
        failed += _majority_notes(own, tasks, metrics)
        if rows:
            blocks.append(Block(setting_text(common, most=99), tuple(rows)))
    name = None if against is None else against.name
    averaged = any(row.average is not None for block in blocks for row in block.rows)
    footers = [*failed, *mark_notes(columns, name), *(_average_notes(tasks, metrics) if averaged else ())]
    if with_published and choice == PRIMARY:
        theirs, caveats = _published(tasks)
        caveats += _other_dev_sets(tasks if theirs else (), groups)
        blocks += [Block(ELSEWHERE, theirs)] if theirs else []
        footers += caveats or ["no published figures are known for these tasks"]
    return MetricTable(choice, tuple(tasks), metrics, tuple(blocks), tuple(footers), name)


def _method_rows(groups: Sequence[Group], tasks: Sequence[str], metrics: Mapping[str, str]) -> Iterator[MethodRow]:
    for (method, own), setting in own_names(groups).items():
        same = [group for group in groups if (group.method, group.own) == (method, own)]
        cells = {
            group.task: cell
            for group in same
            if (cell := _cell((run.seed, run.metrics.get(metrics[group.task])) for run in group.runs)) is not None
        }
        if cells:
            names = tuple(run.name for group in same for run in group.runs)
            inputs = {group.task: text for group in same if (text := inputs_text([run.content for run in group.runs]))}
            yield MethodRow("method", method, setting, cells, _average(cells, tasks), names, inputs)


def _cell(values: Iterable[tuple[int | None, float | None]]) -> SeedMean | None:
    known = tuple((seed, value) for seed, value in values if value is not None)
    mean = spread([value for _, value in known])
    return None if mean is None else SeedMean(mean.mean, mean.deviation, known)


def _average(cells: Mapping[str, SeedMean], tasks: Sequence[str]) -> float | None:
    """The mean over tasks; None where one is missing, because it could not be compared with a full row."""
    if len(tasks) < 2 or any(task not in cells for task in tasks):
        return None
    return math.fsum(cells[task].mean for task in tasks) / len(tasks)


def _average_notes(tasks: Sequence[str], metrics: Mapping[str, str]) -> Iterator[str]:
    """What the average is of, where it is of metrics with different names."""
    by_metric: dict[str, list[str]] = {}
    for task in tasks:
        by_metric.setdefault(metrics[task], []).append(task_title(task))
    if len(by_metric) > 1:
        parts = [f"{name} ({listed(titles, 'and', MOST_NAMES)})" for name, titles in by_metric.items()]
        yield (
            f"The average is of different metrics, as in GLUE's score: {listed(parts, 'and')}. A point of one is not worth a "
            "point of another."
        )


def _with_marks(row: MethodRow, task: str, column: ColumnMarks) -> MethodRow:
    index, cell = column.index_of(row.runs), row.cells.get(task)
    if index is None or cell is None:
        return row
    p, gap = column.p_values.get(index), column.differences.get(index)
    marked = replace(cell, mark=column.marks.get(index, ""), p=p, gap=gap)
    return replace(row, cells={**row.cells, task: marked})


def _with_majority(row: MethodRow, least: Mapping[str, SeedMean]) -> MethodRow:
    if row.kind in ("majority", "published"):
        return row
    cells = {
        task: replace(cell, below_majority=True) if task in least and at_or_below(cell.mean, least[task].mean) else cell
        for task, cell in row.cells.items()
    }
    return replace(row, cells=cells)


def _majority_notes(groups: Sequence[Group], tasks: Sequence[str], metrics: Mapping[str, str]) -> Iterator[str]:
    """Which students do not beat the majority guess, a sentence for each task: nothing is to be compared between them."""
    for task in tasks:
        name = metrics[task]
        words = []
        own = [group for group in groups if group.task == task]
        for group in own:
            pairs = [(run.metrics.get(name), run.models.get(MAJORITY, {}).get(name)) for run in group.runs]
            low = sum(at_or_below(value, least) for value, least in pairs)
            if low:
                label = f"{group.method} ({setting_text(group.own)})" if group.own else group.method
                words.append(label if low == len(pairs) else f"{label} with {low} of {len(pairs)} seeds")
        if words:
            yield (
                f"{MARK} {task_title(task)}: at or below the majority guess, so nothing that can be used was learnt: "
                f"{listed(words, 'and', MOST_NAMES)}."
            )


def _comparison_rows(groups: Sequence[Group], tasks: Sequence[str], metrics: Mapping[str, str]) -> Iterator[MethodRow]:
    """Rows of what methods are compared with: the student on labels alone, the teacher, the majority guess."""
    alone: dict[tuple[tuple[str, SeedMean], ...], list[str]] = {}
    for method in dict.fromkeys(group.method for group in groups):
        cells = {
            group.task: cell
            for group in groups
            if group.method == method
            and (cell := _cell((run.seed, run.models.get(BASELINE, {}).get(metrics[group.task])) for run in group.runs))
        }
        if cells:  # methods whose baselines are the same share a row
            alone.setdefault(tuple(cells.items()), []).append(method)
    for items, methods in alone.items():
        cells = dict(items)
        setting = f"steps of {', '.join(methods)}" if len(alone) > 1 else ""
        yield MethodRow("baseline", BASELINE, setting, cells, _average(cells, tasks))
    kinds: tuple[tuple[Kind, str], ...] = (("teacher", TEACHER), ("majority", MAJORITY))
    for kind, model in kinds:
        cells = {}
        for task in tasks:
            runs = [run for group in groups if group.task == task for run in group.runs]
            values = [run.models.get(model, {}).get(metrics[task]) for run in runs]
            cell = _cell((None, value) for value in dict.fromkeys(round(v, 6) for v in values if v is not None))
            if cell is not None:
                cells[task] = cell
        if cells:
            yield MethodRow(kind, model, "", cells, _average(cells, tasks))


def _other_dev_sets(tasks: Sequence[str], groups: Sequence[Group]) -> list[str]:
    """Sentences on tasks whose runs were measured on another number of rows than the official dev set has."""
    official = official_dev_rows()
    sentences = []
    for task in tasks:
        runs = [run for group in groups if group.task == task for run in group.runs if run.inputs is not None]
        sizes = sorted({run.inputs.dev_rows for run in runs if run.inputs is not None})
        if task in official and any(size != official[task] for size in sizes):
            sentences.append(
                f"{task_title(task)}: published figures are of the official dev set of {official[task]:,} rows; these runs were measured "
                f"on {listed((f'{size:,}' for size in sizes), 'and')}"
            )
    return sentences


def _published(tasks: Sequence[str]) -> tuple[tuple[MethodRow, ...], list[str]]:
    lines, caveats = [], {}
    for row in published():
        cells = {
            task: SeedMean(row.figures[task], None, ((None, row.figures[task]),))
            for task in tasks
            if task in row.figures
        }
        if cells:
            lines.append(MethodRow("published", row.name, row.source, cells))
            caveats[row.source] = row.caveat
    return tuple(lines), [f"published, {source}: {caveat}" for source, caveat in caveats.items()]
