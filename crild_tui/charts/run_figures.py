"""The three panels of a run, or of several, as figures: from snapshots to curves, levels and marks. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crild_tui import theme
from crild_tui.charts.figure import Figure, Level, Line, Mark, View
from crild_tui.charts.traces import LONG, Trace, smooth_trace, trace
from crild_tui.monitor.curves import Axis, Curves, Floats, Table
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.summary import BASELINE
from engine.preset.text import one_line
from engine.record.states import ENDED

STUDENT = "student"
MODELS = {STUDENT: 0, "self-teacher": 1, BASELINE: 2, "teacher": 4}
"""The colours of models. The fourth marker is an asterisk, which in ASCII is the sign of the best."""
OWN_CURVE = {"teacher": "teacher's curve"}
"""How the curve of a model's training is called where the name alone is that of its final figure."""
TERM = "term: "
RAW_CURVES = 3
"""With more runs than these, what is smoothed hides nothing behind it: the raw curves would be a fog."""
SAME = 1e-4
"""Share of a loss by which a term may differ from it and still be the same curve: no chart shows as little."""
NO_CONSISTENCY = "this run has no consistency term"
NONE_SO_FAR = "no consistency term in the stages so far"
NOTHING_YET = "nothing yet"
READING = "reading..."


@dataclass(frozen=True)
class Source:
    """A run that is shown; `index` is its number among the colours and markers."""

    snapshot: RunSnapshot
    label: str
    index: int


@dataclass(frozen=True)
class Look:
    """How figures are shown."""

    axis: Axis = "step"
    log: bool = False
    smoothing: float = 0.0
    view: View | None = None
    """None for all."""
    cursor: float | None = None


class Traces:
    """Traces made so far, by the columns they come from: a long run costs its preparation once for each change."""

    def __init__(self) -> None:
        self._raw: dict[tuple[int, int], tuple[Floats, Floats, Trace]] = {}
        self._smooth: dict[tuple[int, int, float, tuple[float, ...]], Trace] = {}
        self._used: set[object] = set()

    def raw(self, x: Floats, y: Floats) -> Trace:
        """The trace of two columns."""
        key = (id(x), id(y))
        self._used.add(key)
        if key not in self._raw:  # the columns are kept with it: an id says which one it is only while it lives
            self._raw[key] = (x, y, trace(x, y))
        return self._raw[key][2]

    def smooth(self, x: Floats, y: Floats, weight: float, breaks: tuple[float, ...]) -> Trace:
        """The same, smoothed."""
        raw = self.raw(x, y)
        key = (id(x), id(y), weight, breaks)
        self._used.add(key)
        if key not in self._smooth:
            self._smooth[key] = smooth_trace(raw, weight, breaks)
        return self._smooth[key]

    def sweep(self) -> None:
        """Drop what was not asked for since the last call."""
        self._raw = {key: kept for key, kept in self._raw.items() if key in self._used}
        self._smooth = {key: kept for key, kept in self._smooth.items() if key in self._used}
        self._used = set()


def is_long(sources: Sequence[Source]) -> bool:
    """Whether figures of these runs take so long to prepare that the event loop must not wait for them."""
    return sum(len(source.snapshot.curves.steps) for source in sources) > LONG


def extent(sources: Sequence[Source], axis: Axis) -> View:
    """From the beginning to the newest point of all runs."""
    ends = [0.0]
    for source in sources:
        curves = source.snapshot.curves
        for table in (curves.steps, *curves.evaluations.values()):
            column = table.axis(axis)
            if len(column):
                last = float(column[-1])
                ends.append(last if math.isfinite(last) else float(np.nan_to_num(np.fmax.reduce(column), posinf=0)))
    return View(0.0, max(ends) or 1.0)


