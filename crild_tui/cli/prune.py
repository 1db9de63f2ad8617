"""`crild prune`: free disk space by deleting what finished runs no longer need, never touching an active run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import run_names
from crild_tui.cli.options import AsJson, RunsDir, Yes
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.record.inventory import Removable
    from engine.record.run import RunEntry


def prune(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Only these runs. [default: all of the runs folder]",
            autocompletion=run_names,
            show_default=False,
        ),
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Also checkpoints of unfinished runs, which then can't be resumed."),
    ] = False,
    teachers: Annotated[
        bool, typer.Option("--teachers", help="Also delete copies of teachers' weights in run directories.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Free disk space: delete checkpoints of finished runs, and leftovers of interrupted writes.

    Shows what would be deleted and asks first. Students, results, curves and logs stay, and so does everything that crild
    did not write. Without its checkpoints, a finished run can no longer be extended. An active run is never touched.
    """
    from crild_tui.cli.disk_space import delete_after_asking, path_table
    from engine.record.paths import runs_dir as folder_of
    from engine.record.states import IN_PROGRESS

    folder = folder_of(runs_dir)
    entries, items = _prunable(folder, runs or [], unfinished=unfinished, teachers=teachers)
    total = sum(item.removable.bytes for item in items)
    foreign = list(_foreign(folder, entries, runs or []))
    if as_json:
        freed = _free(items) if yes else 0
        listed = [
            {
                "run": item.run.name if item.run else None,
                "what": item.removable.what,
                "path": str(item.removable.path),
                "bytes": item.removable.bytes,
            }
            for item in items
        ]
        skipped = [str(path) for path in foreign]
        terminal.show_json(
            {"runs_dir": str(folder), "spare": listed, "skipped": skipped, "bytes": total, "freed": freed}
        )
        return
    active = [entry.id for entry in entries if entry.state in IN_PROGRESS]
    if active:
        terminal.say(f"skipped, still active: {', '.join(active)}")
    for path in foreign:
        terminal.say(f"skipped, not written by crild: {path}")
    if not items:
        terminal.say(f"nothing to free in {folder}{'' if unfinished else _hint(entries)}")
    else:
        table = path_table([item.removable for item in items], folder)
        if delete_after_asking(table, f"Delete {formatting.size(total)}?", yes=yes):
            terminal.say(f"freed {formatting.size(_free(items))}")


@dataclass(frozen=True)
class Prunable:
    """Something that may be deleted, and the run that it belongs to (None for the runs folder's own and the cache's)."""

    run: Path | None
    removable: Removable


def _prunable_of(entry: RunEntry, *, unfinished: bool, teachers: bool) -> Iterator[Prunable]:
    """What may be deleted of one run: nothing while it is active or unreadable; checkpoints once nothing needs them."""
    from engine.record.inventory import checkpoints_of, run_leftovers, teachers_of
    from engine.record.states import IN_PROGRESS

    if entry.state in IN_PROGRESS or entry.status is None or entry.path.is_symlink():
        return
    done = entry.state == "finished" or unfinished
    removable = [*run_leftovers(entry.path)]
    if done:
        removable += checkpoints_of(entry.path)
    if done and teachers:
        removable += teachers_of(entry.path)
    yield from (Prunable(entry.path, item) for item in removable)


def _prunable(
    runs_dir: Path, refs: Sequence[str], *, unfinished: bool, teachers: bool
) -> tuple[list[RunEntry], list[Prunable]]:
    """The runs that were looked at (all by default), and what may be deleted of them, the runs folder and the cache."""
    from engine.record.inventory import cache_leftovers, runs_folder_leftovers, trashed_runs
    from engine.record.paths import cache_dir
    from engine.record.run import check_runs_dir, find_run, list_runs, read_run

    check_runs_dir(runs_dir)
    entries = [read_run(find_run(ref, runs_dir)) for ref in refs] if refs else list_runs(runs_dir)
    items = [item for entry in entries for item in _prunable_of(entry, unfinished=unfinished, teachers=teachers)]
    if not refs:
        shared = (*runs_folder_leftovers(runs_dir), *trashed_runs(runs_dir), *cache_leftovers(cache_dir()))
        items += [Prunable(None, item) for item in shared]
    return entries, items


def _foreign(runs_dir: Path, entries: Iterable[RunEntry], refs: Sequence[str]) -> Iterator[Path]:
    """What a user may expect to be deleted but is not crild's: linked runs and folders, strangers among checkpoints."""
    from engine.record.inventory import foreign_trash, strangers_of
    from engine.record.states import IN_PROGRESS

    for entry in entries:
        if entry.path.is_symlink():
            yield entry.path
        elif entry.state not in IN_PROGRESS:
            yield from strangers_of(entry.path)
    if not refs:
        yield from foreign_trash(runs_dir)


def _hint(entries: Iterable[RunEntry]) -> str:
    from engine.record.inventory import checkpoints_of
    from engine.record.states import IN_PROGRESS

    unfinished = [entry for entry in entries if entry.state not in IN_PROGRESS and entry.state != "finished"]
    size = sum(item.bytes for entry in unfinished for item in checkpoints_of(entry.path))
    return f"; checkpoints of resumable runs take {formatting.size(size)} (--unfinished)" if size else ""


def _free(items: Iterable[Prunable]) -> int:
    """Delete, run by run under the run's lock; returns the bytes freed. Reports and skips what cannot be deleted."""
    from crild_tui.cli.disk_space import remove
    from engine.errors import CrildError
    from engine.record.lock import RunLock
    from engine.record.run import read_run
    from engine.record.states import IN_PROGRESS

    by_run: dict[Path | None, list[Removable]] = {}
    for item in items:
        by_run.setdefault(item.run, []).append(item.removable)
    freed = 0
    for run, of_run in by_run.items():
        try:
            if run is None:
                freed += remove(of_run)
                continue
            with RunLock(run) as lock:
                lock.take()
                if read_run(run).state not in IN_PROGRESS:  # it may have been resumed while the user was asked
                    freed += remove(of_run)
        except CrildError as error:
            terminal.say(f"skipped: {error.sentence}")
    return freed
