from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.distill import objectives
from engine.distill.consistency import consistency, ramp
from engine.distill.row_scores import Total
from engine.distill.self_teacher import average_decay, update_average
from engine.distill.terms import Term, consistency_loss

from .inputs import LAYER_TERMS, States, as_emd, attention_between, masked, named, relation_between, student

LENGTHS = (5, 2, 3, 4)
LAM = 0.7


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_it_is_the_objective_against_both_clean_sentences(term: Term) -> None:
    """λ·d(S(mix), S′(x)) + (1 - λ)·d(S(mix), S′(x′)), layer by layer, computed sentence by sentence."""
    mask = masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5)
    total, count = consistency_loss(term, ours, target.under(mask), LAM)
    expected = torch.tensor(0.0)
    for i in range(4):
        for other, share in ((i, LAM), (3 - i, 1 - LAM)):
            for layer in term.student_layers:
                expected = expected + share * alone(term, layer, ours, i, target, other)
    torch.testing.assert_close(total, expected)
    assert count == objectives.positions(term.name, mask)


def alone(term: Term, layer: int, ours: States, i: int, target: States, other: int) -> Tensor:
    """The objective's sum for the student's example i against the target's example, cut to the target's length."""
    length = LENGTHS[other]

    def both(part: str) -> tuple[Tensor, Tensor]:
        mine, its = getattr(ours, part)[layer], getattr(target, part)[layer]
        return mine[i : i + 1, :length], its[other : other + 1, :length]

    rows = torch.ones(1, length)
    if term.name == "attention":
        (sq, tq), (sk, tk) = both("query"), both("key")
        return attention_between((sq, sk), (tq, tk), rows, heads=term.heads, mse=term.mse)[0]
    if term.name in ("query", "key", "value"):
        return relation_between(*both(term.name), rows, heads=term.heads)[0]
    return objectives.OBJECTIVES[term.name].function(*both("hidden"), rows)[0]


def test_a_student_that_agrees_with_both_loses_nothing() -> None:
    mask = masked((5, 5))
    ours = student(1, 2, 5)
    ours.hidden[2][1] = ours.hidden[2][0]
    term = Term("hidden", pairs=((4, 2),))
    assert consistency_loss(term, ours, ours.under(mask), LAM)[0] == 0
    assert consistency_loss(term, student(3, 2, 5), ours.under(mask), LAM)[0] > 0


def test_without_mixing_it_is_the_clean_sentence_alone() -> None:
    term, mask = Term("hidden", pairs=((4, 2),)), masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5)
    expected = objectives.hidden(ours.hidden[2], target.hidden[2], mask)
    assert consistency_loss(term, ours, target.under(mask), None) == expected


def test_lambda_may_be_a_tensor() -> None:
    term, mask = Term("value", pairs=((4, 2),), heads=2), masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5).under(mask)
    torch.testing.assert_close(
        consistency_loss(term, ours, target, torch.tensor(LAM))[0], consistency_loss(term, ours, target, LAM)[0]
    )


def test_transport_layers_share_evenly() -> None:
    term, mask = Term("hidden", pairs=((2, 1), (4, 2))), masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5).under(mask)
    torch.testing.assert_close(
        consistency_loss(as_emd(term), ours, target, LAM)[0], consistency_loss(term, ours, target, LAM)[0] / 2
    )


def test_the_target_is_reversed_with_its_mask() -> None:
    calls: list[tuple[list[float], list[list[int]]]] = []

    def distance(target: Tensor, mask: Tensor) -> Total:
        calls.append((target.tolist(), mask.tolist()))
        return target.sum() * 0 + len(calls), mask.sum()

    total, count = consistency(distance, torch.tensor([1.0, 2.0]), torch.tensor([[1, 1], [1, 0]]), 0.75)
    assert calls == [([1.0, 2.0], [[1, 1], [1, 0]]), ([2.0, 1.0], [[1, 0], [1, 1]])]
    assert total == 0.75 * 1 + 0.25 * 2
    assert count == 3


def test_no_gradient_goes_through_the_target() -> None:
    def distance(target: Tensor, mask: Tensor) -> Total:
        return (target * weight).sum(), mask.sum()

    weight = torch.ones(2, requires_grad=True)
    target = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.autograd.backward(consistency(distance, target, torch.ones(2, 1), 0.75)[0])
    assert target.grad is None
    assert weight.grad is not None


def test_the_ramp_acts_from_the_first_step_and_ends_full() -> None:
    assert [ramp(step, 4) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]
    assert [ramp(step, 4, "constant") for step in (1, 4)] == [1.0, 1.0]
    assert ramp(9, 4) == 1.0


def test_the_averaging_warms_up() -> None:
    assert average_decay(0, 0.999) == 0.1
    assert average_decay(90, 0.999) == pytest.approx(0.91)
    assert average_decay(10**6, 0.999) == 0.999
    assert average_decay(0, 0.05) == 0.05
    assert average_decay(0, 0.999, warmup=False) == 0.999


def test_the_average_moves_in_place_towards_the_student() -> None:
    average = [torch.tensor([1.0, 2.0]), torch.tensor([[4.0]])]
    current = [torch.nn.Parameter(torch.tensor([2.0, 0.0])), torch.nn.Parameter(torch.tensor([[8.0]]))]
    addresses = [x.data_ptr() for x in average]
    update_average(average, current, 0.75)
    assert [x.tolist() for x in average] == [[1.25, 1.5], [[5.0]]]
    assert [x.data_ptr() for x in average] == addresses
    assert not average[0].requires_grad
    assert current[0].tolist() == [2.0, 0.0]


def test_no_decay_copies_the_student_exactly() -> None:
    current = [torch.randn(50, generator=torch.Generator().manual_seed(1))]
    average = [torch.randn(50, generator=torch.Generator().manual_seed(2)) * 1e6]
    update_average(average, current, 0.0)
    assert torch.equal(average[0], current[0])
