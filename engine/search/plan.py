"""Plan a search: its starting presets, which of its values are possible, and the presets of a trial."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import CrildError, PresetError
from engine.preset.kinds import ENTITY_METRICS, KINDS, RANKINGS, WORD_LABELS
from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Preset, Task
from engine.preset.text import listed, plain
from engine.preset.toml_text import inline
from engine.preset.write import dump
from engine.report.compare import flat
from engine.search.declaration import (
    LOWER,
    METHOD,
    Dimension,
    SearchFile,
    as_labels,
    is_whole,
    label_of_value,
    labels_of,
)
from engine.sweep.grid import matches
from engine.sweep.plan import Planned, plan
from engine.sweep.spec import Axis, Point, SweepFile, words

Value = str | int | float
"""A value of a trial: a number of a range, or the text of a choice."""
Values = Mapping[str, Value]
"""The values of a trial by dimension, and the method's label as `METHOD` where there are several."""
DIGITS = 4
"""Significant digits of numbers that are drawn."""
AGAIN = "again"
"""What the runs of a trial are called that confirm it, after its number."""


@dataclass(frozen=True)
class Start:
    """Where a search starts with one method: what its file says without its space."""

    method: str
    refs: tuple[str, ...]
    preset: Preset
    """As it was found when the search was started; trials change it."""


@dataclass(frozen=True)
class SearchPlan:
    """A search whose starting presets have been checked. The first of them is its first trial."""

    file: SearchFile
    starts: tuple[Start, ...]
    task: str
    seeds: tuple[int, ...]
    values: Values
    """Those of the first trial, as far as the space has them."""

    @property
    def confirming(self) -> tuple[int, ...]:
        """Fresh seeds: the next after those of the trials."""
        first = max(self.seeds) + 1
        return tuple(range(first, first + self.file.search.confirm))


def plan_search(file: SearchFile, trust: bool | None = None) -> SearchPlan:
    """Resolve and check the starting presets of a search, and that each dimension has a possible value.

    `trust` is as for `engine.sweep.plan.plan`. Raises PresetError with all problems, or UnusableError where only data or
    models are at fault.
    """
    planned = plan(file.start, trust).runs
    starts: dict[str, Start] = {}
    for run in planned:
        starts.setdefault(run.cell[METHOD], Start(run.cell[METHOD], run.refs, run.preset))
    first = planned[0]
    seeds = file.start.seeds or (first.preset.seed,)
    found = SearchPlan(file, tuple(starts.values()), first.cell["task"], seeds, _starting_values(file, starts))
    problems = [*_aim_problems(file, first.preset), *_holdout_problems(file, first.preset), *_impossible(found)]
    if problems:
        raise PresetError(problems)
    return found


def _starting_values(file: SearchFile, starts: Mapping[str, Start]) -> dict[str, Value]:
    """What the first starting preset has for each dimension that can have it."""
    start = next(iter(starts.values()))
    has = dict(flat(json.loads(json.dumps(start.preset.document()))))
    values: dict[str, Value] = {METHOD: start.method} if len(starts) > 1 else {}
    for name, dimension in file.space.items():
        if not applies(dimension, {METHOD: start.method, **values}):
            continue
        value = _value_in(dimension, has, name)
        if value is not None:
            values[name] = value
    return values


def _value_in(dimension: Dimension, has: Mapping[str, Any], name: str) -> Value | None:
    """The value of a dimension that says the same as a preset; None where it has no such value."""
    if dimension.set is not None or dimension.preset is not None:
        named = dimension.set or dimension.preset or {}
        return next((label for label, value in named.items() if not words(value)), None)
    value = has.get(name, _default_of(name, has))
    if dimension.choices is not None:
        for choice in dimension.choices:
            if type(choice) is not bool and choice == value:
                return label_of_value(choice)
            if choice is value or (choice is False and value is None):
                return label_of_value(choice)
        return None
    if type(value) not in (int, float):
        return None
    low, high = _ends(dimension)
    whole = is_whole(dimension)
    if not low <= value <= high or (whole and value != int(value)):
        return None
    step = dimension.step or (1 if whole and not dimension.log else None)
    if step is not None and abs(round((value - low) / step) * step - (value - low)) > 1e-9 * abs(high - low):
        return None
    return int(value) if whole else float(value)


def _default_of(name: str, has: Mapping[str, Any]) -> Any:
    """What counts for a key of a stage that the preset leaves out: that of [train]."""
    parts = name.split(".")
    return has.get(f"train.{parts[2]}") if parts[0] == "stage" and len(parts) == 3 else None


def _ends(dimension: Dimension) -> tuple[float, float]:
    assert dimension.low is not None
    assert dimension.high is not None
    return dimension.low, dimension.high


def applies(dimension: Dimension, values: Values) -> bool:
    """Whether a dimension counts where earlier ones have these values."""
    return all(str(values.get(name, "")) in as_labels(wanted) for name, wanted in (dimension.when or {}).items())


def rounded(value: float, dimension: Dimension) -> float:
    """A number of a range as trials use it: few digits, within the range."""
    low, high = _ends(dimension)
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


# -- problems


def _aim_problems(file: SearchFile, preset: Preset) -> Iterator[CrildError]:
    """Aims that the task does not report."""
    task = preset.task
    known = _reported(task)
    for aim in file.aims:
        if aim not in (*LOWER, "metric", *known):
            sentence = f"{preset.task.display_name} reports {listed(known, 'and')} on dev, not {aim}"
            possible = KINDS[task.kind or "classification"].metrics if task.name == "custom" else ()
            if aim in possible:
                sentence += f": add it, --set 'task.metrics={json.dumps([*known, aim])}'"
            yield file.problem(("aim",), sentence, kind="aim-of-other-task")


