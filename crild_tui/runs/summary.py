"""What is known of a run while it is followed: its events, folded one by one. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crild_tui.runs.smoothing import Point, recent, time_left

Event = Mapping[str, Any]
BASELINE = "baseline"
"""The stage that trains another student, for comparison alone."""
WINDOW = 60.0
"""Seconds over which speed is judged."""
SPACING = 1.0
"""Seconds between two points of that window."""


@dataclass(frozen=True)
class StageStory:
    """What one stage has done so far, over all attempts.

    A stage that trains no classifier is told by its loss on dev: its metric says nothing yet.
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
    evaluations: int = 0
    seconds: float | None = None
    finished: bool = False


@dataclass(frozen=True)
class Picture:
    """A run as its events tell it.

    `names` are the stages in their order, `place` is the present one's, from 1; `step` counts within it; `metric` is
    the student's.
    """

    attempt: int = 1
    names: tuple[str, ...] = ()
    stages: tuple[StageStory, ...] = ()
    stage: str | None = None
    place: int = 0
    stage_count: int = 0
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    consistency: float | None = None
    consistency_weight: float | None = None
    rate: float | None = None
    memory: float | None = None
    dev_loss: float | None = None
    metric_name: str | None = None
    metric: float | None = None
    best: float | None = None
    teacher: float | None = None
    self_teacher: float | None = None
    majority: float | None = None
    eta: float | None = None
    stage_eta: float | None = None
    state: str = "created"
    points: tuple[Point, ...] = field(default=(), repr=False)

    @property
    def story(self) -> StageStory | None:
        """The present stage's."""
        return next((s for s in self.stages if s.name == self.stage), None)


def fold(picture: Picture, events: Iterable[Event]) -> Picture:
    """The picture after more events. Kinds that it does not know change nothing."""
    for event in events:
        change = _CHANGES.get(str(event.get("kind")))
        if change is not None:
            picture = change(picture, event)
    return picture


def with_status(picture: Picture, status: Any, state: str) -> Picture:
    """The picture with what status.json says: state, and the figures of the run as a whole.

    The status is written less often than events, so where a run is in its stages it says only when no event has.
    """
    if picture.stage is None and status.stage is not None and not picture.names:
        picture = replace(
            picture,
            stage=status.stage,
            place=status.stage_index,
            stage_count=status.stages,
            step=status.step,
            steps=status.steps or None,
        )
    return replace(
        picture,
        state=state,
        attempt=status.attempt,
        rate=_first(status.rate, picture.rate),
        metric_name=status.metric_name or picture.metric_name,
        metric=_first(status.last, picture.metric),
        best=_first(status.best, picture.best),
        teacher=_first(status.teacher, picture.teacher),
        self_teacher=_first(status.self_teacher, picture.self_teacher),
        majority=_first(status.majority, picture.majority),
        eta=_first(status.eta, picture.eta),
    )


def _run_started(picture: Picture, event: Event) -> Picture:
    names = event.get("stages")
    known = tuple(map(str, names)) if isinstance(names, list) else picture.names
    attempt = _whole(event.get("attempt")) or picture.attempt
    return loading(replace(picture, attempt=attempt, names=known, stage_count=len(known)))


def loading(picture: Picture) -> Picture:
    """The picture while an engine loads that has yet to say where it goes on."""
    return replace(picture, stage=None, loss=None, consistency=None, dev_loss=None, eta=None, stage_eta=None, points=())


def _stage_started(picture: Picture, event: Event) -> Picture:
    name = str(event.get("stage") or "?")
    steps = _whole(event.get("steps"))
    known = next((s for s in picture.stages if s.name == name), StageStory(name))
    story = replace(known, steps=steps or known.steps, finished=False)
    return _put(
        replace(
            picture,
            stage=name,
            place=picture.names.index(name) + 1 if name in picture.names else picture.place,
            step=_whole(event.get("step")) or 0,
            steps=story.steps,
            loss=None,
            consistency=None,
            consistency_weight=None,
            dev_loss=None,
            points=(),
        ),
        story,
    )


def _step(picture: Picture, event: Event) -> Picture:
    name = str(event.get("stage") or picture.stage or "?")
    if name != picture.stage:
        picture = _stage_started(picture, {"stage": name})
    step, loss = _whole(event.get("step")) or 0, _number(event.get("loss"))
    story = picture.story or StageStory(name)
    story = replace(story, step=step, loss=loss, first_loss=_first(story.first_loss, loss))
    at = _number(event.get("t"))
    points = picture.points if at is None else _with_point(picture.points, (at, float(step)))
    term, weight = consistency_of(event)
    return _put(
        replace(
            picture,
            step=step,
            loss=loss,
            consistency=term,
            consistency_weight=weight,
            rate=_first(_number(event.get("examples_per_second")), picture.rate),
            memory=_first(_number(event.get("memory")), picture.memory),
            points=points,
            stage_eta=time_left(points, float(picture.steps), WINDOW) if picture.steps else None,
        ),
        story,
    )


