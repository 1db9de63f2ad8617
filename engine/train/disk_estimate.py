"""The disk that a run takes, from the sizes of its models: an upper bound for its checkpoints, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.preset.schema import Train
from engine.record.checkpoints import most_bytes
from engine.train.settings import StageSettings

BYTES = 4
"""Of a parameter: weights are saved in single precision."""


@dataclass(frozen=True)
class DiskNeed:
    """Bytes: the most that checkpoints take while the run trains, and what it leaves."""

    checkpoints: int
    checkpoints_stay: bool
    student: int
    teacher: int
    """Of the fine-tuned teacher, in the cache or in the run; 0 where it is stored already, or not fine-tuned."""


def disk_need(
    train: Train, stages: Sequence[StageSettings], *, teacher: int, student: int, teacher_stored: bool
) -> DiskNeed:
    """The disk that a run needs; `teacher` and `student` are numbers of parameters.

    The student's last checkpoint stays while the baseline trains. See `checkpoints.most_bytes`.
    """
    most = 0
    for stage in stages:
        if stage.role == "teacher" and teacher_stored:
            continue
        size = BYTES * (teacher if stage.role == "teacher" else student)
        averaged = stage.consistency is not None and stage.consistency.target == "ema"
        beside = 1 if stage.role == "baseline" else 0
        taken = most_bytes(size, train.keep_checkpoints, averaged=averaged, best=stage.keep_best, beside=beside)
        most = max(most, taken)
    tunes = any(stage.role == "teacher" for stage in stages) and not teacher_stored
    return DiskNeed(most, train.keep_for_extending, BYTES * student, BYTES * teacher if tunes else 0)
