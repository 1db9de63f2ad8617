"""A figure for everything that was logged of one run or several. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crild_tui.charts.figure import GIGA, Figure, Level, Line, Words
from crild_tui.charts.palette import curve_marker
from crild_tui.charts.run_figures import (
    STUDENT,
    Look,
    Source,
    TraceCache,
    borders,
    dev_lines,
    extent,
    levels,
    metric_name,
    scaled_stage,
    stars,
    step_line,
    trained_values,
)
from crild_tui.monitor.curves import Curves, Floats, Table
from engine.preset.text import one_line

LABEL_LOSS = "label loss"
"""The loss on gold labels, among the columns of evaluations."""
ON_TRAIN = f"{STUDENT} (train)"
"""The student evaluated on training rows, among the models of evaluations."""
_NAMES = {"loss": "loss/total", "consistency": "consistency/term", "weight": "consistency/weight"}
"""Names of the charts of columns that belong to a group; others are called as their columns."""
_ORDER: dict[str, Words] = {
    "learning rate": "number", "gradient norm": "number", "examples/s": "rate", "tokens/s": "rate", "memory": "gigabytes",
}  # fmt: skip
"""The course of training, and how its figures are written."""
Read = Callable[[Curves], Floats | None]
"""Reads a column of step events."""


@dataclass(frozen=True, eq=False)
class Logged:
    """A chart of one logged figure; its name begins with its group: loss, consistency, dev, gap."""

    name: str
    figure: Figure


def logged(sources: Sequence[Source], look: Look, traces: TraceCache) -> tuple[Logged, ...]:
    """A chart for each term, for the course of training, for each dev metric, and for the gaps between train and dev."""
    view = extent(sources, look.axis) if look.view is None else look.view
    blank = Figure("", view=view, axis=look.axis, log=look.log, cursor=look.cursor, marks=borders(sources, look.axis))
    charts = [
        *_dev(blank, sources, look, traces),
        *_steps(blank, sources, look, traces),
        *_gaps(blank, sources, look, traces),
    ]
    traces.drop_unused()
    return tuple(chart for chart in charts if chart.figure.lines)


def _chart(name: str, figure: Figure) -> Logged:
    return Logged(name, replace(figure, title=one_line(name)))


# -- step events


def _steps(blank: Figure, sources: Sequence[Source], look: Look, traces: TraceCache) -> Iterator[Logged]:
    values = dict.fromkeys(name for source in sources for name in source.curves.steps.values)
    terms = dict.fromkeys(name for source in sources for name in source.curves.steps.terms)
    own = [name for name in values if name not in (*_NAMES, *_ORDER)]
    losses = replace(blank, smoothing=look.smoothing, scaled=scaled_stage(sources, look))
    yield _train_and_dev(losses, "loss/total", "loss", sources, look, traces)
    for term in terms:
        yield _train_and_dev(losses, f"loss/{term}", term, sources, look, traces)
    for name in ("consistency", "weight"):
        smoothed = look if name == "consistency" else replace(look, smoothing=0.0)
        lines = _lines(sources, _value(name), smoothed, traces)
        words: Words = "loss" if name == "consistency" else "number"
        yield _chart(_NAMES[name], replace(losses, smoothing=smoothed.smoothing, lines=lines, words=words))
    for name in (*_ORDER, *own):
        read = _memory if name == "memory" else _value(name)
        smoothed = replace(look, smoothing=0.0) if name in ("learning rate", "memory") else look
        lines, written = _lines(sources, read, smoothed, traces), _ORDER.get(name, "loss")
        figure = replace(blank, smoothing=smoothed.smoothing, lines=lines, words=written)
        yield _chart("memory, GB" if name == "memory" else name, figure)


def _value(name: str) -> Read:
    return lambda curves: curves.steps.values.get(name)


def _memory(curves: Curves) -> Floats | None:
    values = curves.steps.values.get("memory")
    return None if values is None else values / GIGA


def _lines(sources: Sequence[Source], read: Read, look: Look, traces: TraceCache, label: str = "") -> tuple[Line, ...]:
    """A curve for each run that has the column; the only curve of a chart needs no label."""
    runs = len(sources)
    return tuple(
        line for source in sources for line in step_line(source, read(source.curves), label, look, traces, runs)
    )


def _train_and_dev(
    figure: Figure, name: str, column: str, sources: Sequence[Source], look: Look, traces: TraceCache
) -> Logged:
    """A loss or term in training; for a single run also on dev, where a stage evaluates it there."""

    def read(curves: Curves) -> Floats | None:
        return curves.steps.values.get(column) if column == "loss" else curves.steps.terms.get(column)

    def on_dev(table: Table) -> Floats | None:
        return table.values.get(column) if column == "loss" else table.terms.get(column)

    lines = _lines(sources, read, look, traces, "train")
    if len(sources) == 1:
        curves = sources[0].curves
        student = curves.evaluations.get(STUDENT, Table())
        values = on_dev(student)
        if values is not None and np.isfinite(values).any():
            trace = traces.raw(student.axis(look.axis), values)
            starts = tuple(border.on(look.axis) for border in curves.borders)
            lines += (Line("dev", trace, 1, curve_marker(1), dots=True, breaks=starts),)
            since = _stage_of_newest(lines, starts)
            lines = tuple(replace(line, since=since) for line in lines)
    return _chart(name, replace(figure, lines=lines))


def _stage_of_newest(lines: Sequence[Line], starts: Sequence[float]) -> float:
    """Where the stage begins in which curves have their newest value: figures of different stages don't compare."""
    ends = [
        float(line.points.x[known[-1]]) for line in lines if len(known := np.flatnonzero(np.isfinite(line.points.y)))
    ]
    newest = max(ends, default=-np.inf)
    return max((start for start in starts if start < newest), default=-np.inf)


