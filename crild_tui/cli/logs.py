"""`crild logs`: print what a run's engine process printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import Run, RunsDir

POLL_SECONDS = 0.3


def logs(
    run: Run,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing as the log grows, until the run ends.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Which attempt, from 1. [default: the last]")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Print the log of a run: what its engine process printed. Control characters are escaped."""
    from engine.errors import UsageError
    from engine.record.paths import log_files
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    files = log_files(run_dir)
    if attempt is not None and attempt not in files:
        known = ", ".join(map(str, files)) or "none yet"
        raise UsageError(f"{run_dir.name} has no log of attempt {attempt}; attempts: {known}", kind="unknown-attempt")
    if not files and not follow:
        raise UsageError(f"{run_dir.name} has no log yet: its engine was never started", kind="no-log")
    for text in _log_text(run_dir, attempt, follow=follow):
        print(terminal.safe_lines(text), end="", flush=True)


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
            with _opened(files[present]) as file:
                file.seek(offset)
                while chunk := file.read(2**20):
                    offset += len(chunk)
                    yield decoder.decode(chunk)
        if not follow or ended:
            yield decoder.decode(b"", final=True)
            return
        time.sleep(POLL_SECONDS)


def _opened(path: Path) -> BinaryIO:
    """A log, open for reading. Raises RunError when it cannot be, or is a pipe or device."""
    from engine.errors import RunError
    from engine.preset.regular_file import open_regular
    from engine.record.files import cause

    try:
        return open_regular(path)
    except OSError as error:
        raise RunError(f"cannot read the log: {cause(error)}", kind="unreadable-log", file=str(path)) from error
