from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.subset import drawn_rows, few_samples, noisy_labels, shares
from engine.data.types import Example, TaskSpec

CLASSES = TaskSpec("t", "classification", ("no", "maybe", "yes"), ("accuracy",), is_pair=False)
SCORES = TaskSpec("t", "regression", (), ("pearson",), is_pair=False)


def rows(labels: list[int] | list[float]) -> tuple[Example, ...]:
    return tuple(Example(f"train-{row}", f"text {row}", None, label) for row, label in enumerate(labels))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=200), st.data(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_subset_keeps_order_and_shares(labels: list[int], data: st.DataObject, seed: int) -> None:
    examples = rows(labels)
    count = data.draw(st.integers(1, len(labels)))
    drawn = few_samples(examples, count, seed)
    assert len(drawn) == count
    places = [int(example.id.removeprefix("train-")) for example in drawn]
    assert places == sorted(set(places))
    assert all(examples[place] == example for place, example in zip(places, drawn, strict=True))
    had, has = Counter(labels), Counter(example.label for example in drawn)
    if count >= len(had):
        assert set(has) == set(had), "no class is lost while there is room for all"
    for label, size in had.items():
        assert abs(has[label] - size * count / len(labels)) < len(had)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.data())
def test_shares_are_whole_and_possible(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, sum(sizes)))
    given_out = shares(sizes, count)
    assert sum(given_out) == count
    assert all(0 <= share <= size for share, size in zip(given_out, sizes, strict=True))


def test_shares_go_by_largest_remainder() -> None:
    assert shares([70, 30], 10) == [7, 3]
    assert shares([66, 33, 1], 10) == [6, 3, 1], "the rare class keeps one"
    assert shares([50, 0, 50], 3) == [2, 0, 1]
    assert shares([5, 5, 5], 2) == [1, 1, 0]


def test_a_subset_depends_on_the_seed_alone() -> None:
    examples = rows([row % 2 for row in range(100)])
    np.random.seed(5)
    first = few_samples(examples, 10, 3)
    expected = np.random.random()
    np.random.seed(5)
    assert np.random.random() == expected
    assert few_samples(examples, 10, 3) == first
    assert few_samples(examples, 10, 4) != first


def test_more_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="3 examples cannot be drawn from 2"):
        few_samples(rows([0, 1]), 3, 0)


def test_scores_are_drawn_whatever_they_are() -> None:
    examples = rows([row / 7 for row in range(50)])
    assert len(few_samples(examples, 20, 0)) == 20


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_noise_replaces_its_share_by_other_classes(share: float) -> None:
    examples = rows([row % 3 for row in range(300)])
    noisy, count = noisy_labels(examples, share, CLASSES, 0)
    changed = [(a.label, b.label) for a, b in zip(examples, noisy, strict=True) if a.label != b.label]
    assert len(changed) == count == round(share * 300)
    assert [example.id for example in noisy] == [example.id for example in examples]
    if share == 1.0:
        assert min(Counter(changed).values()) > 30, "each of the other classes is as likely"
        assert len(Counter(changed)) == 6


def test_noise_gives_a_score_that_another_example_has() -> None:
    examples = rows([float(row) for row in range(40)])
    noisy, count = noisy_labels(examples, 0.5, SCORES, 0)
    changed = [b.label for a, b in zip(examples, noisy, strict=True) if a.label != b.label]
    assert len(changed) == count == 20
    assert set(changed) <= {example.label for example in examples}


def test_noise_depends_on_its_seed_and_not_on_global_state() -> None:
    examples = rows([row % 3 for row in range(60)])
    first = noisy_labels(examples, 0.3, CLASSES, 1)
    np.random.seed(0)
    assert noisy_labels(examples, 0.3, CLASSES, 1) == first
    assert noisy_labels(examples, 0.3, CLASSES, 2) != first


def test_one_score_alone_stays() -> None:
    noisy, count = noisy_labels(rows([1.5]), 1.0, SCORES, 0)
    assert (tuple(noisy), count) == (rows([1.5]), 0)


def test_drawn_rows_are_different_and_in_order() -> None:
    drawn = drawn_rows(100, 30, 7).tolist()
    assert drawn == sorted(set(drawn))
    assert (len(drawn), drawn_rows(100, 30, 7).tolist()) == (30, drawn)
    assert drawn_rows(100, 30, 8).tolist() != drawn
