"""Freeing space: what can go, how large it is, and taking it away without ever touching a run that works."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from engine.record.states import IN_PROGRESS

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.run import RunEntry

DAY = 86_400.0


@dataclass(frozen=True)
class Spare:
    """Something that can go: whose it is (None for the runs folder's own), what, where, how many bytes."""

    run: Path | None
    what: str
    path: Path
    bytes: int


# -- runs


def spares(entry: RunEntry, *, unfinished: bool, teachers: bool) -> Iterator[Spare]:
    """What can go of one run: nothing while it works or cannot be read; checkpoints once nothing needs them."""
    from engine.record.paths import CHECKPOINTS, TEACHER
    from engine.record.run import size_of

    if entry.state in IN_PROGRESS or entry.status is None:
        return
    done = entry.state == "finished" or unfinished
    checkpoints = entry.path / CHECKPOINTS
    for path in sorted(checkpoints.iterdir()) if checkpoints.is_dir() else ():
        if path.name.startswith("."):
            yield Spare(entry.path, "left behind", path, size_of(path))
        elif done:
            yield Spare(entry.path, "checkpoint", path, size_of(path))
    for path in sorted(entry.path.glob(".*.tmp-*")):
        yield Spare(entry.path, "left behind", path, size_of(path))
    teacher = entry.path / TEACHER
    if teachers and done and teacher.is_dir():
        for path in sorted(teacher.glob("*.safetensors")):
            yield Spare(entry.path, "teacher", path, size_of(path))


def prune_runs(
    runs_dir: Path, refs: Sequence[str], *, unfinished: bool, teachers: bool, yes: bool, as_json: bool
) -> None:
    """Show what can go, ask, and free it. With `as_json` and without `yes` it only shows."""
    entries, found = _prunable(runs_dir, refs, unfinished=unfinished, teachers=teachers)
    total = sum(spare.bytes for spare in found)
    if as_json:
        freed = _free(found) if yes else 0
        listed = [
            {"run": s.run.name if s.run else None, "what": s.what, "path": str(s.path), "bytes": s.bytes} for s in found
        ]
        terminal.show_json({"runs_dir": str(runs_dir), "spare": listed, "bytes": total, "freed": freed})
        return
    working = [entry.id for entry in entries if entry.state in IN_PROGRESS]
    if working:
        terminal.say(f"left alone, at work or waiting: {', '.join(working)}")
    if not found:
        terminal.say(f"nothing to free in {runs_dir}{'' if unfinished else _hint(entries)}")
        return
    terminal.show(_spare_table(found))
    if terminal.confirm(f"Delete {formatting.size(total)}?", yes=yes):
        terminal.say(f"freed {formatting.size(_free(found))}")
    else:
        terminal.say("nothing was deleted")


def _prunable(
    runs_dir: Path, refs: Sequence[str], *, unfinished: bool, teachers: bool
) -> tuple[list[RunEntry], list[Spare]]:
    from engine.record.paths import TRASH
    from engine.record.run import find_run, leftovers, list_runs, read_run, size_of

    entries = [read_run(find_run(ref, runs_dir)) for ref in refs] if refs else list_runs(runs_dir)
    found = [spare for entry in entries for spare in spares(entry, unfinished=unfinished, teachers=teachers)]
    if not refs:
        found += [Spare(None, "left behind", path, size_of(path)) for path in leftovers(runs_dir)]
        if (trash := runs_dir / TRASH).is_dir():
            found += [Spare(None, "in the trash", path, size_of(path)) for path in sorted(trash.iterdir())]
    return entries, found


def _hint(entries: Iterable[RunEntry]) -> str:
    from engine.record.run import size_of

    kept = sum(size_of(e.path / "checkpoints") for e in entries if e.state not in IN_PROGRESS and e.state != "finished")
    return f"; checkpoints of runs that can be resumed hold {formatting.size(kept)} (--unfinished)" if kept else ""


def _spare_table(found: Iterable[Spare]) -> Table:
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for spare in found:
        key = (spare.run.name if spare.run else spare.path.name, spare.what)
        count, size = totals.get(key, (0, 0))
        totals[key] = (count + 1, size + spare.bytes)
    rows = [(run, what, str(count), formatting.size(size)) for (run, what), (count, size) in totals.items()]
    return terminal.table([("run", "left"), ("what", "left"), ("number", "right"), ("size", "right")], rows)


def _free(found: Iterable[Spare]) -> int:
    """Delete, run by run under the run's lock; returns the bytes freed. What cannot be deleted is said and left."""
    from engine.errors import CrildError
    from engine.record.lock import RunLock
    from engine.record.run import read_run

    by_run: dict[Path | None, list[Spare]] = {}
    for spare in found:
        by_run.setdefault(spare.run, []).append(spare)
    freed = 0
    for run, several in by_run.items():
        try:
            if run is None:
                freed += sum(map(_remove, several))
                continue
            with RunLock(run) as lock:
                lock.take()
                if read_run(run).state not in IN_PROGRESS:  # it may have been resumed while the question stood
                    freed += sum(map(_remove, several))
        except CrildError as error:
            terminal.say(f"left alone: {error.sentence}")
    return freed


def _remove(spare: Spare) -> int:
    return spare.bytes if remove(spare.path) else 0


def remove(path: Path) -> bool:
    """Delete a file, a link or a folder; says why when it cannot be done."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        terminal.say(f"cannot be deleted: {error.filename or path}: {error.strerror or error}")
        return False
    return True


def delete_runs(run_dirs: Sequence[Path], *, yes: bool) -> None:
    """Delete whole runs after asking. Raises UsageError for one that works."""
    from engine.errors import UsageError
    from engine.record.run import delete_run, read_run, size_of

    for run_dir in run_dirs:
        if read_run(run_dir).state in IN_PROGRESS - {"created"}:
            raise UsageError(f"{run_dir.name} is at work or waiting: stop it first (crild stop {run_dir.name})")
    rows = [(run_dir.name, formatting.size(size_of(run_dir))) for run_dir in run_dirs]
    terminal.show(terminal.table([("run", "left"), ("size", "right")], rows))
    if not terminal.confirm(f"Delete {formatting.plural(len(run_dirs), 'run')} for good?", yes=yes):
        terminal.say("nothing was deleted")
        return
    for run_dir in run_dirs:
        delete_run(run_dir)
        terminal.say(f"deleted {run_dir.name}")


# -- the cache


@dataclass(frozen=True)
class Kept:
    """One entry of the cache: its kind (the folder it lies in), when it was last used, its size in bytes."""

    kind: str
    path: Path
    used: float
    bytes: int


def cached() -> list[Kept]:
    """What the cache holds."""
    from engine.record.paths import cache_dir
    from engine.record.run import size_of

    root = cache_dir()
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else ():
        for path in sorted(folder.iterdir()):
            stat = path.lstat()
            found.append(Kept(folder.name, path, max(stat.st_mtime, stat.st_atime), size_of(path)))
    return found


def show_cache(*, as_json: bool) -> None:
    """Print what the cache holds, by kind."""
    from engine.record.paths import cache_dir

    found = cached()
    if as_json:
        listed = [{"kind": k.kind, "path": str(k.path), "bytes": k.bytes, "used": k.used} for k in found]
        terminal.show_json({"cache_dir": str(cache_dir()), "entries": listed, "bytes": sum(k.bytes for k in found)})
        return
    terminal.say(f"cache: {cache_dir()}")
    if not found:
        terminal.say("it is empty")
        return
    terminal.show(_cache_table(found))


def clear_cache(kinds: Sequence[str], *, older_days: float | None, yes: bool) -> None:
    """Delete entries of the cache after asking. Raises UsageError for a kind that it does not hold."""
    from engine.errors import UsageError

    found = cached()
    known = sorted({kept.kind for kept in found})
    for kind in kinds:
        if kind not in known:
            raise UsageError(f"the cache holds no {kind!r}; it holds: {', '.join(known) or 'nothing'}")
    now = time.time()
    doomed = [
        kept
        for kept in found
        if (not kinds or kept.kind in kinds) and (older_days is None or now - kept.used >= older_days * DAY)
    ]
    if not doomed:
        terminal.say("nothing to delete")
        return
    terminal.show(_cache_table(doomed))
    total = formatting.size(sum(kept.bytes for kept in doomed))
    if terminal.confirm(f"Delete {total}? A run that reads it now would fail", yes=yes):
        freed = sum(kept.bytes for kept in doomed if remove(kept.path))
        terminal.say(f"freed {formatting.size(freed)}")
    else:
        terminal.say("nothing was deleted")


def _cache_table(found: Sequence[Kept]) -> Table:
    now = time.time()
    rows = []
    for kind in sorted({kept.kind for kept in found}):
        of_kind = [kept for kept in found if kept.kind == kind]
        rows.append(
            (
                kind,
                str(len(of_kind)),
                formatting.size(sum(kept.bytes for kept in of_kind)),
                formatting.age(now - max(kept.used for kept in of_kind)),
                formatting.age(now - min(kept.used for kept in of_kind)),
            )
        )
    columns = [("kind", "left"), ("number", "right"), ("size", "right"), ("last used", "right"), ("oldest", "right")]
    return terminal.table(columns, rows)
