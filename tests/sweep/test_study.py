"""The study's sweeps come to runs that crild takes."""

from __future__ import annotations

import math
import operator

import pytest

from engine.preset.schema import Corpus, OtherTask, Stage
from engine.preset.shipped import folder
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep

SIZES = {"mrpc": 3668, "rte": 2490, "cola": 8551, "toy-entailment": 1}
"""Training examples; of the toy task only their ratio matters."""
LONG = ("long-mrpc", "inputs-mrpc", "why-mrpc", "long-gpu", "long-sst2", "why-long-sst2")
FEW_EPOCHS = {"few-sample-mrpc.toml": 9.0} | {f"{name}.toml": 14.0 for name in LONG}
"""Epochs over a few examples, all stages of the student together, where they are not 18."""
ALL_EPOCHS = {"toy.toml": 3.0, "full-mrpc.toml": 14.0}
"""The same over all examples, where they are not 9."""
RECIPE = "recipe"
"""A method that brings its own epochs."""
SWEEPS = sorted(path.name for path in (folder() / "study").glob("*.toml") if "[sweep]" in path.read_text())


def test_there_are_sweeps() -> None:
    assert "few-sample.toml" in SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_every_cell_is_a_preset_and_methods_of_one_setting_see_as_many_inputs(name: str) -> None:
    found = plan(read_sweep(folder() / "study" / name))
    assert len(found.runs) == math.prod(map(len, found.axes.values()))
    assert {run.preset.student.layers for run in found.runs} == {2 if name == "toy.toml" else 3}
    seen: dict[int | None, set[float]] = {}
    for run in found.runs:
        if run.cell.get("method") == RECIPE:
            continue
        preset, few = run.preset, run.preset.task.examples
        epochs = [stage.epochs or preset.train.epochs for stage in preset.stage]
        own = few or SIZES[preset.task.name]
        sizes = [_inputs(stage) or own for stage in preset.stage]
        seen.setdefault(few, set()).add(sum(map(operator.mul, epochs, sizes)) / own)
    assert seen == {few: {FEW_EPOCHS.get(name, 18.0) if few else ALL_EPOCHS.get(name, 9.0)} for few in seen}


def _inputs(stage: Stage) -> int | None:
    """How many inputs a stage draws that reads others than the task's."""
    match stage.data:
        case OtherTask(task=task):
            return task.examples
        case Corpus(examples=examples):
            return examples
        case _:
            return None
