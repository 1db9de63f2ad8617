"""A preset's stage bound to two models: pairs, heads, what is tapped, and that parts of a batch add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.distill.activations import LAYER_STATES, ActivationSpec
from engine.distill.model_shape import ModelShape
from engine.distill.terms import Term, bind, consistency_loss, distillation_loss, required_activations
from engine.errors import PresetError
from engine.preset.schema import Stage

from .inputs import (
    LAYER_TERMS,
    STUDENT_LAYERS,
    TEACHER_LAYERS,
    TERMS,
    States,
    fit,
    leaves,
    masked,
    named,
    part_of,
    student,
    teacher,
)

TEACHER, STUDENT = ModelShape(12, 768, 12), ModelShape(6, 768, 12)
NARROW = ModelShape(6, 384, 12)


def bound(objectives: dict[str, Any], own: ModelShape = STUDENT, **stage: Any) -> tuple[Term, ...]:
    of_stage = Stage.model_validate({"name": "ild", "objectives": objectives, **stage})
    return bind(of_stage, TEACHER, own, temperature=2.0, kind="classification")


def test_a_stage_becomes_terms() -> None:
    assert bound({"attention": 1.0, "hidden": 0.5, "logits": {"weight": 2.0}, "cls": 0.0}) == (
        Term("attention", 1.0, ((12, 6),), heads=12, temperature=2.0),
        Term("hidden", 0.5, ((12, 6),), heads=12, temperature=2.0),
        Term("logits", 2.0, heads=12, temperature=2.0),
    )


def test_an_objective_may_have_its_own_map() -> None:
    attention, hidden = bound(
        {"attention": {"layer_map": "uniform", "mse": True}, "hidden": {"layer_map": "emd"}}, layer_map=[[3, 1]]
    )
    assert attention.pairs == ((2, 1), (4, 2), (6, 3), (8, 4), (10, 5), (12, 6))
    assert (attention.mse, attention.emd) == (True, False)
    assert (len(hidden.pairs), hidden.emd) == (72, True)


def test_widths_that_differ_are_projected() -> None:
    assert [t.projects for t in bound({"hidden": 1.0, "cls": 1.0, "embedding": 1.0, "value": 1.0}, NARROW)] == [
        True, True, True, False,
    ]  # fmt: skip
    assert not any(t.projects for t in bound({"hidden": 1.0, "cls": 1.0, "embedding": 1.0}))
    electra = ModelShape(6, 768, 12, embedding_width=128)
    assert [t.projects for t in bound({"hidden": 1.0, "embedding": 1.0}, electra)] == [False, True]


def test_relations_take_the_students_heads_or_their_own() -> None:
    few = ModelShape(6, 384, 6)
    assert [t.heads for t in bound({"value": 1.0, "key": {"relation_heads": 48}}, few)] == [6, 48]


@pytest.mark.parametrize(
    ("own", "heads", "facts"),
    [(STUDENT, 5, "5 heads do not divide the teacher's width of 768"), (NARROW, 256, "student's width of 384")],
)
def test_relation_heads_must_divide_both_widths(own: ModelShape, heads: int, facts: str) -> None:
    with pytest.raises(PresetError) as caught:
        bound({"value": {"relation_heads": heads}}, own)
    assert caught.value.kind == "heads-do-not-divide-width"
    assert caught.value.key == "objectives.value.relation_heads"
    assert facts in str(caught.value)


def test_attention_needs_equal_heads() -> None:
    with pytest.raises(PresetError) as caught:
        bound({"attention": 1.0}, ModelShape(6, 384, 6))
    assert caught.value.kind == "unequal-attention-heads"
    assert "12" in str(caught.value)
    assert "6" in str(caught.value)


def test_an_impossible_map_is_refused() -> None:
    with pytest.raises(PresetError) as caught:
        bound({"hidden": 1.0}, ModelShape(5, 768, 12), layer_map="uniform")
    assert caught.value.kind == "uniform-map-does-not-divide"


def test_what_the_models_must_show() -> None:
    terms = bound({"attention": 1.0, "value": 1.0, "hidden": 1.0, "cls": 1.0, "embedding": 1.0, "labels": 1.0})
    last, six = frozenset({12}), frozenset({6})
    assert required_activations(terms, "teacher") == ActivationSpec(last, last, last, last, embedding=True)
    assert required_activations(terms, "student") == ActivationSpec(six, six, six, six, embedding=True, logits=True)
    assert required_activations(terms, "target") == ActivationSpec(six, six, six, six)


def test_logits_are_read_of_both_and_labels_of_the_student() -> None:
    assert required_activations(bound({"logits": 1.0}), "teacher").logits
    assert not required_activations(bound({"labels": 1.0}), "teacher").logits
    assert required_activations(bound({"labels": 1.0}), "student").logits
    assert required_activations(bound({"query": 1.0}, layer_map=[[3, 1]]), "teacher") == ActivationSpec(
        query=frozenset({3})
    )


def test_scores_are_made_once() -> None:
    """Distillation and consistency compare the same scores of the student."""
    states = student(1, 2, 3)
    assert states.scores("query", "key", 2, 2) is states.scores("query", "key", 2, 2)
    assert states.scores("query", "key", 2, 2) is not states.scores("query", "query", 2, 2)
    assert states.scores("query", "query", 2, 2) is not states.scores("query", "query", 1, 2)
    assert states.scores("query", "query", 2, 2).shape != states.scores("query", "query", 2, 4).shape


LENGTHS = (5, 2, 3, 4, 1, 5, 2, 4)
GOLD = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])
MIRRORED = ((0, 1, 6, 7), (2, 5), (3, 4))


@pytest.mark.parametrize("lam", [None, 0.6])
@pytest.mark.parametrize("term", TERMS, ids=named)
def test_mirrored_micro_batches_add_up(term: Term, lam: float | None) -> None:
    """Sums over sums of counts: the whole batch's mean and gradient, however unequal the parts."""
    ours, theirs = leaves(student(1, 8, 5).under(masked(LENGTHS))), teacher(2, 8, 5)
    projection = fit() if term.projects else None

    def run(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mine, other = part_of(ours, rows), part_of(theirs, rows)
        return distillation_loss(term, mine, other, gold=GOLD[rows], lam=lam, projection=projection)

    whole, count = run(torch.arange(8))
    parts = [run(torch.tensor(rows)) for rows in MIRRORED]
    assert sum(int(n) for _, n in parts) == count
    torch.testing.assert_close(sum(total for total, _ in parts), whole, rtol=1e-5, atol=1e-7)
    torch.autograd.backward(whole / count)
    expected = {name: x.grad.clone() for name, x in ours.tensors().items() if x.grad is not None}
    for x in ours.tensors().values():
        x.grad = None
    for rows in MIRRORED:
        torch.autograd.backward(run(torch.tensor(rows))[0] / count)
    for name, gradient in expected.items():
        torch.testing.assert_close(ours.tensors()[name].grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("term", LAYER_TERMS, ids=named)
def test_mirrored_micro_batches_of_consistency_add_up(term: Term) -> None:
    ours, target = student(1, 8, 5), student(2, 8, 5).under(masked(LENGTHS))
    whole, count = consistency_loss(term, ours, target, 0.7)
    parts = [
        consistency_loss(term, part_of(ours, rows), part_of(target, rows), 0.7) for rows in map(torch.tensor, MIRRORED)
    ]
    torch.testing.assert_close(sum(total for total, _ in parts), whole, rtol=1e-5, atol=1e-7)
    assert sum(int(n) for _, n in parts) == count
    # parts that tear partners apart are another loss: the test above would not pass by chance
    torn = [
        consistency_loss(term, part_of(ours, rows), part_of(target, rows), 0.7)[0]
        for rows in (torch.arange(4), torch.arange(4, 8))
    ]
    assert abs(sum(torn) - whole) > 1e-4 * whole


def test_layer_pairs_are_summed() -> None:
    ours, theirs = student(1, 2, 3).under(masked((3, 2))), teacher(2, 2, 3)
    both = distillation_loss(Term("value", pairs=((2, 1), (4, 2)), heads=2), ours, theirs)
    each = [distillation_loss(Term("value", pairs=(pair,), heads=2), ours, theirs) for pair in ((2, 1), (4, 2))]
    torch.testing.assert_close(both[0], each[0][0] + each[1][0])
    assert both[1] == each[0][1]


def test_weights_are_left_to_the_loop() -> None:
    ours, theirs = student(1, 2, 3).under(masked((3, 2))), teacher(2, 2, 3)
    light, heavy = (Term("value", weight, ((4, 2),), heads=2) for weight in (1.0, 9.0))
    assert distillation_loss(light, ours, theirs)[0] == distillation_loss(heavy, ours, theirs)[0]
    assert consistency_loss(light, ours, ours, 0.7)[0] == consistency_loss(heavy, ours, ours, 0.7)[0]


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_nothing_is_read_back_to_the_host(term: Term) -> None:
    """Tensors without values: whatever depended on one (a branch, an index of a mask) would raise here."""
    fake = FakeTensorMode(allow_non_fake_inputs=False)
    with fake:
        ours, theirs, target = leaves(_empty(STUDENT_LAYERS, 8)), _empty(TEACHER_LAYERS, 12), _empty(STUDENT_LAYERS, 8)
        gold = torch.zeros(4, dtype=torch.long)
        projection = torch.nn.Linear(8, 12) if term.projects else None
        total, count = distillation_loss(term, ours, theirs, gold=gold, lam=0.6, projection=projection)
        if term.pairs:
            total = total + consistency_loss(term, ours, target, torch.tensor(0.7))[0]
        torch.autograd.backward(total / count)
    assert any(x.grad is not None and x.grad.shape == x.shape for x in ours.tensors().values())


def _empty(layers: int, width: int) -> States:
    parts: dict[str, Any] = {part: {i: torch.empty(4, 5, width) for i in range(1, layers + 1)} for part in LAYER_STATES}
    mask = torch.ones(4, 5, dtype=torch.long)
    return States(mask, **parts, embedding=torch.empty(4, 5, width), logits=torch.empty(4, 3))
