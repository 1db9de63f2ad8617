"""The closing table of one run as data: metrics, size and speed of each model, times of stages, what was saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import RunError
from engine.preset.kinds import RANKINGS
from engine.record.json_values import mapping, mappings, number, whole, word
from engine.record.latency import Latency, cautions, conditions, latency_of, speedup
from engine.report.majority import at_or_below, not_above, of_trained_head
from engine.report.units import metric

RESULTS_SCHEMA = 1


@dataclass(frozen=True)
class ModelRow:
    """One line of the table: a model, or the guess to compare it with.

    `metrics` are shares of 1 by name; `bytes` is the size of the weights on disk; `latency_ms` is measured at batch 1,
    `throughput` (examples a second) at batch 32. What was not measured is None.
    """

    name: str
    metrics: Mapping[str, float | None]
    layers: int | None = None
    parameters: int | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    throughput: float | None = None
    speedup: float | None = None
    """How many times as fast as the teacher, measured in turn with it at batch 1."""
    head_trained: bool = True
    """False for a classifier that nothing has trained: its metrics mean nothing and are left out."""
    below_majority: frozenset[str] = frozenset()
    """The metrics in which it is at or below the majority guess."""

    @property
    def has_cost(self) -> bool:
        """Whether anything but metrics is known."""
        return any(v is not None for v in (self.parameters, self.bytes, self.latency_ms, self.throughput))


@dataclass(frozen=True)
class StageRow:
    """How long a stage took: steps, seconds, examples a second. `cached` is a teacher from the cache."""

    name: str
    steps: int | None
    seconds: float | None
    examples_per_second: float | None
    cached: bool = False


@dataclass(frozen=True)
class ClosingTable:
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
    checkpoints_deleted: int | None = None
    """Bytes of the checkpoints that were deleted when the run finished; None where they stayed, or nothing is known."""
    latency: Latency | None = None
    """How `latency_ms` and `throughput` were measured, with quartiles and ratios; None in results of crild up to 0.2."""


def closing_table(results: Mapping[str, Any]) -> ClosingTable:
    """Read a run's results.json into rows and sentences.

    Raises RunError when a newer crild wrote it or when it holds no student.
    """
    schema = results.get("schema", RESULTS_SCHEMA)
    if not isinstance(schema, int) or schema > RESULTS_SCHEMA:
        sentence = f"these results have schema {schema}; this crild reads up to {RESULTS_SCHEMA}: update crild"
        raise RunError(sentence, kind="newer-schema")
    student = mapping(results.get("student"))
    if not student:
        raise RunError("these results name no student, so there is nothing to show", kind="missing-student")
    primary = word(results.get("metric")) or next(iter(_metrics(student)), "")
    return ClosingTable(
        run=word(results.get("run")) or "",
        task=word(results.get("task")) or "",
        split=word(results.get("split")) or "dev",
        metrics=(primary, *(name for name in _metrics(student) if name != primary)) if primary else (),
        models=tuple(_models(results, student)),
        stages=tuple(_stages(results)),
        statements=tuple(_statements(results, primary)),
        seconds=number(results.get("seconds")),
        command=word(results.get("command")),
        checkpoints_deleted=whole(results.get("checkpoints_deleted")),
        latency=latency_of(results),
    )


def has_scores(results: Mapping[str, Any]) -> bool:
    """Whether the task's answers are scores, so that `agreement` is a correlation."""
    return "scores" in mapping(results.get("data"))


def teacher_name(found: Mapping[str, Any]) -> str:
    """What a table calls the teacher: several are named as their mean."""
    several = whole(found.get("models"))
    return "teacher" if several is None else f"teacher, mean of {several}"


def _models(results: Mapping[str, Any], student: Mapping[str, Any]) -> list[ModelRow]:
    layers = whole(student.get("layers"))
    label = "student" if layers is None else f"student, {layers} layer{'' if layers == 1 else 's'}"
    names = {
        "teacher": teacher_name(mapping(results.get("teacher"))),
        "student": label,
        "self_teacher": "self-teacher",
        "baseline": "labels alone",
    }
    least = _metrics(mapping(results.get("majority")))
    primary = word(results.get("metric")) or ""
    averaged = mapping(results.get("self_teacher"))
    known = _metrics(averaged).get(primary)
    if averaged.get("head_trained") is False or known != of_trained_head(known, least.get(primary)):
        del names["self_teacher"]
    ratios = _ratios(latency_of(results))
    rows = [
        replace(row, speedup=ratios.get(key)) if row.name == name else row
        for key, name in names.items()
        if (model := mapping(results.get(key)))
        for row in _rows(name, model, least)
    ]
    if least:
        rows.append(ModelRow("majority guess", least))
        if on_test := mapping(mapping(results.get("test")).get("majority")):
            rows.append(ModelRow("  on test", _metrics(on_test)))
    return rows


