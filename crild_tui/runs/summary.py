"""Reduce the events of a run to a summary, many events at a time. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from crild_tui.runs.eta import Point, recent, time_left
from engine.record.phases import Phase
from engine.record.states import ACTIVE

Event = Mapping[str, Any]
BASELINE = "baseline"
"""The stage that trains another student, for comparison only."""
MAX_STAGES = 100
"""Stages in a summary; crild never writes more."""
LARGEST_COUNT = 2**40
"""Steps of a stage; crild never writes as many, and floats count up to it exactly."""
WINDOW = 60.0
"""Seconds over which speed is measured."""
SPACING = 1.0
"""Seconds between two points of that window."""
_RECENT = 200
"""Steps at the end of a group that are looked at for speed."""


@dataclass(frozen=True)
class StageSummary:
    """What one stage has done so far, over all attempts.

    Stages that train no classifier report dev loss; their metric isn't meaningful yet.
    """

    name: str
    step: int = 0
    steps: int | None = None
    first_loss: float | None = None
    loss: float | None = None
    first_metric: float | None = None
    metric: float | None = None
    best: float | None = None
    best_step: int | None = None
    first_dev_loss: float | None = None
    dev_loss: float | None = None
    seconds: float | None = None
    finished: bool = False


@dataclass(frozen=True)
class ProcessUse:
    """One of the processes that share the steps: its part of the examples per second, its bytes, its share of the time at
    work (None on a GPU)."""

    rate: float | None = None
    memory: float | None = None
    busy: float | None = None


@dataclass(frozen=True)
class RunSummary:
    """The state of a run, reduced from its events.

    `names` are the stages in order, `stage_number` counts the current one from 1; `step` counts within it; `metric` is
    the student's, once a stage has trained its classifier.
    """

    attempt: int = 1
    names: tuple[str, ...] = ()
    stages: tuple[StageSummary, ...] = ()
    stage: str | None = None
    stage_number: int = 0
    stage_count: int = 0
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    consistency: float | None = None
    consistency_weight: float | None = None
    rate: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    memory: float | None = None
    processes: tuple[ProcessUse, ...] = ()
    """Those that share the steps, in the order of their ranks; none where there is one."""
    dev_loss: float | None = None
    metric_name: str | None = None
    metric: float | None = None
    best: float | None = None
    saved: float | None = None
    """The metric of the student in `student/`, once the run has finished."""
    teacher: float | None = None
    self_teacher: float | None = None
    majority: float | None = None
    eta: float | None = None
    stage_eta: float | None = None
    state: str = "created"
    phase: Phase | None = None
    """What takes long at present, besides steps."""
    points: tuple[Point, ...] = field(default=(), repr=False)

    @property
    def current_stage(self) -> StageSummary | None:
        """What the current stage has done."""
        return self.find(self.stage)

    def find(self, stage: str | None) -> StageSummary | None:
        """What a stage has done; None if it has not started."""
        return next((known for known in self.stages if known.name == stage), None)


# -- events in groups


class EventGroup(NamedTuple):
    """Events of one kind and stage; `indices` are their positions in the stretch."""

    kind: str
    stage: str | None
    events: Sequence[Event]
    indices: Sequence[int]


class Stretch(NamedTuple):
    """Consecutive events: one that starts an attempt or starts or ends a stage, or any number of others.

    Its groups leave out events whose stage is malformed.
    """

    events: Sequence[Event]
    groups: list[EventGroup]


_BOUNDARIES = frozenset({"run_started", "stage_started", "stage_finished"})
"""Kinds after which steps have another meaning."""
_ORDER = {"step": 0, "evaluation": 1}
"""Kinds that are reduced before others."""
_WITHOUT_STAGE = frozenset({"run_started", "run_finished", "message", "phase"})
_NEED_STAGE = frozenset({"step", "stage_started", "stage_finished"})


def stretches(events: Sequence[Event]) -> Iterator[Stretch]:
    """Split events, in order, so that those of one stretch can be reduced group by group: first steps, then others."""
    kinds = [event.get("kind") for event in events]
    start = 0
    if not _BOUNDARIES.isdisjoint(kinds):
        for index, kind in enumerate(kinds):
            if kind in _BOUNDARIES:
                if start < index:
                    yield _stretch(events[start:index], kinds[start:index])
                yield _stretch(events[index : index + 1], [kind])
                start = index + 1
    if start < len(events):
        yield _stretch(events[start:], kinds[start:])


def _stretch(events: Sequence[Event], kinds: Sequence[Any]) -> Stretch:
    groups: list[EventGroup] = []
    for kind in sorted(filter(None, dict.fromkeys(kinds)), key=lambda kind: _ORDER.get(kind, len(_ORDER))):
        indices = [index for index, other in enumerate(kinds) if other == kind]
        if kind in _WITHOUT_STAGE:
            groups.append(EventGroup(kind, None, [events[index] for index in indices], indices))
            continue
        for stage, of_stage in _by_stage(events, indices):
            if isinstance(stage, str) or (stage is None and kind not in _NEED_STAGE):
                groups.append(EventGroup(kind, stage, [events[index] for index in of_stage], of_stage))
    return Stretch(events, groups)


def _by_stage(events: Sequence[Event], indices: list[int]) -> Iterator[tuple[Any, list[int]]]:
    stages = [events[index].get("stage") for index in indices]
    if stages.count(stages[0]) == len(stages):
        yield stages[0], indices
        return
    for stage, group in groupby(zip(stages, indices, strict=True), lambda pair: pair[0]):
        yield stage, [index for _, index in group]


# -- the summary


def apply_events(summary: RunSummary, events: Sequence[Event]) -> RunSummary:
    """The summary after more events. Unknown kinds and malformed values change nothing."""
    for stretch in stretches(events):
        for group in stretch.groups:
            summary = apply_group(summary, group)
    return summary


def apply_group(summary: RunSummary, group: EventGroup) -> RunSummary:
    """The summary after a group of events."""
    if group.kind == "step":
        return _steps(summary, group.stage or "", group.events)
    change = _CHANGES.get(group.kind)
    if change is not None:
        for event in group.events:
            summary = change(summary, group.stage, event)
    return summary


def with_status(summary: RunSummary, status: Any, state: str) -> RunSummary:
    """The summary with what status.json adds: the state, and figures of the run as a whole.

    The status is written less often than events, so it tells the stage and step only while no event does.
    """
    if summary.stage is None and status.stage is not None and not summary.names:
        summary = replace(
            summary,
            stage=status.stage,
            stage_number=status.stage_index,
            stage_count=status.stages,
            step=status.step,
            steps=status.steps or None,
        )
    trained = summary.dev_loss is None  # statuses of crild up to 0.2 hold metrics of untrained heads
    return replace(
        summary,
        state=state,
        phase=summary.phase if state in ACTIVE else None,
        attempt=status.attempt,
        rate=_first(status.rate, summary.rate),
        metric_name=status.metric_name or summary.metric_name,
        metric=_first(status.last if trained else None, summary.metric),
        best=_first(status.best if trained else None, summary.best),
        teacher=_first(status.teacher, summary.teacher),
        self_teacher=summary.self_teacher if summary.stages else status.self_teacher,
        majority=_first(status.majority, summary.majority),
        eta=_first(status.eta, summary.eta),
    )


def loading(summary: RunSummary) -> RunSummary:
    """The summary while an engine loads, before it reports where it resumes."""
    return replace(
        summary, stage=None, loss=None, consistency=None, dev_loss=None, eta=None, stage_eta=None, phase=None, points=()
    )


def _run_started(summary: RunSummary, _: str | None, event: Event) -> RunSummary:
    names = event.get("stages")
    known = tuple(map(str, names[:MAX_STAGES])) if isinstance(names, list) else summary.names
    attempt = _count(event.get("attempt")) or summary.attempt
    return loading(replace(summary, attempt=attempt, names=known, stage_count=len(known), saved=None))


def _run_finished(summary: RunSummary, _: str | None, event: Event) -> RunSummary:
    return replace(summary, saved=primary_of(event, summary.metric_name)[1])


def _stage_started(summary: RunSummary, name: str | None, event: Event) -> RunSummary:
    if name is None:
        return summary
    known = summary.find(name) or StageSummary(name)
    stage = replace(known, steps=_count(event.get("steps")) or known.steps, finished=False)
    return _with_stage(
        replace(
            summary,
            stage=name,
            stage_number=summary.names.index(name) + 1 if name in summary.names else summary.stage_number,
            step=_count(event.get("step")) or 0,
            steps=stage.steps,
            loss=None,
            consistency=None,
            consistency_weight=None,
            dev_loss=None,
            stage_eta=None,
            points=(),
        ),
        stage,
    )


def _steps(summary: RunSummary, name: str, events: Sequence[Event]) -> RunSummary:
    """Steps of one stage, in order: the first and the last tell everything but the speed."""
    if name != summary.stage:
        summary = _stage_started(summary, name, {})
    stage = summary.current_stage or StageSummary(name)
    first_loss = stage.first_loss
    if first_loss is None:
        first_loss = _first_number(events, "loss")
    latest = [event for event in events[: -_RECENT - 1 : -1] if _count(event.get("step")) is not None]
    if not latest:
        return summary
    newest = latest[0]
    step, loss = _count(newest.get("step")) or 0, _number(newest.get("loss"))
    points = _with_points(summary.points, latest[::-1])
    value, weight = consistency_of(newest)
    return _with_stage(
        replace(
            summary,
            step=step,
            loss=loss,
            consistency=value,
            consistency_weight=weight,
            rate=_first(_first_number(latest, "examples_per_second"), summary.rate),
            learning_rate=_first(_first_number(latest, "learning_rate"), summary.learning_rate),
            gradient_norm=_first(_first_number(latest, "gradient_norm"), summary.gradient_norm),
            memory=_first(_first_number(latest, "memory"), summary.memory),
            processes=_processes(newest),
            points=points,
            stage_eta=time_left(points, float(summary.steps), WINDOW) if summary.steps else None,
        ),
        replace(stage, step=step, loss=loss, first_loss=first_loss),
    )


def _processes(event: Event) -> tuple[ProcessUse, ...]:
    """The processes of a step event; none for anything but a list of mappings."""
    ranks = event.get("ranks")
    if not isinstance(ranks, list) or not all(isinstance(rank, Mapping) for rank in ranks):
        return ()
    keys = ("examples_per_second", "memory", "busy")
    return tuple(ProcessUse(*(_number(rank.get(key)) for key in keys)) for rank in ranks)


def _with_points(points: Sequence[Point], events: Sequence[Event]) -> tuple[Point, ...]:
    """The window moved on by some steps; of points closer than a second only the newest stays, so it remains small."""
    window = list(points)
    for event in events:
        time, step = _number(event.get("t")), _count(event.get("step"))
        if time is None or step is None:
            continue
        if len(window) > 1 and 0 <= time - window[-2][0] < SPACING:
            window[-1] = (time, float(step))
        else:
            window.append((time, float(step)))
    return tuple(recent(window, WINDOW))


def consistency_of(event: Event) -> tuple[float | None, float | None]:
    """Value and current weight of a step's consistency term; (None, None) if the stage has none."""
    term = event.get("consistency")
    if isinstance(term, Mapping):
        return _number(term.get("value")), _number(term.get("weight"))
    return _number(term), _number(event.get("consistency_weight"))


