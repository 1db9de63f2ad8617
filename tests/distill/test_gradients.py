"""Every objective's gradient against finite differences, and where no gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.distill.terms import Reading, Term, agree, costs, distil
from engine.distill.transport import flow

from .inputs import LAYER_TERMS, TERMS, States, as_emd, fit, leaves, masked, named, student, teacher

LENGTHS = (3, 2)
DOUBLE = torch.float64


def read_by(term: Term, shown: States) -> list[str]:
    """Names of the student's tensors that the term should reach."""
    if term.name in ("labels", "logits"):
        return ["logits"]
    if term.name == "embedding":
        return ["embedding"]
    parts = {"attention": ("query", "key"), "cls": ("hidden",)}.get(term.name, (term.name,))
    return [f"{part}.{layer}" for part in parts for layer in term.student_layers]


@pytest.mark.parametrize("lam", [None, 0.6])
@pytest.mark.parametrize("term", [*TERMS, Term("labels", regression=True)], ids=named)
def test_objectives(term: Term, lam: float | None) -> None:
    ours, theirs = student(1, 2, 3, dtype=DOUBLE), teacher(2, 2, 3, dtype=DOUBLE)
    if term.regression:
        ours.logits, theirs.logits = ours.tensors()["logits"][:, :1], theirs.tensors()["logits"][:, :1]
    gold = torch.tensor([0.3, 1.7], dtype=DOUBLE) if term.regression else torch.tensor([2, 0])
    names = read_by(term, ours)
    projection = fit(DOUBLE) if term.projects else None

    def loss(*tensors: Tensor) -> Tensor:
        shown = States.of({**ours.tensors(), **dict(zip(names, tensors, strict=True))})
        total, count = distil(
            term, Reading(shown), Reading(theirs), masked(LENGTHS), gold=gold, lam=lam, projection=projection
        )
        return total / count

    inputs = tuple(ours.tensors()[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_consistency(term: Term) -> None:
    ours, target = student(1, 2, 3, dtype=DOUBLE), student(2, 2, 3, dtype=DOUBLE)
    names = read_by(term, ours)

    def loss(*tensors: Tensor) -> Tensor:
        shown = States.of({**ours.tensors(), **dict(zip(names, tensors, strict=True))})
        total, count = agree(term, Reading(shown), Reading(target), masked(LENGTHS), 0.7)
        return total / count

    inputs = tuple(ours.tensors()[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("name", ["attention", "hidden"])
def test_transport_sends_the_plans_gradient(name: str) -> None:
    """Asking for the costs first (without gradient) leaves the loss's own gradient whole."""
    term = as_emd(Term(name, heads=2, mse=name == "attention", projects=name == "hidden"))
    ours, theirs = leaves(student(1, 2, 3, dtype=DOUBLE)), Reading(teacher(2, 2, 3, dtype=DOUBLE))
    projection = fit(DOUBLE) if term.projects else None
    reading = Reading(ours)
    found, count = costs(term, reading, theirs, masked(LENGTHS), projection)
    assert not found.requires_grad
    assert found.shape == (2, 4)
    import numpy as np

    plan = np.array([[0.25, 0.25, 0.0, 0.0], [0.0, 0.0, 0.1, 0.4]])
    total, _ = distil(term, reading, theirs, masked(LENGTHS), projection=projection, flow=flow(plan))
    torch.testing.assert_close(total, (torch.from_numpy(plan) * found).sum())
    torch.autograd.backward(total / count)
    apart = replace(term, emd=False)
    expected = leaves(ours)
    for pair, share in flow(plan):
        one, count = distil(
            replace(apart, pairs=(pair,)), Reading(expected), theirs, masked(LENGTHS), projection=projection
        )
        torch.autograd.backward(share * one / count)
    for tensor in read_by(term, ours):
        torch.testing.assert_close(ours.tensors()[tensor].grad, expected.tensors()[tensor].grad)


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_only_what_is_read_gets_a_gradient(term: Term) -> None:
    """Neither the teacher nor the student's other tensors: a last-layer relation leaves the classifier untrained."""
    ours, theirs = leaves(student(1, 2, 3)), leaves(teacher(2, 2, 3))
    projection = fit() if term.projects else None
    total, _ = distil(
        term, Reading(ours), Reading(theirs), masked(LENGTHS), gold=torch.tensor([1, 0]), projection=projection
    )
    torch.autograd.backward(total)
    assert {name for name, x in ours.tensors().items() if x.grad is not None} == set(read_by(term, ours))
    assert all(x.grad is None for x in theirs.tensors().values())


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_the_target_gets_no_gradient(term: Term) -> None:
    ours, target = leaves(student(1, 2, 3)), leaves(student(2, 2, 3))
    total, _ = agree(term, Reading(ours), Reading(target), masked(LENGTHS), 0.7)
    torch.autograd.backward(total)
    assert any(x.grad is not None for x in ours.tensors().values())
    assert all(x.grad is None for x in target.tensors().values())


@pytest.mark.parametrize("term", [t for t in TERMS if t.projects], ids=named)
def test_the_projection_is_trained(term: Term) -> None:
    projection = fit()
    total, _ = distil(
        term, Reading(student(1, 2, 3)), Reading(teacher(2, 2, 3)), masked(LENGTHS), projection=projection
    )
    torch.autograd.backward(total)
    assert all(p.grad is not None and p.grad.any() for p in projection.parameters())


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_half_precision_is_compared_in_single(term: Term) -> None:
    """From the same bfloat16 inputs, the loss is what double precision makes of them, but for products of rows."""
    half = torch.bfloat16
    ours, theirs = leaves(student(1, 2, 3, dtype=half)), teacher(2, 2, 3, dtype=half)
    gold = torch.tensor([1, 0])
    total, count = distil(
        term,
        Reading(ours),
        Reading(theirs),
        masked(LENGTHS),
        gold=gold,
        projection=fit(half) if term.projects else None,
    )
    assert total.dtype == torch.float32
    torch.autograd.backward(total)
    exact = [States.of({name: x.detach().double() for name, x in shown.tensors().items()}) for shown in (ours, theirs)]
    expected, _ = distil(
        term,
        Reading(exact[0]),
        Reading(exact[1]),
        masked(LENGTHS),
        gold=gold,
        projection=fit(half).double() if term.projects else None,
    )
    exactly = term.name in ("labels", "logits")
    torch.testing.assert_close(total.double(), expected, rtol=1e-5 if exactly else 0.05, atol=0)
    for name in read_by(term, ours):
        gradient = ours.tensors()[name].grad
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.any()
    assert count > 0
