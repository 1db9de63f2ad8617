"""What crild writes into a runs folder, a run and the cache, by name and record: only that can be deleted.

`Removable` is something to delete; it is checked again when it is deleted, in the folder that is open by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.lock import FileLock, file_held
from engine.record.owner import TEMPORARY
from engine.record.paths import CHECKPOINTS, PREDICTIONS, QUEUES, STATUS, STUDENT, SWEEPS, TEACHER, TRASH
from engine.record.removal import (
    CHECKPOINT_FILE,
    CHECKPOINT_NAME,
    MODEL_FILE,
    LinkedFolderError,
    OpenFolder,
    is_leftover,
    is_put_back,
    is_released_replacement,
    remove_leftover,
)
from engine.record.tracking import TRACKERS

_KEY = r"[0-9a-f]{32}"
_TRACKER = "|".join(TRACKERS)
_RUN_FILE = re.compile(
    rf"preset\.toml|(?:status|environment|annotations|inputs|results|probe|request)\.json|lock|\.annotations\.lock|texts(?:\.[\w-]+)?\.jsonl|(?:events|log)\.\d+\.(?:jsonl|txt)"
    rf"|checkpoints/{CHECKPOINT_NAME}/(?:{CHECKPOINT_FILE})|predictions/(?:teacher|student|baseline)(?:\.[\w-]+)?\.jsonl"
    rf"|teacher|(?:student|teacher|teacher/{_KEY})/(?:{MODEL_FILE})|teacher/pointer\.json|teacher/{_KEY}\.lock"
    rf"|tracking\.(?:{_TRACKER})\.(?:json|txt)|\.tracking\.(?:{_TRACKER})\.lock|tensorboard/events\.out\.tfevents\.[\w.-]+"
)
"""Paths of the files that crild writes into a run directory."""
_EVENTS = re.compile(r"events\.\d+\.jsonl")
_TRASHED = re.compile(r"[A-Za-z0-9][\w.-]*\.\d{8}-\d{6}")
_CREATING, _DELETING = re.compile(r"\.new-[0-9a-f]{12}"), re.compile(r"\.deleted-[A-Za-z0-9][\w.-]*-[0-9a-f]{8}")
"""Temporary folders of crild up to 0.2 in a runs folder."""
_RELEASED_TEACHER = re.compile(rf"\.({_KEY})\.[a-z0-9_]{{8}}")
_RELEASED_LOGITS = re.compile(rf"{_KEY}\.\d+\.tmp")
_START_LOG = re.compile(r"\.start-[0-9a-f]{12}\.txt")
HOUR = 3600.0
"""Seconds after which nobody is taken to work on a temporary folder whose name has no owner."""
_LINK_FREE = (CHECKPOINTS, STUDENT, PREDICTIONS)
_WITH_LEFTOVERS = (CHECKPOINTS, STUDENT, PREDICTIONS, TEACHER)

TEACHERS, ROWS, TOKENS, LOGITS, POOLS, CRASHES = "teachers", "rows", "tokens", "logits", "pools", "crashes"
"""Folders of the cache."""
CACHE_FOLDERS = (TEACHERS, ROWS, TOKENS, LOGITS, POOLS, CRASHES)
PROCESSES = "processes"
"""Subfolder of the cache: in a temporary folder there, the processes of one run find one another."""
PARTIAL, PARTIAL_MARK = ".partial", b"crild logits 1\n"
"""The ending of a file of teacher's answers that are being computed, and what it begins with."""
POOL_MARK = b"crild pool 1\n"
"""What a pool that is being made begins with; its file has the same ending."""

Check = Callable[[OpenFolder, str], bool]
"""Whether an entry of a folder is what it is taken for."""
Remove = Callable[[OpenFolder, str], bool]
"""Checks an entry of a folder again and deletes it; returns whether it is gone. Raises OSError."""


