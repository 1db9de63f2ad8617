"""The closing table of a finished run, printed: teacher, student and baselines, what was measured, the stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table


def closing_of(run_dir: Path) -> list[str | Table]:
    """The closing table of a run, in parts; empty, with a sentence on stderr, where its results cannot be read."""
    from crild_tui.runs.tables import closing_parts, read_closing
    from engine.errors import CrildError
    from engine.record.run import read_run

    try:
        closing = read_closing(run_dir)
    except CrildError as error:
        terminal.say(error.sentence)
        return []
    took = formatting.took(read_run(run_dir).status)
    return list(closing_parts(closing, run_dir, took, ascii_only=terminal.ascii_only()))