def figures(sources: Sequence[Source], look: Look, traces: Traces) -> tuple[Figure, Figure, Figure]:
    """Loss, consistency and dev metric."""
    lines = (
        loss_lines(sources, look, traces),
        consistency_lines(sources, look, traces),
        dev_lines(sources, look, traces),
    )
    view = extent(sources, look.axis) if look.view is None else look.view
    marks = borders(sources, look.axis)
    begun = any(len(source.snapshot.curves.steps) for source in sources)
    traces.sweep()
    name = metric_name(sources)
    unread = any(not source.snapshot.read for source in sources)
    nothing = READING if unread else NOTHING_YET
    blank = Figure("loss", view=view, axis=look.axis, log=look.log, cursor=look.cursor, empty=nothing)
    return (
        replace(blank, lines=lines[0], marks=marks),
        replace(
            blank,
            title="consistency",
            lines=lines[1],
            marks=marks,
            empty=_why_none(sources) if begun and not unread else nothing,
        ),
        replace(
            blank,
            title=one_line(f"dev {name}"),
            lines=lines[2],
            levels=levels(sources),
            marks=(*marks, *stars(sources, look.axis)),
            words="metric",
            linear=name != "loss",
            empty=READING if unread else "nothing evaluated yet",
        ),
    )


# -- lines


def loss_lines(sources: Sequence[Source], look: Look, traces: Traces) -> tuple[Line, ...]:
    """The total of each run; of one alone, each term too, those of the newest stage first."""
    lines = [
        line
        for source in sources
        if (
            line := _line(
                source, "loss", "total", look, traces, raw=len(sources) <= RAW_CURVES, alone=len(sources) == 1
            )
        )
    ]
    if len(sources) == 1:
        lines += sorted(_terms(sources[0], look, traces), key=lambda line: line.last is None)
    return tuple(lines)


def _terms(source: Source, look: Look, traces: Traces) -> list[Line]:
    curves = source.snapshot.curves
    names = [name for name in curves.steps.values if name.startswith(TERM)]
    since = _newest_stage(curves, look.axis)
    found = []
    for number, name in enumerate(names, 1):
        label = one_line(name.removeprefix(TERM))
        line = _line(source, name, label, look, traces, raw=False, alone=True, color=number)
        if line:
            found.append(replace(line, since=since, hidden=_as_the_total(curves, name)))
    return found


def _as_the_total(curves: Curves, name: str) -> frozenset[int]:
    """The stages, by their number among the borders, in which a term is all of the loss: one curve, drawn once."""
    steps = curves.steps
    if "loss" not in steps.values:
        return frozenset()
    term, total = steps.values[name], steps.values["loss"]
    known = np.isfinite(term)
    same = np.isclose(term, total, rtol=SAME, atol=0.0)
    stage = np.searchsorted(np.array([border.step for border in curves.borders]), steps.step, side="left")
    return frozenset(np.unique(stage[known]).tolist()) - frozenset(np.unique(stage[known & ~same]).tolist())


def _newest_stage(curves: Curves, axis: Axis) -> float:
    """Where the stage of the newest step begins; of two stages the border is the last place of the earlier one."""
    newest = curves.steps.step[-1] if len(curves.steps) else math.nan
    return max((border.at(axis) for border in curves.borders if border.step < newest), default=-math.inf)


def consistency_lines(sources: Sequence[Source], look: Look, traces: Traces) -> tuple[Line, ...]:
    """The term of each run that has one; of one alone, its present weight too, on a scale of its own."""
    alone = len(sources) == 1
    lines = [
        line
        for source in sources
        if (line := _line(source, "consistency", "term", look, traces, raw=len(sources) <= RAW_CURVES, alone=alone))
    ]
    if alone and lines:
        weight = _line(
            sources[0], "weight", "weight", replace(look, smoothing=0), traces, raw=False, alone=True, color=1
        )
        lines += [replace(weight, own_scale=True)] if weight else []
    return tuple(lines)


def _line(
    source: Source,
    column: str,
    label: str,
    look: Look,
    traces: Traces,
    *,
    raw: bool,
    alone: bool,
    color: int = 0,
) -> Line | None:
    """A curve of the step events; None where the run has no such figure."""
    curves = source.snapshot.curves
    values = curves.steps.values.get(column)
    if values is None or not np.isfinite(values).any():
        return None
    x = curves.steps.axis(look.axis)
    breaks = tuple(border.at(look.axis) for border in curves.borders)
    shown = traces.smooth(x, values, look.smoothing, breaks) if look.smoothing else traces.raw(x, values)
    behind = traces.raw(x, values) if look.smoothing and raw else None
    number = color if alone else source.index
    return Line(
        label if alone else one_line(source.label),
        shown,
        number,
        theme.curve_marker(number),
        behind=behind,
        counted=column == "loss",
        breaks=breaks,
    )


