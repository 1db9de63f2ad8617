"""`crild note`: write a note on a run."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import Run, RunsDir


def note(
    run: Run,
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help='The note; "" removes it.', show_default=False)],
    runs_dir: RunsDir = None,
) -> None:
    """Write a note on a run; it replaces the previous one."""
    from engine.record.annotations import set_note
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    changed = set_note(run_dir, " ".join(text))
    terminal.say(f"{run_dir.name}: note {'written' if changed.note else 'removed'}")
