"""The tool `export` of an engine process: a model as ONNX, checked on dev and measured next to the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.data.batches import Batch, collate
from engine.data.load import load_task, source_name
from engine.data.tokens import TokenSet, tokenise
from engine.errors import CrildError, ModelError, RunError
from engine.evaluate.metrics import compute
from engine.evaluate.timing import Shape, measure
from engine.models.export import limited, parameters
from engine.models.families import positions
from engine.models.load import LoadedModel, load_classifier, load_teacher, load_with_tokenizer
from engine.models.onnx_export import write_half, write_int8, write_onnx
from engine.models.onnx_model import OnnxModel
from engine.models.transformers_logging import quiet
from engine.preset.kinds import WORD_LABELS
from engine.preset.load import load_preset, load_run_preset
from engine.preset.regular_file import read_regular
from engine.preset.schema import Teacher
from engine.preset.text import plain
from engine.record.export import CARD, EXPORT, FORMS, LARGEST_CARD, NEEDED, ExportFacts, check_installed
from engine.record.files import cause, flush, write_atomic, write_json
from engine.record.latency import Latency
from engine.record.phases import Report, unreported
from engine.record.removal import OpenFolder, remove_leftovers_of
from engine.train import hardware
from engine.train.bench import LENGTH, SECONDS, teacher_of
from engine.train.dev_evaluation import Dev, Logits
from engine.train.export_card import export_card
from engine.train.teacher import unnamed_classes
from engine.user.consent import NONE, Consent

CALIBRATION_ROWS, CALIBRATION_BATCH = 256, 16
CPU = torch.device("cpu")
WORK = "export"
"""Base of the name of the temporary folder beside what is exported."""
SAMPLE = (4, 24)
"""Random tokens on which an export is compared with its model where no task is named."""


def export(request: Mapping[str, Any], consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """Write a model in each of the wanted forms to a folder of its own, unless its metric on dev falls too far.

    `request` has `model` (a folder or hub id), `name`, `folders` by form (of `FORMS`), `tolerance` (points of 100 of the primary
    metric), and where they are known `preset` (a complete preset's path, for the task) and `run` (the run whose student it is,
    for its teacher). Returns `metric`, `rows` (of the original and of each form: metric on dev, bytes, largest difference of a
    logit, why it was refused), `latency` by the protocol in docs/latency.md, and `notes`. The model's own code runs only with
    `consent`.

    Raises ModelError for a model that cannot be exported, RunError when a folder cannot be written.
    """
    check_installed()
    hardware.set_threads(None)
    subject = _Subject.load(request, consent, report)
    models: dict[str, nn.Module] = {subject.name: subject.loaded.model}
    rows = [subject.row()]
    with _work(Path(next(iter(request["folders"].values()))).parent) as work:
        whole = work / "whole.onnx"
        report("exporting the model")
        write_onnx(subject.loaded.model, whole)
        for form, folder in request["folders"].items():
            row, model = _exported(subject, whole, form, Path(folder), float(request["tolerance"]), report)
            rows.append(row)
            models |= {} if model is None else {form: model}
    latency, notes = _latency(request, models, subject, consent, report)
    notes = [*subject.loaded.notes, *notes]
    return {"metric": subject.metric, "rows": rows, "latency": latency.to_dict(), "notes": notes}


@dataclass(frozen=True)
class _Subject:
    """The model to export, and what it is checked on: a dev set where a task is known, else random tokens."""

    name: str
    source: str
    """A folder or hub id."""
    loaded: LoadedModel
    bytes: int
    dev: Dev | None
    train: TokenSet | None
    report: Report

    @staticmethod
    def load(request: Mapping[str, Any], consent: Consent, report: Report) -> _Subject:
        """As the request says. Raises ModelError for a model that doesn't name the task's classes."""
        preset = None if request.get("preset") is None else load_preset([request["preset"]]).preset
        own_code = None if preset is None else preset.teacher.trust_remote_code
        source = Teacher(model=request["model"], trust_remote_code=own_code)
        name, folder = str(request["name"]), Path(request["model"])
        name = f"{name} (original)" if name in (*FORMS, "teacher") else name
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
        if preset is None:
            loaded = load_with_tokenizer(source, consent=consent, report=report)
            return _Subject(name, request["model"], loaded, size or _bytes(loaded), None, None, report)
        data = load_task(preset.task, report=report)
        loaded = load_teacher(source, data.spec, consent=consent, report=report)
        if not loaded.order_known:
            raise unnamed_classes(request["model"], data.spec)
        tokens = {
            split: tokenise(rows, loaded.tokenizer, preset.task.max_length, report=report, what=f"rows of {split}",
                            source=source_name(preset.task, split), by_word=data.spec.kind == WORD_LABELS)
            for split, rows in {"train": data.train, **data.dev}.items()
        }  # fmt: skip
        train = tokens.pop("train")
        dev = Dev(loaded.decides(data.spec), tokens, int(loaded.tokenizer.pad_token_id or 0), CPU)
        return _Subject(name, request["model"], loaded, size or _bytes(loaded), dev, train, report)

    @property
    def card(self) -> str | None:
        """The text of its model card; None where there is none, or none that can be read."""
        with suppress(OSError, ValueError):
            return read_regular(Path(self.source) / CARD, LARGEST_CARD).decode("utf-8")
        return None

    @property
    def metric(self) -> str | None:
        """The task's primary metric."""
        return None if self.dev is None else self.dev.spec.primary

    @cached_property
    def own(self) -> tuple[Logits, float | None]:
        """What the model answers, and its metric."""
        return self.answers(self.loaded.model, "model")

    def answers(self, model: nn.Module, name: str) -> tuple[Logits, float | None]:
        """The logits of a model on what it is checked on, and its metric on dev."""
        if self.dev is None:
            ids = torch.randint(
                0, int(self.loaded.model.config.vocab_size), SAMPLE, generator=torch.Generator().manual_seed(0)
            )
            with torch.inference_mode():
                return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float().numpy(), None
        logits = self.dev.logits(model, self.dev.primary, report=self.report, name=name)
        dev = self.dev
        figures = compute(dev.spec, logits, dev.labels(dev.primary), dev.groups(dev.primary))
        return logits, figures[dev.spec.primary]

    def row(self) -> dict[str, Any]:
        """The original's row of the table."""
        return {"name": self.name, "value": self.own[1], "bytes": self.bytes, "differ": None, "refused": None}

    def calibration(self) -> Iterator[Batch]:
        """Training rows, evenly drawn, whose activations have typical ranges. Raises ModelError where there are none."""
        if self.train is None or self.dev is None:
            sentence = "int8-static measures activations on training rows: name the task with --preset, or choose int8"
            raise ModelError(sentence, kind="no-calibration-rows", key="--quantize")
        count = min(CALIBRATION_ROWS, len(self.train))
        rows = np.linspace(0, len(self.train) - 1, count).astype(np.int64)
        for start in range(0, count, CALIBRATION_BATCH):
            yield collate(self.train, rows[start : start + CALIBRATION_BATCH], pad_id=self.dev.pad_id)


