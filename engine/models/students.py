"""Students: some layers of another model, or a small model of their own."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec
from engine.preset import schema


def make_student(
    student: schema.Student,
    teacher: schema.Teacher,
    teacher_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    *,
    seed: int,
) -> PreTrainedModel:
    """The student of a preset, on the CPU, in fp32; the same bytes for the same seed. Loads what `init` names itself."""
    raise NotImplementedError
