"""`crild delete`: delete whole runs."""

from __future__ import annotations

from crild_tui.cli import terminal
from crild_tui.cli.options import Runs, RunsDir, Yes
from crild_tui.runs import formatting


def delete(runs: Runs, yes: Yes = False, runs_dir: RunsDir = None) -> None:
    """Delete whole runs, including their students and results. Asks first, and refuses if one of them is running or queued."""
    from crild_tui.cli.disk_space import delete_after_asking
    from engine.errors import UsageError
    from engine.record.inventory import size_of
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_deletable, delete_run, find_run, read_run
    from engine.record.states import IN_PROGRESS

    folder = folder_of(runs_dir)
    run_dirs = [find_run(ref, folder) for ref in runs]
    for run_dir in run_dirs:
        if (state := read_run(run_dir).state) in IN_PROGRESS - {"created"}:
            sentence = f"{run_dir.name} is {state}: stop it first (crild stop {run_dir.name})"
            raise UsageError(sentence, kind="run-is-active")
        check_deletable(run_dir)
    rows = [(run_dir.name, formatting.size(size_of(run_dir))) for run_dir in run_dirs]
    table = terminal.table([("run", "left"), ("size", "right")], rows)
    if delete_after_asking(table, f"Delete {formatting.plural(len(run_dirs), 'run')} permanently?", yes=yes):
        for run_dir in run_dirs:
            delete_run(run_dir)
            terminal.say(f"deleted {run_dir.name}")
