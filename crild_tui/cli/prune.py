"""`crild prune`: free disk space by deleting what finished runs no longer need, never touching an active run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, RunsDir, Yes
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.run import RunEntry


def prune(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Only these runs. [default: all of the runs folder]", show_default=False
        ),
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Also checkpoints of unfinished runs, which then can't be resumed."),
    ] = False,
    teachers: Annotated[
        bool, typer.Option("--teachers", help="Also the teachers' weights in run directories.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Free disk space: delete checkpoints of finished runs, and files of interrupted writes.

    Shows what would be deleted and asks first. Students, results, curves and logs stay. Without its checkpoints, a
    finished run can no longer be extended. An active run is never touched.
    """
    from crild_tui.cli.disk_space import delete_after_asking
    from engine.record.paths import runs_dir as folder_of
    from engine.record.states import IN_PROGRESS

    folder = folder_of(runs_dir)
    entries, items = _prunable(folder, runs or [], unfinished=unfinished, teachers=teachers)
    total = sum(item.bytes for item in items)
    if as_json:
        freed = _free(items) if yes else 0
        listed = [
            {"run": i.run.name if i.run else None, "what": i.what, "path": str(i.path), "bytes": i.bytes} for i in items
        ]
        terminal.show_json({"runs_dir": str(folder), "spare": listed, "bytes": total, "freed": freed})
        return
    active = [entry.id for entry in entries if entry.state in IN_PROGRESS]
    if active:
        terminal.say(f"skipped, still active: {', '.join(active)}")
    if not items:
        terminal.say(f"nothing to free in {folder}{'' if unfinished else _hint(entries)}")
    elif delete_after_asking(_table(items), f"Delete {formatting.size(total)}?", yes=yes):
        terminal.say(f"freed {formatting.size(_free(items))}")


@dataclass(frozen=True)
class Prunable:
    """Something that may be deleted: its run (None for the runs folder's own), what and where it is, its size."""

    run: Path | None
    what: str
    path: Path
    bytes: int


def _prunable_of(entry: RunEntry, *, unfinished: bool, teachers: bool) -> Iterator[Prunable]:
    """What may be deleted of one run: nothing while it is active or unreadable; checkpoints once nothing needs them."""
    from engine.record.paths import CHECKPOINTS, TEACHER
    from engine.record.run import size_of
    from engine.record.states import IN_PROGRESS

    if entry.state in IN_PROGRESS or entry.status is None:
        return
    done = entry.state == "finished" or unfinished
    checkpoints = entry.path / CHECKPOINTS
    for path in sorted(checkpoints.iterdir()) if checkpoints.is_dir() else ():
        if path.name.startswith("."):
            yield Prunable(entry.path, "leftover", path, size_of(path))
        elif done:
            yield Prunable(entry.path, "checkpoint", path, size_of(path))
    for path in sorted(entry.path.glob(".*.tmp-*")):
        yield Prunable(entry.path, "leftover", path, size_of(path))
    teacher = entry.path / TEACHER
    if teachers and done and teacher.is_dir() and not teacher.is_symlink():  # a link leads into the cache
        for path in sorted(teacher.glob("*.safetensors")):
            yield Prunable(entry.path, "teacher", path, size_of(path))


def _prunable(
    runs_dir: Path, refs: Sequence[str], *, unfinished: bool, teachers: bool
) -> tuple[list[RunEntry], list[Prunable]]:
    """The runs that were looked at (all by default), and what may be deleted of them and of the runs folder."""
    from engine.record.paths import TRASH
    from engine.record.run import find_run, leftovers, list_runs, read_run, size_of

    entries = [read_run(find_run(ref, runs_dir)) for ref in refs] if refs else list_runs(runs_dir)
    items = [item for entry in entries for item in _prunable_of(entry, unfinished=unfinished, teachers=teachers)]
    if not refs:
        items += [Prunable(None, "leftover", path, size_of(path)) for path in leftovers(runs_dir)]
        if (trash := runs_dir / TRASH).is_dir():
            items += [Prunable(None, "in the trash", path, size_of(path)) for path in sorted(trash.iterdir())]
    return entries, items


def _hint(entries: Iterable[RunEntry]) -> str:
    from engine.record.run import size_of
    from engine.record.states import IN_PROGRESS

    unfinished = [entry for entry in entries if entry.state not in IN_PROGRESS and entry.state != "finished"]
    size = sum(size_of(entry.path / "checkpoints") for entry in unfinished)
    return f"; checkpoints of resumable runs take {formatting.size(size)} (--unfinished)" if size else ""


def _table(items: Iterable[Prunable]) -> Table:
    """A row for each run and kind of thing."""

    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for item in items:
        key = (item.run.name if item.run else item.path.name, item.what)
        count, size = totals.get(key, (0, 0))
        totals[key] = (count + 1, size + item.bytes)
    rows = [(run, what, str(count), formatting.size(size)) for (run, what), (count, size) in totals.items()]
    return terminal.table([("run", "left"), ("what", "left"), ("number", "right"), ("size", "right")], rows)


def _free(items: Iterable[Prunable]) -> int:
    """Delete, run by run under the run's lock; returns the bytes freed. Reports and skips what cannot be deleted."""
    from crild_tui.cli.disk_space import remove
    from engine.errors import CrildError
    from engine.record.lock import RunLock
    from engine.record.run import read_run
    from engine.record.states import IN_PROGRESS

    by_run: dict[Path | None, list[Prunable]] = {}
    for item in items:
        by_run.setdefault(item.run, []).append(item)
    freed = 0
    for run, of_run in by_run.items():
        try:
            if run is None:
                freed += sum(item.bytes for item in of_run if remove(item.path))
                continue
            with RunLock(run) as lock:
                lock.take()
                if read_run(run).state not in IN_PROGRESS:  # it may have been resumed while the user was asked
                    freed += sum(item.bytes for item in of_run if remove(item.path))
        except CrildError as error:
            terminal.say(f"skipped: {error.sentence}")
    return freed
