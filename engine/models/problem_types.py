"""Whether the outputs of a model mean what a task needs, by `problem_type` of its config. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

from engine.preset.text import plain

MULTI_LABEL = "multi_label_classification"


def multi_label_teacher(
    model: str, problem_type: object, *, finetuned: bool, objectives: Collection[str]
) -> str | None:
    """Why the answers of a teacher cannot be distilled: it was trained to answer each class on its own; None if they can.

    The objective `logits` compares softmax distributions, one choice among all classes. Fine-tuning on the task
    trains the teacher for that choice.
    """
    if problem_type != MULTI_LABEL or finetuned or "logits" not in objectives:
        return None
    return (
        f"the teacher {plain(model)} was trained to answer each class on its own (problem_type = {MULTI_LABEL}), but the "
        "objective logits compares one choice among all classes: add [teacher.finetune] to train it for that, or, if it "
        'does choose one class, set problem_type in its config.json to "single_label_classification"'
    )