def _reported(task: Task) -> Sequence[str]:
    """The metrics that a task reports; of words, those that mark entities and others, which only their labels tell apart."""
    if task.name in GLUE_TASKS:
        from engine.data.tasks import GLUE

        return GLUE[task.name].spec.metrics
    if task.name.startswith("toy-"):
        from engine.data.toy import SPECS

        return SPECS[task.name].metrics
    if task.metrics is not None:
        return task.metrics
    if task.columns is not None and task.columns.group is not None:
        return RANKINGS
    if task.kind == WORD_LABELS:
        return (*ENTITY_METRICS, "accuracy")
    return KINDS[task.kind or "classification"].metrics[:1]


def _holdout_problems(file: SearchFile, preset: Preset) -> Iterator[CrildError]:
    """Rows to hold out of training rows that have no labels, so that nothing could be measured on them."""
    if file.holdout and preset.task.class_names is not None:
        sentence = (
            "the training rows have no labels, so that rows held out of them cannot confirm the winner: set holdout = 0"
        )
        yield file.problem(("holdout",), sentence, kind="unlabelled-holdout")


def _impossible(found: SearchPlan) -> Iterator[CrildError]:
    """Dimensions of which no value fits the starting presets."""
    for name, dimension in found.file.space.items():
        first: CrildError | None = None
        for values in _samples(found, name, dimension):
            try:
                plan(sweep_of_trial(found, values, "0"))
            except CrildError as error:
                first = first or getattr(error, "problems", (error,))[0]
            else:
                first = None
                break
        if first is not None:
            sentence = f"no value of {plain(name)} fits the starting preset: {first.sentence}"
            yield found.file.problem(("space", name), sentence, kind="impossible-dimension")


def _samples(found: SearchPlan, name: str, dimension: Dimension) -> Iterator[dict[str, Value]]:
    """Every choice, or the ends of a range, with each method that it is for."""
    labels = labels_of(dimension)
    samples: Sequence[Value] = labels if labels is not None else [_as_drawn(end, dimension) for end in _ends(dimension)]
    conditions: dict[str, Value] = {key: as_labels(values)[0] for key, values in (dimension.when or {}).items()}
    for start in found.starts:
        if METHOD in (dimension.when or {}) and start.method not in as_labels((dimension.when or {})[METHOD]):
            continue
        for value in samples:
            yield {**conditions, METHOD: start.method, name: value}


def _as_drawn(value: float, dimension: Dimension) -> int | float:
    return int(value) if is_whole(dimension) else float(value)


# -- trials


def sweep_of_trial(
    found: SearchPlan,
    values: Values,
    label: str,
    *,
    seeds: tuple[int, ...] | None = None,
    measured: bool = False,
    whole: bool = False,
) -> SweepFile:
    """The runs of one trial as a sweep: the starting preset of its method with its values.

    seeds: others than those of trials. measured: the rows of `holdout` are the test set. whole: with all training rows
    and the preset's own test set, as the search's result is.
    """
    file = found.file
    start = next(one for one in found.starts if one.method == values.get(METHOD, found.starts[0].method))
    presets: list[str] = []
    settings = [] if whole else list(_kept_apart(file, start.preset, measured=measured))
    for name, dimension in file.space.items():
        if name not in values:
            continue
        value = values[name]
        if dimension.set is not None:
            settings += words(dimension.set[str(value)])
        elif dimension.preset is not None:
            presets += words(dimension.preset[str(value)])
        elif dimension.choices is not None:
            choice = next(choice for choice in dimension.choices if label_of_value(choice) == value)
            settings.append(f"{name}={inline(choice)}")
        else:
            settings.append(f"{name}={inline(value)}")
    methods = next(axis for axis in file.start.axes if axis.name == METHOD)
    own = replace(methods, points=tuple(point for point in methods.points if point.label == start.method))
    others = tuple(axis for axis in file.start.axes if axis.name != METHOD)
    trial = Axis("trial", (Point(label, tuple(presets), tuple(settings)),), ("space",))
    parts = [
        when.model_copy(update={"match": {METHOD: start.method}})
        for when in file.start.sweep.when
        if matches({METHOD: start.method}, when.match)
    ]
    sweep = file.start.sweep.model_copy(update={"when": parts})
    return replace(file.start, sweep=sweep, axes=(own, *others, trial), seeds=seeds or found.seeds)


def _kept_apart(file: SearchFile, preset: Preset, *, measured: bool) -> Iterator[str]:
    """The settings that keep rows of train, and the test set, from the trials."""
    if file.holdout:
        yield f"task.holdout={inline(file.holdout)}"
    if measured and file.holdout:
        yield "task.measure_holdout=true"
    elif preset.task.measure_holdout:
        yield "task.measure_holdout=false"
    if preset.task.files is not None and preset.task.files.test is not None:
        yield "task.files.test=false"


def runs_of_trial(found: SearchPlan, values: Values, number: int, *, again: bool = False) -> tuple[Planned, ...]:
    """The runs of a trial, or of its confirmation, checked. Raises PresetError or UnusableError where its values don't
    fit."""
    label = f"{number}-{AGAIN}" if again else str(number)
    seeds = found.confirming if again else None
    return plan(sweep_of_trial(found, values, label, seeds=seeds, measured=again)).runs


def best_preset(found: SearchPlan, values: Values, number: int, why: str) -> str:
    """The preset of a trial as the text of a file that runs by itself, on all training rows and with the test set."""
    (run, *_) = plan(sweep_of_trial(found, values, str(number), whole=True)).runs
    return f"# {why}\n{dump(run.preset)}"
