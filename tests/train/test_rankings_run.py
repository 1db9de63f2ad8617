"""A run that learns to rank, from the file to the student."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score
from transformers import pipeline

from engine.report.predictions import read_answers
from engine.report.significance import score as score_of
from engine.report.student_errors import student_errors
from tests.train import tiny_run
from tests.train.test_prediction import read_csv


def write_task(folder: Path, queries: int = 16, dev: int = 8) -> None:
    """A query of good or bad words; passages of the same kind are relevant."""
    draw = random.Random(0)
    for name, count in (("train", queries), ("dev", dev)):
        lines = ["query,passage,relevance"]
        for number in range(count):
            own, other = (tiny_run.GOOD, tiny_run.BAD) if number % 2 else (tiny_run.BAD, tiny_run.GOOD)
            query = " ".join(draw.sample(own, 3))
            passages = [(own, 1.5), *[(other, 0.0)] * 3]
            lines += [f"{query},{' '.join(draw.sample(words, 3))},{relevance}" for words, relevance in passages]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def test_a_reranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", tiny_run.unmeasured)
    columns = 'columns = { text = "query", pair = "passage", label = "relevance", group = "query" }'
    text = tiny_run.materials(tmp_path, labels=1).replace('kind = "classification"', f'kind = "regression"\n{columns}')
    write_task(tmp_path)
    run_dir = tiny_run.make(tmp_path, text, "teacher.finetune.epochs=2", "train.evaluate_train=10")
    results = tiny_run.work(run_dir)
    assert results is not None
    found = results["student"]["metrics"]
    assert list(found) == ["mrr", "ndcg"]
    assert results["majority"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    rows = read_csv(tmp_path / "dev.csv")
    score = pipeline("text-classification", model=str(run_dir / "student"), device="cpu", function_to_apply="none")
    scores = np.array(
        [one["score"] for one in score([{"text": row["query"], "text_pair": row["passage"]} for row in rows])]
    )
    gold = np.array([float(row["relevance"]) for row in rows])
    ideal = ndcg_score(gold.reshape(8, 4), scores.reshape(8, 4), k=10)
    assert found["ndcg"] == pytest.approx(ideal, abs=1e-6)
    ranks = [1 + int((own > own[0]).sum()) for own in scores.reshape(8, 4)]
    assert found["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-6)
    lines = (run_dir / "predictions" / "student.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == pytest.approx(scores.tolist(), abs=2e-6)
    assert [json.loads(line)["group"] for line in lines] == [row // 4 for row in range(32)]
    for metric, value in found.items():  # as reports compute it again
        assert score_of(metric, read_answers(run_dir)) == pytest.approx(value, abs=1e-9)
    by_query = student_errors(run_dir).ranking
    assert by_query is not None
    assert by_query.queries == 8
    assert by_query.mrr == pytest.approx(found["mrr"])
    assert by_query.teacher_ndcg == pytest.approx(results["teacher"]["metrics"]["ndcg"])
    assert [query.rank for query in by_query.worst] == sorted((rank for rank in ranks if rank > 1), reverse=True)
    assert {query.query for query in by_query.worst} <= {row["query"] for row in rows}
