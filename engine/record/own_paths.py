"""Refuse to write what a user asked for over crild's own files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from engine.errors import UsageError
from engine.record.inventory import CACHE_FOLDERS, is_recorded_run, is_run_path
from engine.record.paths import QUEUES, SWEEPS, cache_dir
from engine.record.removal import OpenFolder


def refuse_own_path(path: Path, *, key: str | None = None) -> None:
    """Raise UsageError when a path is that of a file of crild's, whether it exists or not.

    These are the files of run directories, the records of sweeps and queues, and what the cache holds. A user's own file
    may be written into a run directory. Links in the path are followed. `key` is the option that names the path.
    """
    for candidate in _candidates(path):
        for folder in candidate.parents:
            if is_run_path(candidate.relative_to(folder).as_posix()) and _is_run(folder):
                sentence = f"this is a file of the run {folder.name}, which crild reads: choose another file"
                raise UsageError(sentence, kind="output-is-file-of-run", file=str(path), key=key)
        if candidate.parent.name in (SWEEPS, QUEUES):
            sentence = "this folder holds crild's records of sweeps and queues: choose another one"
            raise UsageError(sentence, kind="output-among-records", file=str(path), key=key)
        if _is_cached(candidate):
            sentence = "this folder is part of crild's cache: choose another one"
            raise UsageError(sentence, kind="output-in-cache", file=str(path), key=key)


def _candidates(path: Path) -> Iterator[Path]:
    """The name that would be replaced, and, if that is a link, what it leads to."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # nothing that could be written
        path = path.expanduser().absolute()
        yield path.parent.resolve() / path.name
        yield path.resolve()


def _is_run(folder: Path) -> bool:
    with contextlib.suppress(OSError), OpenFolder.at(folder) as run:
        return is_recorded_run(run)
    return False


def _is_cached(path: Path) -> bool:
    with contextlib.suppress(OSError, RuntimeError, UsageError):
        cache = cache_dir().resolve()
        return path.is_relative_to(cache) and path.relative_to(cache).parts[:1] in [(name,) for name in CACHE_FOLDERS]
    return False
