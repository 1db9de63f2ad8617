"""Events and summaries as sentences and lines: pure functions, whose text is not escaped for printing yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from crild_tui.runs import formatting
from crild_tui.runs.summary import BASELINE, Event, RunSummary, StageSummary, primary_of

Level = Literal["info", "warning", "error"]
Line = tuple[Level, str]


def describe(event: Event, summary: RunSummary) -> Iterator[Line]:
    """The messages for an event; `summary` already includes it."""
    kind = event.get("kind")
    if kind == "message":
        yield _level(event), str(event.get("text") or event.get("sentence") or "")
    elif kind == "stage_started":
        steps = f", {formatting.plural(summary.steps, 'step')}" if summary.steps else ""
        begins = event.get("step")
        resumed = f", from step {begins}" if isinstance(begins, int) and begins > 0 else ""
        yield "info", f"stage {event.get('stage')}{steps}{resumed}"
    elif kind == "evaluation":
        if not _of_untrained_head(event, summary):
            yield "info", _evaluation(event, summary)
    elif kind == "stage_finished":
        stage = summary.find(event.get("stage"))
        if stage is not None:
            yield "info", f"stage {stage_sentence(stage, summary.metric_name)}"
        if summary.names and event.get("stage") == summary.names[-1]:
            yield "info", "measuring size, speed and agreement; writing the student"


def _level(event: Event) -> Level:
    level = event.get("level")
    return level if level in ("warning", "error") else "info"


def _of_untrained_head(event: Event, summary: RunSummary) -> bool:
    """Whether the event is another evaluation (self-teacher, a second set) of a stage that trains no classifier."""
    own = event.get("stage") == summary.stage and event.get("model") != "teacher"
    return own and summary.dev_loss is not None and _number(event.get("loss")) is None


def _evaluation(event: Event, summary: RunSummary) -> str:
    name, value = primary_of(event, summary.metric_name)
    model = BASELINE if event.get("stage") == BASELINE else str(event.get("model") or "student")
    where = f"{event['stage']} step {event.get('step')}: " if event.get("stage") else ""
    split = str(event.get("split") or "dev")
    loss = _number(event.get("loss"))
    if loss is not None:  # this stage does not train the classifier, so its loss is what counts
        return f"{where}{model} on {split}: loss {formatting.loss(loss)}"
    best = ", the best so far" if event.get("best") is True and split != "train" else ""
    metrics = event.get("metrics")
    scores = metrics.items() if isinstance(metrics, Mapping) else ()
    rest = [f"{other} {formatting.metric(_number(score))}" for other, score in scores if other != name]
    others = f" ({', '.join(rest)})" if rest else ""
    return f"{where}{model} on {split}: {name or 'metric'} {formatting.metric(value)}{others}{best}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def stage_sentence(stage: StageSummary, metric_name: str | None) -> str:
    """A stage in one line: steps, course of the loss and of the metric, duration."""
    steps = f"{stage.step}/{stage.steps}" if stage.steps else str(stage.step)
    parts = [f"{stage.name}: step {steps}"]
    if stage.loss is not None:
        parts.append(f"loss {_course(formatting.loss, stage.first_loss, stage.loss)}")
    if stage.dev_loss is not None:
        parts.append(f"dev loss {_course(formatting.loss, stage.first_dev_loss, stage.dev_loss)}")
    elif stage.metric is not None:
        name = metric_name or "metric"
        parts.append(f"{name} {_course(formatting.metric, stage.first_metric, stage.metric)}")
        if stage.best is not None and stage.best != stage.metric:
            parts.append(f"best {formatting.metric(stage.best)} at step {stage.best_step}")
    if stage.seconds is not None:
        parts.append(formatting.duration(stage.seconds))
    return ", ".join(parts)


def _course(word: Callable[[float | None], str], first: float | None, last: float | None) -> str:
    return word(last) if first == last else f"{word(first)} to {word(last)}"


def progress(summary: RunSummary) -> str:
    """The present moment as one line, for output without a screen."""
    parts = [f"{stage_label(summary)} {step_label(summary)}"]
    if summary.steps:
        parts.append(formatting.percent(summary.step / summary.steps))
    parts += losses(summary)
    if summary.dev_loss is not None:
        parts.append(f"dev loss {formatting.loss(summary.dev_loss)}")
    else:
        name = summary.metric_name or "metric"
        parts += [f"{whose}{name} {formatting.metric(value)}" for whose, value in _own_metrics(summary)]
    if summary.teacher is not None:
        parts.append(f"teacher {formatting.metric(summary.teacher)}")
    if summary.rate is not None:
        parts.append(f"{formatting.rate(summary.rate)} examples/s")
    return "  ".join([*parts, *left(summary)])


def _own_metrics(summary: RunSummary) -> Iterator[tuple[str, float]]:
    """The metric of what is in training and, while that is the baseline, whose it is; then the student's."""
    training = summary.stage == BASELINE
    stage = summary.current_stage
    if training and stage is not None and stage.metric is not None:
        yield f"{BASELINE} ", stage.metric
    if summary.metric is not None:
        yield "student " if training else "", summary.metric


def step_label(summary: RunSummary) -> str:
    """`step 20/40`."""
    return f"step {summary.step}/{summary.steps}" if summary.steps else f"step {summary.step}"


def stage_label(summary: RunSummary) -> str:
    """`stage 2/3 ild`, as far as it is known."""
    if not summary.stage_number or not summary.stage_count:
        return f"stage {summary.stage}"
    return f"stage {summary.stage_number}/{summary.stage_count} {summary.stage}"


def losses(summary: RunSummary) -> list[str]:
    """The loss, and the consistency term with its present weight, where the stage has them."""
    parts = [] if summary.loss is None else [f"loss {formatting.loss(summary.loss)}"]
    if summary.consistency is not None:
        weight = "" if summary.consistency_weight is None else f" (weight {summary.consistency_weight:.3g})"
        parts.append(f"consistency {formatting.loss(summary.consistency)}{weight}")
    return parts


def left(summary: RunSummary) -> list[str]:
    """The time that is left, for the run where it is known, else for the stage."""
    if summary.eta is not None:  # at 0 all steps are done, and what follows has no ETA
        return [f"ETA {formatting.duration(summary.eta)}"] if summary.eta else []
    if summary.stage_eta:
        return [f"stage ETA {formatting.duration(summary.stage_eta)}"]
    return []


def metrics(summary: RunSummary) -> list[str]:
    """The dev metric with the figures to compare it with."""
    if summary.metric is None and summary.teacher is None:
        return []
    name = summary.metric_name or "metric"
    if summary.dev_loss is not None:
        parts = [f"dev loss {formatting.loss(summary.dev_loss)}"]
    else:
        parts = [f"dev {whose}{name} {formatting.metric(value)}" for whose, value in _own_metrics(summary)]
        parts = parts or [f"dev {name} {formatting.NONE}"]
    for label, value in (
        ("best", summary.best),
        ("teacher", summary.teacher),
        ("self-teacher", summary.self_teacher),
        ("majority", summary.majority),
    ):
        if value is not None:
            parts.append(f"{label} {formatting.metric(value)}")
    return parts