def dev_lines(sources: Sequence[Source], look: Look, traces: Traces) -> tuple[Line, ...]:
    """The student of each run; of one alone, every model that was evaluated more than once.

    Evaluations are figures in their own right, so they are never smoothed.
    """
    name = metric_name(sources)
    alone = len(sources) == 1
    lines = []
    for source in sources:
        for number, model, table in _models(source.snapshot.curves):
            values = table.values.get(name)
            if values is None or not np.isfinite(values).any() or (not alone and model != STUDENT):
                continue
            if model == "teacher" and len(table) < 2:  # a level, no curve
                continue
            color = number if alone else source.index
            curve = traces.raw(table.axis(look.axis), values)
            label = one_line(OWN_CURVE.get(model, model)) if alone else one_line(source.label)
            lines.append(Line(label, curve, color, theme.curve_marker(color), dots=True))
    return tuple(lines)


def _models(curves: Curves) -> list[tuple[int, str, Table]]:
    """The evaluated models with their colours, which stay whatever else is evaluated later."""
    known = [
        (color, model, curves.evaluations[model]) for model, color in MODELS.items() if model in curves.evaluations
    ]
    others = [model for model in curves.evaluations if model not in MODELS]
    return known + [(color, model, curves.evaluations[model]) for color, model in enumerate(others, 5)]


# -- what stands beside the lines


def _why_none(sources: Sequence[Source]) -> str:
    """Why the consistency panel is empty: a run that goes on may have a stage to come that has the term."""
    return NO_CONSISTENCY if all(source.snapshot.entry.state in ENDED for source in sources) else NONE_SO_FAR


def metric_name(sources: Sequence[Source]) -> str:
    """The metric of the dev panel: the task's, or the loss as long as there is nothing else."""
    for source in sources:
        if source.snapshot.picture.metric_name:
            return source.snapshot.picture.metric_name
    columns = [
        name for source in sources for table in source.snapshot.curves.evaluations.values() for name in table.values
    ]
    return next((name for name in columns if name != "loss"), "loss" if columns else "metric")


def levels(sources: Sequence[Source]) -> tuple[Level, ...]:
    """The teacher's and the majority's figures, where all runs have the same."""
    pictures = [source.snapshot.picture for source in sources]
    found = []
    for label, sign, values in (
        ("teacher", "T", {picture.teacher for picture in pictures}),
        ("majority", "M", {picture.majority for picture in pictures}),
    ):
        value = values.pop() if len(values) == 1 else None
        if value is not None and math.isfinite(value):
            found.append(Level(value, label, sign))
    return tuple(found)


def borders(sources: Sequence[Source], axis: Axis) -> tuple[Mark, ...]:
    """Where stages begin, where all runs agree on it: of several runs with other borders none are shown."""
    all_of_them = [
        tuple(Mark(border.at(axis), one_line(border.stage)) for border in source.snapshot.curves.borders)
        for source in sources
    ]
    return all_of_them[0] if len(set(all_of_them)) == 1 else ()


def stars(sources: Sequence[Source], axis: Axis) -> tuple[Mark, ...]:
    """The best evaluation of each run's student."""
    name = metric_name(sources)
    found = []
    for source in sources:
        table = source.snapshot.curves.evaluations.get(STUDENT)
        best = None if table is None else best_of(table, name)
        if table is not None and best is not None:
            color = 0 if len(sources) == 1 else source.index
            at = float(table.axis(axis)[best])
            found.append(Mark(at, "best", float(table.values[name][best]), color))
    return tuple(found)


def best_of(table: Table, name: str) -> int | None:
    """The first evaluation with the largest metric, among those of stages that train the classifier.

    In other stages the student is told by its loss on dev, and its metric says nothing.
    """
    values = table.values.get(name)
    if values is None:
        return None
    counts = np.isfinite(values)
    if name != "loss" and "loss" in table.values:
        counts &= ~np.isfinite(table.values["loss"])
    if not counts.any():
        return None
    return int(np.argmax(np.where(counts, values, -np.inf)))
