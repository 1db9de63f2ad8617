"""Rankings of the rows of each query: mrr and ndcg."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from engine.data.examples import Examples
from engine.data.load import load_task
from engine.data.subset import few_samples
from engine.data.types import TaskData, TaskSpec
from engine.errors import DataError
from engine.evaluate.metrics import compute, majority
from engine.preset.schema import Columns, Files, Task
from engine.record.rankings import CUT, RANKED

mrr, ndcg = RANKED["mrr"], RANKED["ndcg"]

QUERIES = np.array([0, 0, 0, 1, 1, 1, 2, 2])
RELEVANT = np.array([0, 1, 0, 1, 0, 1, 0, 0])
SCORES = np.array([0.9, 0.5, 0.1, 0.3, 0.2, 0.1, 0.4, 0.6])


def test_both_by_hand() -> None:
    """The first relevant row of query 0 is second, of query 1 first and third; query 2 has none and doesn't count."""
    assert mrr(SCORES, RELEVANT, QUERIES) == pytest.approx((1 / 2 + 1) / 2)
    first = (1 / np.log2(3)) / 1
    second = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert ndcg(SCORES, RELEVANT, QUERIES) == pytest.approx((first + second) / 2)


def test_the_order_of_the_rows_makes_no_difference() -> None:
    order = np.random.default_rng(0).permutation(len(QUERIES))
    for metric in (mrr, ndcg):
        assert metric(SCORES[order], RELEVANT[order], QUERIES[order]) == pytest.approx(
            metric(SCORES, RELEVANT, QUERIES)
        )


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_that_of_scikit_learn_also_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, scores = random.integers(0, 4, 25).astype(float), random.integers(0, 6, 25).astype(float)
    assert ndcg(scores, labels, np.zeros(25)) == pytest.approx(ndcg_score([labels], [scores], k=CUT))


@pytest.mark.parametrize("scores", [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1), (0, 3, 1, 1)])
def test_mrr_with_ties_is_the_mean_over_their_orders(scores: tuple[int, ...]) -> None:
    labels = np.array([0, 0, 1, 1])
    found = []
    for order in itertools.permutations(range(4)):
        ranked = sorted(order, key=lambda row: -scores[row])
        found.append(1 / (1 + next(place for place, row in enumerate(ranked) if labels[row])))
    assert mrr(np.array(scores), labels, np.zeros(4)) == pytest.approx(np.mean(found))


def test_without_a_relevant_row_anywhere_there_is_nothing_to_rank() -> None:
    assert mrr(SCORES, np.zeros(8), QUERIES) == ndcg(SCORES, np.zeros(8), QUERIES) == 0.0


def test_scores_that_are_no_numbers_come_last() -> None:
    assert mrr(np.array([np.nan, 0.0, -5.0]), np.array([1, 0, 0]), np.zeros(3)) == pytest.approx(1 / 3)


def spec(kind: Any, labels: tuple[str, ...] = ()) -> TaskSpec:
    return TaskSpec("t", kind, labels, ("mrr", "ndcg"), is_pair=True)


def test_two_classes_are_ranked_by_how_far_the_second_is_above_the_first() -> None:
    logits = np.stack([np.full(8, 5.0), 5.0 + SCORES], axis=1) + np.arange(8)[:, None]
    expected = compute(spec("regression"), SCORES[:, None], RELEVANT, QUERIES)
    assert compute(spec("classification", ("no", "yes")), logits, RELEVANT, QUERIES) == pytest.approx(expected)
    assert expected["mrr"] == pytest.approx(0.75)
    with pytest.raises(ValueError, match="group"):
        compute(spec("regression"), SCORES, RELEVANT)


def test_the_majority_guess_is_a_random_order() -> None:
    found = majority(spec("classification", ("no", "yes")), RELEVANT, RELEVANT, QUERIES)
    assert found["mrr"] == pytest.approx(((1 + 1 / 2 + 1 / 3) / 3 + (2 / 3 + 1 / 3 / 2)) / 2)


# -- data


def task(folder: Path, *rows: str, **words: Any) -> Task:
    (folder / "train.csv").write_text("query,passage,label\n" + "".join(f"{row}\n" for row in rows))
    columns = Columns(text="query", pair="passage", group="query")
    words = {"kind": "regression", "files": Files(train=str(folder / "train.csv")), "columns": columns, **words}
    return Task(name="custom", **words)


def many(folder: Path, **words: Any) -> TaskData:
    return load_task(task(folder, *(f"q{n % 20},p{n},{int(n // 20 == n % 5)}" for n in range(100)), **words))


def queries(rows: Any) -> set[str]:
    return {row.text for row in rows}


def test_a_query_is_in_train_or_in_dev(tmp_path: Path) -> None:
    data = many(tmp_path)
    assert data.spec.metrics == ("mrr", "ndcg")
    assert (len(queries(data.train)), len(queries(data.dev["dev"]))) == (16, 4)
    assert not queries(data.train) & queries(data.dev["dev"])
    groups = Examples.of(data.dev["dev"]).groups
    assert groups is not None
    assert len({(row.text, group) for row, group in zip(data.dev["dev"], groups.tolist(), strict=True)}) == 4
    assert any("staying together" in note for note in data.notes)


def test_a_subset_has_whole_queries(tmp_path: Path) -> None:
    drawn = few_samples(many(tmp_path).train, 33, seed=0)
    counts = [sum(row.text == name for row in drawn) for name in queries(drawn)]
    assert sorted(counts) == [3, *[5] * 6]


def test_queries_without_a_relevant_row_are_counted(tmp_path: Path) -> None:
    data = load_task(task(tmp_path, "a,x,1", "a,y,0", "b,x,0", "b,z,0", "c,x,2.5"))
    assert any("3 queries" in note and "one has no relevant row" in note for note in data.notes)


@pytest.mark.parametrize(
    ("rows", "words", "kind"),
    [
        (["a,x,1", "b,y,-1", "c,z,0"], {}, "negative-relevance"),
        (["a,x,1", ",y,1", "c,z,0"], {}, "missing-group"),
        (["a,x,u", "b,y,v", "c,z,w", "d,x,u", "e,y,v", "f,z,w"], {"kind": "classification"}, "ranking-of-classes"),
    ],
)
def test_what_cannot_be_ranked_is_refused(tmp_path: Path, rows: list[str], words: Any, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        load_task(task(tmp_path, *rows, **words))
    assert caught.value.kind == kind
