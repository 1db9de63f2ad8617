"""A run that is stopped and resumed, of families whose parameters are shared or fused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.test_families import QUICK
from tests.train.tiny_run import make, materials, work


@pytest.mark.parametrize(
    "family",
    [
        "albert",
        "modernbert",
        pytest.param("mpnet", marks=pytest.mark.slow),
        pytest.param("deberta-v2", marks=pytest.mark.slow),
    ],
)
def test_stopped_and_resumed_a_family_ends_in_the_same_bytes(tmp_path: Path, family: str) -> None:
    """Shared layers, fused projections and biases that layers share are all in a checkpoint."""
    found = []
    for place in (None, ("ild", 3)):
        folder = tmp_path / str(place is None)
        run_dir = make(
            folder, materials(folder, family=family), *QUICK, "teacher.finetune.epochs=1", "stage.ild.epochs=2",
            "stage.ild.objectives={query = 1.0, hidden = 1.0}",
        )  # fmt: skip
        if place is not None:
            assert work(run_dir, stop_after=place) is None
        assert work(run_dir) is not None
        found.append((run_dir / "student" / "model.safetensors").read_bytes())
    assert found[0] == found[1]
