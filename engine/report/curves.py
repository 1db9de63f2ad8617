"""Training curves of the runs of a group: mean and deviation over seeds, stage after stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.record.event_sample import sample_events
from engine.record.events import Event, ResumePoint
from engine.record.json_values import number
from engine.report.settings import Group

QUANTITIES = ("loss", "consistency", "metric", "metric, train", "label loss", "label loss, train")
"""Of training; then on dev, and where `train.evaluate_train` asked for it on training examples."""
OF_ANY_STAGE = ("loss", "consistency")
"""What is drawn of stages before the first that trains the classifier."""
POINTS = 48
"""Of one stage, at most; where a run wrote more, neighbours are averaged."""
_PIECES, _PIECE = 32, 2**14
"""How much of a long event file is read."""


@dataclass(frozen=True)
class Band:
    """The curve of one stage: (step, mean, sample standard deviation or None, runs); steps count through all stages."""

    stage: str
    points: tuple[tuple[float, float, float | None, int], ...]


@dataclass
class _Stage:
    role: str | None = None
    trains_head: bool = True
    """Whether it trains the classifier; a metric and a loss on labels mean nothing otherwise."""
    steps: float = 0.0
    values: dict[str, dict[float, float]] = field(default_factory=lambda: {name: {} for name in QUANTITIES})


def curves(group: Group, metric: str) -> dict[str, tuple[Band, ...]]:
    """Every quantity of the student over its stages. Missing: what no run wrote, and metrics and losses on labels while the
    classifier is untrained."""
    runs = [_read(run.run_dir, metric) for run in group.runs]
    names = dict.fromkeys(name for run in runs for name, stage in run.items() if _is_student(name, stage))
    offset, trained, found = 0.0, False, dict[str, list[Band]]()
    for name in names:
        stages = [run[name] for run in runs if name in run]
        trained = trained or all(stage.trains_head for stage in stages)
        for quantity in QUANTITIES if trained else OF_ANY_STAGE:
            points = _averaged([stage.values[quantity] for stage in stages if stage.values[quantity]], offset)
            if points:
                found.setdefault(quantity, []).append(Band(name, points))
        offset += max(stage.steps for stage in stages)
    return {quantity: tuple(found[quantity]) for quantity in QUANTITIES if quantity in found}


def _is_student(name: str, stage: _Stage) -> bool:
    return stage.role == "student" if stage.role is not None else name not in ("teacher", "baseline")


def _read(run_dir: Path, metric: str) -> dict[str, _Stage]:
    """The stages of a run with their values by step; what a later attempt wrote again replaces the earlier."""
    stages: dict[str, _Stage] = {}
    for piece in sample_events(run_dir, _PIECES, _PIECE):
        for event in piece:
            _take(stages, event, metric)
    return stages


def _take(stages: dict[str, _Stage], event: Event, metric: str) -> None:
    kind, name, step = event["kind"], event.get("stage"), number(event.get("step"))
    if kind == "run_started":
        order = event.get("stages")
        for known in order if isinstance(order, list) else ():
            stages.setdefault(str(known), _Stage())
        if (point := ResumePoint.of(event)) is not None:
            _drop_superseded(stages, point)
    if not isinstance(name, str) or step is None or kind not in ("stage_started", "step", "evaluation"):
        return
    stage = stages.setdefault(name, _Stage())
    stage.steps = max(stage.steps, step)
    if kind == "stage_started":
        role = event.get("role")
        stage.role = role if isinstance(role, str) else stage.role
        stage.steps = max(stage.steps, number(event.get("steps")) or 0.0)
    elif kind == "step":
        _keep(stage.values["loss"], step, event.get("loss"))
        _keep(stage.values["consistency"], step, event.get("consistency"))
    elif event.get("model", "student") == "student":
        on_train = event.get("split") == "train"
        if not on_train and event.get("primary", True) is True:
            stage.trains_head = number(event.get("loss")) is None  # else it is followed by its loss on dev
        if on_train or event.get("primary", True) is True:
            side = ", train" if on_train else ""
            metrics = event.get("metrics")
            if isinstance(metrics, Mapping):
                _keep(stage.values["metric" + side], step, metrics.get(metric))
            _keep(stage.values["label loss" + side], step, event.get("label_loss"))


def _drop_superseded(stages: dict[str, _Stage], point: ResumePoint) -> None:
    for name, stage in stages.items():
        for values in stage.values.values():
            for step in [step for step in values if point.supersedes({"stage": name, "step": step})]:
                del values[step]


def _keep(values: dict[float, float], step: float, value: Any) -> None:
    figure = number(value)
    if figure is not None:
        values[step] = figure


def _averaged(
    runs: Sequence[Mapping[float, float]], offset: float
) -> tuple[tuple[float, float, float | None, int], ...]:
    """Mean and deviation over runs, at each step or, where there are many, in each of `POINTS` equal parts."""
    steps = sorted({step for run in runs for step in run})
    if not steps:
        return ()
    width = 0.0 if len(steps) <= POINTS else (steps[-1] - steps[0]) / POINTS
    cells: dict[float, list[float]] = {}
    for run in runs:
        own: dict[float, list[float]] = {}
        for step, value in run.items():
            position = step if not width else min(POINTS - 1, int((step - steps[0]) / width))
            own.setdefault(position, []).append(value)
        for position, values in own.items():
            cells.setdefault(position, []).append(math.fsum(values) / len(values))
    return tuple(
        (
            offset + (position if not width else steps[0] + (position + 0.5) * width),
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            len(values),
        )
        for position, values in sorted(cells.items())
    )
