"""Commands for a run that works or worked: stop, attach, logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from crild_tui.cli.options import Run, Runs, RunsDir

LOG_POLL = 0.3


def stop(
    runs: Runs,
    kill: Annotated[
        bool, typer.Option("--kill", help="End the whole process group at once, without a checkpoint.")
    ] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Ask a run, or every run of a sweep, to stop at its next step with a checkpoint.

    \b
    crild stop rte-crild             the beginning of an id is enough
    crild stop study                 a sweep, by its whole name
    crild stop rte-crild --kill      when it does not react
    """
    from crild_tui.cli.stop import stopping
    from engine.record.paths import runs_dir as folder_of

    folder = folder_of(runs_dir)
    for act in [stopping(ref, folder, kill=kill) for ref in runs]:
        act()


def attach(run: Run, runs_dir: RunsDir = None) -> None:
    """Show what a run has done so far, then follow it. Ctrl-C only turns away; the run goes on.

    The exit code is the run's when it ends meanwhile, and 0 when you turn away.
    """
    from crild_tui.cli.follow.attach import attach_run
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    raise typer.Exit(attach_run(find_run(run, folder_of(runs_dir))))


def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until the run ends.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Which start of the run, from 1. [default: the last]")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Print what the engine process of a run printed. Control characters are shown, not executed."""
    from crild_tui.cli.terminal import safe_lines
    from engine.errors import UsageError
    from engine.record.paths import log_files
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    files = log_files(run_dir)
    if attempt is not None and attempt not in files:
        known = ", ".join(map(str, files)) or "none yet"
        raise UsageError(f"{run_dir.name} has no log of attempt {attempt}; there are: {known}")
    if not files and not follow:
        raise UsageError(f"{run_dir.name} has no log yet: its engine was never started")
    for text in _log_text(run_dir, attempt, follow=follow):
        print(safe_lines(text), end="", flush=True)


def _log_text(run_dir: Path, attempt: int | None, *, follow: bool) -> Iterator[str]:
    """Pieces of the log; with `follow` until the run has ended and everything was read, over later attempts too."""
    import codecs

    from engine.record.paths import log_files
    from engine.record.run import read_run
    from engine.record.states import IN_PROGRESS

    offset, present = 0, attempt
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    while True:
        ended = read_run(run_dir).state not in IN_PROGRESS
        files = log_files(run_dir)
        newest = attempt or (max(files) if files else None)
        if newest != present:
            present, offset = newest, 0
        if present in files:
            with files[present].open("rb") as file:
                file.seek(offset)
                while chunk := file.read(2**20):
                    offset += len(chunk)
                    yield decoder.decode(chunk)
        if not follow or ended:
            yield decoder.decode(b"", final=True)
            return
        time.sleep(LOG_POLL)
