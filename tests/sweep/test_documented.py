"""The examples of docs/sweeps.md are sweeps."""

from __future__ import annotations

import re
from pathlib import Path

from engine.sweep.grid import cells
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep
from tests.conftest import REPOSITORY
from tests.sweep.sweeps import write


def test_the_example_of_the_documentation_is_a_sweep(folder: Path) -> None:
    text = (REPOSITORY / "docs" / "sweeps.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    file = read_sweep(write(folder, example[1]))
    assert file.name == "mrpc-study"
    grid = cells(file)
    assert len(grid) == (3 * 2 - 1) * 3 * 2 * 2 * 2 * 2
    assert {cell.coordinates["method"] for cell in grid} == {"finetune", "kd", "crild"}
    late = [cell for cell in grid if cell.coordinates["task"] == "rte"]
    assert all("train.epochs=10" in [text for text, _ in cell.settings] for cell in late)


def test_the_example_without_a_network_comes_to_four_runs(folder: Path) -> None:
    text = (REPOSITORY / "docs" / "sweeps.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[1]
    found = plan(read_sweep(write(folder, example, "pull.toml")))
    assert [tuple(run.cell.values()) for run in found.runs] == [
        ("quickstart", "toy-switch", "with", "1"), ("quickstart", "toy-switch", "without", "1"),
        ("quickstart", "toy-switch", "with", "2"), ("quickstart", "toy-switch", "without", "2"),
    ]  # fmt: skip
    assert [bool(run.preset.stage[0].consistency) for run in found.runs] == [True, False, True, False]
