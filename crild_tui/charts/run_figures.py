"""Build the three panels of one run or several as figures: curves, levels and marks. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crild_tui.charts.figure import Figure, Level, Line, Mark, View
from crild_tui.charts.palette import curve_marker
from crild_tui.charts.smoothing import smooth
from crild_tui.charts.traces import LONG, Trace, trace
from crild_tui.monitor.curves import TEACHER, Axis, Curves, Floats, Table
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.summary import BASELINE
from engine.preset.text import one_line
from engine.record.states import ENDED

STUDENT = "student"
MODELS = {STUDENT: 0, "self-teacher": 1, BASELINE: 2, TEACHER: 4}
"""Colours of models. The fourth marker is an asterisk, which in ASCII marks the best evaluation."""
OWN_CURVE = {TEACHER: "teacher's curve"}
"""Names of the curves of models whose own name means their final figure."""
RAW_CURVES = 3
"""Runs up to which the raw curves are drawn behind smoothed ones; more would be fog."""
SAME = 1e-4
"""Share of a loss by which a term may differ and still be the same curve: too little for a chart to show."""
NO_CONSISTENCY, NONE_OF_THEM = "this run has no consistency term", "none of these runs has a consistency term"
NONE_SO_FAR = "no consistency term in the stages so far"
NOTHING_YET = "nothing yet"
NO_EVALUATION, NOT_OF_THE_STUDENT = "nothing evaluated yet", "the student is not evaluated yet"
ONE_EVALUATION = "one evaluation so far: a curve needs two"
READING = "reading..."


@dataclass(frozen=True)
class Source:
    """A run in a chart; `index` picks its colour and marker."""

    snapshot: RunSnapshot
    label: str
    index: int

    @property
    def curves(self) -> Curves:
        """Its curves."""
        return self.snapshot.curves


@dataclass(frozen=True)
class Look:
    """What the user has set for all figures."""

    axis: Axis = "step"
    log: bool = False
    smoothing: float = 0.0
    view: View | None = None
    """None for all."""
    cursor: float | None = None
    stage: bool | None = None
    """Whether the scales of losses fit the newest stage alone, and the teacher's is out of view once the student trains; None:
    while the run is in progress."""


class TraceCache:
    """Traces by the columns they come from: a long run is prepared once for each change."""

    def __init__(self) -> None:
        self._traces: dict[tuple[object, ...], tuple[Floats, Floats, Trace]] = {}
        self._used: set[tuple[object, ...]] = set()

    def raw(self, x: Floats, y: Floats) -> Trace:
        """The trace of two columns."""
        return self._cached((id(x), id(y)), x, y, lambda: trace(x, y))

    def smooth(self, x: Floats, y: Floats, weight: float, breaks: tuple[float, ...]) -> Trace:
        """The same, smoothed."""
        raw = self.raw(x, y)
        return self._cached((id(x), id(y), weight, breaks), x, y, lambda: smooth(raw, weight, breaks))

    def _cached(self, key: tuple[object, ...], x: Floats, y: Floats, build: Callable[[], Trace]) -> Trace:
        self._used.add(key)
        if key not in self._traces:
            self._traces[key] = (x, y, build())  # with its columns: an id is theirs only as long as they live
        return self._traces[key][2]

    def drop_unused(self) -> None:
        """Drop traces not used since the last call."""
        self._traces = {key: entry for key, entry in self._traces.items() if key in self._used}
        self._used = set()


def is_long(sources: Sequence[Source]) -> bool:
    """Whether figures of these runs take too long to build in the event loop."""
    return sum(len(source.curves.steps) for source in sources) > LONG


def extent(sources: Sequence[Source], axis: Axis) -> View:
    """From the start to the newest point of all runs."""
    ends = [0.0]
    for source in sources:
        curves = source.curves
        for table in (curves.steps, *curves.evaluations.values()):
            column = table.axis(axis)
            if len(column):
                last = float(column[-1])
                ends.append(last if math.isfinite(last) else float(np.nan_to_num(np.fmax.reduce(column), posinf=0)))
    return View(0.0, max(ends) or 1.0)


def usual_view(sources: Sequence[Source], look: Look) -> View:
    """What is in view unless a part was chosen: everything; the student's stages alone where the scales of losses fit its
    newest one, since the teacher's fine-tuning would take their room."""
    whole, newest = extent(sources, look.axis), scaled_stage(sources, look)
    if newest is None:
        return whole
    starts = (border.on(look.axis) for border in sources[0].curves.borders if border.stage != TEACHER)
    start = min(starts, default=whole.low)
    return View(start, whole.high) if start < newest.high else whole


