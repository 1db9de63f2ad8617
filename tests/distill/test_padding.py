"""Padding is never data: lengths 16, 64 and 128 give the same losses and gradients, whatever stands in the padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.distill.objectives import positions
from engine.distill.terms import Term, consistency_loss, distillation_loss, transport_costs

from .inputs import LAYER_TERMS, TERMS, States, fit, leaves, masked, named, padded, student, teacher

LENGTHS = (16, 9, 1, 12)
GOLD = torch.tensor([0, 2, 1, 1])
DOUBLE = torch.float64

Result = tuple[Tensor, Tensor, dict[str, Tensor]]


def distilled(term: Term, ours: States, theirs: States, mask: Tensor) -> Result:
    """The mean, the count, and the gradients of the student's tensors."""
    ours = leaves(ours)
    gold = GOLD[: len(mask)].double() if (term.kind == "regression") else GOLD[: len(mask)]
    projection = fit(DOUBLE) if term.projects else None
    total, count = distillation_loss(term, ours.under(mask), theirs, gold=gold, projection=projection)
    torch.autograd.backward(total / count)
    return total / count, count, gradients(ours)


def pulled(term: Term, ours: States, target: States, mask: Tensor) -> Result:
    ours = leaves(ours)
    total, count = consistency_loss(term, ours, target.under(mask), 0.7)
    torch.autograd.backward(total / count)
    return total / count, count, gradients(ours)


def gradients(states: States) -> dict[str, Tensor]:
    return {name: torch.zeros_like(x) if x.grad is None else x.grad for name, x in states.tensors().items()}


def same(short: Result, long: Result, mask: Tensor) -> None:
    """Equal values; equal gradients at real positions, none at all at the others."""
    torch.testing.assert_close(long[0], short[0], rtol=1e-12, atol=0)
    assert long[1] == short[1]
    for name, gradient in long[2].items():
        shorter = short[2][name]
        if name == "logits":
            torch.testing.assert_close(gradient, shorter, rtol=1e-12, atol=1e-15)
            continue
        length = shorter.shape[1]
        torch.testing.assert_close(gradient[:, :length], shorter, rtol=1e-10, atol=1e-15, msg=name)
        assert not gradient[:, length:].any(), name
        assert not gradient[:, :length][~mask.bool()].any(), name


@pytest.mark.parametrize("length", [64, 128])
@pytest.mark.parametrize("term", TERMS, ids=named)
def test_objectives_ignore_padding(term: Term, length: int) -> None:
    mask, longer = masked(LENGTHS, 16), masked(LENGTHS, length)
    ours, theirs = student(1, 4, 16, dtype=DOUBLE), teacher(2, 4, 16, dtype=DOUBLE)
    short = distilled(term, padded(ours, mask, 16, 3), padded(theirs, mask, 16, 4), mask)
    long = distilled(term, padded(ours, mask, length, 5), padded(theirs, mask, length, 6), longer)
    assert any(g.any() for g in short[2].values())
    same(short, long, mask)


@pytest.mark.parametrize("length", [64, 128])
@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_consistency_ignores_padding(term: Term, length: int) -> None:
    """The student's garbage stands where neither sentence reaches; the target's, where its own doesn't."""
    mask, longer = masked(LENGTHS, 16), masked(LENGTHS, length)
    both = torch.maximum(mask, mask.flip(0))
    ours, target = student(1, 4, 16, dtype=DOUBLE), student(2, 4, 16, dtype=DOUBLE)
    short = pulled(term, padded(ours, both, 16, 3), padded(target, mask, 16, 4), mask)
    long = pulled(term, padded(ours, both, length, 5), padded(target, mask, length, 6), longer)
    assert any(g.any() for g in short[2].values())
    same(short, long, both)


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_transport_costs_ignore_padding(term: Term) -> None:
    mask, longer = masked(LENGTHS, 16), masked(LENGTHS, 64)
    ours, theirs = student(1, 4, 16, dtype=DOUBLE), teacher(2, 4, 16, dtype=DOUBLE)
    projection = fit(DOUBLE) if term.projects else None
    short = transport_costs(term, ours.under(mask), theirs, projection)
    long = transport_costs(term, padded(ours, mask, 64).under(longer), padded(theirs, mask, 64), projection)
    torch.testing.assert_close(long[0], short[0], rtol=1e-12, atol=0)
    assert long[1] == short[1]


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    more=st.integers(0, 9),
    term=st.sampled_from(TERMS),
)
@settings(max_examples=40, deadline=None)
def test_any_lengths_and_any_padding(lengths: list[int], more: int, term: Term) -> None:
    length = max(lengths)
    mask, longer = masked(lengths), masked(lengths, length + more)
    ours, theirs = student(1, len(lengths), length, dtype=DOUBLE), teacher(2, len(lengths), length, dtype=DOUBLE)
    long = distilled(term, padded(ours, mask, length + more), padded(theirs, mask, length + more), longer)
    same(distilled(term, ours, theirs, mask), long, mask)


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_an_empty_example_changes_nothing(term: Term) -> None:
    """A filler without a single token counts nowhere and is never NaN, forward or backward."""
    mask = masked((5, 3), 5)
    ours, theirs = student(1, 3, 5, dtype=DOUBLE), teacher(2, 3, 5, dtype=DOUBLE)
    two = [States.of({name: x[:2] for name, x in states.tensors().items()}) for states in (ours, theirs)]
    without = distilled(term, two[0], two[1], mask)
    filled = distilled(term, ours, theirs, torch.cat([mask, torch.zeros(1, 5, dtype=torch.long)]))
    torch.testing.assert_close(filled[0], without[0], rtol=1e-12, atol=0)
    assert filled[1] == without[1]
    for name, gradient in filled[2].items():
        assert not gradient[2].any(), name
        torch.testing.assert_close(gradient[:2], without[2][name], rtol=1e-10, atol=1e-15, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("term", TERMS, ids=named)
def test_a_batch_without_any_token_is_zero_not_nan(term: Term, dtype: torch.dtype) -> None:
    mask = torch.zeros(4, 5, dtype=torch.long)
    ours = leaves(student(1, 4, 5, dtype=dtype))
    gold = torch.zeros(4)
    projection = fit(dtype) if term.projects else None
    total, count = distillation_loss(
        term, ours.under(mask), teacher(2, 4, 5, dtype=dtype), gold=gold, projection=projection
    )
    torch.autograd.backward(total)
    assert total == 0
    assert count == 0
    assert not any(g.any() or g.isnan().any() for g in gradients(ours).values())


@pytest.mark.parametrize("name", ["attention", "query", "hidden", "embedding"])
def test_positions_are_tokens(name: str) -> None:
    assert positions(name, masked((3, 1, 0), 5)) == 4


@pytest.mark.parametrize("name", ["labels", "logits", "cls"])
def test_positions_are_examples(name: str) -> None:
    assert positions(name, masked((3, 1, 0), 5)) == 2


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_counts_are_known_without_a_forward(term: Term) -> None:
    mask = masked(LENGTHS, 16)
    _, count, _ = distilled(term, student(1, 4, 16, dtype=DOUBLE), teacher(2, 4, 16, dtype=DOUBLE), mask)
    assert count == positions(term.name, mask)
