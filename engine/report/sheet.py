"""Final metrics of several runs as one table: runs, mean and deviation over seeds, and what they are held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engine.errors import CrildError
from engine.preset.text import shown
from engine.record.files import read_json
from engine.record.paths import RESULTS
from engine.record.run import RunEntry, read_run
from engine.report.closing_table import closing
from engine.report.compare import ABSENT, differences, flat, read_preset, spread

STUDENT, TEACHER, SELF_TEACHER, MAJORITY, BASELINE = (
    "student",
    "teacher",
    "self-teacher",
    "majority guess",
    "labels alone",
)
_OWN = (SELF_TEACHER, BASELINE)
"""Models that belong to a group of runs; teacher and majority guess belong to the task where all runs agree on them."""
_NOT_METHOD = ("seed", "tags", "description")
"""Keys of a preset that say nothing of what is compared."""
Kind = Literal["task", "run", "mean", "model"]


@dataclass(frozen=True)
class Final:
    """What a run reached, by model and metric; of one that has not finished, the last that its status says.

    `preset` is None where it cannot be read, and `problem` says why.
    """

    run_dir: Path
    state: str
    task: str = ""
    method: str = ""
    seed: int | None = None
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    preset: Mapping[str, Any] | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """The run's id."""
        return self.run_dir.name

    @property
    def finished(self) -> bool:
        """Whether its figures are final."""
        return self.state == "finished"


@dataclass(frozen=True)
class Figure:
    """A metric, or its mean over `count` runs with the sample standard deviation; `best` of its column."""

    value: float
    deviation: float | None = None
    count: int = 1
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the table: a run, the mean of a group of them, another model, or the heading of a task.

    place: of the run among those that are compared, from 0. state: said where the figures are not final.
    """

    kind: Kind
    name: str
    task: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    seed: int | None = None
    state: str = ""
    place: int | None = None


@dataclass(frozen=True)
class Sheet:
    """The table. `metrics` names the columns, each task's primary one first."""

    metrics: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()


# -- reading


def read_final(run_dir: Path) -> Final:
    """What a run reached, from its results, else from its status; damage ends in `problem`."""
    entry = read_run(run_dir)
    status = entry.status
    problem = entry.problem
    try:
        preset: Mapping[str, Any] | None = read_preset(run_dir)
    except CrildError as error:
        preset, problem = None, problem or error.sentence
    if status is None:
        return Final(run_dir, entry.state, preset=preset, problem=problem)
    models, unread = _models(entry)
    return Final(run_dir, entry.state, status.task, status.method, status.seed, models, preset, problem or unread)


def _models(entry: RunEntry) -> tuple[dict[str, dict[str, float]], str | None]:
    status, problem = entry.status, None
    assert status is not None
    results = read_json(entry.path / RESULTS) if entry.state == "finished" else None
    if results is not None:
        try:
            return models_of(results), None
        except CrildError as error:
            problem = error.sentence
    name = status.metric_name
    figures = {
        STUDENT: status.last, SELF_TEACHER: status.self_teacher, TEACHER: status.teacher, MAJORITY: status.majority,
    }  # fmt: skip
    if name is None:
        return {}, problem
    return {model: {name: value} for model, value in figures.items() if value is not None}, problem


