"""`crild resume`: which changes a run can take, and starting its engine again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crild_tui.cli.follow.controls import Controls
    from crild_tui.cli.run import Talk


def resume_run(run_dir: Path, changes: Sequence[str], *, detach: bool, as_json: bool, quiet: bool) -> int:
    """Change the preset of a run where that is allowed, start its engine again and follow it; returns the exit code."""
    from crild_tui.cli.run import Talk, foreground, start_and_follow
    from crild_tui.runs.resume import prepare

    entry = prepare(run_dir, changes)
    talk = Talk(quiet)
    with foreground() as controls:
        if entry.status is not None and entry.status.state == "queued":
            return _continue_queue(run_dir, talk, controls, detach=detach, as_json=as_json)
        talk.say(f"going on with {run_dir.name}: Ctrl-C stops it with a checkpoint")
        return start_and_follow(run_dir, controls, talk, detach=detach, as_json=as_json, resume=True)


def _continue_queue(run_dir: Path, talk: Talk, controls: Controls, *, detach: bool, as_json: bool) -> int:
    """A queued run whose queue was killed: the queue goes on, and the run has its turn in it."""
    from crild_tui.cli import terminal
    from crild_tui.cli.run import detached, end_document, follow, tell_end
    from engine.sweep.queue import continue_queue

    queue = continue_queue(run_dir)
    controls.release()
    talk.say(f"its queue had ended: it continues ({queue}), and {run_dir.name} gets its turn")
    if detach:
        detached([run_dir], as_json=as_json)
        return 0
    outcome = follow(run_dir, controls, quiet=talk.quiet)
    tell_end(outcome, quiet=talk.quiet, as_json=as_json)
    if as_json:
        terminal.show_json(end_document(outcome))
    return outcome.exit_code
