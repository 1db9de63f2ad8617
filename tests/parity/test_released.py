"""Agreement to 1e-5 with full masks; difference, and its reasons, with padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.distill import objectives, terms, transport
from engine.distill.activations import Activations
from engine.distill.consistency import consistency
from engine.distill.model_shape import ModelShape
from engine.distill.row_scores import Total, log_rows, row_kl, scores
from engine.distill.terms import Term
from engine.preset.schema import Stage
from tests.distill.inputs import attention_between, relation_between

from .released import HEADS, WIDTH, Case, Released, cases, entropy

NAMES = {"A": "attention", "H": "hidden", "P": "cls", "Q": "query", "K": "key", "V": "value"}
TEACHER, STUDENT = ModelShape(4, WIDTH, HEADS), ModelShape(2, WIDTH, HEADS)


def bound(case: Case, **keys: Any) -> tuple[Term, ...]:
    """The case as a stage of a preset with these keys besides, bound to the tiny models."""
    weights = {NAMES[letter]: 1.0 for letter in case["objectives"]}
    if "H" in case["objectives"] and case["layer_map"] == "uniform":
        weights["embedding"] = 1.0  # the released code counts the embedding output among the hidden states
    stage = Stage.model_validate({"name": "ild", "objectives": weights, "layer_map": case["layer_map"], **keys})
    return terms.bind(stage, TEACHER, STUDENT, temperature=1.0, kind="classification")


def mean(total: Total) -> float:
    return float(total[0] / total[1])


def ours(released: Released, case: Case, found: tuple[Term, ...] | None = None) -> float:
    """The case's loss by the product's objectives, with the teacher's entropy where the released code keeps it.

    `found` are the terms of a preset's stage; those that the case asks for when left out.
    """
    mask, lam = released.mask(case["mask"]), case["mixup_lambda"]
    both = mask if lam is None else torch.maximum(mask, mask.flip(0))
    student, teacher = (released.run(model, mask, lam) for model in ("student", "teacher"))
    loss = 0.0
    for term in bound(case) if found is None else found:
        projection = _projection(released, term)
        value = term.weight * mean(
            terms.distillation_loss(term, student, teacher, clean_mask=mask, projection=projection)
        )
        # PKD's mean is over layers too; here layer pairs are summed for every objective
        loss += value / len(term.pairs) if term.name == "cls" else value
        keys = mask if term.padded else both
        loss += sum(_entropy(teacher, term, t, keys) for t in term.teacher_layers)
        if case["consistency"]:
            loss += pull(released, case, term)
    return loss


def pull(released: Released, case: Case, term: Term) -> float:
    """Weighted consistency; the released code compares hidden states after each model's own linear map."""
    mask, lam, settings = released.mask(case["mask"]), case["mixup_lambda"], case["consistency"]
    student = released.run("student", mask, lam, fitted=True)
    target = released.run(settings["target"], mask, fitted=True)
    value = mean(terms.consistency_loss(term, student, target, lam))
    value += sum(_entropy(target, term, layer, mask) for layer in term.student_layers)
    return float(settings["weight"] * settings["ramp_factor"] * value)


def _projection(released: Released, term: Term) -> terms.WidthProjection | None:
    return released.fit_student if term.name in ("hidden", "cls", "embedding") else None


def _entropy(activations: Activations, term: Term, layer: int, mask: Tensor) -> float:
    letter = {name: letter for letter, name in NAMES.items()}.get(term.name, "H")
    everything = torch.ones_like(mask)
    rows, keys = (everything, mask if letter == "A" else everything) if term.padded else (mask, mask)
    return entropy(activations, letter, layer, rows, keys) if letter in "AQKV" else 0.0


@pytest.mark.parametrize("case", cases("ild", "full") + cases("crild", "full"))
def test_full_masks_agree(released: Released, case: Case) -> None:
    assert ours(released, case) == pytest.approx(case["loss"], rel=1e-5)


