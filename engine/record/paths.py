"""Paths: run directories, caches, and the names of files in a run directory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.errors import UsageError
from engine.record.home import has_home, temporary_home

PRESET = "preset.toml"
STATUS = "status.json"
ENVIRONMENT = "environment.json"
ANNOTATIONS = "annotations.json"
RESULTS = "results.json"
LOCK = "lock"
REQUEST = "request.json"
"""What another host asks the engine to do (see `engine.record.remote_request`)."""
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
TEACHER = "teacher"
STUDENT = "student"
TRASH = ".trash"
"""Folder inside a runs directory for runs that the dashboard deletes."""
QUEUES = ".queue"
"""Folder of the records of queues (`crild run --seeds`) inside a runs directory."""
SWEEPS = ".sweep"
"""Folder of sweep records inside a runs directory."""
JOBS = ".slurm"
"""Folder of the scripts and logs of SLURM jobs inside a runs directory."""

_ATTEMPT_FILE = re.compile(r"(events|log)\.([1-9][0-9]{0,8})\.(jsonl|txt)")


def runs_dir(option: str | Path | None = None) -> Path:
    """The absolute folder of run directories: `option` (as `--runs-dir`), else `$CRILD_RUNS_DIR`, else `./runs`.

    Raises UsageError when that cannot be a path.
    """
    return user_path(str(option) if option else os.environ.get("CRILD_RUNS_DIR") or "runs", "the folder of runs")


def cache_dir() -> Path:
    """The absolute folder of crild's caches: `$CRILD_CACHE_DIR`, else `crild` in the user's cache folder.

    Raises UsageError when that cannot be a path, or when there is no home folder and no temporary one.
    """
    chosen = os.environ.get("CRILD_CACHE_DIR")
    if chosen:
        return user_path(chosen, "CRILD_CACHE_DIR")
    if not os.environ.get("XDG_CACHE_HOME") and not has_home():
        return temporary_home() / ".cache" / "crild"
    import platformdirs

    return Path(platformdirs.user_cache_dir("crild", appauthor=False)).absolute()


def user_path(chosen: str, what: str) -> Path:
    """A path that the user wrote, absolute and with `~` expanded; messages call it `what`.

    Raises UsageError when it is not a valid path.
    """
    if "\0" in chosen:
        raise UsageError(f"{what} cannot be {chosen!r}: it is not a path", kind="invalid-path")
    try:
        path = Path(chosen).expanduser().absolute()
        str(path).encode()
    except RuntimeError:
        raise UsageError(f"{what} cannot be {chosen!r}: there is no such user", kind="unknown-user-in-path") from None
    except UnicodeEncodeError:  # the libraries that read and write tensors accept no other names
        raise UsageError(f"{what} cannot be {str(path)!r}: its name is not UTF-8 text", kind="path-not-utf8") from None
    return path


def queue_file(runs_dir: Path, queue: str) -> Path:
    """The record of a queue."""
    return runs_dir / QUEUES / f"{queue}.json"


def events_file(run_dir: Path, attempt: int) -> Path:
    """The event file of an attempt (counted from 1)."""
    return run_dir / f"events.{attempt}.jsonl"


def log_file(run_dir: Path, attempt: int) -> Path:
    """The output of the engine process of an attempt (counted from 1)."""
    return run_dir / f"log.{attempt}.txt"


def _numbered(run_dir: Path, kind: str) -> dict[int, Path]:
    try:
        names = os.listdir(run_dir)  # noqa: PTH208 - called for every poll; a Path for each name would double its cost
    except OSError:
        return {}
    found = {}
    for name in names:
        match = _ATTEMPT_FILE.fullmatch(name)
        if match and match[1] == kind:
            found[int(match[2])] = run_dir / name
    return dict(sorted(found.items()))


def texts_file(run_dir: Path, split: str | None = None) -> Path:
    """The texts of the primary dev set, or of a further one, by the ids that predictions have."""
    return run_dir / f"texts{'' if split is None else f'.{split}'}.jsonl"


def event_files(run_dir: Path) -> dict[int, Path]:
    """Event files by attempt, in order; empty when there are none or the folder cannot be read."""
    return _numbered(run_dir, "events")


def log_files(run_dir: Path) -> dict[int, Path]:
    """Log files by attempt, in order; empty when there are none or the folder cannot be read."""
    return _numbered(run_dir, "log")
