"""Results of a finished run: metrics, agreement, sizes, speed, and which evaluation picked the saved weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from engine.data.tokens import TokenSet
from engine.data.types import TEST, TaskData, TaskSpec
from engine.evaluate.metrics import agreement, compute, majority
from engine.evaluate.predict import write_predictions, write_texts
from engine.evaluate.timing import Shape, measure
from engine.models.export import parameters
from engine.record.files import write_json
from engine.record.latency import Latency
from engine.record.paths import texts_file
from engine.record.phases import Report, unreported
from engine.train.dev_evaluation import Dev, LogitsBySplit

SCHEMA = 1
LATENCY_BATCH, THROUGHPUT_BATCH = 1, 32
"""Batch sizes at which the models of a run are timed."""
Stages = dict[str, dict[str, Any]]


def describe_saved(stages: Stages, metric: str) -> dict[str, Any]:
    """Last and best evaluation of the student, and a sentence on which of them picked the saved weights."""
    name, stage = next((n, s) for n, s in reversed(stages.items()) if s["role"] == "student")
    last: dict[str, Any] = stage["last"]
    best: dict[str, Any] = stage["best"]
    saved = "last"
    if not stage["trains_head"]:
        why = f"stage {name} trains no classifier, so its last weights were saved"
    elif not stage["keep_best"]:
        why = (
            f"the last weights were saved (step {last['step']}; the best evaluation was at step {best['step']}, and "
            "keep_best is off)"
        )
    else:
        saved = "best"
        why = (
            f"the weights of the best evaluation were saved (step {best['step']} of {stage['steps']}, picked by {metric} on "
            "dev, which flatters them a little)"
        )
    return {
        "last": {"stage": name, **last},
        "best": {"stage": name, **best} if stage["trains_head"] else None,
        "saved": saved,
        "saved_why": why,
    }


def self_teacher_of(stages: Stages) -> dict[str, float] | None:
    """Metrics of the last self-teacher in a stage that trains the classifier; None without one."""
    found = (stage.get("self_teacher") for stage in reversed(stages.values()) if stage.get("trains_head"))
    return next((metrics for metrics in found if metrics), None)


def head_trained(stages: Stages, *, fresh: bool) -> bool:
    """Whether the student's classifier has learned anything: in a stage, or before if it wasn't `fresh` (random)."""
    return not fresh or any(stage.get("role") == "student" and stage["trains_head"] for stage in stages.values())


def measure_model(
    model: PreTrainedModel | None,
    dev: Dev,
    logits: LogitsBySplit,
    folder: Path | None = None,
    thresholds: tuple[float, ...] = (),
) -> dict[str, Any]:
    """Metrics on every dev split (from `logits`) and size of a model; `folder` has its weights. A teacher that is a file of
    answers is no model (None), and has no size.

    `thresholds` are those of its labels, where they were chosen.
    """
    spec = replace(dev.spec, thresholds=thresholds)
    metrics = {split: compute(spec, values, dev.labels(split), dev.groups(split)) for split, values in logits.items()}
    test = {TEST: metrics[TEST]} if TEST in metrics else {}
    size = {} if model is None else {
        "layers": int(model.config.num_hidden_layers),
        "parameters": parameters(model),
        "bytes": _weights_size(folder, model),
    }  # fmt: skip
    return {
        "metrics": metrics[dev.primary],
        "dev_extra": {split: values for split, values in metrics.items() if split not in (dev.primary, TEST)},
        **test,
        **size,
        **({"thresholds": dict(zip(spec.labels, thresholds, strict=True))} if thresholds else {}),
        "logits": logits,
    }


def _agreement(spec: TaskSpec, teacher: dict[str, Any] | None, student: dict[str, Any], split: str) -> float | None:
    """How much student and teacher agree on a split, each at its own thresholds; None where the teacher is a file that doesn't
    answer it."""
    if teacher is None or split not in teacher["logits"]:
        return None
    return agreement(
        _own(spec, teacher), teacher["logits"][split], student["logits"][split], other_spec=_own(spec, student)
    )


def _own(spec: TaskSpec, found: dict[str, Any]) -> TaskSpec:
    """The task with the thresholds of a measured model."""
    return replace(spec, thresholds=tuple(found.get("thresholds", {}).values()))


def measure_latency(models: Mapping[str, PreTrainedModel], dev: Dev, *, report: Report = unreported) -> Latency:
    """Latency of models side by side, the reference first, with inputs of the dev set's median length."""
    length = int(np.median(dev.tokens[dev.primary].lengths))
    shapes = [Shape(batch, length) for batch in (LATENCY_BATCH, THROUGHPUT_BATCH)]
    return measure(models, shapes, device=dev.device, report=report)