def figures(sources: Sequence[Source], look: Look, traces: TraceCache) -> tuple[Figure, Figure, Figure]:
    """Loss, consistency and dev metric."""
    lines = loss_lines(sources, look, traces), consistency_lines(sources, look, traces)
    view = usual_view(sources, look) if look.view is None else look.view
    marks = borders(sources, look.axis)
    started = any(len(source.curves.steps) for source in sources)
    scaled = scaled_stage(sources, look)
    unread = any(not source.snapshot.read for source in sources)
    nothing = READING if unread else NOTHING_YET
    blank = Figure("loss", view=view, axis=look.axis, log=look.log, cursor=look.cursor, empty=nothing)
    dev = _dev_figure(blank, sources, look, traces, marks, READING if unread else NO_EVALUATION)
    traces.drop_unused()
    return (
        replace(blank, lines=lines[0], marks=marks, smoothing=look.smoothing, scaled=scaled),
        replace(
            blank,
            title="consistency",
            lines=lines[1],
            smoothing=look.smoothing,
            scaled=scaled,
            marks=marks,
            empty=_why_none(sources) if started and not unread else nothing,
        ),
        dev,
    )


def _dev_figure(
    blank: Figure, sources: Sequence[Source], look: Look, traces: TraceCache, marks: tuple[Mark, ...], empty: str
) -> Figure:
    """The dev metric; the student's dev loss while no stage has trained its classifier."""
    name = metric_name(sources)
    if name != "loss" and not any(_trained(source.curves, name) for source in sources):
        losses = dev_lines(sources, look, traces, "loss")
        if losses:
            return replace(blank, title="dev loss", lines=losses, marks=marks)
    known = levels(sources)
    return replace(
        blank,
        title=one_line(f"dev {name}"),
        lines=dev_lines(sources, look, traces),
        levels=known,
        marks=(*marks, *stars(sources, look.axis)),
        words="loss" if name == "loss" else "metric",
        linear=name != "loss",
        empty=_why_no_metric(sources, known) if empty == NO_EVALUATION else empty,
    )


def scaled_stage(sources: Sequence[Source], look: Look) -> View | None:
    """The stage that the scales of losses fit: the newest one of a run, unless all stages were asked for.

    None for all stages: the choice for a run that has ended, and for several runs.
    """
    if len(sources) != 1 or not len(sources[0].curves.steps):
        return None
    stage = sources[0].snapshot.entry.state not in ENDED if look.stage is None else look.stage
    if not stage:
        return None
    low = newest_stage(sources[0].curves, look.axis)
    high = float(sources[0].curves.steps.axis(look.axis)[-1])
    return View(low, high) if math.isfinite(low) and low < high else None


# -- lines


def loss_lines(sources: Sequence[Source], look: Look, traces: TraceCache) -> tuple[Line, ...]:
    """The total of each run; for a single run each term too, those of the newest stage first."""
    runs = len(sources)
    lines = [
        line
        for source in sources
        for line in step_line(source, source.curves.steps.values.get("loss"), "total", look, traces, runs, counted=True)
    ]
    terms = list(_terms(sources[0], look, traces)) if runs == 1 else []
    return (*lines, *sorted(terms, key=lambda line: line.last is None))


def _terms(source: Source, look: Look, traces: TraceCache) -> Iterator[Line]:
    curves = source.curves
    since = newest_stage(curves, look.axis)
    for color, (name, values) in enumerate(curves.steps.terms.items(), 1):
        hidden = _same_as_total(curves, values)
        yield from step_line(source, values, name, look, traces, color=color, raw=False, since=since, hidden=hidden)


