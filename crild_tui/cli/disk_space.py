"""Deleting files from disk for `crild delete`, `crild prune` and `crild cache clear`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.inventory import Removable


def delete_after_asking(table: Table, question: str, *, yes: bool) -> bool:
    """Show what would be deleted and ask; returns the answer. Raises UsageError where nobody can be asked."""
    terminal.show(table)
    if terminal.confirm(question, yes=yes):
        return True
    terminal.say("nothing was deleted")
    return False


def remove(items: Iterable[Removable]) -> int:
    """Delete what still is crild's; returns the bytes freed. Prints what was left, and why."""
    freed = 0
    for item in items:
        try:
            removed = item.remove()
        except OSError as error:
            terminal.say(f"cannot delete {item.path}: {error.strerror or error}")
        else:
            if removed:
                freed += item.bytes
            else:
                terminal.say(f"left as it is: {item.path} changed, is in use, or holds files that are not crild's")
    return freed


def path_table(items: Iterable[Removable], folder: Path) -> Table:
    """A row for each path, relative to the folder where it is in there."""
    rows = []
    for item in items:
        inside = item.path.is_relative_to(folder)
        path = item.path.relative_to(folder) if inside else item.path
        rows.append((item.what, formatting.size(item.bytes), str(path)))
    return terminal.table([("what", "left"), ("size", "right"), ("path", "left")], rows)