def _ratios(latency: Latency | None) -> dict[str, float]:
    """The speed of each model at batch 1, in that of the teacher; none without one."""
    case = None if latency is None else latency.case(1)
    return (
        {} if case is None or case.of("teacher") is None else {model.name: model.ratio.median for model in case.models}
    )


def _rows(name: str, found: Mapping[str, Any], majority: Mapping[str, float | None]) -> list[ModelRow]:
    """A model's own row, and one for each further dev set and the test set; only the first is compared with the majority."""
    trained = found.get("head_trained") is not False
    metrics = _metrics(found) if trained else {}
    first = ModelRow(
        name,
        metrics,
        layers=whole(found.get("layers")),
        head_trained=trained,
        parameters=whole(found.get("parameters")),
        bytes=whole(found.get("bytes")),
        latency_ms=number(found.get("latency_ms")),
        throughput=number(found.get("throughput")),
        below_majority=not_above(metrics, majority),
    )
    more = {**mapping(found.get("dev_extra")), **({"test": found["test"]} if mapping(found.get("test")) else {})}
    more = more if trained else {}
    return [first, *(ModelRow(f"  on {split}", _metrics(mapping(metrics))) for split, metrics in more.items())]


def _stages(results: Mapping[str, Any]) -> list[StageRow]:
    return [
        StageRow(
            word(row.get("name")) or "?",
            whole(row.get("steps")),
            number(row.get("seconds")),
            number(row.get("examples_per_second")),
            cached=row.get("cached") is True,
        )
        for row in mappings(results.get("stages"))
    ]


def _statements(results: Mapping[str, Any], primary: str) -> list[str]:
    statements = []
    agreement = number(results.get("agreement"))
    trained = mapping(results.get("student")).get("head_trained") is not False
    if not trained:
        statements.append(
            "no stage trains the student's head (its classifier), so its metrics mean nothing: add a stage with labels or logits"
        )
    says_something = has_scores(results) or primary not in RANKINGS  # the same classes can be ranked in any order
    if agreement is not None and trained and says_something:
        split = word(results.get("split")) or "dev"
        statements.append(
            f"the scores of student and teacher correlate with {agreement:.2f} (Pearson) on {split}"
            if has_scores(results)
            else f"student and teacher give the same answer on {agreement * 100:.1f} % of {split}"
        )
    if (rows := whole(mapping(results.get("test")).get("rows"))) is not None:
        statements.append(f"test ({rows:,} rows) was measured once, when training had ended; nothing was chosen by it")
    statements += _evaluations(results, primary)
    if why := word(results.get("saved_why")):
        statements.append(why)
    elif saved := word(results.get("saved")):
        statements.append(f"the {saved} weights were saved")
    return [*_speed(latency_of(results)), *_margin(results, primary), *statements]


def _speed(latency: Latency | None) -> list[str]:
    """How much faster the student is than its teacher, and how that was measured."""
    if latency is None or not latency.cases:
        return []
    faster = speedup(latency, "student", "teacher")
    return [*([faster] if faster else []), conditions(latency), *cautions(latency)]


def _margin(results: Mapping[str, Any], primary: str) -> Iterator[str]:
    """How student and teacher stand to the majority guess. A share of the margin needs both above it."""
    student, teacher, least = (
        _metrics(mapping(results.get(key))).get(primary) for key in ("student", "teacher", "majority")
    )
    if mapping(results.get("student")).get("head_trained") is False:
        return
    if student is not None and least is not None and at_or_below(student, least):
        yield (
            f"the student is at or below the majority guess ({primary} {metric(student)} against {metric(least)}): it has "
            "learnt nothing that always giving the same answer does not achieve"
        )
    if teacher is not None and least is not None and at_or_below(teacher, least):
        yield f"its teacher is at or below the majority guess ({primary} {metric(teacher)} against {metric(least)})"
    margin = number(results.get("kept_margin"))
    if margin is not None and margin > 0 and not at_or_below(student, least) and not at_or_below(teacher, least):
        yield f"the student keeps {margin * 100:.1f} % of its teacher's margin over the majority guess"


def _evaluations(results: Mapping[str, Any], primary: str) -> list[str]:
    """What the last and the best evaluation gave: both, so that neither is taken for the other."""
    sentences = []
    if "best" in results and not results["best"]:
        return []  # the last stage trained no classifier
    for which in ("last", "best"):
        evaluation = mapping(results.get(which))
        value = _metrics(evaluation).get(primary)
        if value is None:
            continue
        where = [f"step {evaluation['step']}"] if whole(evaluation.get("step")) is not None else []
        if stage := word(evaluation.get("stage")):
            where.insert(0, f"stage {stage}")
        sentences.append(
            f"{which} evaluation{' (' + ', '.join(where) + ')' if where else ''}: {primary} {metric(value)}"
        )
    return ["; ".join(sentences)] if sentences else []


def _metrics(found: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a record: its `metrics`, or all of it where it is nothing but metrics."""
    metrics = mapping(found["metrics"]) if "metrics" in found else found
    return {str(name): number(value) for name, value in metrics.items() if not isinstance(value, Mapping)}
