"""What a user names where a command takes a run or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from engine.preset.paths import normal
from engine.preset.source_names import is_path
from engine.record.paths import STUDENT, user_path
from engine.record.run import find_run


@dataclass(frozen=True)
class ModelReference:
    """A model: an absolute folder or a hub id; and the run whose student it is, if it is one's."""

    model: str
    run_dir: Path | None


def model_reference(ref: str, runs_dir: Path) -> ModelReference:
    """The model that `ref` means: the student of a run, else a folder, else a hub id.

    Raises UsageError for a run without a student, for the beginning of several runs' ids, and for a folder that isn't there.
    """
    try:
        run_dir = find_run(ref, runs_dir)
    except UsageError as error:
        if not is_path(ref, Path()):
            if error.kind == "ambiguous-run":
                raise
            return ModelReference(ref, None)
        folder = normal(user_path(ref, "a model"))
        if not folder.is_dir():
            sentence = f"{ref!r} is neither a run nor the folder of a model; `crild runs` lists the runs"
            raise UsageError(sentence, kind="no-such-model") from None
        return ModelReference(str(folder), None)
    return ModelReference(str(student_of(run_dir)), run_dir)


def student_of(run_dir: Path) -> Path:
    """The folder of a run's student. Raises UsageError for a run without one."""
    if not (run_dir / STUDENT).is_dir():
        raise UsageError(f"{run_dir.name} has no student yet: only finished runs have one", kind="no-student")
    return run_dir / STUDENT
