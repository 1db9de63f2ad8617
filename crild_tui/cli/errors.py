"""`crild errors`: what a run's student gets wrong, and where it disagrees with its teacher."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import endings, one_of
from crild_tui.cli.options import AsJson, Run, RunsDir

ROWS = 20
"""Rows that are printed unless --rows says otherwise."""


def errors(
    run: Run,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="SPLIT",
            help="test, or a further dev set such as dev_mismatched.",
            autocompletion=one_of("test", "dev_mismatched"),
        ),
    ] = None,
    mistakes: Annotated[
        bool,
        typer.Option(
            "--mistakes",
            help="List all rows that the student gets wrong, not those where the two disagree, and no queries.",
        ),
    ] = False,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Rows, or queries, to print.")] = ROWS,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write all these rows, or queries, to a file, as CSV.",
            autocompletion=endings(".csv"),
        ),
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show what a run's student gets wrong: by class, confusions, calibration, disagreements with the teacher; of a ranking, the
    queries that it ranks worst.

    \b
    crild errors tickets
    crild errors tickets --mistakes
    crild errors tickets -o disagreements.csv
    """
    from crild_tui.runs.error_parts import full_parts
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run
    from engine.report.student_errors import student_errors

    run_dir = find_run(run, folder_of(runs_dir))
    _check_ending(output)
    found = student_errors(run_dir, split)
    if output is not None:
        from crild_tui.runs.table_file import named_file, write_file
        from engine.report.row_file import queries_csv, rows_csv

        if found.ranking is not None and not mistakes:
            content = queries_csv(found.ranking.worst)
        else:
            content = rows_csv(found, found.mistakes if mistakes or not found.has_teacher else found.disagreements)
        terminal.say(write_file(named_file(output), content, overwrite=True))
    if as_json:
        terminal.show_json(found.to_dict())
    else:
        terminal.sentence(f"{run_dir.name}: {found.rows:,} rows of {split or 'dev'}")
        terminal.sentence()
        width = terminal.console(sys.stdout).width
        terminal.show_parts(
            full_parts(found, most=rows, width=width, mistakes=mistakes, ascii_only=terminal.ascii_only())
        )


def _check_ending(output: str | None) -> None:
    """Raise UsageError for a file that a spreadsheet would not take for CSV."""
    from engine.errors import UsageError
    from engine.preset.text import shown

    if output is not None and not output.lower().endswith(".csv"):
        sentence = f"the rows are written as CSV: {shown(output)} must end in .csv"
        raise UsageError(sentence, kind="disagreements-not-csv", key="--output")
