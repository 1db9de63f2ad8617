"""Rows with the answers of student and teacher, or queries with their ranks, as a CSV file for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from engine.record.paths import STUDENT, TEACHER
from engine.report.answered_rows import AnsweredRow
from engine.report.predictions import RowText
from engine.report.query_errors import MOST_ABOVE, RankedQuery
from engine.report.student_errors import StudentErrors
from engine.report.writers import csv_text

MOST_COLUMNS = 20
"""Classes up to which the file has a column for each one's probability."""


def rows_csv(errors: StudentErrors, listed: Sequence[AnsweredRow]) -> str:
    """Some rows as CSV, with both models' probabilities; no cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    paired = any(row.text is not None and row.text.pair is not None for row in listed)
    has_shares = any(row.student_shares for row in listed)
    classes = errors.names if has_shares and len(errors.names) <= MOST_COLUMNS else ()
    writer.writerow(_csv_names(classes, paired=paired, scores=not errors.names))
    writer.writerows(_csv_row(row, classes, paired=paired, scores=not errors.names) for row in listed)
    return out.getvalue()


def queries_csv(worst: Sequence[RankedQuery]) -> str:
    """Queries as CSV, with their ranks, the most relevant row and those above it; no cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("reciprocal_rank", "ndcg", "teacher_reciprocal_rank", "teacher_ndcg")
    above = [f"above_{number}" for number in range(1, MOST_ABOVE + 1)]
    writer.writerow(["query", "rows", "relevant", *figures, "rank", "tied", "right_id", "right", *above])
    for query in worst:
        rows = [csv_text(row.id if row.text is None else row.text) for row in (query.best, *query.above)]
        writer.writerow([
            csv_text(query.query or f"query {query.group + 1}"), query.rows, query.relevant,
            *(_number(getattr(query, name)) for name in figures), query.rank, query.tied, csv_text(query.best.id), *rows,
            *[""] * (1 + MOST_ABOVE - len(rows)),
        ])  # fmt: skip
    return out.getvalue()


def _csv_names(classes: Sequence[str], *, paired: bool, scores: bool) -> list[str]:
    names = ["id", "text", *(["pair"] if paired else []), "label", "student", "teacher"]
    if scores:
        return names
    names += ["student_probability", "teacher_probability", "right"]
    return [*names, *(csv_text(f"{model} {name}") for model in (STUDENT, TEACHER) for name in classes)]


def _csv_row(row: AnsweredRow, classes: Sequence[str], *, paired: bool, scores: bool) -> Iterator[str]:
    text = row.text or RowText("")
    yield from map(csv_text, (row.id, text.text))
    if paired:
        yield csv_text(text.pair or "")
    for value in (row.label, row.student, row.teacher):
        yield csv_text(value) if isinstance(value, str) else _number(value)
    if scores:
        return
    yield from map(_number, (row.student_probability, row.teacher_probability))
    yield row.right or ""
    if classes:
        yield from map(_number, (*row.student_shares, *(row.teacher_shares or [None] * len(classes))))


def _number(value: float | None) -> str:
    """A number; nothing where the teacher has no answer."""
    return "" if value is None else repr(value)
