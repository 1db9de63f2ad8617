"""Records of what a run read."""

from __future__ import annotations

from engine.record.inputs import InputModel, InputRows, RunInputs


def inputs(
    *, train: str = "c", dev: str = "d", rows: int = 32, teacher: str = "a", tokenizer: str = "b", init: str = ""
) -> RunInputs:
    """A run's inputs; letters stand for contents. `rows` are those of dev; with `init` there is a `student.init`."""
    return RunInputs(
        InputRows("/data/train.csv", 96, train * 64),
        {"dev": InputRows("/data/dev.csv", rows, dev * 64)},
        InputModel("/models/teacher", teacher * 64, tokenizer * 64),
        InputModel("/models/small", init * 64, tokenizer * 64) if init else None,
    )
