"""Identify the saved student of a run by its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.errors import RunError
from engine.record.files import cause, read_json
from engine.record.json_values import mapping, word
from engine.record.manifest import file_hash
from engine.record.paths import RESULTS, STUDENT

REPLACED = (
    "the student in student/ is not the one that results.json is about: its weights or its config have changed since"
)
"""What to tell the user where `student_replaced`."""
THIS_FOLDER = "path/to/this/folder"
"""What a model card calls the folder that it is in; on the hub, the repository's name stands in its place."""


def student_hash(run_dir: Path) -> str | None:
    """SHA-256 over the saved student's weights and config; None where there is no student.

    Raises RunError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for name in ("config.json", "model.safetensors"):
            digest.update(f"{name}\0{file_hash(run_dir / STUDENT / name)}\0".encode())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        sentence = f"cannot read the student: {cause(error)}"
        raise RunError(sentence, kind="unreadable-student", file=str(run_dir / STUDENT)) from error
    return digest.hexdigest()


def student_replaced(run_dir: Path) -> bool:
    """Whether student/ holds another student than the one that results.json is about; False where neither can tell.

    Reads the student's weights.
    """
    measured = word(mapping((read_json(run_dir / RESULTS) or {}).get("student")).get("content"))
    if measured is None:
        return False
    try:
        present = student_hash(run_dir)
    except RunError:
        return False
    return present is not None and present != measured
