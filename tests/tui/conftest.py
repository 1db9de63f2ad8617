"""Fixtures of the dashboard's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough to stand in a line whole (that of `tmp_path` grows with parallel tests)."""
    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        yield Path(folder)
