"""What a run's student gets wrong, as sentences and tables that the command line prints and the dashboard shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crild_tui import text
from crild_tui.runs import formatting
from crild_tui.runs.tables import text_table
from engine.preset.text import one_line
from engine.report.error_tables import (
    WORST,
    class_table,
    confusion_sentence,
    error_notes,
    error_tables,
    query_lines,
    rows_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from engine.report.answered_rows import AnsweredRow
    from engine.report.query_errors import RankingErrors
    from engine.report.result_table import ResultTable
    from engine.report.student_errors import StudentErrors

LEAST = 30
"""Columns of a text below which it stands on a line of its own."""
GAP = 3
"""Columns between two columns of a table."""
LONGEST = 2000
"""Characters of a text that are looked at."""


def brief_parts(errors: StudentErrors, run_dir: Path, *, ascii_only: bool = False) -> Iterator[str | Table]:
    """The worst classes, calibration, and how often student and teacher disagree."""
    if errors.classes:
        yield from _table(class_table(errors, WORST), ascii_only=ascii_only)
    yield from _sentences(errors)
    yield f"to read the rows: {formatting.command('errors', run_dir)}"


def full_parts(
    errors: StudentErrors, *, most: int | None, width: int, mistakes: bool = False, ascii_only: bool = False
) -> Iterator[str | Table]:
    """All classes, all confusions, calibration, and, in `width` columns, disagreements (or `mistakes`, which are all there is
    without a teacher), the first `most` of them. Of a ranking, the first `most` queries come before its classes."""
    if errors.ranking is not None and not mistakes:
        yield from _sentences(errors)
        yield from _queries(errors.ranking, most, width)
        for table in error_tables(errors, most=None):
            yield ""
            yield from _table(table, ascii_only=ascii_only)
        return
    for table in error_tables(errors, most=None):
        yield from _table(table, ascii_only=ascii_only)
        yield ""
    yield from _sentences(errors)
    listed = errors.mistakes if mistakes or not errors.has_teacher else errors.disagreements
    if listed and most != 0:
        yield ""
        yield from _rows(errors, listed, most, width, ascii_only=ascii_only)
    left_out = 0 if most is None else len(listed) - most
    if left_out > 0:
        yield f"{left_out:,} more rows"
    if listed and not errors.has_texts:
        yield "this run saved no texts: it was made by an earlier version of crild"


def _queries(ranking: RankingErrors, most: int | None, width: int) -> Iterator[str]:
    """The queries that are ranked worst: a line for the query, one for its figures, one for each row that is shown."""
    worst = ranking.worst
    if ranking.queries and not worst:
        yield "every query is ranked perfectly"
    for query in worst[:most]:
        title, figures, rows = query_lines(query)
        yield ""
        yield text.shorten(one_line(title[:LONGEST]), width)
        yield f"    {', '.join(figures)}"
        yield from (f"    {name}: {text.shorten(one_line(row[:LONGEST]), width - len(name) - 6)}" for name, row in rows)
    left_out = 0 if most is None else len(worst) - most
    if left_out > 0:
        yield f"{left_out:,} more {'query' if left_out == 1 else 'queries'}"


def _rows(
    errors: StudentErrors, listed: Sequence[AnsweredRow], most: int | None, width: int, *, ascii_only: bool
) -> Iterator[str | Table]:
    """Rows with both answers: a table where there is room for texts next to the answers, else two lines for each row."""
    table = rows_table(errors, listed, most)
    cells = [[row.name[:LONGEST], *(cell.text for cell in row.cells)] for row in table.rows]
    headings = [table.row_heading, *(column.heading for column in table.columns)]
    answers = [max(map(text.cells, column)) for column in zip(headings, *cells, strict=True)][1:]
    room = width - sum(answers) - GAP * len(answers)
    if room >= LEAST:
        shortened = [[text.shorten(one_line(first), room), *rest] for first, *rest in cells]
        yield text_table([(heading, "left") for heading in headings], shortened, ascii_only=ascii_only)
        return
    for first, *rest in cells:
        yield "; ".join(f"{heading} {answer}" for heading, answer in zip(headings[1:], rest, strict=True))
        yield f"    {text.shorten(one_line(first), width - 4)}"


def _sentences(errors: StudentErrors) -> Iterator[str]:
    if (sentence := confusion_sentence(errors)) is not None:
        yield sentence
    yield from error_notes(errors)


def _table(table: ResultTable, *, ascii_only: bool) -> Iterator[str | Table]:
    if table.title:
        yield table.title
    sides = (("left" if column.words else "right") for column in table.columns)
    columns = [(table.row_heading, "left"), *zip((column.heading for column in table.columns), sides, strict=True)]
    rows = ([row.label, *(cell.text for cell in row.cells)] for row in table.rows)
    yield text_table(columns, rows, ascii_only=ascii_only)