def _exported(
    subject: _Subject, whole: Path, form: str, folder: Path, tolerance: float, report: Report
) -> tuple[dict[str, Any], OnnxModel | None]:
    """Write a form to its folder, which appears whole or not at all; its row, and the model unless it was refused."""
    remove_leftovers_of(folder)
    with OpenFolder.at(folder.parent) as parent, parent.temporary_folder(folder.name) as new:
        report(f"writing {form}")
        path = new.path / "model.onnx"
        match form:
            case "int8":
                write_int8(whole, path)
            case "int8-static":
                write_int8(whole, path, subject.calibration())
            case "fp16":
                write_half(whole, path)
            case _:
                path.write_bytes(whole.read_bytes())
        _save_rest(subject.loaded, new.path)
        logits, value = subject.answers(OnnxModel(new.path), form)
        original, before = subject.own
        facts = ExportFacts(
            form, subject.name, parameters(subject.loaded.model), subject.metric, value, before,
            float(np.abs(logits - original).max()), {name: version(name) for name in ("torch", *NEEDED)},
        )  # fmt: skip
        refused = refusal(before, value, tolerance)
        row = {
            "name": form,
            "value": value,
            "bytes": path.stat().st_size,
            "differ": facts.logits_differ,
            "refused": refused,
        }
        if refused is not None:
            return row, None
        write_json(new.path / EXPORT, facts.to_dict())
        write_atomic(new.path / CARD, export_card(facts, subject.source, subject.card, path.stat().st_size))
        for file in new.path.iterdir():
            flush(file)
        parent.put(new, folder.name)
        parent.flush()
    return {**row, "folder": str(folder)}, OnnxModel(folder)


def refusal(before: float | None, value: float | None, tolerance: float) -> str | None:
    """Why an export is not written: its metric is more than `tolerance` points of 100 below the original's."""
    if before is None or value is None or value >= before - tolerance / 100:
        return None
    return f"{100 * (before - value):.2f} points below the original, more than --tolerance {tolerance:g}"


def _save_rest(loaded: LoadedModel, folder: Path) -> None:
    """Config and tokenizer, so that the folder is complete."""
    with quiet(), limited(loaded.tokenizer, positions(loaded.model.config)):
        loaded.model.config.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)


def _bytes(loaded: LoadedModel) -> int:
    return sum(tensor.nbytes for tensor in loaded.model.parameters())


@contextmanager
def _work(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`. Raises RunError for what the system refuses, there and in the folders of the forms."""
    try:
        remove_leftovers_of(parent / WORK)
        with OpenFolder.at(parent) as place, place.temporary_folder(WORK) as work:
            yield work.path
    except OSError as error:
        raise RunError(f"cannot write the export: {plain(cause(error))}", kind="cannot-write-export") from None


def _latency(
    request: Mapping[str, Any], models: Mapping[str, nn.Module], subject: _Subject, consent: Consent, report: Report
) -> tuple[Latency, list[str]]:
    """Teacher, if it can be had, model and forms side by side at batch 1, by one thread; and notes."""
    sides: dict[str, Any] = {}
    notes: list[str] = []
    if request.get("run") is not None:
        run_dir = Path(request["run"])
        try:
            source = teacher_of(run_dir, load_run_preset(run_dir).preset)
            sides["teacher"] = load_classifier(source, consent=consent, report=report)
            if source.others:
                notes.append("of its teachers the first one alone is timed")
        except CrildError as error:
            notes.append(f"the teacher is left out: {error}")
    limit = min(positions(model.config) for model in (*sides.values(), subject.loaded.model))
    length = min(
        limit, LENGTH if subject.dev is None else int(np.median(subject.dev.tokens[subject.dev.primary].lengths))
    )
    shape = Shape(1, max(1, length))
    return measure({**sides, **models}, [shape], device=CPU, threads=1, seconds=SECONDS, report=report), notes
