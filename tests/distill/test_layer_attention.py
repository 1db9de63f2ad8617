"""Attention over the teacher's layers: weights by hand, and what they don't depend on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from engine.distill.layer_attention import attended
from engine.distill.layer_maps import pairs
from engine.distill.terms import Term, distillation_loss

from .inputs import States, fit, leaves, masked, padded, part_of, student, teacher

DOUBLE = torch.float64
TERMS = tuple(Term(name, pairs=tuple(pairs("alp", 4, 2)), projects=True, alp=True) for name in ("cls", "hidden"))


def test_weights_are_a_softmax_of_scaled_products() -> None:
    """Products of 2 ln 3 and 0, divided by √4: the first layer counts three times as much."""
    mine = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    layers = [torch.tensor([[[2 * math.log(3.0), 8.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 4.0, 0.0]]])]
    expected = torch.tensor([[[1.5 * math.log(3.0), 6.0, 1.0, 0.0]]])
    torch.testing.assert_close(attended(mine, layers), expected)
    assert not attended(mine.requires_grad_(), [layer.requires_grad_() for layer in layers]).requires_grad


def test_every_position_has_its_own_weights() -> None:
    mine, layers = student(1, 2, 3).hidden[1], [student(seed, 2, 3).hidden[1] for seed in (2, 3)]
    whole = attended(mine, layers)
    for row in range(2):
        for place in range(3):
            one, *others = (x[row : row + 1, place : place + 1] for x in (mine, *layers))
            torch.testing.assert_close(whole[row, place], attended(one, others)[0, 0])


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_target_like_any_other(term: Term) -> None:
    """The loss is the objective's against the mean of layers; the student's and the projection's gradients are those of a
    fixed target, and the teacher has none."""
    mask, projection = masked((3, 2)), fit(DOUBLE)
    ours, theirs = leaves(student(1, 2, 3, dtype=DOUBLE)), leaves(teacher(2, 2, 3, dtype=DOUBLE))
    total, count = distillation_loss(term, ours.under(mask), theirs, projection=projection)
    torch.autograd.backward(total)
    fixed = leaves(ours)
    target = {
        layer: attended(projection(fixed.hidden[layer]), [theirs.hidden[t] for t in (1, 2, 3, 4)]) for layer in (1, 2)
    }
    apart = replace(term, alp=False, pairs=((1, 1), (2, 2)))
    mixed = States.of({**theirs.tensors(), **{f"hidden.{layer}": x for layer, x in target.items()}})
    expected, number = distillation_loss(apart, fixed.under(mask), mixed, projection=projection)
    torch.autograd.backward(expected)
    torch.testing.assert_close(total, expected)
    assert count == number
    for layer in (1, 2):
        torch.testing.assert_close(ours.hidden[layer].grad, fixed.hidden[layer].grad)
    assert all(x.grad is None for x in theirs.tensors().values())


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_neither_padding_nor_micro_batches_change_it(term: Term) -> None:
    mask, longer, projection = masked((5, 1, 4)), masked((5, 1, 4), 16), fit(DOUBLE)
    ours, theirs = student(1, 3, 5, dtype=DOUBLE), teacher(2, 3, 5, dtype=DOUBLE)
    total, count = distillation_loss(term, ours.under(mask), theirs, projection=projection)
    long = distillation_loss(
        term, padded(ours, mask, 16).under(longer), padded(theirs, mask, 16), projection=projection
    )
    torch.testing.assert_close(long[0], total, rtol=1e-12, atol=0)
    parts = [
        distillation_loss(term, part_of(ours.under(mask), rows), part_of(theirs, rows), projection=projection)
        for rows in (torch.tensor([0, 2]), torch.tensor([1]))
    ]
    torch.testing.assert_close(torch.stack([part for part, _ in parts]).sum(), total)
    assert sum(int(number) for _, number in parts) == count == long[1]
