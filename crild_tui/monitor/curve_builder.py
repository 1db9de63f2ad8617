"""Build the curves, the summary and the messages of a run from its events, many events at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import EngineMessage
from crild_tui.monitor.table_builder import MAX_COLUMNS, Numbers, TableBuilder, column, number, rising
from crild_tui.monitor.timeline import LATEST, Timeline
from crild_tui.runs.summary import (
    BASELINE,
    LARGEST_COUNT,
    Event,
    EventGroup,
    RunSummary,
    apply_group,
    consistency_of,
    stretches,
)

MAX_MESSAGES = 1000
"""Messages held in memory, the newest."""
MAX_MODELS = 16
"""Kinds of evaluated models; crild never writes more."""
_STEP_VALUES = {
    "loss": "loss", "examples/s": "examples_per_second", "tokens/s": "tokens_per_second",
    "learning rate": "learning_rate", "gradient norm": "gradient_norm", "memory": "memory",
    "divergence of chosen": "divergence", "divergence of candidates": "candidates_divergence",
}  # fmt: skip
"""Columns of the values of steps, and the fields of the events that they hold."""
_EVALUATED_LOSSES = {"loss": "loss", "label loss": "label_loss"}
"""The same for losses that are evaluated on dev."""
_LONGEST = 10_000
"""Characters of a message."""


class CurveBuilder:
    """Reduces the events of one run, in the order in which an `EventTail` returns them."""

    def __init__(self) -> None:
        self.summary = RunSummary()
        self.count = 0
        """Events so far."""
        self.malformed = 0
        """Events that could not be read."""
        self._timeline = Timeline()
        self._steps = TableBuilder()
        self._evaluations: dict[str, TableBuilder] = {}
        self._measured: set[str] = set()
        self._recent: deque[EngineMessage] = deque(maxlen=MAX_MESSAGES)
        self._messages: tuple[EngineMessage, ...] = ()
        self._earlier: set[tuple[str, str]] = set()  # level and text of messages of earlier attempts

    def add(self, events: Sequence[Event]) -> None:
        """Add more events; each has a kind."""
        self.count += len(events)
        for stretch in stretches(events):
            times = self._timeline.tick(
                [None if event["kind"] in ("message", "phase") else event.get("t") for event in stretch.events]
            )
            for group in stretch.groups:
                if group.kind == "message":
                    self._add_messages(group.events)
                elif group.kind == "run_started":
                    self._earlier = {(each.level, each.text) for each in self._recent}
                    self._start(group.events[0])
                    self.summary = apply_group(self.summary, group)
                elif group.stage is None or self._timeline.knows(group.stage):
                    self._add_group(group, times[group.indices])
                    self.summary = apply_group(self.summary, group)

    def curves(self, *, complete: bool) -> Curves:
        """The curves so far; later events don't change them."""
        evaluations = {model: builder.table() for model, builder in self._evaluations.items() if len(builder)}
        return Curves(self._steps.table(), evaluations, self._timeline.borders, complete)

    @property
    def messages(self) -> tuple[EngineMessage, ...]:
        """The newest messages of the engine, in order; of one that an attempt repeats, the newest."""
        if len(self._messages) != len(self._recent) or (self._recent and self._messages[-1] is not self._recent[-1]):
            self._messages = tuple(self._recent)
        return self._messages

    def _add_group(self, group: EventGroup, times: Numbers) -> None:
        stage = group.stage
        if group.kind == "evaluation":
            self._add_evaluations(stage, group.events, times)
        elif stage is None:
            return
        elif group.kind == "step":
            self._add_steps(stage, group.events, times)
        elif group.kind == "stage_started":
            self._timeline.begin(stage, group.events[0], fresh=stage not in self._steps.stages)
        elif group.kind == "stage_finished":
            self._timeline.finish(stage, group.events[0])

    def _start(self, event: Event) -> None:
        """A new attempt: take back the rows that it supersedes."""
        builders = {"": self._steps, **self._evaluations}
        point = self._timeline.start(event, list(dict.fromkeys(s for each in builders.values() for s in each.stages)))
        if point is not None:
            step, later = self._timeline.offset(point.stage)[0] + point.step, self._timeline.after(point.stage)
            for model, builder in builders.items():
                if builder.cut(point.stage, later, step, keep_step=True):
                    self._measured.discard(model)
        self._timeline.resume_clock(event.get("t"), max(builder.last[2] for builder in builders.values()))

    def _add_steps(self, stage: str, events: Sequence[Event], times: Numbers) -> None:
        events, steps, times = _rising(events, times)
        if not events:
            return
        self._timeline.pace(stage, float(steps[-1]), events[-1].get("epoch"))
        self._add_rows(self._steps, stage, steps, times, _step_values(events), _columns(events, "terms"))
        self._timeline.reach(stage, float(steps[-1]), float(times[0]))

    def _add_rows(
        self,
        builder: TableBuilder,
        stage: str,
        steps: Numbers,
        times: Numbers,
        values: Mapping[str, Numbers],
        terms: Mapping[str, Numbers],
    ) -> None:
        """Add rows, in place of an older row of the same step and of later ones."""
        offset, _ = self._timeline.offset(stage)
        first = offset + float(steps[0])
        continues = builder.stages[-1:] == [stage] and first > builder.last[0]
        if not continues and builder.cut(stage, self._timeline.after(stage), first, keep_step=False):
            self._timeline.forget_offsets_after(stage)
        # Rows rise on every axis, even if events name stages in random order.
        last_step, last_epoch, last_time = builder.last
        valid = offset + steps > last_step
        if not valid.all():
            steps, times = steps[valid], times[valid]
            values, terms = ({name: rows[valid] for name, rows in part.items()} for part in (values, terms))
        if len(steps):
            epochs = np.maximum(self._timeline.epochs(stage, steps), last_epoch)
            builder.append(stage, (offset + steps, epochs, np.maximum(times, last_time)), values, terms)

    def _add_evaluations(self, stage: str | None, events: Sequence[Event], times: Numbers) -> None:
        models = [self._model(event, stage) for event in events]
        for model in dict.fromkeys(models):
            if model not in self._evaluations and len(self._evaluations) >= MAX_MODELS:
                continue
            rows = [row for row, other in enumerate(models) if other == model]
            of_model: Sequence[Event] = [events[row] for row in rows]
            model_times = times[rows]
            if stage is not None:
                target = stage
                of_model, steps, model_times = _rising(of_model, model_times)
            elif model not in self._measured and (head := self._timeline.head) is not None:
                self._measured.add(model)  # each attempt measures the teacher again
                target, of_model, model_times, steps = head[0], of_model[-1:], model_times[-1:], np.array([head[1]])
            else:
                continue
            if of_model:
                builder = self._evaluations.setdefault(model, TableBuilder())
                self._add_rows(
                    builder, target, steps, model_times, _evaluation_values(of_model), _columns(of_model, "terms")
                )

    def _model(self, event: Event, stage: str | None) -> str:
        """The name of the evaluated model among the curves."""
        model = event.get("model")
        name = model if isinstance(model, str) and model else "student"
        if name == "student" and stage is not None and self._timeline.role(stage) == BASELINE:
            name = BASELINE
        if event.get("primary") is not False or name == "self-teacher":
            return name
        split = event.get("split")
        return f"{name} ({split.removeprefix('dev_') if isinstance(split, str) and split else 'second'})"

    def _add_messages(self, events: Sequence[Event]) -> None:
        for event in events:
            level, text, time = event.get("level"), event.get("text"), number(event.get("t"))
            if not isinstance(text, str):
                self.malformed += 1
                continue
            known = level if isinstance(level, str) and level in ("info", "warning", "error") else "info"
            message = EngineMessage(time if 0 <= time < LATEST else 0.0, known, text[:_LONGEST])
            if (key := (message.level, message.text)) in self._earlier:
                self._earlier.discard(key)
                others = [each for each in self._recent if (each.level, each.text) != key]
                self._recent = deque(others, maxlen=MAX_MESSAGES)
            self._recent.append(message)