def _same_as_total(curves: Curves, term: Floats) -> frozenset[int]:
    """The stages, by their index among the borders, in which a term is the whole loss: one curve, drawn once."""
    steps = curves.steps
    if "loss" not in steps.values:
        return frozenset()
    known = np.isfinite(term)
    same = np.isclose(term, steps.values["loss"], rtol=SAME, atol=0.0)
    stage = np.searchsorted(np.array([border.step for border in curves.borders]), steps.step, side="left")
    return frozenset(np.unique(stage[known]).tolist()) - frozenset(np.unique(stage[known & ~same]).tolist())


def newest_stage(curves: Curves, axis: Axis) -> float:
    """Where the stage of the newest step begins; the border between two stages is the last step of the earlier one."""
    newest = curves.steps.step[-1] if len(curves.steps) else math.nan
    return max((border.on(axis) for border in curves.borders if border.step < newest), default=-math.inf)


def consistency_lines(sources: Sequence[Source], look: Look, traces: TraceCache) -> tuple[Line, ...]:
    """The consistency term of each run that has one; for a single run its weight too, on its own scale."""
    lines: list[Line] = []
    for source in sources:
        values = source.curves.steps.values
        lines += step_line(source, values.get("consistency"), "term", look, traces, len(sources))
        if lines and len(sources) == 1:
            unsmoothed = replace(look, smoothing=0)
            lines += step_line(source, values.get("weight"), "weight", unsmoothed, traces, color=1, own_scale=True)
    return tuple(lines)


def step_line(
    source: Source,
    values: Floats | None,
    label: str,
    look: Look,
    traces: TraceCache,
    runs: int = 1,
    *,
    color: int = 0,
    raw: bool = True,
    counted: bool = False,
    own_scale: bool = False,
    since: float = -math.inf,
    hidden: frozenset[int] = frozenset(),
) -> Iterator[Line]:
    """A curve of the step events; none if the run has no such figure. With several runs, label and colour are the run's.

    `raw`: whether the curve before smoothing is drawn behind it.
    """
    if values is None or not np.isfinite(values).any():
        return
    curves = source.curves
    x = curves.steps.axis(look.axis)
    breaks = tuple(border.on(look.axis) for border in curves.borders)
    color = color if runs == 1 else source.index
    yield Line(
        one_line(label if runs == 1 else source.label),
        traces.smooth(x, values, look.smoothing, breaks) if look.smoothing else traces.raw(x, values),
        color,
        curve_marker(color),
        behind=traces.raw(x, values) if look.smoothing and raw and runs <= RAW_CURVES else None,
        own_scale=own_scale,
        counted=counted,
        breaks=breaks,
        hidden=hidden,
        since=since,
    )


def dev_lines(sources: Sequence[Source], look: Look, traces: TraceCache, name: str | None = None) -> tuple[Line, ...]:
    """The student of each run; for a single run every model that was evaluated more than once.

    `name` is the metric, the task's if left out. A metric of stages that train no classifier means nothing and is left
    out. Evaluations are figures in their own right, so they are never smoothed.
    """
    name = metric_name(sources) if name is None else name
    alone = len(sources) == 1
    lines = []
    for source in sources:
        for number, model, table in _models(source.curves):
            values = trained_values(source.curves, table, name)
            if values is None or not np.isfinite(values).any() or (not alone and model != STUDENT):
                continue
            if model == TEACHER and len(table) < 2:  # a level, not a curve
                continue
            color = number if alone else source.index
            curve = traces.raw(table.axis(look.axis), values)
            label = one_line(OWN_CURVE.get(model, model)) if alone else one_line(source.label)
            lines.append(Line(label, curve, color, curve_marker(color), dots=True))
    return tuple(lines)


def trained_values(curves: Curves, table: Table, name: str) -> Floats | None:
    """A metric of evaluations, NaN in stages that train no classifier; None if there is no such metric.

    In these stages the student's dev loss is evaluated, which other stages don't report.
    """
    values = table.values.get(name)
    student = curves.evaluations.get(STUDENT)
    if values is None or name == "loss" or student is None or "loss" not in student.values:
        return values
    starts = np.array([border.step for border in curves.borders])
    untrained = np.unique(np.searchsorted(starts, student.step[np.isfinite(student.values["loss"])], side="left"))
    stage = np.searchsorted(starts, table.step, side="left")
    hidden = np.isin(stage, untrained)
    return np.where(hidden, np.nan, values) if hidden.any() else values


