"""A preset's stage bound to two models: pairs, heads, what is tapped, and that parts of a batch add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.distill.model_shape import ModelShape
from engine.distill.terms import Reading, Reads, Term, agree, bind, distil, reads
from engine.errors import PresetError
from engine.preset.schema import Stage

from .inputs import (
    LAYER_TERMS,
    PARTS,
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
    made = Stage.model_validate({"name": "ild", "objectives": objectives, **stage})
    return bind(made, TEACHER, own, temperature=2.0, regression=False)


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
    assert reads(terms, "teacher") == Reads(last, last, last, last, embedding=True)
    assert reads(terms, "student") == Reads(six, six, six, six, embedding=True, logits=True)
    assert reads(terms, "target") == Reads(six, six, six, six)


def test_logits_are_read_of_both_and_labels_of_the_student() -> None:
    assert reads(bound({"logits": 1.0}), "teacher").logits
    assert not reads(bound({"labels": 1.0}), "teacher").logits
    assert reads(bound({"labels": 1.0}), "student").logits
    assert reads(bound({"query": 1.0}, layer_map=[[3, 1]]), "teacher") == Reads(query=frozenset({3}))


def test_scores_are_made_once() -> None:
    """Distillation and consistency compare the same scores of the student."""
    reading = Reading(student(1, 2, 3))
    assert reading.scores("attention", 2, 2) is reading.scores("attention", 2, 2)
    assert reading.scores("attention", 2, 2) is not reading.scores("query", 2, 2)
    assert reading.scores("query", 2, 2) is not reading.scores("query", 1, 2)
    assert reading.scores("query", 2, 2).shape != reading.scores("query", 2, 4).shape


LENGTHS = (5, 2, 3, 4, 1, 5, 2, 4)
GOLD = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])
MIRRORED = ((0, 1, 6, 7), (2, 5), (3, 4))


@pytest.mark.parametrize("lam", [None, 0.6])
@pytest.mark.parametrize("term", TERMS, ids=named)
def test_mirrored_micro_batches_add_up(term: Term, lam: float | None) -> None:
    """Sums over sums of counts: the whole batch's mean and gradient, however unequal the parts."""
    ours, theirs, mask = leaves(student(1, 8, 5)), teacher(2, 8, 5), masked(LENGTHS)
    projection = fit() if term.projects else None

    def run(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mine, other = Reading(part_of(ours, rows)), Reading(part_of(theirs, rows))
        return distil(term, mine, other, mask[rows], gold=GOLD[rows], lam=lam, projection=projection)

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
    ours, target, mask = student(1, 8, 5), student(2, 8, 5), masked(LENGTHS)
    whole, count = agree(term, Reading(ours), Reading(target), mask, 0.7)
    parts = [
        agree(term, Reading(part_of(ours, rows)), Reading(part_of(target, rows)), mask[rows], 0.7)
        for rows in map(torch.tensor, MIRRORED)
    ]
    torch.testing.assert_close(sum(total for total, _ in parts), whole, rtol=1e-5, atol=1e-7)
    assert sum(int(n) for _, n in parts) == count
    # parts that tear partners apart are another loss: the test above would not pass by chance
    torn = [
        agree(term, Reading(part_of(ours, rows)), Reading(part_of(target, rows)), mask[rows], 0.7)[0]
        for rows in (torch.arange(4), torch.arange(4, 8))
    ]
    assert abs(sum(torn) - whole) > 1e-4 * whole


def test_layer_pairs_are_summed() -> None:
    ours, theirs, mask = Reading(student(1, 2, 3)), Reading(teacher(2, 2, 3)), masked((3, 2))
    both = distil(Term("value", pairs=((2, 1), (4, 2)), heads=2), ours, theirs, mask)
    each = [distil(Term("value", pairs=(pair,), heads=2), ours, theirs, mask) for pair in ((2, 1), (4, 2))]
    torch.testing.assert_close(both[0], each[0][0] + each[1][0])
    assert both[1] == each[0][1]


def test_weights_are_left_to_the_loop() -> None:
    ours, theirs, mask = Reading(student(1, 2, 3)), Reading(teacher(2, 2, 3)), masked((3, 2))
    light, heavy = (Term("value", weight, ((4, 2),), heads=2) for weight in (1.0, 9.0))
    assert distil(light, ours, theirs, mask)[0] == distil(heavy, ours, theirs, mask)[0]
    assert agree(light, ours, ours, mask, 0.7)[0] == agree(heavy, ours, ours, mask, 0.7)[0]


@pytest.mark.parametrize("term", TERMS, ids=named)
def test_nothing_is_read_back_to_the_host(term: Term) -> None:
    """Tensors without values: whatever depended on one (a branch, an index of a mask) would raise here."""
    fake = FakeTensorMode(allow_non_fake_inputs=False)
    with fake:
        ours, theirs, target = leaves(_empty(STUDENT_LAYERS, 8)), _empty(TEACHER_LAYERS, 12), _empty(STUDENT_LAYERS, 8)
        mask, gold = torch.ones(4, 5, dtype=torch.long), torch.zeros(4, dtype=torch.long)
        projection = torch.nn.Linear(8, 12) if term.projects else None
        total, count = distil(term, Reading(ours), Reading(theirs), mask, gold=gold, lam=0.6, projection=projection)
        if term.pairs:
            total = total + agree(term, Reading(ours), Reading(target), mask, torch.tensor(0.7))[0]
        torch.autograd.backward(total / count)
    assert any(x.grad is not None and x.grad.shape == x.shape for x in ours.tensors().values())


def _empty(layers: int, width: int) -> States:
    parts: dict[str, Any] = {part: {i: torch.empty(4, 5, width) for i in range(1, layers + 1)} for part in PARTS}
    return States(**parts, embedding=torch.empty(4, 5, width), logits=torch.empty(4, 3))
