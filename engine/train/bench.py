"""What `crild bench` runs in an engine process: load models of runs, folders and the hub, and measure their latency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from engine.errors import CrildError, ModelError, RunError
from engine.evaluate.timing import Shape, measure
from engine.models.export import parameters
from engine.models.families import positions
from engine.models.load import load_classifier
from engine.preset.load import load_run_preset
from engine.preset.schema import Preset, Teacher
from engine.preset.text import plain
from engine.record.files import read_json
from engine.record.latency import latency_of
from engine.record.paths import RESULTS, STUDENT
from engine.record.phases import Report, unreported
from engine.record.teacher_folder import teacher_folder
from engine.train import hardware
from engine.user.consent import NONE, Consent

LENGTH = 128
"""Tokens of an input where no run says better, unless a model reads fewer."""
SECONDS = 5.0
"""For each batch size and length."""


@dataclass(frozen=True)
class Subject:
    """A model to measure. If it is `optional`, a note takes its place where it cannot be loaded."""

    name: str
    source: Teacher
    optional: bool = False


def bench(request: Mapping[str, Any], consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """Latency of several models side by side, by the protocol in docs/latency.md.

    `request` has `targets`, each {"name", "run": a run directory} (which gives its teacher, if that is still there, and
    its student) or {"name", "model": a folder or hub id}; `batches`; `lengths` (none: that of the first run's own
    measurement, else `LENGTH`); `threads` and `device`. Models run code of their own only with `consent`.

    Raises ModelError for a model that cannot be loaded or doesn't read inputs of a length, RunError when memory runs out.
    """
    device = hardware.pick_device(request.get("device") or "auto")
    targets, batches = request["targets"], request["batches"]
    models: dict[str, PreTrainedModel] = {}
    notes: list[str] = []
    for subject in _distinct(targets, notes):
        try:
            models[subject.name] = load_classifier(subject.source, consent=consent, report=report)
        except ModelError as error:
            if not subject.optional:
                raise
            notes.append(f"{plain(subject.name)} is left out: {error}")
    lengths = request["lengths"] or [_length(targets, models)]
    _check_lengths(lengths, models)
    shapes = [Shape(batch, length) for length in lengths for batch in batches]
    try:
        on_device = {name: model.to(device) for name, model in models.items()}
        latency = measure(
            on_device, shapes, device=device, threads=int(request["threads"]), seconds=SECONDS, report=report
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        sentence = (
            f"{device} ran out of memory with {len(models)} models at batch {max(batches)} and {max(lengths)} tokens: "
            "choose a smaller --batch or --length, fewer models, or --device cpu"
        )
        raise RunError(sentence, kind="out-of-memory") from error
    facts = {
        name: {"layers": int(model.config.num_hidden_layers), "parameters": parameters(model)}
        for name, model in models.items()
    }
    return {"latency": latency.to_dict(), "models": facts, "notes": notes}


def _distinct(targets: Sequence[Mapping[str, str]], notes: list[str]) -> Iterator[Subject]:
    """The models of all targets, each once: seeds of one preset share their teacher. `notes` takes what is missing."""
    known: set[tuple[str, str | None]] = set()
    for target in targets:
        for subject in _subjects(target, notes):
            path = Path(subject.source.named)
            identity = (str(path.resolve()) if path.is_absolute() else str(path), subject.source.revision)
            if identity not in known:
                known.add(identity)
                yield subject


def _subjects(target: Mapping[str, str], notes: list[str]) -> Iterator[Subject]:
    name = target["name"]
    if "run" not in target:
        yield Subject(name, Teacher(model=target["model"]))
        return
    run_dir = Path(target["run"])
    preset = load_run_preset(run_dir).preset
    try:
        yield Subject(f"teacher of {name}", teacher_of(run_dir, preset), optional=True)
        if preset.teacher.others:
            notes.append(f"of the teachers of {plain(name)} the first one alone is measured")
    except CrildError as error:
        notes.append(f"the teacher of {plain(name)} is left out: {error}")
    own = Teacher(model=str(run_dir / STUDENT), trust_remote_code=preset.teacher.trust_remote_code)
    yield Subject(name, own)


def teacher_of(run_dir: Path, preset: Preset) -> Teacher:
    """The model that taught the student of a run. Raises ModelError when it was none, or the fine-tuned one is gone."""
    if preset.teacher.model is None:
        sentence = f"{plain(run_dir.name)} learnt from a file of answers, which cannot be run"
        raise ModelError(sentence, kind="teacher-of-answers")
    if preset.teacher.finetune is None:
        return preset.teacher
    return Teacher(model=str(teacher_folder(run_dir)), trust_remote_code=preset.teacher.trust_remote_code)


def _length(targets: Sequence[Mapping[str, str]], models: Mapping[str, PreTrainedModel]) -> int:
    """The length at which the first run that has one was measured, else `LENGTH`; never more than all models read."""
    limit = min((positions(model.config) for model in models.values()), default=LENGTH)
    for target in targets:
        known = latency_of(read_json(Path(target["run"]) / RESULTS) or {}) if "run" in target else None
        if known is not None and known.cases:
            return min(limit, known.cases[0].length)
    return min(limit, LENGTH)


def _check_lengths(lengths: Sequence[int], models: Mapping[str, PreTrainedModel]) -> None:
    """Raise ModelError for an input that one of the models can't read."""
    for name, model in models.items():
        if (limit := positions(model.config)) < (longest := max(lengths)):
            sentence = f"--length {longest}: {plain(name)} reads at most {limit} tokens"
            raise ModelError(sentence, kind="length-above-positions", key="--length")
