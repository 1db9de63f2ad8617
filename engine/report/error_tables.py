"""What a student gets wrong, as tables and sentences for reports, the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.preset.text import cut
from engine.report.answered_rows import RIGHT, AnsweredRow
from engine.report.query_errors import RankedQuery, RankingErrors
from engine.report.result_table import Cell, Column, ResultTable, Row, Section
from engine.report.student_errors import StudentErrors
from engine.report.units import metric

if TYPE_CHECKING:
    from engine.report.calibration import Calibration

LEAST = 0.05
"""The lowest temperature that is tried (`calibration.LOW`)."""
WORST = 10
"""Classes, or pairs of classes, that a short table shows: the worst."""


def error_tables(errors: StudentErrors, *, most: int | None = WORST) -> tuple[ResultTable, ...]:
    """The classes and the confusions as tables, in per cent; none of a regression.

    Of more than `most` classes only the worst by F1, and of their confusions the most frequent. Where a text can have several
    labels, there are no confusions; where labels mark entities, these are types.
    """
    if not errors.classes:
        return ()
    classes = class_table(errors, most)
    if not errors.matrix:
        return (classes, _pair_table(errors, most)) if errors.confusions else (classes,)
    return classes, _matrix_table(errors) if len(errors.names) <= WORST else _pair_table(errors, most)


def error_notes(errors: StudentErrors) -> list[str]:
    """Sentences on rankings, calibration and disagreements."""
    notes: list[str] = [] if errors.ranking is None else ranking_notes(errors.ranking)
    for name, found in (("student", errors.calibration), ("teacher", errors.teacher_calibration)):
        if found is not None:
            notes.append(_calibration_note(name, found))
    if not errors.has_teacher:
        if errors.student_error is not None:
            notes.append(f"mean absolute error: student {errors.student_error:.4f} ({errors.rows:,} rows)")
        notes.append(f"the file of answers lacks rows of {errors.split or 'dev'}, so the teacher has no figures")
        return notes
    if errors.student_error is not None and errors.teacher_error is not None:
        notes.append(
            f"mean absolute error: student {errors.student_error:.4f}, teacher {errors.teacher_error:.4f} "
            f"({errors.rows:,} rows)"
        )
        return notes
    counts = {right: sum(row.right == right for row in errors.disagreements) for right in RIGHT}
    notes.append(
        f"student and teacher disagree on {len(errors.disagreements):,} of {errors.rows:,} rows: the teacher is right on "
        f"{counts['teacher']:,}, the student on {counts['student']:,}, neither on {counts['neither']:,}"
    )
    return notes


def ranking_notes(ranking: RankingErrors) -> list[str]:
    """Sentences on how well queries are ranked."""
    notes = []
    for name, own, theirs in (
        ("mean reciprocal rank", ranking.mrr, ranking.teacher_mrr),
        ("mean nDCG@10", ranking.ndcg, ranking.teacher_ndcg),
    ):
        notes.append(f"{name}: student {metric(own)}{_of_teacher(theirs, ', teacher ')} ({_queries(ranking.queries)})")
    if ranking.without_relevant:
        notes.append(f"{_queries(ranking.without_relevant)} without a relevant row don't count")
    return notes


def query_lines(query: RankedQuery) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """A query; its figures; and the most relevant row and those above it, each as what it is and its text or id."""
    rank = f"{query.rank}-{query.rank + query.tied}" if query.tied else f"{query.rank}"
    figures = (
        f"rank {rank} of {query.rows:,}",
        f"RR {metric(query.reciprocal_rank)}{_of_teacher(query.teacher_reciprocal_rank, ' (teacher ', ')')}",
        f"nDCG {metric(query.ndcg)}{_of_teacher(query.teacher_ndcg, ' (teacher ', ')')}",
    )
    rows = [("right", query.best)]
    rows += [("above" if row.score > query.best.score else "tied", row) for row in query.above]
    title = f"query {query.group + 1}" if query.query is None else query.query
    return title, figures, tuple((name, row.id if row.text is None else row.text) for name, row in rows)


def _of_teacher(value: float | None, before: str, behind: str = "") -> str:
    return "" if value is None else f"{before}{metric(value)}{behind}"


def _queries(count: int) -> str:
    return "1 query" if count == 1 else f"{count:,} queries"


def confusion_sentence(errors: StudentErrors, most: int = 3) -> str | None:
    """The most frequent confusions in a sentence; None where there are two classes alone, or no mistakes."""
    if len(errors.names) < 3 or not errors.confusions:
        return None
    pairs = [
        f"{cut(pair.label, 20)} for {cut(pair.prediction, 20)} ({pair.rows:,})" for pair in errors.confusions[:most]
    ]
    return f"most frequent mistakes: takes {', '.join(pairs)}"


def _calibration_note(name: str, found: Calibration) -> str:
    note = f"{name}'s calibration error (ECE): {_percent(found.before)} %"
    if found.temperature is None or found.after is None:
        return f"{note} ({found.rows} rows are too few to fit a temperature)"
    limit = ", the least that is tried: nearly every answer is right" if found.temperature < 1.01 * LEAST else ""
    return f"{note}; {_percent(found.after)} % with one temperature ({found.temperature:.2f}{limit})"


def class_table(errors: StudentErrors, most: int | None = None) -> ResultTable:
    """Rows, precision, recall and F1 of each class, in per cent; of more than `most` classes the worst by F1."""
    pairs = list(zip(errors.classes, errors.teacher_classes or [None] * len(errors.classes), strict=True))
    shown_pairs = pairs
    if most is not None and len(pairs) > most:
        shown_pairs = sorted(pairs, key=lambda pair: (pair[0].f1 is None, pair[0].f1 or 0.0))[:most]
    rows = tuple(
        Row(
            own.name,
            (
                count_cell(own.rows),
                *map(share_cell, (own.precision, own.recall, own.f1)),
                *([] if theirs is None else [share_cell(theirs.f1)]),
            ),
        )
        for own, theirs in shown_pairs
    )
    left_out = len(pairs) - len(rows)
    title = "The student by class, in %" if not left_out else f"The {len(rows)} worst of {len(pairs)} classes, in %"
    figures = ("precision", "recall", "F1", *(["teacher's F1"] if errors.has_teacher else []))
    columns = (Column("rows", scores=False), *map(Column, figures))
    return ResultTable("class", columns, (Section("", rows),), name="Classes", title=title)


def _matrix_table(errors: StudentErrors) -> ResultTable:
    """The confusion matrix; classes are numbered where their names would make it wide."""
    numbered = sum(len(name) + 2 for name in errors.names) > 50
    labels = [f"{number} {name}" if numbered else name for number, name in enumerate(errors.names, 1)]
    headings = [str(number) for number in range(1, len(labels) + 1)] if numbered else labels
    rows = tuple(
        Row(label, tuple(map(count_cell, counts))) for label, counts in zip(labels, errors.matrix, strict=True)
    )
    title = "Rows by gold class (down) and the student's answer (across)"
    columns = tuple(Column(heading, scores=False) for heading in headings)
    return ResultTable("gold", columns, (Section("", rows),), name="Confusion matrix", title=title)


def _pair_table(errors: StudentErrors, most: int | None) -> ResultTable:
    pairs = errors.confusions[:most]
    rows = tuple(Row(pair.label, (Cell(pair.prediction), count_cell(pair.rows))) for pair in pairs)
    title = f"The {len(pairs)} most frequent of {len(errors.confusions)} confusions"
    columns = (Column("taken for", words=True), Column("rows", scores=False))
    return ResultTable("gold", columns, (Section("", rows),), name="Confusions", title=title)


def count_cell(count: int) -> Cell:
    """A number of rows."""
    return Cell(f"{count:,}", count)


def share_cell(value: float | None) -> Cell:
    """A share of 1 as metrics are written; a dash for an undefined one."""
    return Cell("-") if value is None else Cell(metric(value), value)


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def rows_table(errors: StudentErrors, listed: Sequence[AnsweredRow], most: int | None = None) -> ResultTable:
    """The first `most` of some rows: text (or id), gold label, and both answers (the student's alone without a teacher) with
    their probabilities."""
    rows = tuple(
        Row(
            _text(row),
            (
                Cell(_answer(row.label)),
                Cell(_answer(row.student, row.student_probability)),
                *([] if row.teacher is None else [Cell(_answer(row.teacher, row.teacher_probability))]),
            ),
        )
        for row in listed[:most]
    )
    names = ("gold", "student", *(["teacher"] if errors.has_teacher else []))
    columns = tuple(Column(name, words=True) for name in names)
    return ResultTable("text" if errors.has_texts else "id", columns, (Section("", rows),), name="Rows")


def _text(row: AnsweredRow) -> str:
    if row.text is None:
        return row.id
    return row.text.text if row.text.pair is None else f"{row.text.text} / {row.text.pair}"


def _answer(value: str | float, probability: float | None = None) -> str:
    word = value if isinstance(value, str) else f"{value:.4g}"
    return word if probability is None else f"{word} {probability:.2f}"
