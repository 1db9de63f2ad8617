"""Which queries a student ranks worst."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crild_tui.runs.error_parts import full_parts
from engine.report.error_tables import error_notes
from engine.report.predictions import Answers, ModelAnswers, RowText
from engine.report.query_errors import RankingErrors, ranking_errors
from engine.report.row_file import queries_csv
from engine.report.student_errors import student_errors

LABELS = (0, 1, 0, 0, 1, 0, 2, 1, 0, 0)
GROUPS = (0, 0, 0, 1, 1, 1, 2, 2, 3, 3)
STUDENT = (0.9, 0.1, 0.5, 0.2, 0.8, 0.2, 0.3, 0.4, 0.1, 0.2)
"""Query 0: the right row is last of three; 1: first; 2: the one of 2 behind the one of 1; 3: no relevant row."""
TEACHER = (0.1, 0.9, 0.5, 0.2, 0.1, 0.2, 0.4, 0.3, 0.1, 0.2)


def write(run_dir: Path, model: str, scores: Sequence[float], *, classes: bool = False) -> None:
    folder = run_dir / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (label, group, score) in enumerate(zip(LABELS, GROUPS, scores, strict=True)):
        row: dict[str, Any] = {"id": f"dev-{index}", "group": group, "score": score}
        if classes:
            shares = {"no": 1 - score, "yes": score}
            row |= {"label": "yes" if label else "no", "prediction": max(shares, key=shares.__getitem__)}
            row["probabilities"] = shares
        else:
            row |= {"label": float(label), "prediction": round(score, 6)}
        lines.append(json.dumps(row))
    (folder / f"{model}.jsonl").write_text("\n".join(lines) + "\n")


def a_run(folder: Path, *, texts: bool = True, metric: str = "mrr", classes: bool = False) -> Path:
    run_dir = folder / "pairs-s1"
    write(run_dir, "student", STUDENT, classes=classes)
    write(run_dir, "teacher", TEACHER, classes=classes)
    (run_dir / "results.json").write_text(json.dumps({"metric": metric}))
    if texts:
        rows = [
            {"id": f"dev-{index}", "text": f"=query {group}", "pair": f"passage {index}"}
            for index, group in enumerate(GROUPS)
        ]
        (run_dir / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_dir


def ranking(run_dir: Path) -> RankingErrors:
    found = student_errors(run_dir).ranking
    assert found is not None
    return found


def lines(run_dir: Path, **words: Any) -> list[str]:
    parts = full_parts(student_errors(run_dir), **{"most": None, "width": 80, **words})
    return [part for part in parts if isinstance(part, str)]


def test_the_figures_by_hand(tmp_path: Path) -> None:
    found = ranking(a_run(tmp_path))
    assert (found.queries, found.without_relevant) == (3, 1)
    assert found.mrr == pytest.approx((1 / 3 + 1 + 1) / 3)
    graded = (1 + 2 / 1.5849625) / (2 + 1 / 1.5849625)
    assert found.ndcg == pytest.approx((1 / 2 + 1 + graded) / 3)
    # the teacher has both rows of query 1 at 0.2 above the right one
    assert found.teacher_mrr == pytest.approx((1 + 1 / 3 + 1) / 3)
    worst, graded_query = found.worst
    assert (worst.query, worst.rows, worst.relevant, worst.rank, worst.tied) == ("=query 0", 3, 1, 3, 0)
    assert worst.reciprocal_rank == pytest.approx(1 / 3)
    assert worst.teacher_reciprocal_rank == 1.0
    assert (worst.best.id, worst.best.text, worst.best.label) == ("dev-1", "passage 1", 1.0)
    assert [row.id for row in worst.above] == ["dev-0", "dev-2"]
    assert (graded_query.group, graded_query.reciprocal_rank, graded_query.rank) == (2, 1.0, 2)
    assert graded_query.ndcg == pytest.approx(graded)
    assert (graded_query.best.id, [row.id for row in graded_query.above]) == ("dev-6", ["dev-7"])


def test_equal_scores_are_ties(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    write(run_dir, "student", (0.5,) * 10)
    first = ranking(run_dir).worst[0]
    assert (first.rank, first.tied) == (1, 2)
    assert first.reciprocal_rank == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert any("rank 1-3 of 3" in line for line in lines(run_dir))
    assert sum("tied: " in line for line in lines(run_dir)) == 5


def model(scores: Sequence[float]) -> ModelAnswers:
    """Two queries of three rows: one relevant row; one of relevance 10 and one of 1."""
    labels, ids = (0.0, 1.0, 0.0, 10.0, 1.0, 0.0), tuple(f"dev-{index}" for index in range(6))
    return ModelAnswers(ids, Answers("x", (), labels, tuple(scores), (), (0, 0, 0, 1, 1, 1), tuple(scores)), ())


@pytest.mark.parametrize(("primary", "order"), [("mrr", [0, 1]), ("ndcg", [1, 0])])
def test_the_primary_metric_orders_queries(primary: str, order: list[int]) -> None:
    """RR 1/2 and nDCG 1/log₂3 = 0.63; RR 1 and nDCG (1 + 10/2) / (10 + 1/log₂3) = 0.56."""
    student = model((0.9, 0.5, 0.1, 0.1, 0.9, 0.5))
    assert [query.group for query in ranking_errors(student, None, {}, primary).worst] == order


@pytest.mark.parametrize("primary", ["mrr", "ndcg"])
def test_of_equals_those_that_the_teacher_ranks_best_come_first(tmp_path: Path, primary: str) -> None:
    run_dir = a_run(tmp_path, metric=primary)
    both = (*STUDENT[:3], 0.9, 0.1, 0.5, *STUDENT[6:])  # query 1 as bad as query 0
    write(run_dir, "student", both)
    assert [query.group for query in ranking(run_dir).worst] == [0, 1, 2]
    write(run_dir, "teacher", (0.9, 0.1, 0.5, 0.1, 0.9, 0.5, *TEACHER[6:]))
    assert [query.group for query in ranking(run_dir).worst] == [1, 0, 2]


@pytest.mark.parametrize("classes", [False, True])
def test_queries_are_printed_in_eighty_columns_with_what_stands_above(tmp_path: Path, classes: bool) -> None:
    run_dir = a_run(tmp_path, classes=classes)
    found = lines(run_dir, most=1)
    start = found.index("=query 0")
    assert found[start + 1 : start + 5] == [
        "    rank 3 of 3, RR 33.33 (teacher 100.00), nDCG 50.00 (teacher 100.00)",
        "    right: passage 1", "    above: passage 0", "    above: passage 2",
    ]  # fmt: skip
    assert (found[-1] == "1 more query") is not classes  # of two classes, both rows of query 2 are as relevant
    assert any("student 77.78, teacher 77.78 (3 queries)" in note for note in error_notes(student_errors(run_dir)))
    assert any("1 query without a relevant row" in note for note in found)
    long = a_run(tmp_path / "long")
    (long / "texts.jsonl").write_text(json.dumps({"id": "dev-0", "text": "q", "pair": "very long " * 40}) + "\n")
    assert any(line.startswith("    above: very long") for line in lines(long))
    assert all(len(line) <= 80 for line in lines(long) if line.startswith("    "))


def test_without_texts_rows_go_by_their_ids_and_without_mistakes_there_is_nothing_to_list(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path, texts=False)
    found = lines(run_dir)
    assert {"query 1", "    right: dev-1", "    above: dev-0"} <= set(found)
    write(run_dir, "student", LABELS)
    assert lines(run_dir)[-1] == "every query is ranked perfectly"


def test_mistakes_are_rows_as_of_any_task(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    assert not any("rank 3 of 3" in line for line in lines(run_dir, mistakes=True))


def test_queries_as_csv_and_json(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    rows = list(csv.DictReader(io.StringIO(queries_csv(ranking(run_dir).worst))))
    assert (rows[0]["query"], rows[0]["rank"], rows[0]["right"]) == ("'=query 0", "3", "passage 1")
    assert [rows[0][f"above_{number}"] for number in (1, 2, 3)] == ["passage 0", "passage 2", ""]
    assert float(rows[0]["reciprocal_rank"]) == pytest.approx(1 / 3)
    document = student_errors(run_dir).to_dict()
    assert document["ranking"]["worst"][0]["above"][0]["id"] == "dev-0"
    assert student_errors(run_dir).to_dict(rows=False)["ranking"]["worst"] == 2


def test_a_teacher_without_answers_has_no_figures(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "predictions" / "teacher.jsonl").unlink()
    (run_dir / "results.json").write_text(json.dumps({"metric": "mrr", "teacher": None}))
    found = ranking(run_dir)
    assert (found.teacher_mrr, found.worst[0].teacher_ndcg) == (None, None)
    assert any("RR 33.33, nDCG 50.00" in line for line in lines(run_dir))


@pytest.mark.parametrize(
    ("pairs", "query", "best"),
    [
        ([("q", "a"), ("q", "b"), ("q", "c")], "q", "b"),
        ([("a", "q"), ("b", "q"), ("c", "q")], "q", "b"),
        ([("a", None), ("b", None), ("c", None)], None, "b"),
        ([("a", "x"), ("b", "y"), ("c", "z")], None, "b / y"),
    ],
)
def test_the_query_is_the_text_that_its_rows_share(pairs: Any, query: str | None, best: str) -> None:
    texts = {f"dev-{index}": RowText(*pair) for index, pair in enumerate(pairs)}
    first = ranking_errors(model((0.9, 0.5, 0.1, 0.9, 0.5, 0.1)), None, texts, "mrr").worst[0]
    assert (first.query, first.best.text) == (query, best)


def test_without_any_relevant_row_no_query_counts(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    for name in ("student", "teacher"):
        file = run_dir / "predictions" / f"{name}.jsonl"
        rows = [{**json.loads(line), "label": 0.0} for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = ranking(run_dir)
    assert (found.queries, found.without_relevant, found.mrr, found.teacher_ndcg, found.worst) == (0, 4, 0.0, 0.0, ())
    assert not any("perfectly" in line for line in lines(run_dir))
