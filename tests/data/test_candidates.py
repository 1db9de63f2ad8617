"""Candidates of steps: every row is compared once in an epoch, each group gives what it should, batches stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.batches import epoch_choices
from engine.data.candidates import STAYS, Candidates, Choice

CASES = [
    pytest.param(np.repeat((STAYS, 0), (30, 0)), 1, 4, id="none"),
    pytest.param(np.zeros(53, np.int64), 3, 8, id="unlabelled rows"),
    pytest.param(np.concatenate((np.full(20, STAYS), np.repeat(np.arange(20), 8))), 2, 8, id="copies"),
    pytest.param(np.concatenate((np.full(9, STAYS), np.repeat(np.arange(9), np.arange(9)))), 2, 4, id="fewer copies"),
    pytest.param(np.concatenate((np.zeros(40, np.int64), np.full(11, STAYS))), 5, 6, id="with the task's rows"),
    pytest.param(np.zeros(40, np.int64), 20, 40, id="more than a step holds"),
]


def choices(candidates: Candidates, batch: int, seed: int = 0, parts: int = 1) -> list[Choice]:
    lengths = np.random.default_rng(3).integers(3, 20, len(candidates.groups))
    return epoch_choices(candidates, lengths, batch, [seed, 5], [parts, 6])


@pytest.mark.parametrize("batch", [1, 7, 8])
@pytest.mark.parametrize(("groups", "worst", "of"), CASES)
def test_an_epoch_compares_every_row_once_and_fills_its_batches(
    groups: np.ndarray, worst: int, of: int, batch: int
) -> None:
    candidates = Candidates(groups, worst, of)
    steps = choices(candidates, batch)
    assert sorted(np.concatenate([step.rows for step in steps]).tolist()) == list(range(len(groups)))
    takes = [int(step.take.sum()) for step in steps]
    assert sum(takes) == candidates.per_epoch
    assert len(takes) == -(-candidates.per_epoch // batch)
    assert sorted(takes, reverse=True)[: len(takes) - 1] == [batch] * (len(takes) - 1)
    for step in steps:
        assert (step.sizes >= step.take).all()
        assert (step.sizes <= of).all()
        for part in np.split(groups[step.rows], np.cumsum(step.sizes)[:-1]):
            assert (part == part[0]).all(), "only rows of one group are compared"
            assert part[0] != STAYS or len(part) == 1
        assert not step.is_open[groups[step.rows] == STAYS].any()


def test_each_row_gives_as_many_copies_as_asked_for() -> None:
    groups = np.concatenate((np.full(12, STAYS), np.repeat(np.arange(12), 8), np.full(3, 12)))
    candidates = Candidates(groups, 2, 4)
    assert candidates.per_epoch == 12 + 12 * 4 + 2, "two parts of four each; three copies give two"
    draw = np.random.default_rng(0)
    read = [step.rows[step.worst(draw.random(len(step.rows)))] for step in choices(candidates, 8)]
    chosen = groups[np.concatenate(read)]
    assert np.bincount(chosen[chosen >= 0]).tolist() == [4] * 12 + [2]


def test_the_worst_of_each_group_are_read() -> None:
    choice = Choice(np.array([10, 11, 12, 20, 30, 31]), np.array([3, 1, 2]), np.array([2, 1, 1]))
    assert choice.is_open.tolist() == [True, True, True, False, True, True]
    values = np.array([0.5, 0.1, 0.7, 0.0, 0.2, 0.3])
    assert choice.rows[choice.worst(values)].tolist() == [10, 12, 20, 31]
    assert choice.rows[choice.worst(np.zeros(6))].tolist() == [10, 11, 20, 30], "of equals the first"
    values[1] = np.nan
    assert choice.rows[choice.worst(values)].tolist() == [11, 12, 20, 31], "what is no number must not be passed over"


def test_epochs_differ_in_what_they_compare_and_repeat_by_their_seeds() -> None:
    candidates = Candidates(np.zeros(64, np.int64), 2, 8)

    def groups(seed: int, parts: int) -> list[list[int]]:
        return [step.rows.tolist() for step in choices(candidates, 2, seed, parts)]

    assert groups(0, 1) == groups(0, 1)
    assert {frozenset(rows) for rows in groups(0, 1)} != {frozenset(rows) for rows in groups(0, 2)}
    assert groups(0, 1) != groups(1, 1)
