"""A folder for search files, a folder of runs, and no waiting between two looks at the runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine.sweep.execute
from tests.cli.conftest import crild
from tests.sweep.sweeps import clean

__all__ = ["crild"]


@pytest.fixture(autouse=True)
def optuna() -> None:
    pytest.importorskip("optuna", reason="needs the extra search: pip install -c constraints.txt optuna")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(engine.sweep.execute, "POLL", 0.0)
    monkeypatch.setattr(engine.sweep.execute, "light_environment", lambda _: {})  # it asks git
    monkeypatch.setattr(os, "fsync", lambda _: None)
    path = tmp_path / "runs"
    yield path
    clean(path)
