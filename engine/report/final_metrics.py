"""Final metrics of runs, and their table: runs, mean and deviation over seeds, and the models to compare them with."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engine.errors import CrildError
from engine.preset.names import LABELS
from engine.preset.text import shown
from engine.record.files import read_object
from engine.record.inputs import RunInputs, known_inputs
from engine.record.paths import RESULTS
from engine.record.run import RunEntry, read_run
from engine.report.closing_table import ModelRow, closing_table
from engine.report.compare import ABSENT, Spread, differences, flat, read_preset, spread
from engine.report.inputs import RunContent, all_of, dev_of, difference_note, differing, identities, inputs_text
from engine.report.majority import LEGEND, at_or_below, not_above, of_trained_head
from engine.report.result_table import Cell, Column, Mark, ResultTable, Row, Section
from engine.report.units import metric

STUDENT, TEACHER, SELF_TEACHER, MAJORITY, BASELINE = (
    "student",
    "teacher",
    "self-teacher",
    "majority guess",
    "labels alone",
)
_OWN = (SELF_TEACHER, BASELINE)
"""Models that belong to a group of runs; teacher and majority guess belong to the task where all runs agree on them."""
_NOT_METHOD = ("seed", *LABELS)
"""Keys of a preset that say nothing of what is compared."""


@dataclass(frozen=True)
class FinalMetrics:
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
    inputs: RunInputs | None = None
    """Its data and models by content; None where no record can be read."""

    @property
    def content(self) -> RunContent:
        """What tells its inputs from those of other runs."""
        return RunContent(self.inputs, next(iter(self.models.get(MAJORITY, {}).values()), None))

    @property
    def name(self) -> str:
        """The run's id."""
        return self.run_dir.name

    @property
    def finished(self) -> bool:
        """Whether its figures are final."""
        return self.state == "finished"


# -- reading


def read_final_metrics(run_dir: Path) -> FinalMetrics:
    """What a run reached, from its results, else from its status; damage ends in `problem`."""
    entry = read_run(run_dir)
    status = entry.status
    problem = entry.problem
    try:
        preset: Mapping[str, Any] | None = read_preset(run_dir)
    except CrildError as error:
        preset, problem = None, problem or error.sentence
    if status is None:
        return FinalMetrics(run_dir, entry.state, preset=preset, problem=problem)
    models, unread = _models(entry)
    return FinalMetrics(
        run_dir, entry.state, status.task, status.method, status.seed, models, preset, problem or unread,
        known_inputs(run_dir),
    )  # fmt: skip


def _models(entry: RunEntry) -> tuple[dict[str, dict[str, float]], str | None]:
    status, problem = entry.status, None
    assert status is not None
    if entry.state == "finished":
        try:
            return models_of(read_object(entry.path / RESULTS)), None
        except FileNotFoundError:
            pass
        except CrildError as error:
            problem = error.sentence if error.file is None else f"{RESULTS} {error.sentence}"
    name = status.metric_name
    averaged = of_trained_head(status.self_teacher, status.majority)
    figures = {STUDENT: status.last, SELF_TEACHER: averaged, TEACHER: status.teacher, MAJORITY: status.majority}
    if name is None:
        return {}, problem
    return {model: {name: value} for model, value in figures.items() if value is not None}, problem


