"""Deleting files from disk for `crild delete`, `crild prune` and `crild cache clear`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table


def delete_after_asking(table: Table, question: str, *, yes: bool) -> bool:
    """Show what would be deleted and ask; returns the answer. Raises UsageError where nobody can be asked."""
    terminal.show(table)
    if terminal.confirm(question, yes=yes):
        return True
    terminal.say("nothing was deleted")
    return False


def remove(path: Path) -> bool:
    """Delete a file, a link or a folder; prints why when that fails."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        terminal.say(f"cannot delete {error.filename or path}: {error.strerror or error}")
        return False
    return True
