"""`crild attach`: summarise a run's history, then follow it until it ends or the user detaches."""

from __future__ import annotations

import signal

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import Run, RunsDir


def attach(run: Run, runs_dir: RunsDir = None) -> None:
    """Show what a run has done so far, then follow it. Press Ctrl-C to detach; the run keeps going.

    If the run ends while you are attached, its exit code is returned; if you detach, 0.
    """
    from crild_tui.cli.follow.controls import Controls
    from crild_tui.cli.follow.displays import display, run_view
    from crild_tui.cli.follow.foreground import report_end
    from crild_tui.cli.follow.loop import Follower
    from engine.launch.slurm_watch import settle
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run, read_run
    from engine.record.states import IN_PROGRESS

    run_dir = find_run(run, folder_of(runs_dir))
    settle(run_dir)
    state = read_run(run_dir).state
    terminal.say(f"run {run_dir.name}: {state}")
    if state in IN_PROGRESS:
        terminal.say("Press Ctrl-C to detach; the run keeps going.")
    with Controls((signal.SIGINT,)) as controls:
        follower = Follower(run_dir, display(run_view(run_dir.name)), controls, owner=False)
        follower.history()
        outcome = follower.go()
    report_end(outcome, quiet=False, as_json=False)
    raise typer.Exit(outcome.exit_code)
