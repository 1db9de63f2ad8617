"""Every objective's gradient against finite differences, and where no gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.distill.terms import Term, consistency_loss, distillation_loss, transport_costs
from engine.distill.transport import flow

from .inputs import LAYER_TERMS, TERMS, States, as_emd, fit, leaves, masked, named, student, teacher

LENGTHS = (3, 2)
DOUBLE = torch.float64


def read_by(term: Term) -> list[str]:
    """Names of the student's tensors that the term should reach."""
    names = dict.fromkeys(term.objective.reads)
    if not term.objective.per_layer:
        return list(names)
    return [f"{name}.{layer}" for name in names for layer in term.student_layers]


@pytest.mark.parametrize("lam", [None, 0.6])
@pytest.mark.parametrize("term", [*TERMS, Term("labels", kind="regression")], ids=named)
def test_objectives(term: Term, lam: float | None) -> None:
    ours, theirs = student(1, 2, 3, dtype=DOUBLE), teacher(2, 2, 3, dtype=DOUBLE)
    if term.kind == "regression":
        ours.logits, theirs.logits = ours.tensors()["logits"][:, :1], theirs.tensors()["logits"][:, :1]
    gold = torch.tensor([0.3, 1.7], dtype=DOUBLE) if (term.kind == "regression") else torch.tensor([2, 0])
    names = read_by(term)
    projection = fit(DOUBLE) if term.projects else None

    def loss(*tensors: Tensor) -> Tensor:
        states = States.of({**ours.tensors(), **dict(zip(names, tensors, strict=True))}, masked(LENGTHS))
        total, count = distillation_loss(term, states, theirs, gold=gold, lam=lam, projection=projection)
        return total / count

    inputs = tuple(ours.tensors()[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_consistency(term: Term) -> None:
    ours, target = student(1, 2, 3, dtype=DOUBLE), student(2, 2, 3, dtype=DOUBLE)
    names = read_by(term)

    def loss(*tensors: Tensor) -> Tensor:
        states = States.of({**ours.tensors(), **dict(zip(names, tensors, strict=True))}, masked(LENGTHS))
        total, count = consistency_loss(term, states, target.under(masked(LENGTHS)), 0.7)
        return total / count

    inputs = tuple(ours.tensors()[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("name", ["attention", "hidden"])
def test_transport_sends_the_plans_gradient(name: str) -> None:
    """Asking for the costs first (without gradient) leaves the loss's own gradient whole."""
    term = as_emd(Term(name, heads=2, mse=name == "attention", projects=name == "hidden"))
    ours, theirs = leaves(student(1, 2, 3, dtype=DOUBLE)).under(masked(LENGTHS)), teacher(2, 2, 3, dtype=DOUBLE)
    projection = fit(DOUBLE) if term.projects else None
    costs, count = transport_costs(term, ours, theirs, projection)
    assert not costs.requires_grad
    assert costs.shape == (2, 4)
    import numpy as np

    plan = np.array([[0.25, 0.25, 0.0, 0.0], [0.0, 0.0, 0.1, 0.4]])
    total, _ = distillation_loss(term, ours, theirs, projection=projection, flow=flow(plan))
    torch.testing.assert_close(total, (torch.from_numpy(plan) * costs).sum())
    torch.autograd.backward(total / count)
    apart = replace(term, emd=False)
    expected = leaves(ours)
    for pair, share in flow(plan):
        one, count = distillation_loss(
            replace(apart, pairs=(pair,)), expected.under(masked(LENGTHS)), theirs, projection=projection
        )
        torch.autograd.backward(share * one / count)
    for tensor in read_by(term):
        torch.testing.assert_close(ours.tensors()[tensor].grad, expected.tensors()[tensor].grad)


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_only_what_is_read_gets_a_gradient(term: Term) -> None:
    """Neither the teacher nor the student's other tensors: a last-layer relation leaves the classifier untrained."""
    ours, theirs = leaves(student(1, 2, 3)), leaves(teacher(2, 2, 3))
    projection = fit() if term.projects else None
    total, _ = distillation_loss(
        term, ours.under(masked(LENGTHS)), theirs, gold=torch.tensor([1, 0]), projection=projection
    )
    torch.autograd.backward(total)
    assert {name for name, x in ours.tensors().items() if x.grad is not None} == set(read_by(term))
    assert all(x.grad is None for x in theirs.tensors().values())


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_the_target_gets_no_gradient(term: Term) -> None:
    ours, target = leaves(student(1, 2, 3)), leaves(student(2, 2, 3))
    total, _ = consistency_loss(term, ours, target.under(masked(LENGTHS)), 0.7)
    torch.autograd.backward(total)
    assert any(x.grad is not None for x in ours.tensors().values())
    assert all(x.grad is None for x in target.tensors().values())


@pytest.mark.parametrize("term", [t for t in TERMS if t.projects], ids=named)
def test_the_projection_is_trained(term: Term) -> None:
    projection = fit()
    total, _ = distillation_loss(term, student(1, 2, 3).under(masked(LENGTHS)), teacher(2, 2, 3), projection=projection)
    torch.autograd.backward(total)
    assert all(p.grad is not None and p.grad.any() for p in projection.parameters())


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_half_precision_is_compared_in_single(term: Term) -> None:
    """From the same bfloat16 inputs, the loss is what double precision makes of them, but for products of rows."""
    half = torch.bfloat16
    ours, theirs = leaves(student(1, 2, 3, dtype=half)), teacher(2, 2, 3, dtype=half)
    gold = torch.tensor([1, 0])
    total, count = distillation_loss(
        term,
        ours.under(masked(LENGTHS)),
        theirs,
        gold=gold,
        projection=fit(half) if term.projects else None,
    )
    assert total.dtype == torch.float32
    torch.autograd.backward(total)
    exact = [
        States.of({name: x.detach().double() for name, x in states.tensors().items()}) for states in (ours, theirs)
    ]
    expected, _ = distillation_loss(
        term,
        exact[0].under(masked(LENGTHS)),
        exact[1],
        gold=gold,
        projection=fit(half).double() if term.projects else None,
    )
    exactly = term.name in ("labels", "logits")
    torch.testing.assert_close(total.double(), expected, rtol=1e-5 if exactly else 0.05, atol=0)
    for name in read_by(term):
        gradient = ours.tensors()[name].grad
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.any()
    assert count > 0
