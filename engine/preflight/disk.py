"""The disk that runs take, estimated from the files of their teachers before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from engine.errors import ModelError
from engine.models.model_files import PICKLED, SAFETENSORS
from engine.preflight.model_facts import model_facts
from engine.preset.schema import Preset
from engine.record.checkpoints import most_bytes

BYTES = 4
"""Of a parameter: weights are saved in single precision."""


@dataclass(frozen=True)
class DiskEstimate:
    """Bytes: of the students that several runs leave, of those of their checkpoints that stay, and the most that the
    checkpoints of one run take while it trains. `unknown` counts the runs whose teacher's files are not at hand."""

    students: int
    kept_checkpoints: int
    checkpoints: int
    unknown: int


def disk_estimate(presets: Iterable[Preset]) -> DiskEstimate:
    """What these runs take; of runs whose teacher is trained from scratch, or not downloaded yet, nothing is known."""
    students = kept = most = unknown = 0
    for preset in presets:
        sizes = _sizes(preset)
        if sizes is None:
            unknown += 1
            continue
        teacher, student = sizes
        keep, train = preset.train.keep_checkpoints, preset.train
        averaged = any(stage.consistency and stage.consistency.target == "ema" for stage in preset.stage)
        best = any(stage.keep_best for stage in preset.stage)
        own = most_bytes(student, keep, averaged=averaged, best=best, beside=1 if preset.baseline.enabled else 0)
        tune = preset.teacher.finetune
        tuning = 0 if tune is None else most_bytes(teacher, keep, averaged=False, best=tune.keep_best)
        most = max(most, own, tuning)
        students += student
        kept += own if train.keep_for_extending else 0
    return DiskEstimate(students, kept, most, unknown)


def _sizes(preset: Preset) -> tuple[int, int] | None:
    """Bytes of the weights of teacher and student; the student has the teacher's embeddings and a share of its layers."""
    if preset.teacher.model in ("scratch", None):
        return None
    try:
        facts = model_facts(preset.teacher.model, preset.teacher.revision)
    except ModelError:
        return None
    teacher = 0 if facts is None else _weights(facts.folder)
    if facts is None or not teacher:
        return None
    if preset.student.init not in ("teacher", "pretrained"):
        return teacher, teacher
    listed = len(preset.student.keep) if isinstance(preset.student.keep, list) else None
    layers = preset.student.layers or listed or facts.layers // 2
    embeddings = min(teacher, BYTES * facts.vocab_size * facts.hidden_size)
    return teacher, embeddings + round((teacher - embeddings) * min(1.0, layers / facts.layers))


def _weights(folder: Path) -> int:
    """Bytes of a model's weights: the safetensors, else the pickled ones."""
    for patterns in (SAFETENSORS, PICKLED):
        try:
            files = [path for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in patterns)]
            size = sum(path.stat().st_size for path in files)
        except OSError:
            return 0
        if size:
            return size
    return 0
