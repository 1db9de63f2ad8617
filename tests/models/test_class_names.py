"""Outputs are matched with classes by name."""

from __future__ import annotations

import pytest
import torch

from engine.data.tasks import GLUE
from engine.data.types import TaskSpec
from engine.models.class_names import align, name_outputs, names_of, order_by_name
from engine.models.families import output_of
from engine.models.thresholds import thresholds_of
from tests.models.tiny_models import EVERY, batch_of, own_forward, tiny

RTE, MNLI = GLUE["rte"].spec.labels, GLUE["mnli"].spec.labels


@pytest.mark.parametrize(
    ("names", "labels", "order"),
    [
        (("contradiction", "entailment", "neutral"), MNLI, (1, 2, 0)),
        (("ENTAILMENT", "Neutral", "CONTRADICTION"), MNLI, (0, 1, 2)),
        (("contradict", "entails", "neutral"), MNLI, (1, 2, 0)),
        (("not_entailment", "entailment"), RTE, (1, 0)),
        (("non-entailment", "Entailed"), RTE, (1, 0)),
        (("notEntailment", "entailment"), RTE, (1, 0)),
        (("duplicate", "not_duplicate"), ("not_duplicate", "duplicate"), (1, 0)),
        (("duplicate", "non_duplicate"), ("not_equivalent", "equivalent"), (1, 0)),
        (("not paraphrase", "paraphrase"), ("not_equivalent", "equivalent"), (0, 1)),
        (("POSITIVE", "NEGATIVE"), ("negative", "positive"), (1, 0)),
        (("pos", "neg"), ("negative", "positive"), (1, 0)),
        (("grammatical", "ungrammatical"), ("unacceptable", "acceptable"), (1, 0)),
        (("acceptable", "not acceptable"), ("unacceptable", "acceptable"), (1, 0)),
        (("2 stars", "1 star"), ("1 star", "2 stars"), (1, 0)),
        (("0", "1"), ("1", "0"), (1, 0)),
        (("nothing", "notable"), ("notable", "nothing"), (1, 0)),
        (("cafe\u0301", "th\u00e9"), ("the\u0301", "caf\u00e9"), (1, 0)),
        (("no\u200b", "\ufeffyes"), ("yes", "no"), (1, 0)),
    ],
)
def test_names_tell_the_order(names: tuple[str, ...], labels: tuple[str, ...], order: tuple[int, ...]) -> None:
    assert order_by_name(names, labels) == order


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("LABEL_0", "LABEL_1"), RTE),
        (("0", "1"), RTE),
        (("1", "0"), ("not_duplicate", "duplicate")),
        (("entailment", "LABEL_1"), RTE),
        (("entailment", "contradiction"), RTE),
        (("POSITIVE", "NEGATIVE"), RTE),
        (("entailment", "entail"), RTE),
        (("entailment", "entails", "neutral"), MNLI),
        (("entailment",), RTE),
    ],
)
def test_names_that_do_not_tell(names: tuple[str, ...], labels: tuple[str, ...]) -> None:
    assert order_by_name(names, labels) is None


@pytest.mark.parametrize("family", EVERY)
def test_aligning_moves_logits_and_names_together(family: str) -> None:
    model = tiny(family, labels=3)
    batch = batch_of(model, [7, 4])
    before = own_forward(model, batch).logits
    align(model, (1, 2, 0), GLUE["mnli"].spec)
    assert torch.equal(own_forward(model, batch).logits, before[:, [1, 2, 0]])
    assert names_of(model) == MNLI
    assert model.config.label2id == {"entailment": 0, "neutral": 1, "contradiction": 2}


def test_aligning_keeps_the_parameter_itself() -> None:
    """An optimiser that already holds it goes on working."""
    model = tiny("bert")
    weight = output_of(model).weight
    align(model, (1, 0), GLUE["rte"].spec)
    assert output_of(model).weight is weight


@pytest.mark.parametrize("permutation", [(0, 0), (0, 2), (0,), (0, 1, 2)])
def test_what_is_no_permutation_is_refused(permutation: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not order"):
        align(tiny("bert"), permutation, GLUE["rte"].spec)


def test_aligning_moves_thresholds_too() -> None:
    model = tiny("bert", labels=3)
    model.config.label_thresholds = [0.1, 0.2, 0.3]
    align(model, (1, 2, 0), GLUE["mnli"].spec)
    assert thresholds_of(model.config) == (0.2, 0.3, 0.1)


@pytest.mark.parametrize("found", [None, [0.5, 0.5], [0.1, 0.2, 2.0], [0.1, 0.2, "x"], 0.3])
def test_thresholds_of_another_form_are_the_usual_ones(found: object) -> None:
    model = tiny("bert", labels=3)
    model.config.label_thresholds = found
    assert thresholds_of(model.config) == (0.5, 0.5, 0.5)


def test_the_kind_of_task_says_what_the_outputs_are() -> None:
    model = tiny("bert", labels=2)
    name_outputs(model, TaskSpec("t", "multilabel", ("a", "b"), ("f1_micro",), is_pair=False))
    assert (names_of(model), model.config.problem_type) == (("a", "b"), "multi_label_classification")


def test_regression_has_one_score() -> None:
    model = tiny("bert", labels=1)
    name_outputs(model, GLUE["stsb"].spec)
    assert names_of(model) == ("score",)
    assert model.config.problem_type == "regression"
    assert model.config.num_labels == 1
