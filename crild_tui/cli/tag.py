"""`crild tag`: add tags to a run or remove them."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import tags as known_tags
from crild_tui.cli.options import Run, RunsDir


def tag(
    run: Run,
    tags: Annotated[
        list[str],
        typer.Argument(metavar="TAG...", help="Words without spaces.", autocompletion=known_tags, show_default=False),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags instead.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Add tags to a run, or remove them."""
    from engine.record.annotations import set_tags
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    changed = set_tags(run_dir, remove=tags) if remove else set_tags(run_dir, add=tags)
    terminal.say(f"{run_dir.name}: {'tags ' + ', '.join(changed.tags) if changed.tags else 'no tags'}")
