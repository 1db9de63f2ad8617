"""`crild events`: the events of a run as a table, for a spreadsheet or a notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import endings, event_kinds, one_of
from crild_tui.cli.options import Run, RunsDir

FORMATS = {"csv": ".csv", "parquet": ".parquet"}


def events(
    run: Run,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="csv or parquet. [default: by the file's name, else csv]",
            autocompletion=one_of(*FORMATS),
        ),
    ] = None,
    kinds: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND,KIND", help="step, evaluation, ...; all for every kind.", autocompletion=event_kinds
        ),
    ] = "step,evaluation",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file. [default: CSV on stdout]",
            autocompletion=endings(*FORMATS.values()),
        ),
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write a run's events as a table: a row for each, a column for each figure.

    What a resumed run has repeated is in it once. Columns and kinds are explained
    in the reference of events.

    \b
    crild events tickets > curves.csv
    crild events tickets --kind evaluation -o evaluations.parquet
    """
    from crild_tui.runs.event_kinds import known_kinds
    from engine.record.event_table import write_csv
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    names = [word.strip() for word in kinds.split(",")]
    form, wanted = _format(to, output), None if names == ["all"] else known_kinds(names)
    if output is None:
        write_csv(run_dir, wanted, sys.stdout)
        return
    terminal.say(_written(run_dir, wanted, form, output))


def _format(to: str | None, output: str | None) -> str:
    """The format. Raises UsageError for an unknown one, and for Parquet without a file."""
    from engine.errors import UsageError

    ending = None if output is None else Path(output.strip()).suffix.lower()
    by_ending = next((name for name, own in FORMATS.items() if own == ending), None)
    form = to or by_ending or ("csv" if output is None else None)
    if form not in FORMATS:
        what = f"--to {to!r}" if to else f"-o {output!r}"
        raise UsageError(f"{what}: the formats are csv and parquet", kind="unknown-format", key="--to")
    if form == "parquet" and output is None:
        raise UsageError("Parquet needs a file: name one with -o", kind="parquet-without-file", key="--output")
    return form


def _written(run_dir: Path, kinds: frozenset[str] | None, form: str, output: str) -> str:
    """Write the file, whole or not at all; returns the sentence to show."""
    import os

    from crild_tui.runs.table_file import named_file
    from engine.errors import UsageError
    from engine.record.event_table import write_csv, write_parquet
    from engine.record.files import cause, replacement

    path = named_file(output)
    try:
        with replacement(path) as handle:
            if form == "csv":
                with os.fdopen(os.dup(handle), "w", encoding="utf-8", newline="") as file:
                    count = write_csv(run_dir, kinds, file)
            else:
                count = write_parquet(run_dir, kinds, f"/dev/fd/{handle}")
    except OSError as error:
        raise UsageError(f"cannot be written: {cause(error)}", kind="unwritable-file", file=str(path)) from error
    return f"{count:,} events written to {path}"
