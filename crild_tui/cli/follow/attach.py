"""`crild attach`: the history of a run in summary, then what happens, until it ends or the person turns away."""

from __future__ import annotations

import signal
from pathlib import Path


def attach_run(run_dir: Path) -> int:
    """Show and follow a run that someone else started; returns the exit code. Ctrl-C only detaches."""
    from crild_tui.cli import terminal
    from crild_tui.cli.follow.controls import Controls
    from crild_tui.cli.follow.displays import narrator
    from crild_tui.cli.follow.loop import Follower, Mode
    from crild_tui.cli.run import tell_end
    from engine.record.run import read_run
    from engine.record.states import IN_PROGRESS

    entry = read_run(run_dir)
    live = entry.state in IN_PROGRESS
    terminal.say(f"run {run_dir.name}: {entry.state}")
    if live:
        terminal.say("Ctrl-C turns away; the run goes on.")
    with Controls((signal.SIGINT,)) as controls:
        follower = Follower(run_dir, narrator(run_dir.name), controls, Mode(owner=False))
        follower.history()
        outcome = follower.go()
    tell_end(outcome, quiet=False, as_json=False)
    return outcome.exit_code
