"""Mark the figures of a column that are significantly better than the others, or than one method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import CrildError, UsageError
from engine.preset.names import task_title
from engine.preset.text import listed, nearest, shown
from engine.report.collect import FinishedRun
from engine.report.inputs import Setting
from engine.report.predictions import Answers, read_answers
from engine.report.result_table import Mark
from engine.report.settings import Group, own_names, setting_text

if TYPE_CHECKING:
    from engine.report.significance import MeanDifference

AGREEMENT = 1e-4
"""How far the metric of the predictions may lie from that of results.json."""
MOST_NOTES = 6
"""Notes of one kind; more are counted."""


@dataclass(frozen=True)
class ColumnGroups:
    """The groups of one column that are compared on equal terms, by one metric."""

    task: str
    metric: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Reference:
    """The method that others are compared with: its name, and the rows (method and own setting) that it stands for."""

    name: str
    rows: frozenset[tuple[str, Setting]]


@dataclass(frozen=True)
class ColumnMarks:
    """The marks of a column by index of its groups, with corrected p-values against the highest; where a reference was
    named, against that, and how far each is above it.

    `problems` says what could not be tested, `resamples` how many there were (0: nothing was tested), `fewer` which pairs
    were tested over fewer seeds than their means are of, `drawn` what a resample draws.
    """

    column: ColumnGroups
    marks: Mapping[int, Mark] = field(default_factory=dict)
    p_values: Mapping[int, float] = field(default_factory=dict)
    differences: Mapping[int, MeanDifference] = field(default_factory=dict)
    resamples: int = 0
    problems: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()
    drawn: str = "dev examples"

    def index_of(self, runs: Sequence[str]) -> int | None:
        """The index of the group that one of these runs belongs to."""
        names = set(runs)
        return next((n for n, g in enumerate(self.column.groups) if any(run.name in names for run in g.runs)), None)


def mark_column(column: ColumnGroups, reference: Reference | None = None) -> ColumnMarks:
    """Test the groups of a column against each other, or all others against a reference that was named beforehand.

    A single group gets no mark.
    """
    groups, metric = column.groups, column.metric
    means = {
        index: math.fsum(values) / len(values)
        for index, group in enumerate(groups)
        if (values := [run.metrics[metric] for run in group.runs if metric in run.metrics])
    }
    if len(means) < 2:
        return ColumnMarks(column)
    compared_with = max(means, key=lambda index: means[index])
    if reference is not None:
        matching = [index for index in means if (groups[index].method, groups[index].own) in reference.rows]
        if len(matching) != 1:
            what = f"several rows are called {reference.name}" if matching else f"there is no row {reference.name}"
            return ColumnMarks(column, problems=(what,))
        (compared_with,) = matching
    from engine.report.significance import LEVEL, compare_methods  # numpy

    methods, problems = [], []
    for group in groups:
        answers: dict[int, Answers] = {}
        for run in group.runs:
            try:
                answers[run.seed] = _answers(run, metric)
            except CrildError as error:
                problems.append(f"{run.name}: {error.sentence}")
        methods.append(answers)
    tests = compare_methods(metric.split(" (")[0], methods, against=None if reference is None else compared_with)
    others = [index for index in means if index != compared_with]
    p = {index: tests.p_values[pair] for index in others if (pair := _pair(index, compared_with)) in tests.p_values}
    untested = {index: tests.untested.get(_pair(index, compared_with)) for index in others if index not in p}
    for why in dict.fromkeys(why for why in untested.values() if why):
        names = [_name(groups[index]) for index, same in untested.items() if same == why]
        problems.append(f"{listed(names, 'and', 3)} against {_name(groups[compared_with])}: {why}")
    marks: dict[int, Mark] = {index: "tied" for index, value in p.items() if value > LEVEL}
    if reference is not None:
        marks |= {index: "above" if tests.differences[index].mean > 0 else "below" for index in p if index not in marks}
    elif marks:
        marks[compared_with] = "tied"
    elif p and not untested:
        marks[compared_with] = "best"
    fewer = tuple(
        f"{_name(groups[index])} against {_name(groups[compared_with])} over the {len(shared)} seeds that they share"
        for index in p
        if len(shared := methods[index].keys() & methods[compared_with].keys())
        < max(len(groups[index].runs), len(groups[compared_with].runs))
    )
    drawn = "queries" if any(each.groups for answers in methods for each in answers.values()) else "dev examples"
    return ColumnMarks(column, marks, p, tests.differences, tests.resamples if p else 0, tuple(problems), fewer, drawn)


def reference_named(name: str, groups: Sequence[Group]) -> Reference:
    """The rows that a name stands for: the one with this label, else all of this method. Raises UsageError for none."""
    labels = {row: f"{row[0]} ({setting})" if setting else row[0] for row, setting in own_names(groups).items()}
    rows = [row for row, label in labels.items() if label == name] or [row for row in labels if row[0] == name]
    if not rows:
        known = list(dict.fromkeys([*(method for method, _ in labels), *labels.values()]))
        near = nearest(name, known)
        hint = f"did you mean {shown(near)}?" if near else f"there are {listed(map(shown, known), 'and')}"
        raise UsageError(f"no run uses the method {shown(name)}; {hint}", kind="unknown-method", key="--against")
    return Reference(name, frozenset(rows))


def _pair(one: int, other: int) -> tuple[int, int]:
    return (min(one, other), max(one, other))


def _name(group: Group) -> str:
    return f"{group.method} ({setting_text(group.own)})" if group.own else group.method


def _answers(run: FinishedRun, metric: str) -> Answers:
    """The predictions of a run, if they give the metric that its results say. Raises CrildError where not."""
    from engine.report.significance import has_test, score

    name, _, split = metric.partition(" (")
    try:
        answers = read_answers(run.run_dir, split.rstrip(")") or None)
    except CrildError as error:
        raise CrildError(f"its predictions: {error.sentence}", kind="unreadable-predictions") from error
    if (
        has_test(name, answers)
        and metric in run.metrics
        and abs(score(name, answers) - run.metrics[metric]) > AGREEMENT
    ):
        raise CrildError(f"its predictions do not give the {metric} of its results", kind="other-predictions")
    return answers


def mark_notes(columns: Sequence[ColumnMarks], reference: str | None = None) -> list[str]:
    """Notes on the marks of a table: the test, its level and resamples, and what could not be tested."""
    notes = []
    resamples = sorted({column.resamples for column in columns if column.resamples})
    if resamples:
        from engine.report.significance import LEVEL

        count = " or ".join(f"{number:,}" for number in resamples)
        drawn = " or ".join(sorted({column.drawn for column in columns if column.resamples}))
        test = f"paired bootstrap over {drawn} ({count} resamples) and seeds (Student's t, variance pooled over the column)"
        if reference is None:
            notes.append(
                f"Marks: {test}, two-sided, level {LEVEL:g}, Holm's correction over all pairs of a column. ▲ or bold: "
                "significantly better than all others of its column. ≈ or underlined: not significantly different from the "
                "highest. Averages are not tested."
            )
        else:
            notes.append(
                f"Against {reference}: the difference, and its 95 % interval for this comparison alone: {test}. ▲ and ▼: "
                f"significantly above and below it, ≈: not significantly different; two-sided, level {LEVEL:g}, Holm's "
                "correction over the comparisons of a column. Averages are not tested."
            )
    fewer = [(each.column.task, pair) for each in columns for pair in each.fewer]
    notes += [f"Tested, {task_title(task)}: {pair}; their means are of more." for task, pair in fewer[:MOST_NOTES]]
    if len(fewer) > MOST_NOTES:
        notes.append(f"Tested over fewer seeds than means are of: {len(fewer) - MOST_NOTES} more.")
    several = [each for each in columns if len(each.column.groups) > 1]
    untested = [(each.column.task, problem) for each in several for problem in each.problems]
    if several and not resamples:
        notes.append("No figure is marked: nothing could be tested.")
    notes += [f"Not tested, {task_title(task)}: {problem}." for task, problem in untested[:MOST_NOTES]]
    if len(untested) > MOST_NOTES:
        notes.append(f"Not tested: {len(untested) - MOST_NOTES} more.")
    return notes