def logit_loss(released: Released, case: Case) -> float:
    teacher, student = (released.tensors[f"logits/{case['mask']}/{model}"] for model in ("teacher", "student"))
    t, regression = case["temperature"], case["mode"] == "regression"
    if regression:  # the score is the first of these heads' outputs
        teacher, student = teacher[:, :1], student[:, :1]
    value = mean(objectives.logits(student, teacher, torch.ones(4, 1), temperature=t, kind=case["mode"]))
    p = (teacher / t).softmax(-1)
    return value if regression else value + t**2 * torch.special.entr(p).sum(-1).mean().item()


@pytest.mark.parametrize("case", cases("logits", "full") + cases("logits", "padded"))
def test_logits_agree_under_either_mask(released: Released, case: Case) -> None:
    """No position of a sentence is involved, so padding has nothing to change."""
    assert logit_loss(released, case) == pytest.approx(case["loss"], rel=1e-5)


@pytest.mark.parametrize("case", [c for c in cases("ild", "padded") if c.values[0]["objectives"] == "P"])
def test_cls_agrees_with_padding(released: Released, case: Case) -> None:
    """The first token is real in every sentence."""
    assert ours(released, case) == pytest.approx(case["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "case", [c for c in cases("ild", "padded") + cases("crild", "padded") if c.values[0]["objectives"] != "P"]
)
def test_padded_masks_differ_and_the_released_masks_explain_it(released: Released, case: Case) -> None:
    """The product leaves padding out; with the released code's masks put in by hand, its figure comes out."""
    assert abs(ours(released, case) - case["loss"]) > 1e-4 * case["loss"]
    assert as_released(released, case) == pytest.approx(case["loss"], rel=1e-5)


@pytest.mark.parametrize("case", cases("ild", "padded") + cases("crild", "padded"))
def test_padded_masks_agree_where_padding_counts_as_released(released: Released, case: Case) -> None:
    """What a stage with padding = "released" computes."""
    assert ours(released, case, bound(case, padding="released")) == pytest.approx(case["loss"], rel=1e-5)


def as_released(released: Released, case: Case) -> float:
    """The case with padding let in as the released code does.

    H, Q, K and V: every row and key counts. A: padded query rows count, keys are masked, but with the unmixed mask
    even where the inputs are mixed.
    """
    mask, lam = released.mask(case["mask"]), case["mixup_lambda"]
    everything = torch.ones_like(mask)
    student, teacher = (released.run(model, mask, lam) for model in ("student", "teacher"))
    loss = 0.0
    for term in bound(case):
        letter = {name: letter for letter, name in NAMES.items()}.get(term.name)
        keys = mask if letter == "A" else everything
        for t, s in term.pairs or ((0, 0),):
            if letter in ("H", None):
                left, right = (x.embedding if letter is None else x.hidden[i] for x, i in ((student, s), (teacher, t)))
                assert left is not None
                assert right is not None
                loss += mean(objectives.hidden(released.fit_student(left), right, everything))
            elif letter == "A":
                q, k = student.query[s], student.key[s]
                other = (teacher.query[t], teacher.key[t])
                loss += mean(attention_between((q, k), other, everything, heads=HEADS, keys=keys))
            else:
                left, right = getattr(student, term.name)[s], getattr(teacher, term.name)[t]
                loss += mean(relation_between(left, right, everything, heads=HEADS, keys=keys))
            if letter in ("A", "Q", "K", "V"):
                loss += entropy(teacher, letter, t, everything, keys)
        if case["consistency"]:
            loss += pull_as_released(released, case, letter)
    return loss


def pull_as_released(released: Released, case: Case, letter: str | None) -> float:
    mask, lam, settings = released.mask(case["mask"]), case["mixup_lambda"], case["consistency"]
    everything = torch.ones_like(mask)
    student = released.run("student", mask, lam, fitted=True)
    target = released.run(settings["target"], mask, fitted=True)
    layer = 2
    made = scores(student.query[layer], student.key[layer], HEADS)
    log = log_rows(scores(target.query[layer], target.key[layer], HEADS), mask)

    def of_hidden(of: Tensor, _: Tensor) -> Total:
        return objectives.hidden(student.hidden[layer], of, everything)

    def of_attention(of: Tensor, keys: Tensor) -> Total:
        return row_kl(made, of, everything, keys)

    if letter == "H":
        value = mean(consistency(of_hidden, target.hidden[layer], mask, lam))
    else:
        value = mean(consistency(of_attention, log, mask, lam)) + entropy(target, "A", layer, everything, mask)
    return float(settings["weight"] * settings["ramp_factor"] * value)


class Transported:
    """BERT-EMD called several times in a row on one batch, weights persisting, under the masks given."""

    def __init__(self, released: Released, mask: Tensor, rows: Tensor, found: tuple[Term, ...] | None = None) -> None:
        weights = {"attention": {"mse": True}, "hidden": 1.0, "embedding": 1.0}
        stage = Stage.model_validate({"name": "emd", "objectives": weights, "layer_map": "emd"})
        self.terms = found or terms.bind(stage, TEACHER, STUDENT, temperature=1.0, kind="classification")
        run = (released.run(model, mask) for model in ("student", "teacher"))
        self.student, self.teacher = (replace(activations, mask=rows) for activations in run)
        self.fit = released.fit_student
        self.weights = {term.name: transport.LayerWeights.equal(4, 2) for term in self.terms if term.emd}

    def call(self) -> dict[str, float]:
        return {term.name: self._loss(term) for term in self.terms}

    def _loss(self, term: Term) -> float:
        projection = None if term.name == "attention" else self.fit
        both = (term, self.student, self.teacher)
        if not term.emd:
            return mean(terms.distillation_loss(*both, projection=projection))
        sums, count = terms.transport_costs(*both, projection=projection)
        cost: transport.Matrix = (sums / count).numpy().astype(np.float64)
        plan = transport.plan(self.weights[term.name], cost)
        value = mean(terms.distillation_loss(*both, projection=projection, flow=transport.flow(plan)))
        self.weights[term.name] = transport.update(self.weights[term.name], plan, cost)
        return value


def transported(released: Released, case: Case, rows: Tensor) -> dict[str, Any]:
    run = Transported(released, released.mask(case["mask"]), rows)
    for _ in range(case["call"]):
        values = run.call()
    weights = [run.weights["attention"], run.weights["hidden"]]
    sides = {"student_weights": [w.student for w in weights], "teacher_weights": [w.teacher for w in weights]}
    return {**values, **sides, "loss": sum(values.values())}


def agrees(made: dict[str, Any], case: Case, rel: float) -> None:
    """Losses to 1e-5, layer weights to `rel`."""
    for name in ("attention", "hidden", "embedding", "loss"):
        assert made[name] == pytest.approx(case[name], rel=1e-5), name
    for side in ("student_weights", "teacher_weights"):
        assert np.asarray(made[side]) == pytest.approx(np.asarray(case[side]), rel=rel), side


@pytest.mark.parametrize("case", cases("emd", "full"))
def test_transport_agrees_with_full_masks(released: Released, case: Case) -> None:
    agrees(transported(released, case, released.mask("full")), case, 1e-5)


@pytest.mark.parametrize("case", cases("emd", "padded"))
def test_transport_differs_with_padding_and_counting_every_position_explains_it(released: Released, case: Case) -> None:
    """The released code's scores carry its mask as -10,000 in both models, which costs single precision digits: the
    losses still agree, the layer weights to 3e-5."""
    made = transported(released, case, released.mask("padded"))
    for name in ("attention", "hidden", "embedding", "loss"):
        assert abs(made[name] - case[name]) > 1e-4 * case[name], name
    agrees(transported(released, case, torch.ones_like(released.mask("padded"))), case, 3e-5)


def test_every_case_is_tested(shared: Any) -> None:
    kinds = [("ild", 17), ("crild", 6), ("logits", 4), ("emd", 3)]
    assert [(kind, len(cases(kind, mask))) for mask in ("full", "padded") for kind, _ in kinds] == kinds * 2