def _rising(events: Sequence[Event], times: Numbers) -> tuple[Sequence[Event], Numbers, Numbers]:
    """Those events whose steps are valid and that no later one replaces, their steps and their times."""
    steps = column([event.get("step") for event in events])
    steps[~((steps >= 0) & (steps < LARGEST_COUNT))] = np.nan
    valid: NDArray[np.bool_] = rising(steps)
    if valid.all():
        return events, steps, times
    return [event for event, stays in zip(events, valid, strict=True) if stays], steps[valid], times[valid]


def _step_values(events: Sequence[Event]) -> dict[str, Numbers]:
    """The values of steps: `loss` always, others if at least one is known."""
    columns = {name: column([event.get(key) for event in events]) for name, key in _STEP_VALUES.items()}
    terms = [event.get("consistency") for event in events]
    if dict in set(map(type, terms)):
        pairs = [consistency_of(event) for event in events]
        terms, weights = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        weights = [event.get("consistency_weight") for event in events]
    columns["consistency"], columns["weight"] = column(terms), column(weights)
    return {name: values for name, values in columns.items() if name == "loss" or not np.isnan(values).all()}


def _evaluation_values(events: Sequence[Event]) -> dict[str, Numbers]:
    """Metrics; `loss`, the stage's on dev, and `label loss`, that on gold labels, where they were evaluated."""
    losses = {name: column([event.get(key) for event in events]) for name, key in _EVALUATED_LOSSES.items()}
    known = {name: values for name, values in losses.items() if not np.isnan(values).all()}
    return {**_columns(events, "metrics"), **known}


def _columns(events: Sequence[Event], key: str) -> dict[str, Numbers]:
    """A column for each name in the mappings that events hold under `key`, if it has a figure."""
    mappings: list[dict[str, Any]] = [held if type(held := event.get(key)) is dict else {} for event in events]
    names = [*mappings[0], *sorted(set().union(*mappings) - mappings[0].keys())]
    columns = {name: column([held.get(name) for held in mappings]) for name in names[:MAX_COLUMNS]}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}