def primary_of(event: Event, name: str | None) -> tuple[str | None, float | None]:
    """Name and value of an evaluation's primary metric: `name`, else the first that it has."""
    metrics = event.get("metrics")
    if not isinstance(metrics, Mapping) or not metrics:
        return name, None
    chosen = name if name in metrics else str(next(iter(metrics)))
    return chosen, _number(metrics.get(chosen))


def _evaluation(summary: RunSummary, stage: str | None, event: Event) -> RunSummary:
    return _reached(_evaluated(summary, stage, event), stage, event)


def _evaluated(summary: RunSummary, stage: str | None, event: Event) -> RunSummary:
    model = str(event.get("model") or "student")
    if event.get("primary") is False and model != "self-teacher":  # a second dev set
        return summary
    name, value = primary_of(event, summary.metric_name)
    summary = replace(summary, metric_name=name)
    if value is None:
        return summary
    if model == "self-teacher":  # in a stage that trains no classifier, its metric means nothing either
        return replace(summary, self_teacher=None if summary.dev_loss is not None else value)
    if model in ("student", stage):  # a teacher is the model in training in its own stage
        summary = _stage_evaluated(summary, stage, value, event)
    if model == "teacher":
        return replace(summary, teacher=value)
    if model != "student" or stage == BASELINE:
        return summary
    loss = _number(event.get("loss"))
    if loss is not None:
        return replace(summary, dev_loss=loss)
    return replace(
        summary, metric=value, dev_loss=None, best=value if summary.best is None else max(summary.best, value)
    )


