"""The example of docs/sweeps.md is a sweep."""

from __future__ import annotations

import re
from pathlib import Path

from engine.sweep.grid import cells
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
    assert {cell.place["method"] for cell in grid} == {"finetune", "kd", "crild"}
    late = [cell for cell in grid if cell.place["task"] == "rte"]
    assert all("train.epochs=10" in [text for text, _ in cell.settings] for cell in late)