def _speed(latency: Latency, name: str) -> dict[str, float]:
    """A model's latency for one input and throughput in batches; empty if it was not measured."""
    single, many = latency.case(LATENCY_BATCH), latency.case(THROUGHPUT_BATCH)
    if single is None or many is None or (model := single.of(name)) is None:
        return {}
    return {
        "latency_ms": round(model.milliseconds.median, 3),
        "throughput": round(many.throughput(name) or 0.0, 1),
    }


def closing(
    dev: Dev, train: TokenSet, models: dict[str, dict[str, Any]], stages: Stages, latency: Latency
) -> dict[str, Any]:
    """The comparison in the closing table, from the measurements of each model: student, teacher and baseline if any; `train`
    are the training rows."""
    known = dev.guess_labels(train)
    student, teacher, baseline = models["student"], models.get("teacher"), models.get("baseline")
    spec, primary = dev.spec, dev.primary
    floor = majority(spec, known, dev.labels(primary), dev.groups(primary))
    own, least = student["metrics"][spec.primary], floor[spec.primary]
    theirs = least if teacher is None else teacher["metrics"][spec.primary]
    comparable = theirs > least and student.get("head_trained", True)
    return {
        "task": spec.name,
        "metric": spec.primary,
        "split": primary,
        "majority": floor,
        "teacher": None if teacher is None else _without_logits(teacher) | _speed(latency, "teacher"),
        "student": _without_logits(student) | _speed(latency, "student"),
        "baseline": _without_logits(baseline) if baseline else None,
        "self_teacher": self_teacher_of(stages),
        "agreement": _agreement(spec, teacher, student, primary),
        "kept_margin": (own - least) / (theirs - least) if comparable else None,
        **describe_saved(stages, spec.primary),
        **_test(dev, known, teacher, student),
        "latency": latency.to_dict(),
        "data": data_summary(dev, train),
        "stages": [
            {
                "name": name,
                "steps": stage["steps"],
                "seconds": round(stage["seconds"], 2),
                "examples_per_second": round(stage["examples_per_second"], 1),
                "cached": bool(stage.get("cached")),
            }
            for name, stage in stages.items()
        ],
    }


def _test(
    sets: Dev, known: np.ndarray, teacher: dict[str, Any] | None, student: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """What the test set says besides the metrics of each model; nothing without one."""
    if TEST not in sets.tokens:
        return {}
    return {
        TEST: {
            "rows": len(sets.tokens[TEST]),
            "majority": majority(sets.spec, known, sets.labels(TEST), sets.groups(TEST)),
            "agreement": _agreement(sets.spec, teacher, student, TEST),
        }
    }


def data_summary(dev: Dev, train: TokenSet) -> dict[str, Any]:
    """Numbers of rows: of training (by class, or with the range of scores; of labels by word, words by class), and of each dev
    set."""
    train_labels = train.labels
    rows: dict[str, Any] = {"train": len(train), "dev": {split: len(rows) for split, rows in dev.tokens.items()}}
    if train_labels is None:
        return rows
    if dev.spec.labels:
        several = train_labels.ndim == 2
        counts = (
            train_labels.sum(axis=0, dtype=int)
            if several
            else np.bincount(train_labels, minlength=len(dev.spec.labels))
        )
        return rows | {"classes": dict(zip(dev.spec.labels, map(int, counts), strict=True))}
    return rows | {"scores": [float(train_labels.min()), float(train_labels.max())]}


def save_predictions(
    run_dir: Path, dev: Dev, models: dict[str, dict[str, Any]], *, report: Report = unreported
) -> None:
    """Write each model's predictions on dev and test by example id, one file per model and split."""
    for name, found in models.items():
        for split, logits in found["logits"].items():
            suffix = "" if split == dev.primary else f".{split}"
            path = run_dir / "predictions" / f"{name}{suffix}.jsonl"
            write_predictions(path, dev.tokens[split], logits, _own(dev.spec, found), report=report, root=run_dir)


def save_texts(run_dir: Path, dev: Dev, data: TaskData) -> None:
    """Write the texts of each dev set and of test, so that predictions can be read beside them."""
    for split, examples in data.measured.items():
        write_texts(texts_file(run_dir, None if split == dev.primary else split), examples)


def write(run_dir: Path, results: dict[str, Any]) -> None:
    """Write results.json atomically."""
    write_json(run_dir / "results.json", {"schema": SCHEMA, "run": run_dir.name, **results})


def _without_logits(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "logits"}


def _weights_size(folder: Path | None, model: PreTrainedModel) -> int:
    """Bytes of the saved weights, or of the tensors of a model that isn't saved."""
    file = folder / "model.safetensors" if folder else None
    if file is not None and file.is_file():
        return file.stat().st_size
    return sum(p.numel() * p.element_size() for p in model.parameters())
