"""The closing table of one run, as rows of data: who reached what, how large and how fast, and what was saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import RunError

RESULTS_SCHEMA = 1


@dataclass(frozen=True)
class ModelRow:
    """One line of the table: a model, or the guess that it is held against.

    `metrics` are shares of 1 by name; `bytes` is the size of the weights on disk; `latency_ms` is measured at batch 1,
    `throughput` (examples a second) at batch 32. What was not measured is None.
    """

    name: str
    metrics: Mapping[str, float | None]
    parameters: int | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    throughput: float | None = None

    @property
    def has_cost(self) -> bool:
        """Whether anything but metrics is known."""
        return any(v is not None for v in (self.parameters, self.bytes, self.latency_ms, self.throughput))


@dataclass(frozen=True)
class StageRow:
    """How long a stage took: steps, seconds, examples a second. `cached` is a teacher that was not trained anew."""

    name: str
    steps: int | None
    seconds: float | None
    examples_per_second: float | None
    cached: bool = False


@dataclass(frozen=True)
class Closing:
    """What `crild run` ends with and `crild show` repeats. `metrics` names the columns, the primary one first."""

    run: str
    task: str
    split: str
    metrics: tuple[str, ...]
    models: tuple[ModelRow, ...]
    stages: tuple[StageRow, ...]
    statements: tuple[str, ...]
    seconds: float | None
    command: str | None


def closing(results: Mapping[str, Any]) -> Closing:
    """Read a run's results.json into rows and sentences.

    Raises RunError when a newer crild wrote it or when it holds no student.
    """
    schema = results.get("schema", RESULTS_SCHEMA)
    if not isinstance(schema, int) or schema > RESULTS_SCHEMA:
        raise RunError(
            f"these results have schema {schema}; this crild reads up to {RESULTS_SCHEMA}: update crild",
            kind="newer-schema",
        )
    student = _table(results.get("student"))
    if not student:
        raise RunError("these results name no student, so there is nothing to show", kind="missing-student")
    primary = _word(results.get("metric")) or next(iter(_metrics(student)), "")
    return Closing(
        run=_word(results.get("run")) or "",
        task=_word(results.get("task")) or "",
        split=_word(results.get("split")) or "dev",
        metrics=_columns(primary, student),
        models=tuple(_models(results, student)),
        stages=tuple(_stages(results)),
        statements=tuple(_statements(results, primary)),
        seconds=_number(results.get("seconds")),
        command=_word(results.get("command")),
    )


def _columns(primary: str, student: Mapping[str, Any]) -> tuple[str, ...]:
    return (primary, *(name for name in _metrics(student) if name != primary)) if primary else ()


def _models(results: Mapping[str, Any], student: Mapping[str, Any]) -> list[ModelRow]:
    layers = _whole(student.get("layers"))
    label = "student" if layers is None else f"student, {layers} layer{'' if layers == 1 else 's'}"
    rows = []
    if teacher := _table(results.get("teacher")):
        rows += _rows("teacher", teacher)
    rows += _rows(label, student)
    if self_teacher := _table(results.get("self_teacher")):
        rows += _rows("self-teacher", self_teacher)
    if baseline := _table(results.get("baseline")):
        rows += _rows("labels alone", baseline)
    if majority := _table(results.get("majority")):
        rows.append(ModelRow("majority guess", _metrics(majority)))
    return rows


def _rows(name: str, found: Mapping[str, Any]) -> list[ModelRow]:
    """A model's own row, and one for each further dev set."""
    first = ModelRow(
        name,
        _metrics(found),
        parameters=_whole(found.get("parameters")),
        bytes=_whole(found.get("bytes")),
        latency_ms=_number(found.get("latency_ms")),
        throughput=_number(found.get("throughput")),
    )
    more = _table(found.get("dev_extra"))
    return [first, *(ModelRow(f"  on {split}", _metrics(_table(metrics))) for split, metrics in more.items())]


def _stages(results: Mapping[str, Any]) -> list[StageRow]:
    rows = results.get("stages")
    return [
        StageRow(
            _word(row.get("name")) or "?",
            _whole(row.get("steps")),
            _number(row.get("seconds")),
            _number(row.get("examples_per_second")),
            cached=row.get("cached") is True,
        )
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    ]


def _statements(results: Mapping[str, Any], primary: str) -> list[str]:
    found = []
    margin = _number(results.get("kept_margin"))
    if margin is not None:
        found.append(f"the student keeps {margin * 100:.1f} % of its teacher's margin over the majority guess")
    agreement = _number(results.get("agreement"))
    if agreement is not None:
        found.append(
            f"student and teacher give the same answer on {agreement * 100:.1f} % of {results.get('split', 'dev')}"
        )
    found += _evaluations(results, primary)
    if why := _word(results.get("saved_why")):
        found.append(why)
    elif saved := _word(results.get("saved")):
        found.append(f"the {saved} weights were saved")
    return found


def _evaluations(results: Mapping[str, Any], primary: str) -> list[str]:
    """What the last and the best evaluation gave: both are said, so that neither passes for the other."""
    said = []
    for which in ("last", "best"):
        found = _table(results.get(which))
        value = _metrics(found).get(primary)
        if value is None:
            continue
        place = [f"step {found['step']}"] if _whole(found.get("step")) is not None else []
        if stage := _word(found.get("stage")):
            place.insert(0, f"stage {stage}")
        said.append(f"{which} evaluation{' (' + ', '.join(place) + ')' if place else ''}: {primary} {value:.4f}")
    return ["; ".join(said)] if said else []


def _metrics(found: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a record: its `metrics`, or all of it where it is nothing but metrics."""
    metrics = _table(found["metrics"]) if "metrics" in found else found
    return {str(name): _number(value) for name, value in metrics.items() if not isinstance(value, Mapping)}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
