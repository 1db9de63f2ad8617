from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.distill.transport import LayerWeights, Matrix, flow, plan, update

COSTS = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(0, 1e3))


def test_layers_begin_equal() -> None:
    assert LayerWeights.equal(4, 2) == LayerWeights((0.5, 0.5), (0.25, 0.25, 0.25, 0.25))


def test_the_cheapest_pairs_carry_the_flow() -> None:
    made = plan(LayerWeights.equal(2, 2), np.array([[1.0, 5.0], [5.0, 1.0]]))
    assert made.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert flow(made) == (((1, 1), 0.5), ((2, 2), 0.5))


def test_pairs_are_teacher_then_student() -> None:
    made = np.zeros((2, 3))
    made[1, 0] = 0.4
    assert flow(made) == (((1, 2), 0.4),)


@given(cost=COSTS, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_plan_carries_all_weights_and_no_more(cost: Matrix, data: st.DataObject) -> None:
    students, teachers = cost.shape
    weights = LayerWeights(distribution(data, students), distribution(data, teachers))
    made = plan(weights, cost)
    assert (made >= 0).all()
    np.testing.assert_allclose(made.sum(1), weights.student, atol=1e-9)
    np.testing.assert_allclose(made.sum(0), weights.teacher, atol=1e-9)
    assert len(flow(made)) <= students + teachers - 1
    assert (made * cost).sum() <= (np.outer(weights.student, weights.teacher) * cost).sum() + 1e-9 * (1 + cost.max())


def distribution(data: st.DataObject, layers: int) -> tuple[float, ...]:
    drawn = np.array(data.draw(st.lists(st.floats(0.05, 1), min_size=layers, max_size=layers)))
    return tuple(float(x) for x in drawn / drawn.sum())


@given(cost=COSTS)
@settings(max_examples=60, deadline=None)
def test_weights_stay_a_distribution(cost: Matrix) -> None:
    weights = LayerWeights.equal(cost.shape[1], cost.shape[0])
    for _ in range(3):
        weights = update(weights, plan(weights, cost), cost)
        for side in (weights.student, weights.teacher):
            assert sum(side) == pytest.approx(1)
            assert min(side) > 0


def test_layers_that_are_cheap_to_match_gain_weight() -> None:
    """Unit costs 1 and 3 on both sides: weights 3/4 and 1/4."""
    weights, cost = LayerWeights.equal(2, 2), np.array([[1.0, 9.0], [9.0, 3.0]])
    made = update(weights, plan(weights, cost), cost)
    assert made.student == pytest.approx((0.75, 0.25))
    assert made.teacher == pytest.approx((0.75, 0.25))


def test_a_layer_that_costs_nothing_does_not_divide_by_it() -> None:
    weights, cost = LayerWeights.equal(2, 2), np.array([[0.0, 9.0], [9.0, 3.0]])
    made = update(weights, plan(weights, cost), cost)
    assert made.student[0] == pytest.approx(1)
    assert made.student[1] > 0


def test_models_that_agree_keep_equal_weights() -> None:
    weights, cost = LayerWeights.equal(3, 3), np.zeros((3, 3))
    assert update(weights, plan(weights, cost), cost) == weights


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_cost_that_is_no_number_is_left_to_the_loop(broken: float) -> None:
    """Its pair carries flow, so the loss shows it; the weights that a checkpoint keeps stay as they were."""
    weights, cost = LayerWeights((0.25, 0.75), (0.5, 0.5)), np.array([[1.0, broken], [1.0, 1.0]])
    made = plan(weights, cost)
    assert ((2, 1), 0.125) in flow(made)
    assert update(weights, made, cost) == weights


def test_weights_survive_a_checkpoint_exactly() -> None:
    weights = LayerWeights((1 / 3, 2 / 3), (0.1, 0.2, 0.7))
    assert LayerWeights.from_dict(json.loads(json.dumps(weights.to_dict()))) == weights