def _stage_evaluated(summary: RunSummary, name: str | None, value: float, event: Event) -> RunSummary:
    stage = summary.find(name)
    if stage is None:
        return summary
    loss = _number(event.get("loss"))
    same = value == stage.best and event.get("best") is True  # of equal metrics, the lower loss on dev is better
    better = stage.best is None or value > stage.best or same
    return _with_stage(
        summary,
        replace(
            stage,
            first_metric=_first(stage.first_metric, value),
            metric=value,
            best=value if better else stage.best,
            best_step=_count(event.get("step")) if better else stage.best_step,
            first_dev_loss=_first(stage.first_dev_loss, loss),
            dev_loss=loss,
        ),
    )


def _reached(summary: RunSummary, stage: str | None, event: Event) -> RunSummary:
    """Checkpoints and evaluations know the current step more exactly than step events, which skip steps."""
    step = _count(event.get("step"))
    if step is None or stage != summary.stage or step <= summary.step:
        return summary
    summary = replace(summary, step=step)
    return _with_stage(summary, replace(current, step=step)) if (current := summary.current_stage) else summary


def _phase(summary: RunSummary, _: str | None, event: Event) -> RunSummary:
    phase = Phase.of(event)
    return replace(summary, phase=None if phase is None or phase.ended else phase)


def _stage_finished(summary: RunSummary, name: str | None, event: Event) -> RunSummary:
    stage = summary.find(name)
    if stage is None:
        return summary
    return _with_stage(
        summary, replace(stage, finished=True, seconds=_first(_number(event.get("seconds")), stage.seconds))
    )


def _with_stage(summary: RunSummary, stage: StageSummary) -> RunSummary:
    if summary.find(stage.name) is not None:
        stages = tuple(stage if known.name == stage.name else known for known in summary.stages)
    else:
        stages = (*summary.stages, stage)[:MAX_STAGES]
    return replace(summary, stages=stages)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _first_number(events: Sequence[Event], key: str) -> float | None:
    return next((value for event in events if (value := _number(event.get(key))) is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits; crild never writes one
        return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_COUNT else None


_CHANGES: dict[str, Callable[[RunSummary, str | None, Event], RunSummary]] = {
    "run_started": _run_started,
    "run_finished": _run_finished,
    "stage_started": _stage_started,
    "evaluation": _evaluation,
    "checkpoint": _reached,
    "phase": _phase,
    "stage_finished": _stage_finished,
}
