"""Create, find, list and delete run directories, and read and change their status."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import RunError, UsageError
from engine.preset.text import listed, plain
from engine.record.annotations import Annotations, as_tags, read_annotations
from engine.record.environment import light_environment
from engine.record.fields import read_fields
from engine.record.files import cause, json_text, read_json, read_record, write_atomic, write_json
from engine.record.inventory import foreign_files, is_recorded_run
from engine.record.lock import RunLock, busy, held_elsewhere, is_copied
from engine.record.owner import Owner, temporary_name
from engine.record.paths import ANNOTATIONS, ENVIRONMENT, PRESET, STATUS, queue_file, user_path
from engine.record.rebuild import rebuilt_status
from engine.record.removal import OpenFolder, remove_file
from engine.record.states import ACTIVE
from engine.record.status import Status, derived, process_alive

LONGEST_NAME = 80
LATEST = "latest"
"""Means the newest run wherever a run is named."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DAMAGED = frozenset((
    "missing-status", "incomplete-json", "not-a-json-object", "unknown-record-version", "missing-field", "invalid-field",
    "invalid-owner",
))  # fmt: skip
"""Kinds of errors that prove that a status is lost; what cannot be read, or is of a newer crild, may be good."""


@dataclass(frozen=True)
class RunEntry:
    """A run in a listing.

    `problem` says why its status cannot be read (`status` is then None), or that it was rebuilt, or belongs to a copy.
    """

    path: Path
    status: Status | None
    state: str
    """The derived state: what `Status.state` says, or "lost", "stalled" or "unreadable"."""
    problem: str | None = None
    note: str = ""
    tags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name of the run directory."""
        return self.path.name


def validate_name(name: str) -> str:
    """`name` if it is valid for a run. Raises UsageError with what is allowed."""
    allowed = (
        "a run's name is made of the letters a to z and A to Z, digits, '.', '_' and '-', begins with a letter or digit,"
        f" and has at most {LONGEST_NAME} characters"
    )
    if not name:
        raise UsageError(f"the run's name is empty: {allowed}", kind="empty-run-name", key="name")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"the run's name has {len(name)} characters: {allowed}", kind="run-name-too-long", key="name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"a run cannot be called {name!r}: {allowed}", kind="invalid-run-name", key="name")
    if name == LATEST:
        sentence = f"a run cannot be called {LATEST!r}: that word means the newest run"
        raise UsageError(sentence, kind="reserved-run-name", key="name")
    return name


def create_run(
    runs_dir: Path,
    preset_toml: str,
    *,
    name: str | None = None,
    tags: Iterable[str] = (),
    environment: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Path:
    """Create a run directory with its preset, environment and status, all at once; returns its path.

    A named run is called `<name>-s<seed>`, which must not exist; any other is called
    `<task>-<method>-<YYYYMMDD-HHMMSS>-s<seed>`, made unique. `fields` are the fields of `Status` that are known already
    (seed, task, method, preset, stages, total, state = "queued", ...). Raises UsageError, and leaves nothing behind, when
    the name is invalid, the run exists, or the folder is full or not writable.
    """
    if name is not None:
        validate_name(name)
    runs_dir = runs_dir.absolute()
    if is_run(runs_dir):
        sentence = f"{str(runs_dir)!r} is itself a run directory: choose its parent with --runs-dir"
        raise UsageError(sentence, kind="runs-dir-is-a-run")
    created = time.time()
    facts = light_environment() if environment is None else environment
    try:
        with contextlib.suppress(FileExistsError):  # a file: opening it says so
            runs_dir.mkdir(parents=True, exist_ok=True)
        with OpenFolder.at(runs_dir) as runs, runs.temporary_folder("new") as temporary:
            target = _reserve(runs_dir, name, created, fields)
            try:
                write_atomic(temporary.path / PRESET, preset_toml)
                write_atomic(temporary.path / ENVIRONMENT, json_text(facts))
                if tags:
                    write_atomic(temporary.path / ANNOTATIONS, json_text(Annotations(tags=as_tags(tags)).to_dict()))
                status = Status(id=target.name, created=created, **fields)
                write_atomic(temporary.path / STATUS, json_text(status.to_dict()))
                runs.rename(temporary.path.name, target.name)  # over the empty folder that reserved the name
            except BaseException:
                runs.remove_empty(target.name)
                raise
            runs.flush()
    except OSError as error:
        sentence = f"cannot create a run in {str(runs_dir)!r}: {cause(error)}; choose another folder with --runs-dir"
        raise UsageError(sentence, kind="cannot-create-run") from error
    return target


def name_taken(runs_dir: Path, name: str, seed: int) -> UsageError | None:
    """What `create_run` would raise for a name and seed that are taken in `runs_dir`; None while they are free."""
    target = runs_dir / f"{name}-s{seed}"
    return _taken(target) if os.path.lexists(target) else None


def _taken(target: Path) -> UsageError:
    sentence = (
        f"the run {target.name!r} already exists in {str(target.parent)!r}: choose another --name,"
        f" or continue it with `crild resume {target.name}`"
    )
    return UsageError(sentence, kind="run-exists", key="name")


def _reserve(runs_dir: Path, name: str | None, created: float, fields: Mapping[str, Any]) -> Path:
    """Create the empty folder of a new run, so that no two runs get the same name."""
    seed = fields.get("seed", 0)
    stem = name
    if stem is None:
        words = (re.sub(r"[^A-Za-z0-9._]+", "-", str(fields.get(key, ""))).strip("-._") for key in ("task", "method"))
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
        stem = f"{'-'.join(word for word in words if word)[:LONGEST_NAME] or 'run'}-{moment}"
    for number in range(1, 2 if name is not None else 10_000):
        target = runs_dir / f"{stem}-s{seed}{'' if number == 1 else f'-{number}'}"
        with contextlib.suppress(FileExistsError):
            target.mkdir()
            return target
    if name is not None:
        raise _taken(runs_dir / f"{name}-s{seed}")
    sentence = f"there is no free name for a run in {str(runs_dir)!r}: choose another folder with --runs-dir"
    raise UsageError(sentence, kind="no-free-run-name")


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory, however damaged."""
    return any(os.path.isfile(path / name) for name in (STATUS, PRESET))  # noqa: PTH113 - False for impossible paths


