"""Whether a model has outputs for a task, and whether they mean what the task needs, by `problem_type` of its config. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

from engine.preset.kinds import KINDS, Kind
from engine.preset.text import plain

KNOWS_TASK = (
    "name a model that was trained on the task, or a file of a teacher's answers (teacher.answers); where the training rows have "
    "labels, a [teacher.finetune] table lets this one learn the task"
)
"""What there is to do about a teacher that doesn't know the task."""
MULTI_LABEL = KINDS["multilabel"].problem_type
_SINGLE_LABEL = KINDS["classification"].problem_type


def teacher_without_head(model: str, task: str) -> str:
    """The sentence about a teacher without a head for the task, of which it is not going to learn one."""
    return f"the teacher {plain(model)} has no classification head for {plain(task)}, so that it knows no classes: {KNOWS_TASK}"


def teacher_of_other_kind(
    model: str, problem_type: object, *, kind: Kind | None, finetuned: bool, objectives: Collection[str]
) -> tuple[str, str] | None:
    """Why the answers of a teacher cannot be distilled, and the kind of error; None if they can.

    The objective `logits` compares softmax distributions, one choice among all classes, or, of a task with several labels
    for a text, the answers to each label on its own. Fine-tuning on the task trains the teacher for its kind. `kind` is
    None where it is not known yet.
    """
    if finetuned or "logits" not in objectives:
        return None
    if problem_type == MULTI_LABEL and kind != "multilabel":
        return (
            f"the teacher {plain(model)} was trained to answer each class on its own (problem_type = {MULTI_LABEL}), but the "
            "objective logits compares one choice among all classes: add [teacher.finetune] to train it for that, set "
            'task.kind = "multilabel" if a text can have several labels, or, if the teacher does choose one class, set '
            f'problem_type in its config.json to "{_SINGLE_LABEL}"'
        ), "multi-label-teacher"
    if problem_type == _SINGLE_LABEL and kind == "multilabel":
        return (
            f"the teacher {plain(model)} was trained to choose one class (problem_type = {_SINGLE_LABEL}), but a text of this "
            "task can have several labels: add [teacher.finetune] to train it for that, or, if it does answer each label on "
            f'its own, set problem_type in its config.json to "{MULTI_LABEL}"'
        ), "single-label-teacher"
    return None
