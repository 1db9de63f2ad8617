"""The study's sweeps come to runs that crild takes."""

from __future__ import annotations

import pytest

from engine.preset.shipped import folder
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep

SWEEPS = sorted(path.name for path in (folder() / "study").glob("*.toml") if "[sweep]" in path.read_text())


def test_there_are_sweeps() -> None:
    assert "few-sample.toml" in SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_every_cell_is_a_preset_that_differs_from_the_others(name: str) -> None:
    found = plan(read_sweep(folder() / "study" / name))
    assert len(found.runs) == len(found.axes["method"]) * len(found.axes["task"]) * len(found.axes["seed"])
    assert {run.preset.task.examples for run in found.runs} == {1000}
    assert {run.preset.student.layers for run in found.runs} == {3}
    lengths = {
        run.place["method"]: tuple(s.epochs or run.preset.train.epochs for s in run.preset.stage) for run in found.runs
    }
    assert {sum(epochs) for epochs in lengths.values()} == {18.0}
