"""`crild cache`: show and clear what is cached between runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import cache_kinds
from crild_tui.cli.options import AsJson, Yes
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.inventory import Removable

DAY = 86_400.0

application = typer.Typer(rich_markup_mode=None, add_completion=False)


@application.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """Show and clear what runs share: fine-tuned teachers, tokenised data."""
    if context.invoked_subcommand is None:
        show()


@application.command("show")
def show(as_json: AsJson = False) -> None:
    """Show what the cache holds: how much, how old, where."""
    from engine.record.paths import cache_dir

    items = _cached()
    if as_json:
        listed = [{"kind": i.kind, "path": str(i.removable.path), "bytes": i.bytes, "used": i.used} for i in items]
        terminal.show_json({"cache_dir": str(cache_dir()), "entries": listed, "bytes": sum(i.bytes for i in items)})
        return
    terminal.say(f"cache: {cache_dir()}")
    if items:
        terminal.show(_table(items))
    else:
        terminal.say("it is empty")


@application.command("clear")
def clear(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND]...",
            help="Folders of the cache, such as teachers or tokens. [default: all]",
            autocompletion=cache_kinds,
            show_default=False,
        ),
    ] = None,
    older: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was not used for this long.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete cached files; runs create them again when needed. Asks first."""
    from crild_tui.cli.disk_space import delete_after_asking, remove
    from engine.errors import UsageError
    from engine.record.inventory import mixed_teachers
    from engine.record.paths import cache_dir

    for path in mixed_teachers(cache_dir()) if not kinds or "teachers" in kinds else ():
        terminal.say(f"skipped, holds files that crild did not write: {path}")
    items = _cached()
    known = sorted({item.kind for item in items})
    for kind in kinds or ():
        if kind not in known:
            sentence = f"the cache holds no {kind!r}; it holds: {', '.join(known) or 'nothing'}"
            raise UsageError(sentence, kind="unknown-cache-kind")
    now = time.time()
    doomed = [
        item
        for item in items
        if (not kinds or item.kind in kinds) and (older is None or now - item.used >= older * DAY)
    ]
    if not doomed:
        terminal.say("nothing to delete")
        return
    total = formatting.size(sum(item.bytes for item in doomed))
    effects = "A run that is reading it would fail"
    if any(item.kind == "teachers" for item in doomed):
        effects += "; finished runs keep their students and results, but their links to these teachers become empty"
    if delete_after_asking(_table(doomed), f"Delete {total}? {effects}", yes=yes):
        freed = remove(item.removable for item in doomed)
        terminal.say(f"freed {formatting.size(freed)}")


@dataclass(frozen=True)
class Cached:
    """One entry of the cache, and when it was last used."""

    removable: Removable
    used: float

    @property
    def kind(self) -> str:
        """The folder that holds it."""
        return self.removable.names[0]

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.removable.bytes


def _cached() -> list[Cached]:
    """What the cache holds: entries and leftovers of crild's alone. Raises UsageError when it cannot be looked into."""
    from engine.record.inventory import cache_leftovers, cached
    from engine.record.paths import cache_dir

    _check_folder(cache_dir())
    return [Cached(item, _last_used(item.path)) for item in (*cached(cache_dir()), *cache_leftovers(cache_dir()))]


def _check_folder(cache: Path) -> None:
    from engine.errors import UsageError
    from engine.record.files import cause

    try:
        next(cache.iterdir(), None)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        sentence = f"the cache {str(cache)!r} is not a folder: set CRILD_CACHE_DIR to one"
        raise UsageError(sentence, kind="cache-not-a-folder") from None
    except OSError as error:
        raise UsageError(
            f"the cache {str(cache)!r} cannot be listed: {cause(error)}", kind="unreadable-cache"
        ) from error


def _last_used(path: Path) -> float:
    """When a file, or any file of a folder, was last read or written: a folder's own time changes when it is listed."""
    times = [0.0]
    for file in path.iterdir() if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            status = file.lstat()
            times.append(max(status.st_mtime, status.st_atime))
    return max(times)


def _table(items: Sequence[Cached]) -> Table:
    """A row for each kind."""

    now = time.time()
    rows = []
    for kind in sorted({item.kind for item in items}):
        of_kind = [item for item in items if item.kind == kind]
        rows.append(
            (
                kind,
                str(len(of_kind)),
                formatting.size(sum(item.bytes for item in of_kind)),
                formatting.age(now - max(item.used for item in of_kind)),
                formatting.age(now - min(item.used for item in of_kind)),
            )
        )
    columns = [("kind", "left"), ("number", "right"), ("size", "right"), ("last used", "right"), ("oldest", "right")]
    return terminal.table(columns, rows)