# -- evaluations


def _dev(blank: Figure, sources: Sequence[Source], look: Look, traces: TraceCache) -> Iterator[Logged]:
    """A chart for each metric, with the models that were evaluated."""
    primary = metric_name(sources)
    tables = [table for source in sources for table in source.curves.evaluations.values()]
    names = dict.fromkeys([primary, *(name for table in tables for name in table.values if name != "loss")])
    for name in names:
        if name == "loss":
            continue
        lines = dev_lines(sources, look, traces, name)
        known = levels(sources) if name == primary else _teacher_level(sources, name)
        best = stars(sources, look.axis) if name == primary else ()
        marks = (*blank.marks, *best)
        words: Words = "loss" if name == LABEL_LOSS else "metric"
        figure = replace(blank, lines=lines, levels=known, marks=marks, linear=words == "metric", words=words)
        yield _chart(f"dev/{name}", figure)


def _teacher_level(sources: Sequence[Source], name: str) -> tuple[Level, ...]:
    """The teacher's only evaluation, where a single run has one."""
    table = sources[0].curves.evaluations.get("teacher") if len(sources) == 1 else None
    values = None if table is None or len(table) > 1 else table.values.get(name)
    if values is None or not np.isfinite(values).any():
        return ()
    return (Level(float(values[-1]), "teacher", "T"),)


# -- the gap between train and dev


def _gaps(blank: Figure, sources: Sequence[Source], look: Look, traces: TraceCache) -> Iterator[Logged]:
    """How much worse the student is on dev than in training: by its loss, by the loss on labels, by its metric."""
    primary = metric_name(sources)
    gaps: tuple[tuple[str, Read, Words], ...] = (
        ("gap/loss, dev - train", loss_gap, "loss"),
        ("gap/label loss, dev - train", label_gap, "loss"),
        (f"gap/{primary}, train - dev", _metric_gap(primary), "loss" if primary == "loss" else "metric"),
    )
    for name, read, words in gaps:
        lines = []
        for source in sources:
            student = source.curves.evaluations.get(STUDENT, Table())
            gap = read(source.curves)
            if gap is None or not np.isfinite(gap).any():
                continue
            color = 0 if len(sources) == 1 else source.index
            label = "" if len(sources) == 1 else one_line(source.label)
            lines.append(Line(label, traces.raw(student.axis(look.axis), gap), color, curve_marker(color), dots=True))
        none = Level(0.0, "no gap", "0")
        yield _chart(name, replace(blank, lines=tuple(lines), levels=(none,), linear=True, words=words))


def loss_gap(curves: Curves) -> Floats | None:
    """The stage's loss on dev less that of training (without consistency, as on dev), at each evaluation of the student.

    NaN where a stage does not evaluate its loss.
    """
    student, steps = curves.evaluations.get(STUDENT), curves.steps
    if student is None or "loss" not in student.values or "loss" not in steps.values:
        return None
    train = steps.values["loss"]
    if "consistency" in steps.values and "weight" in steps.values:
        train = train - np.nan_to_num(steps.values["consistency"] * steps.values["weight"])
    return student.values["loss"] - _before(curves, train, student.step)


def label_gap(curves: Curves) -> Floats | None:
    """The student's loss on the labels of dev less that of training, at each of its evaluations; NaN in other stages."""
    student, labels = curves.evaluations.get(STUDENT), curves.steps.terms.get("labels")
    if student is None or labels is None or LABEL_LOSS not in student.values:
        return None
    return student.values[LABEL_LOSS] - _before(curves, labels, student.step)


def _metric_gap(name: str) -> Read:
    def read(curves: Curves) -> Floats | None:
        """The student's metric on training rows less that on dev, where both were evaluated at a step."""
        student, train = curves.evaluations.get(STUDENT), curves.evaluations.get(ON_TRAIN)
        if student is None or train is None or name not in train.values:
            return None
        on_dev = trained_values(curves, student, name)
        if on_dev is None:
            return None
        by_step: Mapping[float, float] = dict(zip(train.step.tolist(), train.values[name].tolist(), strict=True))
        return np.array([by_step.get(step, np.nan) for step in student.step.tolist()]) - on_dev

    return read


def _before(curves: Curves, values: Floats, steps: Floats) -> Floats:
    """The newest known value of a column of steps at or before each of `steps`, in the same stage; NaN if there is none."""
    starts = np.array([border.step for border in curves.borders])
    known = np.isfinite(values)
    x, y = curves.steps.step[known], values[known]
    found = np.full(len(steps), np.nan)
    index = np.searchsorted(x, steps, side="right") - 1
    there = index >= 0
    same = np.searchsorted(starts, x[index[there]], side="left") == np.searchsorted(starts, steps[there], side="left")
    found[np.flatnonzero(there)[same]] = y[index[there][same]]
    return found