@dataclass(frozen=True)
class Removable:
    """Something of crild's that can be deleted."""

    root: Path
    """The run, runs folder or cache that it is in; may be reached through links."""
    names: tuple[str, ...]
    """Its path below `root`, where nothing may be a link."""
    what: str
    bytes: int
    remover: Remove = field(repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.root.joinpath(*self.names)

    def remove(self) -> bool:
        """Delete it, if it still is what it was; returns whether it is gone. Raises OSError."""
        with OpenFolder.at(self.root, *self.names[:-1]) as folder:
            return self.remover(folder, self.names[-1])


# -- runs


def refuse_links(run_dir: Path) -> None:
    """Raise RunError when a folder of a run is a link: its target may hold what is not this run's."""
    with OpenFolder.at(run_dir) as run:
        for name in _LINK_FREE:
            if run.is_link(name):
                sentence = (
                    f"is a symbolic link, and a run deletes old files in its folders: replace the link with the folder "
                    f"itself. To keep runs on another disk, put the whole runs folder there (--runs-dir, or link {run_dir.parent})"
                )
                raise RunError(sentence, kind="linked-folder-in-run", file=str(run_dir / name))


def remove_run_leftovers(run_dir: Path) -> None:
    """Delete what killed processes left in a run directory. Only for the holder of the run's lock."""
    for leftover in run_leftovers(run_dir):
        with contextlib.suppress(OSError):
            leftover.remove()


def run_leftovers(run_dir: Path) -> Iterator[Removable]:
    """What killed processes left in a run directory; delete it only with the run's lock."""
    for names in ((), *((name,) for name in _WITH_LEFTOVERS)):
        yield from _listed(run_dir, names, "leftover", _is_run_leftover, _leftover_remover(_is_run_leftover))


def checkpoints_of(run_dir: Path) -> Iterator[Removable]:
    """The checkpoints and best weights of a run, damaged ones included."""
    yield from _listed(run_dir, (CHECKPOINTS,), "checkpoint", is_checkpoint, remove_checkpoint)


def remove_checkpoints(run_dir: Path) -> int:
    """Delete the checkpoints and best weights of a run, as far as the system allows; returns the bytes that are freed.

    Only for the holder of the run's lock.
    """
    freed = 0
    for saved in checkpoints_of(run_dir):
        with contextlib.suppress(OSError):
            freed += saved.bytes if saved.remove() else 0
    return freed


def teachers_of(run_dir: Path) -> Iterator[Removable]:
    """The fine-tuned teachers that are stored in a run."""
    yield from _listed(run_dir, (), "teacher", _is_own_teacher, _remove_own_teacher)
    yield from _listed(run_dir, (TEACHER,), "teacher", is_teacher, remove_teacher)


def strangers_of(run_dir: Path) -> Iterator[Path]:
    """What stands among the checkpoints and teachers of a run and is not crild's alone; a linked folder counts as a whole."""
    yield from _mixed_teachers(run_dir)
    yield from _mixed_teachers(run_dir, TEACHER)
    try:
        with OpenFolder.at(run_dir, CHECKPOINTS) as folder:
            for name in folder.names():
                if not is_checkpoint(folder, name) and not _is_temporary(name):
                    yield folder.path / name
    except LinkedFolderError as error:
        yield error.path
    except OSError:
        return


def mixed_teachers(root: Path) -> Iterator[Path]:
    """Teachers in the cache whose folders hold files that are not crild's: they are not deleted."""
    yield from _mixed_teachers(root, TEACHERS)


def _mixed_teachers(root: Path, *names: str) -> Iterator[Path]:
    """Folders of teachers, also a run's own, with crild's record and files that are not crild's."""
    with contextlib.suppress(OSError), OpenFolder.at(root, *names) as folder:
        for name in folder.names():
            if re.fullmatch(_KEY, name) or (name == TEACHER and not names):
                with contextlib.suppress(OSError), folder.child(name) as inner:
                    if inner.record("crild.json") is not None and not _holds_one_model(inner):
                        yield folder.path / name


def foreign_files(run: OpenFolder) -> list[str]:
    """Paths in a run directory that are not crild's, relative to it: links, and files with names that crild never writes."""
    return sorted(_foreign(run, ""))


def _foreign(folder: OpenFolder, prefix: str) -> Iterator[str]:
    for name in folder.names():
        path = f"{prefix}{name}"
        if _is_temporary(name):
            continue
        if folder.is_folder(name):
            with folder.child(name) as inner:
                yield from _foreign(inner, f"{path}/")
        elif not _RUN_FILE.fullmatch(path) or (folder.is_link(name) and path != TEACHER):
            yield path


def _is_temporary(name: str) -> bool:
    released = r"\..+\.tmp-\d+-\d+-\d+|\.student\.[a-z0-9_]{8}|" + rf"\.{CHECKPOINT_NAME}\.\d+"
    return bool(TEMPORARY.fullmatch(name) or _START_LOG.fullmatch(name) or re.fullmatch(released, name))


def is_run_path(path: str) -> bool:
    """Whether crild writes a file of this path, relative to a run directory."""
    return _RUN_FILE.fullmatch(path) is not None


def is_recorded_run(run: OpenFolder) -> bool:
    """Whether a folder holds what only a run has; a folder with a file called preset.toml can be anything."""
    return run.is_file(STATUS) or any(_EVENTS.fullmatch(name) for name in run.names())


def is_checkpoint(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a checkpoint or best weights of crild, by its name and its manifest.

    An empty folder of such a name counts too: a kill may have left it, and nothing is lost with it.
    """
    return _checkpoint_files(folder, name) is not None


def remove_checkpoint(folder: OpenFolder, name: str) -> bool:
    """Delete a checkpoint: the files in its manifest, then the manifest, then the folder if it is empty.

    Returns whether it is gone; what else somebody put into it stays. Raises OSError.
    """
    files = _checkpoint_files(folder, name)
    if files is None:
        return False
    with folder.child(name) as inner:
        for file in (*files, "manifest.json"):  # while it lasts, the manifest shows whose folder it is
            if inner.is_file(file):
                inner.remove(file)
        for leftover in inner.names():
            if _is_temporary(leftover) and inner.is_file(leftover):
                inner.remove(leftover)
        if inner.names():  # it has just come
            return False
    folder.remove_empty(name)
    return True


def _checkpoint_files(folder: OpenFolder, name: str) -> list[str] | None:
    """The files in the manifest of a checkpoint that crild may have written.

    None where there is no such manifest, or something else is in the folder.
    """
    if not re.fullmatch(CHECKPOINT_NAME, name):
        return None
    with contextlib.suppress(OSError), folder.child(name) as inner:
        if not inner.names():
            return []
        manifest = inner.record("manifest.json") or {}
        files = manifest.get("files")
        if isinstance(manifest.get("format"), int) and isinstance(files, dict):
            own = [file for file in files if re.fullmatch(CHECKPOINT_FILE, file)]
            known = {*own, "manifest.json"}
            crilds = all(_is_temporary(file) or (file in known and inner.is_file(file)) for file in inner.names())
            return own if crilds else None
    return None


def _is_run_leftover(folder: OpenFolder, name: str) -> bool:
    if _START_LOG.fullmatch(name):
        return folder.is_file(name) and _is_old(folder, name)
    if _RELEASED_TEACHER.fullmatch(name):
        return _is_teacher_leftover(folder, name)
    return is_leftover(folder, name, locked=True)


# -- runs folders


def runs_folder_leftovers(runs_dir: Path) -> Iterator[Removable]:
    """What killed processes left in a runs folder: half-created and half-deleted runs, half-written records of sweeps."""
    check = _is_runs_folder_leftover
    for names in ((), (QUEUES,), (SWEEPS,)):
        yield from _listed(runs_dir, names, "leftover", check, _leftover_remover(check))


def trashed_runs(runs_dir: Path) -> Iterator[Removable]:
    """The runs in the trash."""
    yield from _listed(runs_dir, (TRASH,), "in the trash", is_trashed_run, _remove_trashed_run)


def foreign_trash(runs_dir: Path) -> Iterator[Path]:
    """What is in the trash and is not crild's, or holds files that are not; a linked trash counts as a whole."""
    try:
        with OpenFolder.at(runs_dir, TRASH) as folder:
            for name in folder.names():
                if not is_trashed_run(folder, name):
                    yield folder.path / name
    except LinkedFolderError as error:
        yield error.path
    except OSError:
        return


def is_trashed_run(folder: OpenFolder, name: str) -> bool:
    """Whether an entry of the trash is a run that was moved there, with nothing in it but crild's own files."""
    if not _TRASHED.fullmatch(name):
        return False
    with contextlib.suppress(OSError), folder.child(name) as run:
        return _holds_one_run(run)
    return False


def _remove_trashed_run(folder: OpenFolder, name: str) -> bool:
    return _TRASHED.fullmatch(name) is not None and folder.remove_folder(name, _holds_one_run, last=STATUS)


def _holds_one_run(run: OpenFolder) -> bool:
    """Whether a folder holds a run and no other files; an empty one counts, as a kill may leave it."""
    return not run.names() or (is_recorded_run(run) and not foreign_files(run))


def _is_runs_folder_leftover(folder: OpenFolder, name: str) -> bool:
    if _CREATING.fullmatch(name) or _DELETING.fullmatch(name):
        if not _is_old(folder, name):
            return False
        with contextlib.suppress(OSError), folder.child(name) as run:
            return not foreign_files(run)
        return False
    return is_leftover(folder, name, locked=False)


# -- the cache


def cached(root: Path) -> Iterator[Removable]:
    """What the cache holds; `what` is the name of the folder that holds it."""
    for kind, (check, remove) in _CACHED.items():
        yield from _listed(root, (kind,), kind, check, remove)


def cache_leftovers(root: Path) -> Iterator[Removable]:
    """What killed processes left in the cache."""
    files = ((kind, _is_cache_leftover) for kind in (ROWS, TOKENS, LOGITS, POOLS, PROCESSES))
    for kind, check in ((TEACHERS, _is_teacher_leftover), *files):
        yield from _listed(root, (kind,), "leftover", check, _leftover_remover(check))


def remove_cache_leftovers(root: Path) -> None:
    """Delete what killed processes left in the cache, as far as the system allows."""
    for leftover in cache_leftovers(root):
        with contextlib.suppress(OSError):
            leftover.remove()


def is_teacher(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a fine-tuned teacher: named by its key, with crild's record in it, or its lock beside it."""
    if not re.fullmatch(_KEY, name):
        return False
    with contextlib.suppress(OSError), folder.child(name) as inner:
        recorded = inner.record("crild.json") is not None or folder.is_file(f"{name}.lock")
        return recorded and _holds_one_model(inner)
    return False


def remove_teacher(folder: OpenFolder, name: str) -> bool:
    """Delete a fine-tuned teacher that no run is training or storing; returns whether it is gone. Raises OSError."""
    if not is_teacher(folder, name):
        return False
    with FileLock(folder.path / f"{name}.lock") as lock:  # the lock file stays: another process may wait for it
        return lock.try_acquire() and folder.remove_folder(name, _holds_one_model)


def _is_own_teacher(folder: OpenFolder, name: str) -> bool:
    """Whether an entry of a run is the folder of its own teacher."""
    if name != TEACHER:
        return False
    with contextlib.suppress(OSError), folder.child(name) as inner:
        return _is_recorded_model(inner)
    return False


def _remove_own_teacher(folder: OpenFolder, name: str) -> bool:
    return name == TEACHER and folder.remove_folder(name, _is_recorded_model, last="crild.json")


def _is_recorded_model(folder: OpenFolder) -> bool:
    return folder.record("crild.json") is not None and _holds_one_model(folder)


def _holds_one_model(folder: OpenFolder) -> bool:
    """Whether a folder holds files of a saved model alone."""
    return all(
        _is_temporary(name) or (re.fullmatch(MODEL_FILE, name) is not None and folder.is_file(name))
        for name in folder.names()
    )


def _is_teacher_leftover(folder: OpenFolder, name: str) -> bool:
    match = _RELEASED_TEACHER.fullmatch(name)
    if match is None:
        return is_leftover(folder, name, locked=False)
    return is_released_replacement(folder, name) and file_held(folder.path / f"{match[1]}.lock") is False


def _is_token_file(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a file of tokens: named by its hash, with crild's fields in its header."""
    if not re.fullmatch(r"[0-9a-f]{64}\.safetensors", name):
        return False
    fields = _header(folder, name).get("__metadata__")
    return isinstance(fields, dict) and {"cut", "digest"} <= fields.keys()


def _is_rows_file(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a file of rows: named by its hash, with crild's fields in its header."""
    if not re.fullmatch(r"[0-9a-f]{64}\.safetensors", name):
        return False
    fields = _header(folder, name).get("__metadata__")
    return isinstance(fields, dict) and {"rows", "key", "digest"} <= fields.keys()


def _is_logits_file(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a file of logits: named by its key, with crild's arrays in it; up to 0.2, a NumPy file.

    Also those that are being computed, unless a run is at it, and the lock that such a run held.
    """
    match = re.fullmatch(rf"({_KEY})\.(partial|lock)", name)
    if match is not None:
        is_own = folder.is_file(name) if match[2] == "lock" else folder.head(name, len(PARTIAL_MARK)) == PARTIAL_MARK
        return is_own and file_held(folder.path / f"{match[1]}.lock") is not True
    if re.fullmatch(rf"{_KEY}\.npy", name):
        return folder.head(name, 6) == b"\x93NUMPY"
    return (
        re.fullmatch(rf"{_KEY}\.safetensors", name) is not None and {"logits", "digest"} <= _header(folder, name).keys()
    )


def _is_pool_file(folder: OpenFolder, name: str) -> bool:
    """Whether an entry is a pool: named by its key and its hash, with a row's number first in it.

    Also one that is being made, unless a run is at it, and the lock that such a run held.
    """
    match = re.fullmatch(rf"({_KEY})\.(partial|lock)", name)
    if match is not None:
        is_own = folder.is_file(name) if match[2] == "lock" else folder.head(name, len(POOL_MARK)) == POOL_MARK
        return is_own and file_held(folder.path / f"{match[1]}.lock") is not True
    return re.fullmatch(rf"{_KEY}\.{_KEY}\.jsonl", name) is not None and folder.head(name, 8) in (b'{"row": ', b"")


def _header(folder: OpenFolder, name: str) -> dict[str, Any]:
    """The header of a safetensors file; empty where it is none."""
    start = folder.head(name, 2**16)
    size = int.from_bytes(start[:8], "little")
    try:
        header = json.loads(start[8 : 8 + size])
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _is_crash_report(folder: OpenFolder, name: str) -> bool:
    return re.fullmatch(r"\d{8}-\d{6}-\d+\.txt", name) is not None and folder.is_file(name)


def _is_cache_leftover(folder: OpenFolder, name: str) -> bool:
    if _RELEASED_LOGITS.fullmatch(name):
        return folder.is_file(name) and _is_old(folder, name)
    return is_leftover(folder, name, locked=False)


def _is_old(folder: OpenFolder, name: str) -> bool:
    status = folder.status(name)
    return status is not None and time.time() - status.st_mtime > HOUR


# -- listing and deleting


def size_of(path: Path) -> int:
    """Bytes of the files under a folder (or of a file); links count as themselves, vanishing files as nothing."""
    try:
        own = path.lstat()
    except OSError:
        return 0
    if not path.is_dir() or path.is_symlink():
        return own.st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total


def _listed(root: Path, names: tuple[str, ...], what: str, check: Check, remove: Remove) -> Iterator[Removable]:
    """The entries of a folder that pass a check; none where the folder is missing, unreadable or a link."""
    with contextlib.suppress(OSError), OpenFolder.at(root, *names) as folder:
        for name in folder.names():
            with contextlib.suppress(OSError):
                if check(folder, name):
                    returns = what == "leftover" and is_put_back(folder, name)
                    size = 0 if returns else size_of(folder.path / name)
                    yield Removable(root, (*names, name), "put back" if returns else what, size, remove)


def _remover(check: Check) -> Remove:
    def remove(folder: OpenFolder, name: str) -> bool:
        if not check(folder, name):
            return False
        folder.remove(name)
        return True

    return remove


def _leftover_remover(check: Check) -> Remove:
    def remove(folder: OpenFolder, name: str) -> bool:
        if not check(folder, name):
            return False
        remove_leftover(folder, name)
        return True

    return remove


_CACHED: Mapping[str, tuple[Check, Remove]] = {
    TEACHERS: (is_teacher, remove_teacher),
    ROWS: (_is_rows_file, _remover(_is_rows_file)),
    TOKENS: (_is_token_file, _remover(_is_token_file)),
    LOGITS: (_is_logits_file, _remover(_is_logits_file)),
    POOLS: (_is_pool_file, _remover(_is_pool_file)),
    CRASHES: (_is_crash_report, _remover(_is_crash_report)),
}
