"""The study's sweeps come to runs that crild takes."""

from __future__ import annotations

import math

import pytest

from engine.preset.shipped import folder
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep

SWEEPS = sorted(path.name for path in (folder() / "study").glob("*.toml") if "[sweep]" in path.read_text())


def test_there_are_sweeps() -> None:
    assert "few-sample.toml" in SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_every_cell_is_a_preset_and_methods_of_one_setting_train_as_long(name: str) -> None:
    found = plan(read_sweep(folder() / "study" / name))
    assert len(found.runs) == math.prod(map(len, found.axes.values()))
    assert {run.preset.student.layers for run in found.runs} == {2 if name == "toy.toml" else 3}
    lengths: dict[tuple[object, float], set[float]] = {}
    for run in found.runs:
        epochs = sum(stage.epochs or run.preset.train.epochs for stage in run.preset.stage)
        lengths.setdefault((run.preset.task.examples, run.preset.task.label_noise), set()).add(epochs)
    all_examples = {3.0} if name == "toy.toml" else {9.0}
    wanted: dict[tuple[object, float], set[float]] = {
        (1000, 0.0): {18.0},
        (1000, 0.3): {18.0},
        (None, 0.0): all_examples,
    }
    assert lengths == {setting: wanted[setting] for setting in lengths}
