"""`crild slurm`: what jobs of SLURM need, and what commands that submit them print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from crild_tui.cli import terminal
from crild_tui.runs import formatting

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Templates of SLURM jobs; crild run, crild sweep and crild search submit them with --slurm.",
)


@application.callback()
def slurm() -> None:
    """Templates of SLURM jobs; crild run, crild sweep and crild search submit them with --slurm."""


@application.command()
def template() -> None:
    """Print a commented template for SLURM jobs, to edit and use with --slurm-template.

    \b
    crild slurm template > ~/crild.slurm
    """
    from engine.launch.slurm_template import EXAMPLE

    for line in EXAMPLE.splitlines():
        terminal.sentence(line)


def print_submitted(runs: Sequence[Path], *, as_json: bool, quiet: bool) -> None:
    """Print the ids of runs that were submitted, and how to watch and cancel them."""
    from engine.record.run import read_run

    entries = [read_run(run) for run in runs]
    jobs = [entry.status.job if entry.status else None for entry in entries]
    if as_json:
        documents = [
            {"run": entry.id, "path": str(entry.path), "state": entry.state, "job": None if job is None else job.id}
            for entry, job in zip(entries, jobs, strict=True)
        ]
        terminal.show_json(documents[0] if len(documents) == 1 else documents)
        return
    for entry, job in zip(entries, jobs, strict=True):
        terminal.say(f"run {entry.id} in {entry.path.parent}: {job}", quiet=quiet)
    terminal.say(
        f"To watch it: {formatting.command('attach', runs[0])}; to cancel it: {formatting.command('stop', runs[0])}",
        quiet=quiet,
    )
    for entry in entries:
        terminal.sentence(entry.id)
