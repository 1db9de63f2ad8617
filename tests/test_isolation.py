"""No test reads or writes what belongs to the user, not even in fixtures that a whole module shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folders() -> dict[str, str]:
    """What a shared fixture finds in the environment, before the test has folders of its own."""
    return {name: os.environ[name] for name in ("HOME", "CRILD_CACHE_DIR", "CRILD_RUNS_DIR", "HF_HOME")}


def test_shared_fixtures_have_folders_of_their_own(
    folders: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    for folder in folders.values():
        assert base in Path(folder).parents
        assert tmp_path not in Path(folder).parents
