"""Which figures of a column are marked as the best: those that a test tells apart from the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import CrildError, UsageError
from engine.preset.text import listed, nearest, shown
from engine.report.collect import Finished
from engine.report.predictions import Answers, read_answers
from engine.report.result_table import Mark
from engine.report.settings import Group, Setting, own_names, told

if TYPE_CHECKING:
    from engine.report.significance import Gap

AGREEMENT = 1e-4
"""How far the metric of the predictions may lie from that of results.json."""


@dataclass(frozen=True)
class Question:
    """The groups of one column on equal terms, to be held against each other by one metric."""

    task: str
    metric: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Named:
    """What others are held against: a name, and the rows (method and own setting) that it means."""

    name: str
    rows: frozenset[tuple[str, Setting]]


@dataclass(frozen=True)
class Ruling:
    """What came out for a column, by place among its groups: marks, corrected p-values against the highest, or against
    the method that was named, and then how far each is above that.

    `troubles` says what could not be tested, `draws` how many resamples there were (0: nothing was tested), `fewer` which
    pairs were tested over fewer seeds than their means are of.
    """

    question: Question
    marks: Mapping[int, Mark] = field(default_factory=dict)
    p: Mapping[int, float] = field(default_factory=dict)
    gaps: Mapping[int, Gap] = field(default_factory=dict)
    draws: int = 0
    troubles: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()

    def place(self, runs: Sequence[str]) -> int | None:
        """The place of the group that one of these runs belongs to."""
        wanted = set(runs)
        return next((n for n, g in enumerate(self.question.groups) if any(run.name in wanted for run in g.runs)), None)


def rule(question: Question, against: Named | None = None) -> Ruling:
    """Test the groups of a column against each other, or all others against a row that was named beforehand.

    With a single group there is nothing to mark.
    """
    groups, metric = question.groups, question.metric
    means = {
        place: math.fsum(values) / len(values)
        for place, group in enumerate(groups)
        if (values := [run.metrics[metric] for run in group.runs if metric in run.metrics])
    }
    if len(means) < 2:
        return Ruling(question)
    held_against = max(means, key=lambda place: means[place])
    if against is not None:
        meant = [place for place in means if (groups[place].method, groups[place].own) in against.rows]
        if len(meant) != 1:
            what = f"several rows are called {against.name}" if meant else f"there is no row {against.name}"
            return Ruling(question, troubles=(what,))
        (held_against,) = meant
    from engine.report.significance import LEVEL, judge  # numpy

    rivals, troubles = [], []
    for group in groups:
        answers: dict[int, Answers] = {}
        for run in group.runs:
            try:
                answers[run.seed] = _answers(run, metric)
            except CrildError as error:
                troubles.append(f"{run.name}: {error.sentence}")
        rivals.append(answers)
    verdict = judge(metric.split(" (")[0], rivals, against=None if against is None else held_against)
    others = [place for place in means if place != held_against]
    p = {place: verdict.p[pair] for place in others if (pair := _pair(place, held_against)) in verdict.p}
    untested = {place: verdict.untested.get(_pair(place, held_against)) for place in others if place not in p}
    for why in dict.fromkeys(why for why in untested.values() if why):
        names = [_name(groups[place]) for place, same in untested.items() if same == why]
        troubles.append(f"{_some(names)} against {_name(groups[held_against])}: {why}")
    marks: dict[int, Mark] = {place: "tied" for place, value in p.items() if value > LEVEL}
    if against is not None:
        marks |= {place: "above" if verdict.gaps[place].mean > 0 else "below" for place in p if place not in marks}
    elif marks:
        marks[held_against] = "tied"
    elif p and not untested:
        marks[held_against] = "best"
    fewer = tuple(
        f"{_name(groups[place])} against {_name(groups[held_against])} over the {len(shared)} seeds that they share"
        for place in p
        if len(shared := rivals[place].keys() & rivals[held_against].keys())
        < max(len(groups[place].runs), len(groups[held_against].runs))
    )
    return Ruling(question, marks, p, verdict.gaps, verdict.draws if p else 0, tuple(troubles), fewer)


def named(name: str, groups: Sequence[Group]) -> Named:
    """The rows that a name means: the one with this label, else all of this method. Raises UsageError for none."""
    labels = {row: f"{row[0]} ({setting})" if setting else row[0] for row, setting in own_names(groups).items()}
    rows = [row for row, label in labels.items() if label == name] or [row for row in labels if row[0] == name]
    if not rows:
        known = list(dict.fromkeys([*(method for method, _ in labels), *labels.values()]))
        near = nearest(name, known)
        hint = f"did you mean {shown(near)}?" if near else f"there are {listed(map(shown, known), 'and')}"
        raise UsageError(f"no run is of the method {shown(name)}; {hint}", key="--against")
    return Named(name, frozenset(rows))


def _some(names: Sequence[str], most: int = 3) -> str:
    return listed(names if len(names) <= most else [*names[:most], f"{len(names) - most} more"], "and")


def _pair(one: int, other: int) -> tuple[int, int]:
    return (min(one, other), max(one, other))


def _name(group: Group) -> str:
    return f"{group.method} ({told(group.own)})" if group.own else group.method


def _answers(run: Finished, metric: str) -> Answers:
    """The predictions of a run, if they give the metric that its results say. Raises CrildError where not."""
    from engine.report.significance import METRICS, score

    name, _, split = metric.partition(" (")
    try:
        answers = read_answers(run.run_dir, split.rstrip(")") or None)
    except CrildError as error:
        raise CrildError(f"its predictions: {error.sentence}") from error
    if name in METRICS and metric in run.metrics and abs(score(name, answers) - run.metrics[metric]) > AGREEMENT:
        raise CrildError(f"its predictions do not give the {metric} of its results")
    return answers


def footer(rulings: Sequence[Ruling], against: str | None = None) -> list[str]:
    """Sentences about the marks of a table: the test, its level and resamples, and what could not be tested."""
    said = []
    draws = sorted({ruling.draws for ruling in rulings if ruling.draws})
    if draws:
        from engine.report.significance import LEVEL

        count = " or ".join(f"{number:,}" for number in draws)
        test = (
            f"paired bootstrap over dev examples ({count} resamples) and seeds (Student's t, their variance pooled over the "
            "column)"
        )
        if against is None:
            said.append(
                f"Marks: {test}, two-sided, level {LEVEL:g}, Holm's correction over all pairs of a column. ★ or bold: better "
                "than every other of its column by more than chance. ≈ or underlined: not told apart from the highest. "
                "Averages are not tested."
            )
        else:
            said.append(
                f"Against {against}: the difference, and its 95 % interval for this comparison alone: {test}. ▲ above it and ▼ "
                f"below it by more than chance, ≈ not told apart: two-sided, level {LEVEL:g}, Holm's correction over the "
                "comparisons of a column. Averages are not tested."
            )
    fewer = [(ruling.question.task, pair) for ruling in rulings for pair in ruling.fewer]
    said += [f"Tested, {task}: {pair}; their means are of more." for task, pair in fewer[:6]]
    if len(fewer) > 6:
        said.append(f"Tested over fewer seeds than means are of: {len(fewer) - 6} more.")
    several = [ruling for ruling in rulings if len(ruling.question.groups) > 1]
    untested = [(ruling.question.task, trouble) for ruling in several for trouble in ruling.troubles]
    if several and not draws:
        said.append("No figure is marked: nothing could be tested.")
    for task, trouble in untested[:6]:
        said.append(f"Not tested, {task}: {trouble}.")
    if len(untested) > 6:
        said.append(f"Not tested: {len(untested) - 6} more.")
    return said
