"""Checkouts of commits, for benchmarks that compare two of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def checkout(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a new folder; returns the folder."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, check=True, input=archive)
    return folder
