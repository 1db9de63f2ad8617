"""Events and pictures as sentences and lines. Pure functions; what comes out is not yet made safe to print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from crild_tui.runs import formatting
from crild_tui.runs.summary import BASELINE, Event, Picture, StageStory, primary_of

Level = Literal["info", "warning", "error"]
Line = tuple[Level, str]


def describe(event: Event, picture: Picture) -> Iterator[Line]:
    """What is worth saying when an event comes; `picture` is the one that it was folded into."""
    kind = event.get("kind")
    if kind == "message":
        yield _level(event), str(event.get("text") or event.get("sentence") or "")
    elif kind == "stage_started":
        steps = f", {formatting.plural(picture.steps, 'step')}" if picture.steps else ""
        begins = event.get("step")
        resumed = f", from step {begins}" if isinstance(begins, int) and begins > 0 else ""
        yield "info", f"stage {event.get('stage')}{steps}{resumed}"
    elif kind == "evaluation":
        yield "info", _evaluation(event, picture)
    elif kind == "stage_finished":
        story = next((s for s in picture.stages if s.name == event.get("stage")), None)
        if story is not None:
            yield "info", f"stage {summary(story, picture.metric_name)}"
        if picture.names and event.get("stage") == picture.names[-1]:
            yield "info", "measuring size, speed and agreement; writing the student"


def _level(event: Event) -> Level:
    level = event.get("level")
    return level if level in ("warning", "error") else "info"


def _evaluation(event: Event, picture: Picture) -> str:
    name, value = primary_of(event, picture.metric_name)
    model = BASELINE if event.get("stage") == BASELINE else str(event.get("model") or "student")
    where = f"{event['stage']} step {event.get('step')}: " if event.get("stage") else ""
    split = str(event.get("split") or "dev")
    loss = _number(event.get("loss"))
    if loss is not None:  # nothing trains the classifier here: the loss is what counts
        return f"{where}{model} on {split}: loss {formatting.loss(loss)}"
    best = ", the best so far" if event.get("best") is True and split != "train" else ""
    metrics = event.get("metrics")
    scores = metrics.items() if isinstance(metrics, Mapping) else ()
    rest = [f"{other} {formatting.metric(_number(score))}" for other, score in scores if other != name]
    others = f" ({', '.join(rest)})" if rest else ""
    return f"{where}{model} on {split}: {name or 'metric'} {formatting.metric(value)}{others}{best}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def summary(story: StageStory, metric_name: str | None) -> str:
    """A stage in one line: steps, how its loss went, how the metric went, how long it took."""
    steps = f"{story.step}/{story.steps}" if story.steps else str(story.step)
    parts = [f"{story.name}: step {steps}"]
    if story.loss is not None:
        parts.append(f"loss {_course(formatting.loss, story.first_loss, story.loss)}")
    if story.dev_loss is not None:
        parts.append(f"dev loss {_course(formatting.loss, story.first_dev_loss, story.dev_loss)}")
    elif story.metric is not None:
        name = metric_name or "metric"
        parts.append(f"{name} {_course(formatting.metric, story.first_metric, story.metric)}")
        if story.best is not None and story.best != story.metric:
            parts.append(f"best {formatting.metric(story.best)} at step {story.best_step}")
    if story.seconds is not None:
        parts.append(formatting.duration(story.seconds))
    return ", ".join(parts)


def _course(word: Callable[[float | None], str], first: float | None, last: float | None) -> str:
    return word(last) if first == last else f"{word(first)} to {word(last)}"


def progress(picture: Picture) -> str:
    """The present moment as one line, for where there is no screen."""
    share = picture.step / picture.steps if picture.steps else None
    parts = [_where(picture)]
    if share is not None:
        parts.append(formatting.percent(share))
    if picture.loss is not None:
        parts.append(f"loss {formatting.loss(picture.loss)}")
    parts += consistency(picture)
    if picture.dev_loss is not None:
        parts.append(f"dev loss {formatting.loss(picture.dev_loss)}")
    elif picture.metric is not None:
        parts.append(f"{picture.metric_name or 'metric'} {formatting.metric(picture.metric)}")
    if picture.teacher is not None:
        parts.append(f"teacher {formatting.metric(picture.teacher)}")
    if picture.rate is not None:
        parts.append(f"{formatting.rate(picture.rate)} examples/s")
    parts += left(picture)
    return "  ".join(parts)


def _where(picture: Picture) -> str:
    of = f"/{picture.steps}" if picture.steps else ""
    return f"{stage_label(picture)} step {picture.step}{of}"


def stage_label(picture: Picture) -> str:
    """`stage 2/3 ild`, as far as it is known."""
    if not picture.place or not picture.stage_count:
        return f"stage {picture.stage}"
    return f"stage {picture.place}/{picture.stage_count} {picture.stage}"


def consistency(picture: Picture) -> list[str]:
    """The consistency term and its present weight, where the stage has them."""
    if picture.consistency is None:
        return []
    weight = "" if picture.consistency_weight is None else f" (weight {picture.consistency_weight:.3g})"
    return [f"consistency {formatting.loss(picture.consistency)}{weight}"]


def left(picture: Picture) -> list[str]:
    """The time that is left, for the run where it is known, else for the stage."""
    if picture.eta is not None:
        return [f"ETA {formatting.duration(picture.eta)}"]
    if picture.stage_eta is not None:
        return [f"stage ETA {formatting.duration(picture.stage_eta)}"]
    return []


def metrics(picture: Picture) -> list[str]:
    """The dev metric with what it is held against."""
    if picture.metric is None and picture.teacher is None:
        return []
    name = picture.metric_name or "metric"
    parts = [] if picture.dev_loss is None else [f"dev loss {formatting.loss(picture.dev_loss)}"]
    parts.append(f"dev {name} {formatting.metric(picture.metric)}")
    for label, value in (
        ("best", picture.best),
        ("teacher", picture.teacher),
        ("self-teacher", picture.self_teacher),
        ("majority", picture.majority),
    ):
        if value is not None:
            parts.append(f"{label} {formatting.metric(value)}")
    return parts