def check_runs_dir(runs_dir: Path) -> None:
    """Raise UsageError when what is given as the folder of runs is none: a file, a folder that can't be read, or a run.

    A folder that does not exist yet has no runs, and is none of these.
    """
    try:
        entries = os.listdir(runs_dir)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return
    except NotADirectoryError:
        sentence = f"{str(runs_dir)!r} is not a folder: choose the folder of runs with --runs-dir"
        raise UsageError(sentence, kind="runs-dir-not-a-folder") from None
    except OSError as error:
        sentence = f"the runs in {str(runs_dir)!r} cannot be listed: {cause(error)}"
        raise UsageError(sentence, kind="unreadable-runs-dir") from error
    if is_run(runs_dir) and not any(is_run(runs_dir / name) for name in entries):
        parent = plain(str(runs_dir.parent))
        sentence = f"{str(runs_dir)!r} is itself a run directory: its folder of runs is --runs-dir {parent}"
        raise UsageError(sentence, kind="runs-dir-is-a-run")


def read_status(run_dir: Path) -> Status:
    """The status of a run; where its file is missing or damaged, rebuilt from the run's other files.

    A copy of a run has no owner. Raises RunError with the reason when nothing is left to rebuild it from, while an engine
    that will write it again holds the run, and when the file cannot be read or a newer crild wrote it.
    """
    return _status_of(run_dir)[0]


def _status_of(run_dir: Path) -> tuple[Status, str | None]:
    """The status of a run, and what must be said about it, as `RunEntry.problem`. Raises as `read_status`."""
    path = run_dir / STATUS
    try:
        status = read_record(path, Status.from_dict)
    except FileNotFoundError:
        if not run_dir.is_dir():
            sentence = "its directory is gone: it was renamed, moved or deleted"
            raise RunError(sentence, kind="run-directory-missing", file=str(run_dir)) from None
        sentence = "is missing: this is not a run directory, or part of it was deleted"
        error = RunError(sentence, kind="missing-status", file=str(path))
    except RunError as unread:
        error = unread
    else:
        owner = status.owner
        if status.state not in ACTIVE or owner is None or not is_copied(run_dir, status.inode):
            return status, None
        if owner.state() != "alive" or held_elsewhere(run_dir):
            return status, None
        return replace(status, owner=None), "this is a copy of a run that was in progress"
    rebuilt = None if error.kind not in _DAMAGED or held_elsewhere(run_dir) else rebuilt_status(run_dir)
    if rebuilt is None:
        raise error
    what = "missing" if error.kind == "missing-status" else "damaged"
    return rebuilt, f"{STATUS} is {what}: what is known of the run comes from its other files"


