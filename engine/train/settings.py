"""The settings of one stage, with all defaults filled in: pure functions of the preset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

from engine.preset.kinds import Kind
from engine.preset.names import HEAD_OBJECTIVES
from engine.preset.schema import Consistency, Mixup, Preset, Stage

_T = TypeVar("_T")
Role = Literal["teacher", "student", "baseline"]
_LABELS_ALONE = Stage(name="labels", objectives={"labels": 1.0})


@dataclass(frozen=True)
class StageSettings:
    """One call of the loop: which model is trained on which data, with which objectives, for how long."""

    name: str
    role: Role
    seed: int
    kind: Kind
    """Of the task."""
    stage: Stage
    """Data, objectives, layer map."""
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    clip: float
    accumulate: int
    evaluate: Literal["epoch"] | int
    keep_best: bool
    schedule: Literal["linear", "constant"] = "linear"
    epochs: float | None = None
    fixed_steps: int | None = None
    patience: int | None = None
    temperature: float = 1.0
    mixup: Mixup | None = None
    consistency: Consistency | None = None
    class_weights: tuple[float, ...] = ()
    """Of the labels objective, in the order of the classes; empty where every class counts alike."""
    gradient_checkpointing: bool = False
    """Layers of the model in training keep their inputs alone, and run again in the backward pass."""
    pad_to: int | None = None
    """Length that every batch is padded to, if padding counts (`Stage.padding`)."""

    @property
    def trains_head(self) -> bool:
        """Whether any objective trains the classifier; otherwise the task's metric is meaningless."""
        return bool(HEAD_OBJECTIVES & self.stage.terms().keys())

    def steps_per_epoch(self, examples: int) -> int:
        """Optimiser steps in one pass over `examples`, including the last, partial batch."""
        return math.ceil(examples / self.batch_size)

    def total_steps(self, examples: int) -> int:
        """Optimiser steps of the stage."""
        if self.fixed_steps is not None:
            return self.fixed_steps
        return max(1, round((self.epochs or 0.0) * self.steps_per_epoch(examples)))

    def evaluation_interval(self, examples: int) -> int:
        """Steps between evaluations."""
        return self.steps_per_epoch(examples) if self.evaluate == "epoch" else self.evaluate


def student_stage(preset: Preset, stage: Stage, *, kind: Kind) -> StageSettings:
    """The settings of one of the preset's own stages."""
    train = preset.train

    def own(value: _T | None, default: _T) -> _T:
        return default if value is None else value

    return StageSettings(
        name=stage.name,
        role="student",
        seed=preset.seed,
        kind=kind,
        stage=stage,
        mixup=stage.mixup or None,
        consistency=stage.consistency or None,
        temperature=own(stage.temperature, train.temperature),
        epochs=None if stage.steps is not None else own(stage.epochs, train.epochs),
        fixed_steps=stage.steps,
        batch_size=own(stage.batch_size, train.batch_size),
        learning_rate=own(stage.learning_rate, train.learning_rate),
        weight_decay=own(stage.weight_decay, train.weight_decay),
        warmup=own(stage.warmup, train.warmup),
        schedule=own(stage.schedule, train.schedule),
        clip=own(stage.clip, train.clip),
        accumulate=own(stage.accumulate, train.accumulate),
        evaluate=own(stage.evaluate, train.evaluate),
        keep_best=stage.keep_best,
        patience=stage.patience,
        pad_to=preset.task.max_length if stage.padding else None,
        gradient_checkpointing=train.gradient_checkpointing,
    )


def teacher_stage(preset: Preset, *, kind: Kind) -> StageSettings | None:
    """The teacher's fine-tuning, or None for a teacher that is used as it is."""
    tune = preset.teacher.finetune
    if tune is None:
        return None
    return StageSettings(
        name="teacher",
        role="teacher",
        seed=tune.seed,
        kind=kind,
        stage=_LABELS_ALONE,
        epochs=tune.epochs,
        batch_size=tune.batch_size,
        learning_rate=tune.learning_rate,
        weight_decay=tune.weight_decay,
        warmup=tune.warmup,
        clip=tune.clip,
        accumulate=preset.train.accumulate,
        evaluate=tune.evaluate,
        keep_best=tune.keep_best,
        patience=tune.patience,
        gradient_checkpointing=preset.train.gradient_checkpointing,
    )


def baseline_stage(preset: Preset, steps: int, *, kind: Kind) -> StageSettings | None:
    """The same student trained on labels alone for `steps` steps, or None if the preset has no baseline."""
    if not preset.baseline.enabled:
        return None
    last = student_stage(preset, preset.stage[-1], kind=kind)
    return StageSettings(
        name="baseline",
        role="baseline",
        seed=preset.seed,
        kind=kind,
        stage=_LABELS_ALONE,
        fixed_steps=steps,
        batch_size=preset.baseline.batch_size or last.batch_size,
        learning_rate=preset.baseline.learning_rate or last.learning_rate,
        weight_decay=last.weight_decay,
        warmup=last.warmup,
        clip=last.clip,
        accumulate=preset.train.accumulate,
        evaluate=last.evaluate,
        keep_best=last.keep_best,
        gradient_checkpointing=last.gradient_checkpointing,
    )
