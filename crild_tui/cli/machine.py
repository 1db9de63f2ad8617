"""Commands about this machine: doctor."""

from __future__ import annotations

import typer

from crild_tui.cli.options import AsJson, RunsDir


def doctor(as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Say what this machine offers and what is missing.

    What is not good comes with what to do about it. The exit code is 1 when something is missing without which no run can work.
    """
    from crild_tui.cli.doctor import examine
    from engine.record.paths import runs_dir as folder_of

    raise typer.Exit(examine(folder_of(runs_dir), as_json=as_json))


COMMANDS = (doctor,)
