from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.distill import objectives
from engine.distill.consistency import average_decay, consistency, ramp, update_average
from engine.distill.row_scores import Total
from engine.distill.terms import Reading, Term, agree

from .inputs import LAYER_TERMS, States, as_emd, masked, named, student

LENGTHS = (5, 2, 3, 4)
LAM = 0.7


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_it_is_the_objective_against_both_clean_sentences(term: Term) -> None:
    """λ·d(S(mix), S′(x)) + (1 - λ)·d(S(mix), S′(x′)), layer by layer, computed sentence by sentence."""
    mask = masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5)
    total, count = agree(term, Reading(ours), Reading(target), mask, LAM)
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
        return objectives.attention(sq, sk, tq, tk, rows, heads=term.heads, mse=term.mse)[0]
    if term.name in ("query", "key", "value"):
        return objectives.relation(*both(term.name), rows, heads=term.heads)[0]
    return (objectives.cls if term.name == "cls" else objectives.hidden)(*both("hidden"), rows)[0]


def test_a_student_that_agrees_with_both_loses_nothing() -> None:
    mask = masked((5, 5))
    ours = student(1, 2, 5)
    ours.hidden[2][1] = ours.hidden[2][0]
    term = Term("hidden", pairs=((4, 2),))
    assert agree(term, Reading(ours), Reading(ours), mask, LAM)[0] == 0
    assert agree(term, Reading(student(3, 2, 5)), Reading(ours), mask, LAM)[0] > 0


def test_without_mixing_it_is_the_clean_sentence_alone() -> None:
    term, mask = Term("hidden", pairs=((4, 2),)), masked(LENGTHS)
    ours, target = student(1, 4, 5), student(2, 4, 5)
    expected = objectives.hidden(ours.hidden[2], target.hidden[2], mask)
    assert agree(term, Reading(ours), Reading(target), mask, None) == expected


def test_lambda_may_be_a_tensor() -> None:
    term, mask = Term("value", pairs=((4, 2),), heads=2), masked(LENGTHS)
    ours, target = Reading(student(1, 4, 5)), Reading(student(2, 4, 5))
    torch.testing.assert_close(
        agree(term, ours, target, mask, torch.tensor(LAM))[0], agree(term, ours, target, mask, LAM)[0]
    )


def test_transport_layers_share_evenly() -> None:
    term, mask = Term("hidden", pairs=((2, 1), (4, 2))), masked(LENGTHS)
    ours, target = Reading(student(1, 4, 5)), Reading(student(2, 4, 5))
    torch.testing.assert_close(
        agree(as_emd(term), ours, target, mask, LAM)[0], agree(term, ours, target, mask, LAM)[0] / 2
    )


def test_the_target_is_reversed_with_its_mask() -> None:
    seen: list[tuple[list[float], list[list[int]]]] = []

    def distance(of: tuple[Tensor, ...], mask: Tensor) -> Total:
        seen.append((of[0].tolist(), mask.tolist()))
        return of[0].sum() * 0 + len(seen), mask.sum()

    total, count = consistency(distance, (torch.tensor([1.0, 2.0]),), torch.tensor([[1, 1], [1, 0]]), 0.75)
    assert seen == [([1.0, 2.0], [[1, 1], [1, 0]]), ([2.0, 1.0], [[1, 0], [1, 1]])]
    assert total == 0.75 * 1 + 0.25 * 2
    assert count == 3


def test_no_gradient_goes_through_the_target() -> None:
    def distance(of: tuple[Tensor, ...], mask: Tensor) -> Total:
        return (of[0] * weight).sum(), mask.sum()

    weight = torch.ones(2, requires_grad=True)
    target = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.autograd.backward(consistency(distance, (target,), torch.ones(2, 1), 0.75)[0])
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
    kept = [x.data_ptr() for x in average]
    update_average(average, current, 0.75)
    assert [x.tolist() for x in average] == [[1.25, 1.5], [[5.0]]]
    assert [x.data_ptr() for x in average] == kept
    assert not average[0].requires_grad
    assert current[0].tolist() == [2.0, 0.0]


def test_no_decay_copies_the_student_exactly() -> None:
    current = [torch.randn(50, generator=torch.Generator().manual_seed(1))]
    average = [torch.randn(50, generator=torch.Generator().manual_seed(2)) * 1e6]
    update_average(average, current, 0.0)
    assert torch.equal(average[0], current[0])