def models_of(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Metrics by model; those on a further dev set (`  on mismatched`) become metrics of the model before."""
    models: dict[str, dict[str, float]] = {}
    model = STUDENT
    for row in closing(results).models:
        extra = row.name.startswith("  on ")
        if not extra:
            model = row.name.split(",", maxsplit=1)[0].strip()
        tail = f" ({row.name[5:]})" if extra else ""
        known = {f"{name}{tail}": value for name, value in row.metrics.items() if value is not None}
        models.setdefault(model, {}).update({k: v for k, v in known.items() if math.isfinite(v)})
    return models


# -- grouping


def groups(finals: Sequence[Final]) -> list[list[int]]:
    """Places of runs whose presets differ only in the seed, in the order in which they are first met."""
    found: dict[object, list[int]] = {}
    for place, final in enumerate(finals):
        found.setdefault(_method_of(final) or place, []).append(place)
    return list(found.values())


def _method_of(final: Final) -> tuple[tuple[str, str], ...] | None:
    if final.preset is None:
        return None
    return tuple(sorted((key, repr(value)) for key, value in flat(final.preset) if key not in _NOT_METHOD))


def group_names(finals: Sequence[Final], grouped: Sequence[Sequence[int]]) -> list[str]:
    """What a group is called: its method, with the settings in which groups of one method differ (at most two)."""
    first = [finals[group[0]] for group in grouped]
    plain = [final.method or final.name for final in first]
    names = []
    for place, name in enumerate(plain):
        twins = [other for other, same in enumerate(plain) if same == name]
        told = []
        if len(twins) > 1:
            rows = differences([first[twin].preset or {} for twin in twins])
            for row in [row for row in rows if row.key not in _NOT_METHOD][:2]:
                value = row.values[twins.index(place)]
                told.append(f"{row.key.removeprefix('stage.')} {'-' if value is ABSENT else shown(value, 20)}")
        names.append(f"{name} ({', '.join(told)})" if told else name)
    return names


# -- the table


def sheet(finals: Sequence[Final]) -> Sheet:
    """The table of runs: by task, and in it by group; then what they are held against. The best figures are marked."""
    grouped = groups(finals)
    names = group_names(finals, grouped)
    tasks = list(dict.fromkeys(finals[group[0]].task for group in grouped))
    rows: list[Row] = []
    for task in tasks:
        own = [(name, group) for name, group in zip(names, grouped, strict=True) if finals[group[0]].task == task]
        if len(tasks) > 1:
            rows.append(Row("task", task or "no task", task))
        rows += _best(_task_rows(finals, task, own))
    metrics = dict.fromkeys(name for final in finals for name in final.models.get(STUDENT, {}))
    return Sheet(tuple(metrics), tuple(rows))


def _task_rows(finals: Sequence[Final], task: str, grouped: Sequence[tuple[str, Sequence[int]]]) -> Iterator[Row]:
    members = [finals[place] for _, group in grouped for place in group]
    shared = [model for model in (TEACHER, MAJORITY) if _agree(members, model)]
    for name, group in grouped:
        several = [finals[place] for place in group]
        for place in group:
            final = finals[place]
            yield Row("run", final.name, task, _single(final), final.seed, "" if final.finished else final.state, place)
        done = [final for final in several if final.finished and final.models.get(STUDENT)]
        label = f"{name}: " if len(grouped) > 1 else ""
        if len(several) > 1 and done:
            yield Row("mean", f"{label}{_mean_name(done, several)}", task, _means(done, STUDENT))
        for model in (*_OWN, *(m for m in (TEACHER, MAJORITY) if m not in shared)):
            if figures := _means(done or several, model):
                yield Row("model", f"{label}{model}", task, figures)
    for model in shared:
        known = next((final for final in members if final.models.get(model)), None)
        if known is not None:
            yield Row("model", model, task, {k: Figure(v) for k, v in known.models[model].items()})


def _mean_name(done: Sequence[Final], several: Sequence[Final]) -> str:
    what = "seeds" if len({final.seed for final in several}) == len(several) else "runs"
    count = f"{len(done)} {what}" if len(done) == len(several) else f"{len(done)} of {len(several)} {what}"
    return f"mean of {count}"


def _agree(members: Iterable[Final], model: str) -> bool:
    """Whether all runs that know a model know the same of it (as far as they know the same metrics)."""
    values: dict[str, float] = {}
    for final in members:
        for name, value in final.models.get(model, {}).items():
            if not math.isclose(values.setdefault(name, value), value, abs_tol=5e-5):
                return False
    return True


def _single(final: Final) -> dict[str, Figure]:
    return {name: Figure(value) for name, value in final.models.get(STUDENT, {}).items()}


def _means(finals: Sequence[Final], model: str) -> dict[str, Figure]:
    values: dict[str, list[float]] = {}
    for final in finals:
        for name, value in final.models.get(model, {}).items():
            values.setdefault(name, []).append(value)
    found = {name: spread(several) for name, several in values.items()}
    return {name: Figure(s.mean, s.deviation, s.count) for name, s in found.items() if s is not None}


def _best(rows: Iterable[Row]) -> list[Row]:
    """The rows with the best final figure of each column marked: among runs, and among means; alone none is best."""
    found = list(rows)
    for kind in ("run", "mean"):
        rivals = [place for place, row in enumerate(found) if row.kind == kind and not row.state]
        names = {name for place in rivals for name in found[place].figures}
        for name in names:
            values = {place: found[place].figures[name].value for place in rivals if name in found[place].figures}
            if len(values) < 2:
                continue
            for place, value in values.items():
                if value == max(values.values()):
                    row = found[place]
                    marked = {**row.figures, name: replace(row.figures[name], best=True)}
                    found[place] = replace(row, figures=marked)
    return found