def _with_point(points: tuple[Point, ...], new: Point) -> tuple[Point, ...]:
    """The window moved on to a new point; of points closer than a second only the newest is kept, so it stays small."""
    close = len(points) > 1 and 0 <= new[0] - points[-2][0] < SPACING
    return tuple(recent((*(points[:-1] if close else points), new), WINDOW))


def thinned(events: Sequence[Event], keep: int = 200) -> Iterator[Event]:
    """`events` without most steps of each stage: the first and the last `keep` tell a summary as much as all do."""
    total = Counter(str(event.get("stage")) for event in events if event.get("kind") == "step")
    seen: Counter[str] = Counter()
    for event in events:
        if event.get("kind") == "step":
            stage = str(event.get("stage"))
            seen[stage] += 1
            if 1 < seen[stage] <= total[stage] - keep:
                continue
        yield event


def consistency_of(event: Event) -> tuple[float | None, float | None]:
    """Value and present weight of a step's consistency term; (None, None) where the stage has none."""
    found = event.get("consistency")
    if isinstance(found, Mapping):
        return _number(found.get("value")), _number(found.get("weight"))
    return _number(found), _number(event.get("consistency_weight"))


def primary_of(event: Event, name: str | None) -> tuple[str | None, float | None]:
    """Name and value of an evaluation's primary metric: `name`, else the first that it has."""
    metrics = event.get("metrics")
    if not isinstance(metrics, Mapping) or not metrics:
        return name, None
    chosen = name if name in metrics else str(next(iter(metrics)))
    return chosen, _number(metrics.get(chosen))


def _evaluation(picture: Picture, event: Event) -> Picture:
    model, stage = str(event.get("model") or "student"), str(event.get("stage"))
    if event.get("primary") is False and model != "self-teacher":  # a second dev set
        return picture
    name, value = primary_of(event, picture.metric_name)
    picture = replace(picture, metric_name=name)
    if value is None:
        return picture
    if model == "self-teacher":
        return replace(picture, self_teacher=value)
    if model in ("student", stage):  # a teacher is the model in training in its own stage
        picture = _evaluated(picture, stage, value, event)
    if model == "teacher":
        return replace(picture, teacher=value)
    if model != "student" or stage == BASELINE:
        return picture
    picture = replace(picture, metric=value, dev_loss=_number(event.get("loss")))
    if picture.dev_loss is not None:
        return picture
    return replace(picture, best=value if picture.best is None else max(picture.best, value))


def _evaluated(picture: Picture, stage: str, value: float, event: Event) -> Picture:
    story = next((s for s in picture.stages if s.name == stage), None)
    if story is None:
        return picture
    loss = _number(event.get("loss"))
    better = story.best is None or value > story.best
    return _put(
        picture,
        replace(
            story,
            evaluations=story.evaluations + 1,
            first_metric=_first(story.first_metric, value),
            metric=value,
            best=value if better else story.best,
            best_step=_whole(event.get("step")) if better else story.best_step,
            first_dev_loss=_first(story.first_dev_loss, loss),
            dev_loss=loss,
        ),
    )


def _reached(picture: Picture, event: Event) -> Picture:
    """Checkpoints and evaluations are more exact about the present step than the curves, which leave steps out."""
    step = _whole(event.get("step"))
    if step is None or event.get("stage") != picture.stage or step <= picture.step:
        return picture
    return replace(picture, step=step)


def _stage_finished(picture: Picture, event: Event) -> Picture:
    story = next((s for s in picture.stages if s.name == str(event.get("stage"))), None)
    if story is None:
        return picture
    seconds = _number(event.get("seconds"))
    return _put(picture, replace(story, finished=True, seconds=_first(seconds, story.seconds)))


def _put(picture: Picture, story: StageStory) -> Picture:
    names = [s.name for s in picture.stages]
    if story.name in names:
        return replace(picture, stages=tuple(story if s.name == story.name else s for s in picture.stages))
    return replace(picture, stages=(*picture.stages, story))


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits, which no engine writes
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_CHANGES: dict[str, Callable[[Picture, Event], Picture]] = {
    "run_started": _run_started,
    "stage_started": _stage_started,
    "step": _step,
    "evaluation": lambda picture, event: _reached(_evaluation(picture, event), event),
    "checkpoint": _reached,
    "stage_finished": _stage_finished,
}
