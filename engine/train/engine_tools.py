"""Tools that run in an engine process and answer with JSON: evaluate a model, plan a run, inspect the machine."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from engine.data.batches import collate, epoch_batches
from engine.data.load import load_task, source_name
from engine.data.tokens import TokenSet, tokenise
from engine.data.types import TaskData
from engine.errors import CrildError
from engine.launch.devices import cores
from engine.models.export import parameters
from engine.models.load import load_teacher
from engine.models.vocabularies import needs_same_words
from engine.preset.kinds import WORD_LABELS
from engine.preset.load import load_preset
from engine.preset.schema import Finetune, Task, Teacher
from engine.preset.text import plain
from engine.record.inputs import TRAIN, known_inputs
from engine.record.phases import Report, unreported
from engine.record.student import REPLACED, student_replaced
from engine.train import hardware
from engine.train.dev_evaluation import Dev
from engine.train.disk_estimate import disk_need
from engine.train.inputs import changed_data
from engine.train.materials import (
    Materials,
    inputs_of_stages,
    load_materials,
    models_of,
    new_student,
    plan_stages,
    rows_of_stages,
)
from engine.train.missing_sources import missing_sources
from engine.train.optim import Optimiser
from engine.train.row_order import choices_of
from engine.train.run_findings import Reader, refuse, stage_findings
from engine.train.selection import chosen
from engine.train.settings import StageSettings
from engine.train.step import Counts, Models, StepLosses, bound_terms
from engine.train.step_metrics import peak_memory
from engine.train.teacher import StoredTeacher, cache_key, unnamed_classes
from engine.train.teacher_logits import can_cache
from engine.user.consent import NEVER, NONE, Consent
from engine.user.own_code import OwnCodeError

TIMED_STEPS = 3


def evaluate(request: dict[str, Any], consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """Metrics of a saved model on a task's dev sets.

    `request` has `preset` (a resolved preset's path, for the task), `model` (a folder or hub id) and `device`; `run` is the
    run whose student this is, if it is one's, and `own_task` whether the task is its own, too: notes say what has changed
    since it was trained. The model's own code runs only with `consent`.

    A model whose config doesn't name its classes has those of the preset's `teacher.labels`. Raises ModelError if there
    are none: to choose their order by the dev set that is measured would flatter the model.
    """
    preset = load_preset([request["preset"]]).preset
    hardware.set_threads(preset.train.threads)
    device = hardware.pick_device(request.get("device") or "auto")
    data = load_task(preset.task, report=report)
    source = Teacher(model=request["model"], trust_remote_code=preset.teacher.trust_remote_code)
    loaded = load_teacher(source, data.spec, consent=consent, report=report)
    if not loaded.order_known and preset.teacher.labels:
        named = source.model_copy(update={"labels": preset.teacher.labels})
        loaded = load_teacher(named, data.spec, consent=consent, report=report)
    if not loaded.order_known:
        raise unnamed_classes(request["model"], data.spec)
    length = preset.task.max_length
    dev = {
        split: tokenise(
            rows,
            loaded.tokenizer,
            length,
            by_word=data.spec.kind == WORD_LABELS,
            report=report,
            what=f"rows of {split}",
            source=source_name(preset.task, split),
        )
        for split, rows in data.measured.items()
    }
    sets = Dev(loaded.decides(data.spec), dev, int(loaded.tokenizer.pad_token_id or 0), device)
    model = loaded.model.to(device).eval()
    run_dir, own_data = request.get("run"), data if request.get("own_task") else None
    changed = [] if run_dir is None else _changed_since(Path(run_dir), preset.task, own_data)
    reader = Reader.of(request["model"], loaded, length)
    findings = [
        finding
        for split, tokens in dev.items()
        for finding in reader.findings(f"inputs of {split}", data.measured[split], tokens)
    ]
    refuse(findings)
    notes = [*changed, *loaded.notes, *(finding.sentence for finding in findings)]
    if loaded.multi_label and data.spec.kind != "multilabel":
        notes.append("the model was trained to answer each class on its own; its strongest class counts as its answer")
    return {
        "model": request["model"],
        "task": data.spec.name,
        "metric": data.spec.primary,
        "splits": {
            split: {"metrics": sets.metrics(model, split, report=report), "examples": len(dev[split])} for split in dev
        },
        "parameters": parameters(model),
        "notes": notes,
    }


def _changed_since(run_dir: Path, task: Task, data: TaskData | None) -> list[str]:
    """What is not as it was when a run was trained and measured, in sentences; `data` is None for another task's."""
    changes = () if data is None else changed_data(known_inputs(run_dir), task, data)
    sentences = [
        f"{change} has changed since this run was trained: these figures are not comparable with its results"
        for change in changes
        if change.name != TRAIN
    ]
    return [REPLACED, *sentences] if student_replaced(run_dir) else sentences


def plan(path: Path, consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """What a run of this preset would do, with time and memory measured on a few real steps of each stage.

    Writes nothing but the token cache. Whatever is unavailable (an unreachable hub, a missing file) or refused is listed
    under `missing`, and the rest is left out. `findings` are notes and warnings about data and models. A model's own code
    never runs: `consent` only decides whether it is missing.
    """
    preset = load_preset([str(path)]).preset
    threads = hardware.set_threads(preset.train.threads)
    try:
        accelerator = hardware.make_accelerator(preset.train)
        materials = load_materials(preset, accelerator, NEVER, report=report)
        own = rows_of_stages(materials, copies=False, report=report)
        inputs = inputs_of_stages(materials, own, report=report)
    except OwnCodeError as error:
        return _plan_with_own_code(error, consent)
    except CrildError as error:
        return _incomplete(missing_sources(preset, report=report) or [str(error)])
    answers = () if materials.answers is None else materials.answers.notes
    notes = [*materials.data.notes, *answers, *materials.loaded.notes]
    findings = (*materials.findings, *own.findings, *stage_findings(materials.reader, own.rows, inputs))
    others = [finding.to_dict() for finding in findings if finding.severity != "refusal"]
    if refusals := [finding.sentence for finding in findings if finding.severity == "refusal"]:
        return {"stages": [], "teacher": None, "missing": refusals, "notes": notes, "findings": others}
    stages = plan_stages(preset, materials.data, inputs)
    teacher = None if materials.teacher is None else materials.teacher.to(materials.device)
    try:
        student = new_student(materials, teacher)
    except OwnCodeError as error:  # of student.init
        return _plan_with_own_code(error, consent)
    except CrildError as error:
        return _incomplete(missing_sources(preset, report=report) or [str(error)])
    facts = _teacher_facts(materials, preset.teacher.finetune, stages[0].class_weights)
    rows = []
    for settings in stages:
        of_teacher = settings.role == "teacher"
        tokens = materials.teacher_texts.train if of_teacher else inputs.get(settings.name, materials.train)
        models = Models(materials.loaded.model) if of_teacher else models_of(
            settings, student, teacher if settings.role == "student" else None, materials.device
        )  # fmt: skip
        stored = of_teacher and facts["cached"]
        steps = 0 if stored else settings.total_steps(tokens.per_epoch)
        report(f"timing steps of stage {settings.name}")
        rows.append(
            {
                "name": settings.name,
                "steps": steps,
                "examples": len(tokens),
                "epochs": round(steps / settings.steps_per_epoch(tokens.per_epoch), 3),
                "evaluations": -(-steps // settings.evaluation_interval(tokens.per_epoch)),
                "seconds": round(steps * time_steps(settings, models, tokens, materials), 1) if steps else 0.0,
            }
        )
    need = disk_need(
        preset.train,
        stages,
        teacher=facts["parameters"] or 0,
        student=parameters(student),
        teacher_stored=facts["cached"],
    )
    return {
        "stages": rows,
        "teacher": facts,
        "disk": asdict(need),
        "student": {"parameters": parameters(student), "layers": int(student.config.num_hidden_layers)},
        "device": str(materials.device),
        "precision": materials.precision,
        "threads": threads,
        "memory_bytes": peak_memory(materials.device),
        "vocabulary": _vocabulary_facts(materials),
        "missing": [],
        "notes": notes,
        "findings": others,
    }


def _vocabulary_facts(materials: Materials) -> dict[str, Any]:
    """Digests of the words that the teacher and the student read, with their numbers (None for a teacher that is a file of
    answers), and why they must be equal, None where they needn't."""
    teacher = None if materials.answers is not None else _digest(materials.loaded.tokenizer.get_vocab())
    shared = None if teacher is None else needs_same_words(materials.preset.stage, materials.data.spec.kind)
    return {"teacher": teacher, "student": _digest(materials.tokenizer.get_vocab()), "shared": shared}


def _digest(vocabulary: Mapping[str, int]) -> str:
    return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()


def _incomplete(missing: list[str]) -> dict[str, Any]:
    """The plan of a run that lacks something."""
    return {"stages": [], "teacher": None, "missing": missing, "notes": [], "findings": []}


def _plan_with_own_code(error: OwnCodeError, consent: Consent) -> dict[str, Any]:
    """What can be said of a run whose model only its own code can load."""
    unchecked = (
        "a dry run never runs a model's own code, so these are not checked: whether the models load, how many steps the "
        "stages take, time and memory"
    )
    missing, notes = [str(error)], [unchecked]
    if error.consented(consent):
        missing, notes = (
            [],
            [f"a run would execute the code that comes with {plain(error.model)}, as you consented", unchecked],
        )
    return {"stages": [], "teacher": None, "missing": missing, "notes": notes, "findings": []}


def _teacher_facts(materials: Materials, tune: Finetune | None, class_weights: Sequence[float]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": materials.preset.teacher.model,
        "others": [other.source for other in materials.others],
        "answers": None if materials.answers is None else materials.answers.source,
        "parameters": None if materials.teacher is None else parameters(materials.teacher),
        "finetune": tune is not None,
        "cached": False,
    }
    if tune is not None:
        texts = materials.teacher_texts
        key = cache_key(
            materials.teacher_hash, tune, texts.train, texts.dev.tokens[texts.dev.primary], materials.data.spec, materials.precision, class_weights,
            materials.preset.train.evaluate_precision,
        )  # fmt: skip
        facts["cached"] = StoredTeacher.cached(key).exists()
    return facts


def time_steps(settings: StageSettings, models: Models, tokens: TokenSet, materials: Materials) -> float:
    """Seconds per optimiser step, measured on a few real steps at learning rate 0.

    The warm-up step before them is on the longest batch: it needs the most memory.
    """
    settings = replace(settings, learning_rate=0.0)
    models.student.requires_grad_(True).train()
    cached = None
    if "logits" in settings.stage.terms() if models.teacher is None else can_cache(settings):
        cached = torch.zeros(len(tokens), materials.data.spec.outputs, device=materials.device)
    losses = StepLosses(
        settings,
        models,
        bound_terms(settings, models.student, models.teacher),
        autocast=materials.accelerator.autocast,
        teacher_logits=cached,
        words=materials.words_for(settings),
    )
    optimiser = Optimiser([models.student, models.projections], peak=0.0, weight_decay=0.0, clip=settings.clip)
    batches = epoch_batches(tokens.lengths, settings.batch_size, [0])
    longest = max(batches, key=lambda rows: int(tokens.lengths[rows].max()))
    choices = choices_of(settings, tokens.lengths, 0, tokens.candidates) if tokens.candidates else []
    times = []
    for number, rows in enumerate((longest, *batches[:TIMED_STEPS])):
        began = time.perf_counter()
        for choice in choices[number : number + 1]:
            chosen(choice, losses, tokens, device=materials.device, pad_id=materials.pad_id)
        lam = 0.7 if settings.mixup else None
        pad_to = settings.pad_to
        counts = Counts.of(
            tokens.lengths[rows], answers=tokens.answer_count(rows), mixed=lam is not None, pad_to=pad_to
        )
        pad_id = materials.teacher_texts.dev.pad_id if settings.role == "teacher" else materials.pad_id
        batch = collate(tokens, rows, pad_id=pad_id, pad_to=pad_to)
        for part in batch.mirrored_parts(settings.accumulate, trim=pad_to is None):
            torch.autograd.backward(losses(part.to(materials.device), counts, lam, 0.1).total)
        optimiser.step(0.0)
        if materials.device.type == "cuda":
            torch.cuda.synchronize(materials.device)
        times.append(time.perf_counter() - began)
    losses.remove()
    models.student.eval()
    return float(np.median(times[1:]))


def doctor() -> dict[str, Any]:
    """What this machine has: versions, devices, precision, threads, memory."""
    facts: dict[str, Any] = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": psutil.virtual_memory().available,
        "devices": [],
        "packages": hardware.versions(),
    }
    for name in hardware.devices():
        device = torch.device(name)
        entry: dict[str, Any] = {"device": name, "bf16": hardware.has_bf16(device)}
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            entry |= {"name": torch.cuda.get_device_name(device), "memory_bytes": total, "memory_free_bytes": free}
        facts["devices"].append(entry)
    return facts
