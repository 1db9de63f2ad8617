"""Which queries a student ranks worst, where rows are ranked (`task.columns.group`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean

from engine.preset.kinds import RANKINGS
from engine.report.predictions import Answers, ModelAnswers, RowText

MOST_ABOVE = 3
"""Rows above the right one that are kept."""
_NONE = (None, None)
"""The figures of a teacher that doesn't answer these rows."""
_PERFECT = 1 - 1e-9
"""A metric above this is 1 but for rounding."""


@dataclass(frozen=True)
class RankedRow:
    """A row of a query: its text without that which is the query's, and what it is ranked by."""

    id: str
    text: str | None
    label: str | float
    score: float


@dataclass(frozen=True)
class RankedQuery:
    """How a query's rows are ranked.

    `query` is the text that all its rows share, None where there is none. `best` is the most relevant row, of several the one that
    the student ranks first; `rank` is its rank, and `tied` how many less relevant rows have the same score, so that its rank may be
    that much lower. `above` are the first rows that stand above it, or have the same score.
    """

    query: str | None
    group: int
    rows: int
    relevant: int
    reciprocal_rank: float
    ndcg: float
    teacher_reciprocal_rank: float | None
    teacher_ndcg: float | None
    rank: int
    tied: int
    best: RankedRow
    above: tuple[RankedRow, ...]


@dataclass(frozen=True)
class RankingErrors:
    """How a student ranks the rows of each query.

    Figures are means, as the metrics `mrr` and `ndcg`, over the `queries` with a relevant row; `without_relevant` counts the others.
    `worst` are the queries that are not ranked perfectly, the lowest primary metric first; of equals, those that the teacher ranks
    best.
    """

    queries: int
    without_relevant: int
    mrr: float
    ndcg: float
    teacher_mrr: float | None
    teacher_ndcg: float | None
    worst: tuple[RankedQuery, ...]


def ranking_errors(
    student: ModelAnswers, teacher: ModelAnswers | None, texts: Mapping[str, RowText], primary: str
) -> RankingErrors:
    """How well the queries of a dev set are ranked; `primary` is the metric that orders them, mrr unless it is ndcg. `teacher` is None
    where it doesn't answer these rows."""
    rows_of: dict[int, list[int]] = {}
    for row, group in enumerate(student.answers.groups):
        rows_of.setdefault(group, []).append(row)
    own = _figures(student.answers)
    theirs = None if teacher is None or not teacher.answers.groups else _figures(teacher.answers)
    counted = [group for group in rows_of if not isnan(own[group][0])]
    queries = [
        _query(student, rows_of[group], texts, own[group], _NONE if theirs is None else theirs[group])
        for group in counted
    ]
    worst = [query for query in queries if min(query.reciprocal_rank, query.ndcg) < _PERFECT]
    means = _means([own[group] for group in counted])
    teachers = _NONE if theirs is None else _means([theirs[group] for group in counted])
    return RankingErrors(
        len(counted), len(rows_of) - len(counted), means[0], means[1], teachers[0], teachers[1],
        tuple(sorted(worst, key=_by_ndcg if primary == "ndcg" else _by_rank)),
    )  # fmt: skip


def _by_rank(query: RankedQuery) -> tuple[float, ...]:
    return query.reciprocal_rank, -(query.teacher_reciprocal_rank or 0.0), query.ndcg


def _by_ndcg(query: RankedQuery) -> tuple[float, ...]:
    return query.ndcg, -(query.teacher_ndcg or 0.0), query.reciprocal_rank


def _figures(answers: Answers) -> dict[int, tuple[float, float]]:
    """Reciprocal rank and nDCG of each query; NaN of one without a relevant row."""
    from engine.record.rankings import by_group  # numpy

    mrr, ndcg = (by_group(metric, answers.scores, answers.labels, answers.groups).tolist() for metric in RANKINGS)
    return dict(zip(sorted(set(answers.groups)), zip(mrr, ndcg, strict=True), strict=True))


def _means(figures: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The means of both; 0 where no query counts, as the metrics are."""
    if not figures:
        return 0.0, 0.0
    return fmean(mrr for mrr, _ in figures), fmean(ndcg for _, ndcg in figures)


def _query(
    student: ModelAnswers,
    rows: Sequence[int],
    texts: Mapping[str, RowText],
    own: tuple[float, float],
    theirs: tuple[float | None, float | None],
) -> RankedQuery:
    labels, scores = student.answers.labels, student.answers.scores
    order = sorted(rows, key=lambda row: -scores[row])
    highest = max(labels[row] for row in rows)
    best = next(row for row in order if labels[row] == highest)
    above = [row for row in order if scores[row] >= scores[best] and labels[row] < highest]
    query, passages = _texts([texts.get(student.ids[row]) for row in rows])
    text_of = dict(zip(rows, passages, strict=True))
    names = student.answers.classes

    def ranked(row: int) -> RankedRow:
        label = names[int(labels[row])] if names else labels[row]
        return RankedRow(student.ids[row], text_of[row], label, scores[row])

    higher = sum(scores[row] > scores[best] for row in above)
    return RankedQuery(
        query, student.answers.groups[best], len(rows), sum(labels[row] > 0 for row in rows),
        own[0], own[1], theirs[0], theirs[1], higher + 1, len(above) - higher, ranked(best), tuple(map(ranked, above[:MOST_ABOVE])),
    )  # fmt: skip


def _texts(found: Sequence[RowText | None]) -> tuple[str | None, list[str | None]]:
    """The text that the rows of a query share (the first one's, of a single pair), and the rest of each row."""
    known = [text for text in found if text is not None]
    if not known or any(text.pair is None for text in known):
        return None, [None if text is None else text.text for text in found]
    if len({text.text for text in known}) == 1:
        return known[0].text, [None if text is None else text.pair for text in found]
    if len({text.pair for text in known}) == 1:
        return known[0].pair, [None if text is None else text.text for text in found]
    return None, [None if text is None else f"{text.text} / {text.pair}" for text in found]
