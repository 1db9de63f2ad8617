"""Probe finished runs: overfitting, distance to the teacher layer by layer, sharpness of the minimum."""

from __future__ import annotations

import importlib
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from engine.data.load import load_task
from engine.data.subset import few_samples
from engine.data.tokens import TokenSet, tokenise
from engine.data.types import TaskData, TaskSpec
from engine.errors import CrildError, RunError
from engine.evaluate.layer_distances import CKA, Compared, Comparison, compare
from engine.evaluate.metrics import compute, label_loss
from engine.evaluate.predict import LengthBatches, Logits, predict
from engine.evaluate.weight_noise import spread, under_noise
from engine.models.export import content_hash
from engine.models.load import LoadedModel, load_teacher
from engine.preset.kinds import WORD_LABELS
from engine.preset.load import load_run_preset
from engine.preset.schema import Preset, Teacher
from engine.record.events import read_events
from engine.record.files import read_json
from engine.record.inputs import RunInputs, known_inputs
from engine.record.json_values import mapping, word
from engine.record.paths import RESULTS, STUDENT, TEACHER
from engine.record.phases import Report, unreported
from engine.record.probe import (
    DISTANCES,
    CurvePoint,
    Layer,
    Noise,
    Probe,
    Sharpness,
    Sides,
    read_probe,
    write_probe,
)
from engine.record.run import read_run
from engine.record.states import IN_PROGRESS
from engine.record.status import Fault, Status
from engine.record.student import student_hash
from engine.record.teacher_folder import teacher_folder
from engine.train import hardware, seeding
from engine.train.inputs import changed_data, task_data
from engine.train.step import shape_of
from engine.train.teacher import settle_order
from engine.user.consent import NONE, Consent

SHARPNESS_SCALE = 0.1
"""Scale of the noise that defines sharpness (the rise of the loss); always among the scales."""
BATCH = 32
"""Sentences per batch: scores of every head of two layers are held at once."""
SIDES = ("train", "dev")
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Settings:
    """Settings of a probe."""

    scales: tuple[float, ...]
    """Scales of the noise, as shares of each tensor's root mean square; ascending, without 0."""
    draws: int
    examples: int
    """Examples per side, at most."""

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Settings:
        """From the command line's request; the scale of sharpness is added."""
        scales = {float(scale) for scale in request["scales"]} | {SHARPNESS_SCALE}
        return cls(tuple(sorted(scales)), int(request["draws"]), int(request["examples"]))

    def to_dict(self, seed: int) -> dict[str, Any]:
        """As stored in probe.json."""
        return {"scales": list(self.scales), "draws": self.draws, "examples": self.examples, "seed": seed}


@dataclass(frozen=True)
class Subject:
    """A run's student and teacher, and the examples they are compared on."""

    student: LoadedModel
    teacher: LoadedModel
    spec: TaskSpec
    tokens: Mapping[str, TokenSet]
    """By side, with equally many examples."""
    device: torch.device
    pad_id: int
    notes: tuple[str, ...]
    inputs: Mapping[str, str]
    """As in `Probe.inputs`."""
    changed: tuple[str, ...]
    """As in `Probe.changed`."""
    report: Report = unreported

    def figures(self, logits: Logits, side: str) -> Figures:
        """The task's metrics, and `loss`, of logits on one side."""
        tokens = self.tokens[side]
        labels = tokens.labels
        assert labels is not None, "a task has labels"
        return {**compute(self.spec, logits, labels, tokens.groups), "loss": label_loss(self.spec, logits, labels)}

    def measured(self, side: str) -> Figures:
        """Metrics and loss of the student in its current state."""
        return self.figures(predict(self.student.model, self.batches[side]), side)

    @cached_property
    def batches(self) -> dict[str, LengthBatches]:
        """The examples in batches for predictions, by side."""
        return {side: LengthBatches(tokens, self.device, self.pad_id) for side, tokens in self.tokens.items()}


