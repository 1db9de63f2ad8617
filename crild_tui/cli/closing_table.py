"""The closing table of a finished run, printed: teacher, student and baselines, what was measured, the stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.report.closing_table import ClosingTable


def closing_of(run_dir: Path) -> ClosingTable | None:
    """The closing table of a run; None, with a sentence on stderr, where it has no results that can be read."""
    from crild_tui.runs.tables import read_closing
    from engine.errors import CrildError

    try:
        return read_closing(run_dir)
    except CrildError as error:
        terminal.say(error.sentence)
        return None


def show_closing(closing: ClosingTable, run_dir: Path) -> None:
    """Print the closing table of a run."""
    from crild_tui.runs.tables import closing_parts

    terminal.show_parts(closing_parts(closing, run_dir, _took(run_dir), ascii_only=terminal.ascii_only()))


def _took(run_dir: Path) -> str | None:
    from engine.errors import CrildError
    from engine.record.run import read_status

    try:
        return formatting.took(read_status(run_dir))
    except CrildError:  # results alone say enough
        return None