def update_status(run_dir: Path, *, expect: Collection[str] | None = None, **changes: Any) -> Status:
    """Change fields of the status of a run without an engine; returns the new status.

    Takes the run's lock for a moment. Raises RunError when an engine holds it, when the state is not in `expect`, or when
    the status cannot be read or written.
    """
    with RunLock(run_dir) as lock:
        lock.take(wait=1.0)
        status = read_status(run_dir)
        if expect is not None and status.state not in expect:
            raise RunError(f"the run {run_dir.name!r} is {status.state} by now", kind="run-state-changed")
        changed = replace(status, **changes)
        write_json(run_dir / STATUS, changed.to_dict())
        return changed


def release_owner(run_dir: Path, owner: Owner) -> None:
    """Take an active run from an owner that is known to have ended with its host, so that it can be resumed at once.

    The run becomes "lost". The file system may still hold the lock of the host that is gone: the lock file is replaced
    then. Does nothing when the run has ended or has another owner. Raises RunError when the owner is alive on this host,
    or the status cannot be written.
    """
    if owner.state() == "alive":
        raise busy(run_dir)
    with RunLock(run_dir) as lock:
        if read_status(run_dir).owner != owner:
            return
        if held_elsewhere(run_dir):
            remove_file(lock.path, missing_ok=True)
        lock.take(wait=1.0, gone=owner)
        status = read_status(run_dir)
        if status.state in ACTIVE and status.owner == owner:
            write_json(run_dir / STATUS, replace(status, owner=None).to_dict())


@dataclass(frozen=True)
class _QueueProcess:
    """What the record of a queue says about its process."""

    state: str
    created: float
    owner: Owner | None
    heartbeat: float | None


def queue_alive(runs_dir: Path, queue: str) -> bool:
    """Whether the process of a queue is running or about to start; False where its record is gone or damaged."""
    if "/" in queue or queue.startswith("."):
        return False
    try:
        record = read_fields(_QueueProcess, read_json(queue_file(runs_dir, queue)) or {})
    except RunError:
        return False
    return process_alive(record.state, record.owner, record.created, record.heartbeat)


def read_run(run_dir: Path, now: float | None = None) -> RunEntry:
    """A run as in a listing; damage is reported in `problem`, never raised."""
    return _entry(run_dir, time.time() if now is None else now, lambda name: queue_alive(run_dir.parent, name))


def list_runs(runs_dir: Path, now: float | None = None) -> list[RunEntry]:
    """The runs of a folder, the newest first, those that cannot be read last; empty when there is no such folder."""
    present = time.time() if now is None else now
    queues: dict[str, bool] = {}

    def alive(name: str) -> bool:
        if name not in queues:
            queues[name] = queue_alive(runs_dir, name)
        return queues[name]

    try:
        names = os.listdir(runs_dir)  # noqa: PTH208 - a thousand runs are listed in a fraction of a second
    except OSError:
        return []
    folders = (runs_dir / name for name in names if not name.startswith("."))
    entries = [_entry(folder, present, alive) for folder in folders if is_run(folder)]
    return sorted(entries, key=lambda entry: (entry.status.created if entry.status else 0.0, entry.id), reverse=True)


def _entry(run_dir: Path, now: float, alive: Callable[[str], bool]) -> RunEntry:
    notes = read_annotations(run_dir)
    try:
        status, problem = _status_of(run_dir)
    except RunError as error:
        problem = error.sentence if error.kind == "run-directory-missing" else f"{STATUS} {error.sentence}"
        return RunEntry(run_dir, None, "unreadable", problem, notes.note, notes.tags)
    waiting = status.state == "queued" and status.queue is not None
    state = derived(status, now, queue_alive=alive(str(status.queue)) if waiting else None)
    return RunEntry(run_dir, status, state, problem, notes.note, notes.tags)


