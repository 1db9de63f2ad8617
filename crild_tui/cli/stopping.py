"""`crild stop`: asking an engine to end, and waiting for its checkpoint."""

from __future__ import annotations

import time
from pathlib import Path

POLL = 0.1


def stop_run(run_dir: Path, *, kill: bool, patience: float) -> None:
    """Ask the engine of a run to stop, or end it at once; waits up to `patience` seconds and says what became of it.

    Raises UsageError when there is nothing to stop, RunError when the engine is out of reach.
    """
    from crild_tui import wording
    from crild_tui.cli import terminal
    from crild_tui.cli.follow.outcome import Outcome
    from engine.errors import UsageError
    from engine.launch import signals
    from engine.record.run import read_run
    from engine.record.status import WORKING

    entry = read_run(run_dir)
    if entry.state not in WORKING:
        raise UsageError(f"there is nothing to stop: {run_dir.name} is {entry.state}")
    (signals.kill if kill else signals.stop)(run_dir)
    if not kill and entry.state != "queued":
        terminal.say(f"{run_dir.name}: asked to stop at its next step with a checkpoint")
    until = time.monotonic() + patience
    while (entry := read_run(run_dir)).state in ("created", "queued", "running", "stopping"):
        if time.monotonic() > until:
            terminal.say(
                f"{run_dir.name} is still {entry.state}: it goes on stopping by itself; see {wording.command('attach', run_dir)}"
            )
            return
        time.sleep(POLL)
    for level, line in Outcome(run_dir, entry.state, entry.status).sentences():
        terminal.say(f"{run_dir.name}: {'' if level == 'info' else level + ': '}{line}")