def _trained(curves: Curves, name: str) -> bool:
    """Whether a run's student has a metric from a stage that trains its classifier."""
    student = curves.evaluations.get(STUDENT)
    values = None if student is None else trained_values(curves, student, name)
    return values is not None and bool(np.isfinite(values).any())


def _models(curves: Curves) -> list[tuple[int, str, Table]]:
    """The evaluated models with their colours, which don't change when other models follow."""
    others = [model for model in curves.evaluations if model not in MODELS]
    colors = MODELS | {model: color for color, model in enumerate(others, 5)}
    return [(color, model, curves.evaluations[model]) for model, color in colors.items() if model in curves.evaluations]


# -- levels and marks


def _why_none(sources: Sequence[Source]) -> str:
    """Why the consistency panel is empty: a later stage of an active run may have the term."""
    if any(source.snapshot.entry.state not in ENDED for source in sources):
        return NONE_SO_FAR
    return NO_CONSISTENCY if len(sources) == 1 else NONE_OF_THEM


def _why_no_metric(sources: Sequence[Source], known: Sequence[Level]) -> str:
    """Why the dev panel has no curve: the teacher may be in training, or known while the student is not evaluated."""
    if all(border.stage == TEACHER for source in sources for border in source.curves.borders):
        evaluated = any(TEACHER in source.curves.evaluations and len(source.curves.steps) for source in sources)
        if evaluated:
            return ONE_EVALUATION
    return NOT_OF_THE_STUDENT if TEACHER in {level.label for level in known} else NO_EVALUATION


def metric_name(sources: Sequence[Source]) -> str:
    """The metric of the dev panel: the task's, or the loss while there is nothing else."""
    for source in sources:
        if source.snapshot.summary.metric_name:
            return source.snapshot.summary.metric_name
    columns = [name for source in sources for table in source.curves.evaluations.values() for name in table.values]
    return next((name for name in columns if name != "loss"), "loss" if columns else "metric")


def levels(sources: Sequence[Source]) -> tuple[Level, ...]:
    """The teacher's and the majority's figures, if all runs share them."""
    summaries = [source.snapshot.summary for source in sources]
    shown = []
    for label, sign, values in (
        ("teacher", "T", {summary.teacher for summary in summaries}),
        ("majority", "M", {summary.majority for summary in summaries}),
    ):
        value = values.pop() if len(values) == 1 else None
        if value is not None and math.isfinite(value):
            shown.append(Level(value, label, sign))
    return tuple(shown)


def borders(sources: Sequence[Source], axis: Axis) -> tuple[Mark, ...]:
    """Where stages begin, if all runs have the same borders; otherwise none."""
    all_of_them = [
        tuple(Mark(border.on(axis), one_line(border.stage)) for border in source.curves.borders) for source in sources
    ]
    return all_of_them[0] if len(set(all_of_them)) == 1 else ()


def stars(sources: Sequence[Source], axis: Axis) -> tuple[Mark, ...]:
    """The best evaluation of each run's student."""
    name = metric_name(sources)
    marks = []
    for source in sources:
        table = source.curves.evaluations.get(STUDENT)
        best = None if table is None else best_of(table, name)
        if table is not None and best is not None:
            color = 0 if len(sources) == 1 else source.index
            x, value = float(table.axis(axis)[best]), float(table.values[name][best])
            marks.append(Mark(x, "best", value, color))
    return tuple(marks)


def best_of(table: Table, name: str) -> int | None:
    """The evaluation with the largest metric, of equal ones the first with the lowest loss on gold labels (the first where that is
    not known of all), among those of stages that train the classifier.

    Other stages report the student's dev loss; its metric isn't meaningful there.
    """
    values = table.values.get(name)
    if values is None:
        return None
    counts = np.isfinite(values)
    if name != "loss" and "loss" in table.values:
        counts &= ~np.isfinite(table.values["loss"])
    if not counts.any():
        return None
    largest = np.flatnonzero(counts & (values == values[counts].max()))
    losses = table.values["label loss"][largest] if "label loss" in table.values else np.full(len(largest), np.nan)
    return int(largest[np.argmin(losses)] if np.isfinite(losses).all() else largest[0])
