"""Commands that look at finished and present runs: runs, show, compare."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli.options import AsJson, Run, Runs, RunsDir


def runs(
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only runs in this state. Again for more.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="created, id, state, task, method, seed, last, best, teacher or progress; - before it turns the order.",
        ),
    ] = "-created",
    sweep: Annotated[str | None, typer.Option("--sweep", metavar="NAME", help="Only runs of this sweep.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """List the runs, the newest first.

    \b
    crild runs --state lost --state failed
    crild runs --sort -best
    """
    from crild_tui.cli.runs import list_table
    from engine.record.paths import runs_dir as folder_of

    list_table(folder_of(runs_dir), states=state or [], sort=sort, as_json=as_json, sweep=sweep)


def show(run: Run, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Show what a run reached: results, stages, settings, messages."""
    from crild_tui.cli.show import show_run
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    show_run(find_run(run, folder_of(runs_dir)), as_json=as_json)


def compare(runs: Runs, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Put runs side by side: metrics, and how their presets differ.

    \b
    crild compare rte-kd rte-crild
    """
    from crild_tui.cli.show import compare_runs
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    if len(runs) < 2:
        raise UsageError("compare takes two runs or more")
    folder = folder_of(runs_dir)
    compare_runs([find_run(ref, folder) for ref in runs], as_json=as_json)


COMMANDS = (runs, show, compare)
