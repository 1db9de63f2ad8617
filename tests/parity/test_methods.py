"""Shipped methods against the paper's released code: the terms of a preset's stage on the vectors' models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.distill import terms
from engine.distill.activations import Activations
from engine.preset.kinds import Kind
from engine.preset.load import load_preset
from engine.train.settings import StageSettings, student_stage

from .released import Case, Released, cases
from .test_released import NAMES, STUDENT, TEACHER, Transported, ours

METHODS = {
    # preset: (objectives, layer map, λ, target of the consistency) of the case, padded or not
    "ild-last": ("AH", "last", None, None),
    "ild-last-attention": ("A", "last", None, None),
    "ild-last-hidden": ("H", "last", None, None),
    "ild-last-relations": ("QKV", "last", None, None),
    "ild-uniform-attention": ("A", "uniform", None, None),
    "ild-uniform-relations": ("QKV", "uniform", None, None),
    "minilm": ("AV", "last", None, None),
    "minilmv2": ("QKV", "last", None, None),
    "crild": ("AH", "last", 0.73, "self_teacher"),
    "crild-student": ("AH", "last", 0.73, "student"),
    "crild-no-consistency": ("AH", "last", 0.73, None),
    "crild-reference": ("QKV", "last", 0.73, None),
}


def first_stage(method: str, *settings: str) -> StageSettings:
    """What the method's first stage does."""
    preset = load_preset([method, "rte"], settings).preset
    return student_stage(preset, preset.stage[0], kind="classification")


def bound(stage: StageSettings) -> tuple[terms.Term, ...]:
    return terms.bind(stage.stage, TEACHER, STUDENT, temperature=stage.temperature, kind="classification")


def case_of(wanted: tuple[Any, ...], mask: str) -> Case:
    for kind in ("ild", "crild"):
        for parameter in cases(kind, mask):
            case: Case = parameter.values[0]
            target = case["consistency"]["target"] if case["consistency"] else None
            if (case["objectives"], case["layer_map"], case["mixup_lambda"], target) == wanted:
                return case
    raise LookupError(wanted)


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_first_stage(released: Released, method: str) -> None:
    stage = first_stage(method)
    case = case_of(METHODS[method], "padded" if method == "crild-reference" else "full")
    assert {term.name for term in bound(stage)} == {NAMES[letter] for letter in case["objectives"]}
    assert (stage.mixup is not None) == (case["mixup_lambda"] is not None)
    assert {"ema": "self_teacher", "student": "student", None: None}[
        stage.consistency.target if stage.consistency else None
    ] == METHODS[method][3]
    assert ours(released, case, bound(stage)) == pytest.approx(case["loss"], rel=1e-5)


def test_uniform_hidden_states_are_the_released_ones_without_the_embedding(released: Released) -> None:
    case = case_of(("H", "uniform", None, None), "full")
    found = bound(first_stage("ild-uniform-hidden"))
    with_embedding = bound(first_stage("ild-uniform-hidden", "stage.ild.objectives={hidden = 1.0, embedding = 1.0}"))
    assert ours(released, case, found) < case["loss"]
    assert ours(released, case, with_embedding) == pytest.approx(case["loss"], rel=1e-5)


def test_patience_is_the_released_one(released: Released) -> None:
    """20 times a sum over layers is what a mean over five layers times the authors' β = 100 is."""
    case = case_of(("P", "uniform", None, None), "full")
    (term,) = (term for term in bound(first_stage("pkd")) if term.name == "cls")
    assert ours(released, case, (term,)) == pytest.approx(20 * case["loss"], rel=1e-5)


@pytest.mark.parametrize("mode", ["classification", "regression"])
def test_answers_are_the_released_ones(released: Released, mode: Kind) -> None:
    preset = load_preset(["kd", "rte"]).preset
    stage = student_stage(preset, preset.stage[0], kind=mode)
    (term,) = terms.bind(stage.stage, TEACHER, STUDENT, temperature=stage.temperature, kind=stage.kind)
    (case,) = (
        case.values[0]
        for case in cases("logits", "full")
        if (case.values[0]["mode"], case.values[0]["temperature"]) == (mode, stage.temperature)
    )
    width = 1 if stage.kind == "regression" else None
    student, teacher = (released.tensors[f"logits/full/{model}"][:, :width] for model in ("student", "teacher"))
    total, count = terms.distillation_loss(
        term, *(Activations(torch.ones(4, 1), logits=logits) for logits in (student, teacher))
    )
    p = (teacher / stage.temperature).softmax(-1)
    entropy = 0.0 if stage.kind == "regression" else stage.temperature**2 * torch.special.entr(p).sum(-1).mean()
    assert float(total / count + entropy) == pytest.approx(case["loss"], rel=1e-5)


def test_bert_emd_over_three_calls(released: Released) -> None:
    mask = released.mask("full")
    run = Transported(released, mask, mask, bound(first_stage("bert-emd")))
    for parameter in cases("emd", "full"):
        assert sum(run.call().values()) == pytest.approx(parameter.values[0]["loss"], rel=1e-5)
