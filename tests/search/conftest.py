"""A folder for search files, a folder of runs, and no waiting between two looks at the runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import engine.sweep.execute
from tests.sweep.sweeps import clean

pytest.importorskip("optuna", reason="needs the extra search: pip install -c constraints.txt optuna")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(engine.sweep.execute, "POLL", 0.0)
    path = tmp_path / "runs"
    yield path
    clean(path)