def probe_runs(request: dict[str, Any], consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """Probe runs one after the other, and store the results in each run's probe.json.

    `request` has `runs` (folders), `device`, `scales`, `draws`, `examples` and `again`: without `again`, an existing
    probe of the same student with the same settings is reused. A run that cannot be probed has an `error` in the answer.
    Models run code of their own only with `consent`.
    """
    settings = Settings.of(request)
    answers: list[dict[str, Any]] = []
    tasks: dict[str, TaskData] = {}
    for number, folder in enumerate(request["runs"], start=1):
        run_dir = Path(folder)
        print(f"{run_dir.name} ({number} of {len(request['runs'])})", flush=True)
        try:
            found = None if request.get("again") else _existing_probe(run_dir, settings)
            if found is None:
                device = request.get("device") or "auto"
                found = probe_run(run_dir, settings, device=device, tasks=tasks, consent=consent, report=report)
                write_probe(run_dir, found)
            answers.append({"run": run_dir.name, "probe": found.to_dict()})
        except CrildError as error:
            answers.append({"run": run_dir.name, "error": asdict(Fault.from_error(error))})
        except (torch.OutOfMemoryError, MemoryError):
            short = RunError(
                "the device ran out of memory: use --device cpu, or fewer --examples", kind="out-of-memory"
            )
            answers.append({"run": run_dir.name, "error": asdict(Fault.from_error(short))})
    return {"runs": answers}


def _existing_probe(run_dir: Path, settings: Settings) -> Probe | None:
    """The stored probe, if it is of this student with these settings, and on the run's own data and teacher."""
    try:
        found = read_probe(run_dir)
    except RunError as error:
        if error.kind == "cannot-read-record":
            raise
        return None  # damaged, or from another version: probe again
    if found is None or found.changed or found.student != student_hash(run_dir):
        return None
    return found if found.settings == settings.to_dict(found.settings.get("seed", 0)) else None


def probe_run(
    run_dir: Path,
    settings: Settings,
    *,
    device: str = "auto",
    tasks: dict[str, TaskData] | None = None,
    consent: Consent = NONE,
    report: Report = unreported,
) -> Probe:
    """Measure a finished run's student. `tasks` holds the task loaded last: runs of one task usually come together.

    Its two models run code of their own only with `consent`. Raises RunError for a run without a student, ModelError for a missing teacher, DataError for missing data.
    """
    status, student = _finished(run_dir)
    loaded = load_run_preset(run_dir)
    preset = loaded.preset
    for sentence in loaded.ignored:
        print(sentence, flush=True)
    hardware.set_threads(preset.train.threads)
    where = hardware.pick_device(device)
    tasks, task = {} if tasks is None else tasks, preset.task.model_dump_json()
    if task not in tasks:
        tasks.clear()
        tasks[task] = load_task(preset.task, report=report)
    subject = load_subject(run_dir, preset, tasks[task], settings.examples, where, consent, report=report)
    importlib.import_module("sklearn.metrics")  # takes a second, which belongs to loading
    began = time.perf_counter()
    compared, comparison = _compared(subject)
    own = {side: subject.figures(compared[side].student, side) for side in SIDES}
    theirs = {side: subject.figures(compared[side].teacher, side) for side in SIDES}
    seeds = [seeding.integer(preset.seed, seeding.NOISE, "probe", draw) for draw in range(settings.draws)]
    noise, sharpness = _noise_and_sharpness(subject, settings, seeds, own)
    return Probe(
        run=run_dir.name,
        task=subject.spec.name,
        method=status.method,
        metric=subject.spec.primary,
        student=student,
        made=time.time(),
        device=str(where),
        seconds=round(time.perf_counter() - began, 2),
        run_seconds=_training_seconds(run_dir, preset),
        settings=settings.to_dict(preset.seed),
        examples={side: len(subject.tokens[side]) for side in SIDES},
        loss=_sides(own, "loss"),
        metrics={name: _sides(own, name) for name in subject.spec.metrics},
        teacher_loss=_sides(theirs, "loss"),
        teacher_metrics={name: _sides(theirs, name) for name in subject.spec.metrics},
        output=Sides(*(_finite(compared[side].output) for side in SIDES)),
        layers=_layers(comparison, compared),
        unavailable=dict(comparison.unavailable),
        noise=noise,
        sharpness=sharpness,
        curves=tuple(curves_of(run_dir, preset, subject.spec.primary)),
        notes=subject.notes,
        inputs=subject.inputs,
        changed=subject.changed,
    )


def _finished(run_dir: Path) -> tuple[Status, str]:
    """Status and student hash of a run that can be probed. Raises RunError if it cannot."""
    entry = read_run(run_dir)
    if entry.status is None:
        raise RunError(f"{run_dir.name} cannot be probed: its {entry.problem}", kind="run-not-probeable")
    if entry.state in IN_PROGRESS:
        sentence = f"{run_dir.name} is {entry.state}; it can be probed once it has finished"
        raise RunError(sentence, kind="run-not-probeable")
    preset = load_run_preset(run_dir).preset
    if preset.task.class_names is not None:
        sentence = f"{run_dir.name} cannot be probed: its training rows have no labels, and a probe compares the metric on them with that on dev"
        raise RunError(sentence, kind="run-not-probeable")
    if preset.teacher.model is None:
        sentence = (
            f"{run_dir.name} cannot be probed: its teacher is a file of answers, and a probe measures how far the student's layers "
            "are from those of a model"
        )
        raise RunError(sentence, kind="run-not-probeable")
    student = student_hash(run_dir)
    if student is None:
        raise RunError(
            f"{run_dir.name} is {entry.state} and has no student to probe; `crild resume {run_dir.name}` makes it",
            kind="run-not-probeable",
        )
    return entry.status, student


def load_subject(
    run_dir: Path,
    preset: Preset,
    data: TaskData,
    examples: int,
    device: torch.device,
    consent: Consent = NONE,
    *,
    report: Report = unreported,
) -> Subject:
    """Load a run's two models, and tokenise as many training examples as dev ones, drawn with `task.data_seed`."""
    student = load_teacher(_saved(run_dir / STUDENT, preset), data.spec, consent=consent, report=report)
    notes: list[str] = []
    teacher, weights = _teacher(run_dir, preset, data, device, notes, consent, report)
    if student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        sentence = (
            f"{run_dir.name} cannot be probed: its student has another vocabulary than its teacher, so that their layers have no "
            "tokens in common to compare"
        )
        raise RunError(sentence, kind="run-not-probeable")
    count = min(examples, len(data.train), len(data.dev[data.primary_dev]))
    tokens = {
        side: tokenise(
            few_samples(rows, count, preset.task.data_seed), student.tokenizer, preset.task.max_length,
            by_word=data.spec.kind == WORD_LABELS,
        )
        for side, rows in zip(SIDES, (data.train, data.dev[data.primary_dev]), strict=True)
    }  # fmt: skip
    for loaded in (student, teacher):
        loaded.model.to(device).eval().requires_grad_(False)
    pad_id = int(student.tokenizer.pad_token_id or 0)
    report("hashing data")
    recorded = known_inputs(run_dir)
    changed, sentences = _changes(run_dir, preset, data, weights, recorded)
    train, dev = task_data(preset.task, data)
    inputs = {"train": train.content, "dev": dev[data.primary_dev].content}
    if recorded is not None and recorded.teacher is not None:
        inputs[TEACHER] = recorded.teacher.weights
    if preset.teacher.others:
        notes.append("the student is compared with the first of its teachers alone")
    return Subject(
        student,
        teacher,
        student.decides(data.spec),
        tokens,
        device,
        pad_id,
        (*sentences, *notes),
        inputs,
        changed,
        report,
    )


def _changes(
    run_dir: Path, preset: Preset, data: TaskData, teacher: str, recorded: RunInputs | None
) -> tuple[tuple[str, ...], list[str]]:
    """Which inputs are not those that the run was trained with, by name and in sentences; `teacher` is its hash now."""
    names, sentences = [], []
    for change in changed_data(recorded, preset.task, data):
        if change.name in ("train", data.primary_dev):
            names.append("train" if change.name == "train" else "dev")
            sentences.append(f"{change} has changed since this run was trained: these figures are about the new rows")
    before = recorded.teacher.weights if recorded is not None and recorded.teacher is not None else None
    if preset.teacher.finetune is not None:
        before = word(mapping((read_json(run_dir / RESULTS) or {}).get(TEACHER)).get("content"))
    if before not in (None, teacher):
        names.append(TEACHER)
        sentences.append("the teacher has changed since this run was trained: the distances are from another model")
    return tuple(names), sentences


def _saved(folder: Path, preset: Preset) -> Teacher:
    """A model saved by crild, in the form `load_teacher` takes."""
    return Teacher(model=str(folder), trust_remote_code=preset.teacher.trust_remote_code)


def _teacher(
    run_dir: Path,
    preset: Preset,
    data: TaskData,
    device: torch.device,
    notes: list[str],
    consent: Consent,
    report: Report,
) -> tuple[LoadedModel, str]:
    """The run's teacher (a fine-tuned one from where it is stored), and the hash of its weights as loaded."""
    if preset.teacher.finetune is not None:
        loaded = load_teacher(_saved(teacher_folder(run_dir), preset), data.spec, consent=consent, report=report)
        return loaded, content_hash(loaded.model)
    loaded = load_teacher(preset.teacher, data.spec, consent=consent, report=report)
    weights = content_hash(loaded.model)
    if not loaded.order_known:
        pad_id = int(loaded.tokenizer.pad_token_id or 0)
        by_word = data.spec.kind == WORD_LABELS
        length = preset.task.max_length
        dev = tokenise(data.dev[data.primary_dev], loaded.tokenizer, length, by_word=by_word, report=report)
        loaded.model.to(device)
        note = settle_order(loaded, data.spec, dev, device=device, pad_id=pad_id, report=report)
        notes.extend([note] if note else [])
    return loaded, weights


def _compared(subject: Subject) -> tuple[dict[str, Compared], Comparison]:
    """Compare both models on each side."""
    teacher, student = subject.teacher.model, subject.student.model
    comparison = Comparison.between(shape_of(teacher), shape_of(student))
    found = {
        side: compare(
            student,
            teacher,
            subject.tokens[side],
            comparison,
            kind=subject.spec.kind,
            batch_size=BATCH,
            device=subject.device,
            pad_id=subject.pad_id,
            report=subject.report,
            phase=f"comparing student and teacher on {side}",
        )
        for side in SIDES
    }
    return found, comparison


def _layers(comparison: Comparison, compared: Mapping[str, Compared]) -> tuple[Layer, ...]:
    """Distances of the student's layers, first to last."""

    def distances(pair: tuple[int, int]) -> dict[str, Sides]:
        found = [compared[side].distances[pair] for side in SIDES]
        known = {*comparison.terms, CKA}
        return {name: Sides(*(_finite(values[name]) for values in found)) for name in DISTANCES if name in known}

    return tuple(Layer(below, above, distances((above, below))) for above, below in comparison.pairs)


def _noise_and_sharpness(
    subject: Subject, settings: Settings, seeds: Sequence[int], clean: Mapping[str, Figures]
) -> tuple[tuple[Noise, ...], Sharpness]:
    """Dev figures under noise at every scale; at the scale of sharpness, training examples too."""

    done, total = itertools.count(), len(seeds) * len(settings.scales)

    def measure(scale: float) -> dict[str, Figures]:
        subject.report("measuring the student under noise", next(done), total, "measurements")
        sides = SIDES if scale == SHARPNESS_SCALE else ("dev",)
        return {side: subject.measured(side) for side in sides}

    found = under_noise(subject.student.model, settings.scales, seeds, measure)
    primary = subject.spec.primary
    points = [Noise(0.0, _finite(clean["dev"][primary]), None, _finite(clean["dev"]["loss"]), None, 1)]
    for scale, draws in found.items():
        metric, deviation = spread([draw["dev"][primary] for draw in draws])
        loss, loss_deviation = spread([draw["dev"]["loss"] for draw in draws])
        points.append(
            Noise(scale, _finite(metric), _finite(deviation), _finite(loss), _finite(loss_deviation), draws=len(draws))
        )
    rise = {
        side: spread([draw[side]["loss"] for draw in found[SHARPNESS_SCALE]])[0] - clean[side]["loss"] for side in SIDES
    }
    sharpness = Sharpness(SHARPNESS_SCALE, _finite(rise["train"]), _finite(rise["dev"]), draws=settings.draws)
    return tuple(points), sharpness


def curves_of(run_dir: Path, preset: Preset, primary: str) -> list[CurvePoint]:
    """The student's evaluations on dev, and on training examples if there are any, from the run's events."""
    stages = {stage.name for stage in preset.stage}
    points = []
    for event in read_events(run_dir, {"evaluation"}):
        side = "dev" if event.get("primary") is True else event.get("split")
        if event.get("model") != "student" or event.get("stage") not in stages or side not in SIDES:
            continue
        metrics, step = event.get("metrics"), event.get("step")
        if not isinstance(metrics, dict) or not isinstance(step, int):
            continue
        points.append(
            CurvePoint(event["stage"], step, side, _number(metrics.get(primary)), _number(event.get("label_loss")))
        )
    return points


def _training_seconds(run_dir: Path, preset: Preset) -> float | None:
    """Seconds of the student's own stages, from results.json."""
    own = {stage.name for stage in preset.stage}
    rows = (read_json(run_dir / RESULTS) or {}).get("stages")
    if not isinstance(rows, list):
        return None
    found = [_number(row.get("seconds")) for row in rows if isinstance(row, dict) and row.get("name") in own]
    known = [seconds for seconds in found if seconds is not None]
    return round(sum(known), 2) if known else None


def _sides(figures: Mapping[str, Figures], name: str) -> Sides:
    return Sides(*(_finite(figures[side][name]) for side in SIDES))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