def models_of(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Metrics by model; those on a further dev set (`  on mismatched`) become metrics of the model before."""
    models: dict[str, dict[str, float]] = {}
    model = STUDENT
    for row in closing_table(results).models:
        extra = row.name.startswith("  on ")
        if not extra:
            model = row.name.split(",", maxsplit=1)[0].strip()
        tail = f" ({row.name[5:]})" if extra else ""
        known = {f"{name}{tail}": value for name, value in row.metrics.items() if value is not None}
        models.setdefault(model, {}).update({k: v for k, v in known.items() if math.isfinite(v)})
    return models


def sizes_of(results: Mapping[str, Any]) -> dict[str, ModelRow]:
    """Size and speed by model, as far as anything was measured."""
    rows = closing_table(results).models
    return {row.name.split(",", maxsplit=1)[0]: row for row in rows if row.has_cost or row.layers is not None}


# -- grouping


def _same_presets(finals: Sequence[FinalMetrics]) -> dict[Hashable, list[int]]:
    """Indices of runs by their presets without the seed, in the order in which they are first met."""
    same: dict[Hashable, list[int]] = {}
    for index, final in enumerate(finals):
        method = _method_of(final)
        same.setdefault(index if method is None else method, []).append(index)
    return same


def groups_of_seeds(finals: Sequence[FinalMetrics]) -> list[list[int]]:
    """Indices of runs whose presets differ only in the seed, and which had the same data and models; in the order in
    which they are first met."""
    groups: dict[Hashable, list[int]] = {}
    for preset, indices in _same_presets(finals).items():
        for index, inputs in zip(indices, identities([finals[n].content for n in indices], all_of), strict=True):
            groups.setdefault((preset, inputs), []).append(index)
    return sorted(groups.values())


def _method_of(final: FinalMetrics) -> tuple[tuple[str, str], ...] | None:
    if final.preset is None:
        return None
    return tuple(sorted((key, repr(value)) for key, value in flat(final.preset) if key not in _NOT_METHOD))


def group_names(finals: Sequence[FinalMetrics], groups: Sequence[Sequence[int]]) -> list[str]:
    """What a group is called: its method, with the settings in which groups of one method differ (at most two), and with
    the data or models in which groups of one preset differ (at most two)."""
    first = [finals[group[0]] for group in groups]
    methods = [final.method or final.name for final in first]
    names = []
    for index, name in enumerate(methods):
        twins = [other for other, same in enumerate(methods) if same == name]
        settings = []
        if len(twins) > 1:
            rows = differences([first[twin].preset or {} for twin in twins])
            for row in [row for row in rows if row.key not in _NOT_METHOD][:2]:
                value = row.values[twins.index(index)]
                settings.append(f"{row.key.removeprefix('stage.')} {'-' if value is ABSENT else shown(value, 20)}")
            equal = [twin for twin in twins if _method_of(first[twin]) == _method_of(first[index])]
            inputs = differing([first[twin].content for twin in equal], all_of)[equal.index(index)]
            settings += [f"{name} {text}" for name, text in inputs[:2]]
        names.append(f"{name} ({', '.join(settings)})" if settings else name)
    return names


# -- the table


def metrics_table(finals: Sequence[FinalMetrics]) -> ResultTable:
    """The table of runs: by task (and dev set, where a task has several), and in it by group; then other models.

    The highest figures are marked. The columns are the seed, the state (where a run has not finished), and the metrics,
    each task's primary one first.
    """
    groups = groups_of_seeds(finals)
    names = group_names(finals, groups)
    metrics = list(dict.fromkeys(name for final in finals for name in final.models.get(STUDENT, {})))
    states = any(not final.finished for final in finals)
    sections, records, headings = [], [], _headings(finals)
    for heading in dict.fromkeys(headings[group[0]] for group in groups):
        own = [(name, group) for name, group in zip(names, groups, strict=True) if headings[group[0]] == heading]
        rows = _with_highest(_task_rows(finals, own))
        task = finals[own[0][1][0]].task
        shown_heading = heading if len(set(headings)) > 1 else ""
        sections.append(Section(shown_heading, tuple(row.drawn(metrics, states=states) for row in rows)))
        records += [row.record(task, metrics) for row in rows]
    columns = (Column("seed"), *([Column("state", words=True)] if states else []), *map(Column, metrics))
    flagged = any(cell.below_majority for section in sections for row in section.rows for cell in row.cells)
    notes = (*_notes(finals), *([LEGEND] if flagged else []))
    return ResultTable("run", columns, tuple(sections), notes=notes, records=tuple(records))


def _headings(finals: Sequence[FinalMetrics]) -> list[str]:
    """The heading that each run stands under: its task, and its dev set where runs of the task had several."""
    headings = [final.task or "no task" for final in finals]
    for task in dict.fromkeys(headings):
        members = [index for index, heading in enumerate(headings) if heading == task]
        # presets may differ here, and with them the majority guess on the same dev set
        contents = [RunContent(finals[index].inputs, None) for index in members]
        for index, setting in zip(members, differing(contents, dev_of), strict=True):
            if setting:
                headings[index] = f"{task}, {', '.join(f'{name}: {text}' for name, text in setting)}"
    return headings


def _notes(finals: Sequence[FinalMetrics]) -> list[str]:
    """Why runs with equal presets are not averaged."""
    groups = ([finals[index] for index in indices] for indices in _same_presets(finals).values())
    notes = (difference_note(same[0].method or same[0].name, [each.content for each in same]) for same in groups)
    return [note for note in notes if note]


@dataclass(frozen=True)
class _Row:
    """A row before it is drawn: a run, the mean of a group, or another model; `highest` names the columns it leads."""

    kind: Literal["run", "mean", "model"]
    name: str
    figures: Mapping[str, Spread]
    run: int | None = None
    seed: int | None = None
    state: str = ""
    highest: frozenset[str] = frozenset()
    inputs: str = ""
    """Data and teacher, in short, where they are recorded."""
    below: frozenset[str] = frozenset()
    """The metrics in which it is at or below the majority guess."""

    def drawn(self, metrics: Sequence[str], *, states: bool) -> Row:
        cells = [Cell("" if self.seed is None else str(self.seed)), *([Cell(self.state)] if states else [])]
        for name in metrics:
            figure = self.figures.get(name)
            if figure is None:
                cells.append(Cell())
                continue
            deviation = "" if figure.deviation is None else f" ± {metric(figure.deviation)}"
            mark: Mark = "highest" if name in self.highest else ""
            cells.append(
                Cell(f"{metric(figure.mean)}{deviation}", figure.mean, mark, below_majority=name in self.below)
            )
        kinds: Mapping[str, Literal["result", "mean", "other"]] = {"run": "result", "mean": "mean", "model": "other"}
        return Row(self.name, tuple(cells), kinds[self.kind], run=self.run)

    def record(self, task: str, metrics: Sequence[str]) -> Mapping[str, str | float | None]:
        record: dict[str, str | float | None] = {
            "kind": self.kind, "task": task, "run": self.name, "seed": self.seed, "state": self.state, "inputs": self.inputs,
        }  # fmt: skip
        for name in metrics:
            figure = self.figures.get(name)
            record[name] = figure.mean if figure else None
            record[f"{name} deviation"] = figure.deviation if figure else None
            record[f"{name} runs"] = figure.count if figure else None
        return record


def _task_rows(finals: Sequence[FinalMetrics], groups: Sequence[tuple[str, Sequence[int]]]) -> Iterator[_Row]:
    members = [finals[index] for _, group in groups for index in group]
    shared = [model for model in (TEACHER, MAJORITY) if _same_everywhere(members, model)]
    for name, group in groups:
        several = [finals[index] for index in group]
        for index, final in zip(group, several, strict=True):
            state = "" if final.finished else final.state
            inputs = inputs_text([final.content])
            below = (
                not_above(final.models.get(STUDENT, {}), final.models.get(MAJORITY, {}))
                if final.finished
                else frozenset()
            )
            yield _Row(
                "run", final.name, _means([final], STUDENT), index, final.seed, state, inputs=inputs, below=below
            )
        done = [final for final in several if final.finished and final.models.get(STUDENT)]
        label = f"{name}: " if len(groups) > 1 else ""
        if len(several) > 1 and done:
            inputs = inputs_text([final.content for final in done])
            means, least = _means(done, STUDENT), _means(done, MAJORITY)
            below = frozenset(
                name for name, mean in means.items() if name in least and at_or_below(mean.mean, least[name].mean)
            )
            yield _Row("mean", f"{label}{_mean_name(done, several)}", means, inputs=inputs, below=below)
        for model in (*_OWN, *(m for m in (TEACHER, MAJORITY) if m not in shared)):
            known = [final for final in done or several if final.models.get(model)]
            # the majority guess follows from the data, which is the same in the group
            if figures := _means(known[:1] if model == MAJORITY else known, model):
                yield _Row("model", f"{label}{model}", figures)
    for model in shared:
        one = next((final for final in members if final.models.get(model)), None)
        if one is not None:
            yield _Row("model", model, _means([one], model))


def _mean_name(done: Sequence[FinalMetrics], several: Sequence[FinalMetrics]) -> str:
    what = "seeds" if len({final.seed for final in several}) == len(several) else "runs"
    count = f"{len(done)} {what}" if len(done) == len(several) else f"{len(done)} of {len(several)} {what}"
    return f"mean of {count}"


def _same_everywhere(members: Iterable[FinalMetrics], model: str) -> bool:
    """Whether all runs that know a model have the same figures of it (as far as they have the same metrics)."""
    values: dict[str, float] = {}
    for final in members:
        for name, value in final.models.get(model, {}).items():
            if not math.isclose(values.setdefault(name, value), value, abs_tol=5e-5):
                return False
    return True


def _means(finals: Sequence[FinalMetrics], model: str) -> dict[str, Spread]:
    values: dict[str, list[float]] = {}
    for final in finals:
        for name, value in final.models.get(model, {}).items():
            values.setdefault(name, []).append(value)
    return {name: mean for name, several in values.items() if (mean := spread(several)) is not None}


def _with_highest(rows: Iterable[_Row]) -> list[_Row]:
    """The rows with the highest final figure of each column marked, among runs and among means; never one alone, and none
    that is at or below the majority guess."""
    marked = list(rows)
    for kind in ("run", "mean"):
        rivals = [index for index, row in enumerate(marked) if row.kind == kind and not row.state]
        for name in {name for index in rivals for name in marked[index].figures}:
            values = {index: marked[index].figures[name].mean for index in rivals if name in marked[index].figures}
            for index in [
                index
                for index, value in values.items()
                if len(values) > 1 and value == max(values.values()) and name not in marked[index].below
            ]:
                marked[index] = replace(marked[index], highest=marked[index].highest | {name})
    return marked
