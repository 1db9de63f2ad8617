"""The API called in this process, with an engine that computes nothing."""

from __future__ import annotations

import pytest

from tests.cli.conftest import crild as command
from tests.cli.conftest import fake_engine, preset, runs_dir

__all__ = ["command", "fake_engine", "preset", "runs_dir"]


@pytest.fixture(autouse=True)
def no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is printed as plain lines."""
    monkeypatch.setenv("TERM", "dumb")