def find_run(ref: str, runs_dir: Path) -> Path:
    """The run directory that `ref` means: an id, `latest`, a path, the name before `-sSEED`, or the beginning of one id.

    A name or a beginning must belong to one run alone; a name comes first.

    Raises UsageError that lists what it may have meant.
    """
    shown = repr(ref if len(ref) <= LONGEST_NAME else ref[:LONGEST_NAME] + "...")
    if _plain_name(ref) and is_run(runs_dir / ref):
        return (runs_dir / ref).absolute()
    if "/" in ref or ref in (".", ".."):
        path = user_path(ref, "a run")
        if is_run(path):
            return path
        raise UsageError(f"{shown} is not a run directory: it has no status.json", kind="not-a-run-directory")
    entries = list_runs(runs_dir)
    if not entries:
        check_runs_dir(runs_dir)
        sentence = f"there is no run {shown}: {str(runs_dir)!r} has no runs (choose another folder with --runs-dir)"
        raise UsageError(sentence, kind="no-runs-at-all")
    if ref == LATEST:
        return entries[0].path
    found = [entry for entry in entries if ref and entry.id.startswith(ref)]
    named = [entry for entry in found if re.fullmatch(r"-s[0-9]+", entry.id.removeprefix(ref))]
    for matching in (named, found):
        if len(matching) == 1:
            return matching[0].path
    if found:
        runs = listed((plain(entry.id) for entry in found), "and", 8)
        sentence = f"{shown} matches {len(found)} runs, {runs}: write one of these names"
        raise UsageError(sentence, kind="ambiguous-run")
    import difflib

    ids = [entry.id for entry in entries]
    near = difflib.get_close_matches(ref, ids, n=5, cutoff=0.4) or ids
    sentence = f"there is no run {shown} in {str(runs_dir)!r}; there are {listed(map(plain, near), 'and', 8)}"
    raise UsageError(sentence, kind="unknown-run")


def find_runs(ref: str, runs_dir: Path) -> list[Path]:
    """The run directories that `ref` means where all seeds of a run may be meant: every one of a name before `-sSEED`, or of a
    beginning that one such name alone has. Anything else means what `find_run` says.

    Raises as `find_run` does.
    """
    if _plain_name(ref) and ref != LATEST and not is_run(runs_dir / ref):
        found = [
            (entry.path, re.sub(r"-s[0-9]+$", "", entry.id))
            for entry in list_runs(runs_dir)
            if entry.id.startswith(ref)
        ]
        for matching in ([each for each in found if each[1] == ref], found):
            if len({name for _, name in matching}) == 1:
                return [path for path, _ in matching]
    return [find_run(ref, runs_dir)]


def _plain_name(ref: str) -> bool:
    return bool(ref) and "/" not in ref and "\0" not in ref and not ref.startswith(".")


def delete_run(run_dir: Path) -> None:
    """Delete a run directory with everything that crild wrote into it.

    Raises RunError when an engine runs it, it holds files that are not crild's, or the system refuses; UsageError when it
    is not a run directory.
    """
    run_dir = run_dir.absolute()
    if not is_run(run_dir):
        raise UsageError(f"{str(run_dir)!r} is not a run directory: it has no status.json", kind="not-a-run-directory")
    doomed = temporary_name(f"deleted-{run_dir.name}")
    try:
        with OpenFolder.at(run_dir.parent) as runs:
            if runs.is_link(run_dir.name):
                sentence = f"{str(run_dir)!r} is a link: delete {str(run_dir.resolve())!r} itself"
                raise RunError(sentence, kind="run-is-a-link")
            with RunLock(run_dir) as lock:
                lock.take()
                with runs.child(run_dir.name) as run:
                    _check_contents(run)
                runs.rename(run_dir.name, doomed)  # from here on it is not listed, whatever happens
            runs.remove(doomed)
    except OSError as error:
        raise RunError(f"cannot delete the run: {cause(error)}", kind="cannot-delete-run", file=str(run_dir)) from error


def check_deletable(run_dir: Path) -> None:
    """Raise RunError or UsageError if a folder holds other files than a run's, so that `delete_run` would refuse it."""
    with OpenFolder.at(run_dir) as run:
        _check_contents(run)


def _check_contents(run: OpenFolder) -> None:
    """Raise unless a folder is a run with crild's own files alone."""
    if not is_recorded_run(run):
        sentence = f"{str(run.path)!r} has a preset.toml but no status.json, so it may not be a run: delete it yourself"
        raise UsageError(sentence, kind="run-without-record")
    if foreign := foreign_files(run):
        names = listed(map(plain, foreign), "and", 4)
        sentence = f"holds files that crild did not write: {names}. Move them elsewhere, or delete the folder yourself"
        raise RunError(sentence, kind="foreign-files-in-run", file=str(run.path))


def discard_run(run_dir: Path) -> None:
    """Delete a run directory that was just created and that no engine has used, as far as the system allows."""
    with contextlib.suppress(OSError, RunError, UsageError):
        delete_run(run_dir)
