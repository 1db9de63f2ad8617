from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.types import TaskSpec
from engine.evaluate.metrics import METRICS, agreement, compute, label_loss, majority, predicted
from engine.evaluate.thresholds import best_thresholds
from engine.preset.kinds import ENTITY_METRICS, KINDS, Kind, MetricName
from engine.record.rankings import RANKED


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Every figure here is computed without a warning: they would stand in a run's log at each evaluation."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def spec(*metrics: str, kind: Kind = "classification", classes: int = 2) -> TaskSpec:
    labels = () if kind == "regression" else tuple("abcd"[:classes])
    return TaskSpec("t", kind, labels, metrics, is_pair=False)


SCORES = spec("pearson", "spearman", kind="regression")


def logits(predictions: list[int], classes: int = 2) -> npt.NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[predictions] * 3 - 1


def counts(gold: list[int], guess: list[int], label: int) -> tuple[int, int, int, int]:
    pairs = list(zip(gold, guess, strict=True))
    tp = sum(g == label and p == label for g, p in pairs)
    fp = sum(g != label and p == label for g, p in pairs)
    fn = sum(g == label and p != label for g, p in pairs)
    return tp, fp, fn, len(pairs) - tp - fp - fn


def f1(gold: list[int], guess: list[int], label: int) -> float:
    tp, fp, fn, _ = counts(gold, guess, label)
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


two = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
three = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(two)
@settings(max_examples=60, deadline=None)
def test_two_classes_by_their_definitions(pairs: list[tuple[int, int]]) -> None:
    gold, guess = [g for g, _ in pairs], [p for _, p in pairs]
    found = compute(spec("matthews", "accuracy", "f1", "f1_macro"), logits(guess), np.array(gold))
    tp, fp, fn, tn = counts(gold, guess, 1)
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert found["matthews"] == pytest.approx((tp * tn - fp * fn) / below if below else 0.0)
    assert found["accuracy"] == pytest.approx((tp + tn) / len(pairs))
    assert found["f1"] == pytest.approx(f1(gold, guess, 1)), "of class 1"
    present = set(gold)
    assert found["f1_macro"] == pytest.approx(np.mean([f1(gold, guess, label) for label in present]))
    assert list(found) == ["matthews", "accuracy", "f1", "f1_macro"], "the primary one first"


@given(three)
@settings(max_examples=30, deadline=None)
def test_three_classes(pairs: list[tuple[int, int]]) -> None:
    gold, guess = [g for g, _ in pairs], [p for _, p in pairs]
    found = compute(spec("accuracy", "f1_macro", classes=3), logits(guess, 3), np.array(gold))
    assert found["accuracy"] == pytest.approx(np.mean(np.array(gold) == np.array(guess)))
    present = set(gold)
    assert found["f1_macro"] == pytest.approx(np.mean([f1(gold, guess, label) for label in present]))


def test_correlations() -> None:
    gold = np.array([0.0, 1.0, 2.0, 5.0], dtype=np.float32)
    exact = compute(SCORES, (gold * -2 + 1).reshape(-1, 1), gold)
    assert exact == pytest.approx({"pearson": -1.0, "spearman": -1.0})
    bent = compute(SCORES, gold**3, gold)
    assert bent["spearman"] == pytest.approx(1.0), "ranks alone"
    x, y = gold**3 - (gold**3).mean(), gold - gold.mean()
    assert bent["pearson"] == pytest.approx(float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())), rel=1e-5)


@pytest.mark.parametrize(
    ("guess", "gold"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
        ([float("nan"), 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([float("inf"), 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0], [1.0]),
    ],
)
def test_a_correlation_that_does_not_exist_is_nothing(guess: list[float], gold: list[float]) -> None:
    assert compute(SCORES, np.array(guess), np.array(gold)) == {"pearson": 0.0, "spearman": 0.0}


def test_nearly_constant_predictions_give_a_number_without_a_warning() -> None:
    guess = 1.0 + np.arange(5) * 1e-15
    assert all(math.isfinite(value) for value in compute(SCORES, guess, np.arange(5.0)).values())


def test_a_constant_class_is_no_better_than_chance() -> None:
    found = compute(spec("matthews", "f1", "accuracy"), logits([0, 0, 0]), np.array([0, 1, 1]))
    assert found == pytest.approx({"matthews": 0.0, "f1": 0.0, "accuracy": 1 / 3})


def test_majority_of_the_training_labels_measured_on_dev() -> None:
    train, dev = np.array([1, 1, 0]), np.array([0, 0, 1, 1, 1])
    found = majority(spec("accuracy", "f1", "matthews"), train, dev)
    assert found == pytest.approx({"accuracy": 0.6, "f1": 0.75, "matthews": 0.0})
    assert majority(spec("accuracy"), np.array([0, 0, 1]), dev) == pytest.approx({"accuracy": 0.4})
    assert majority(SCORES, np.array([0.5, 2.0]), np.array([1.0, 4.0, 2.0])) == {"pearson": 0.0, "spearman": 0.0}


def test_majority_on_real_files(shared: object) -> None:
    from pathlib import Path

    from engine.data.glue import load_glue

    assert isinstance(shared, Path)
    for name, expected in {
        "mrpc": {"accuracy": 279 / 408, "f1": 2 * 279 / (279 + 408)},
        "cola": {"matthews": 0.0, "accuracy": 721 / 1043},
        "rte": {"accuracy": 146 / 277},
    }.items():
        data = load_glue(name, shared / "glue")
        train, dev = ([example.label for example in rows] for rows in (data.train, data.dev["dev"]))
        assert majority(data.spec, np.array(train), np.array(dev)) == pytest.approx(expected)


def test_agreement() -> None:
    two_classes = spec("accuracy")
    assert agreement(two_classes, logits([0, 1, 1, 0]), logits([0, 1, 0, 0]) * 9) == 0.75
    gold = np.array([[1.0], [2.0], [4.0]])
    assert agreement(SCORES, gold, gold[:, 0] * 2) == pytest.approx(1.0)
    assert agreement(SCORES, np.ones(3), np.ones(3)) == 1.0, "the same answers agree, constant or not"
    assert agreement(SCORES, np.ones(3), gold) == 0.0


def test_sizes_must_fit() -> None:
    with pytest.raises(ValueError, match="2 predictions for 3 labels"):
        compute(spec("accuracy"), logits([0, 1]), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="0 predictions for 0 labels"):
        compute(spec("accuracy"), logits([]), np.array([]))
    with pytest.raises(ValueError, match="2 predictions, but 1"):
        agreement(spec("accuracy"), logits([0, 1]), logits([0]))


def test_what_logits_say() -> None:
    assert predicted(spec("accuracy"), np.array([[0.1, 0.2], [0.3, -1.0]])).tolist() == [1, 0]
    assert predicted(SCORES, np.array([[0.5], [1.5]])).tolist() == [0.5, 1.5]


def test_every_metric_that_a_preset_can_name_is_here() -> None:
    assert (
        METRICS.keys() | RANKED.keys() | set(ENTITY_METRICS)
        == set(get_args(MetricName))
        == {name for kind in KINDS.values() for name in kind.metrics}
    )


def test_f1_macro_is_over_the_same_classes_whatever_is_predicted() -> None:
    gold = np.array([0] * 50 + [1] * 50)
    ten, one = gold.copy(), gold.copy()
    ten[:10] = 1
    one[0] = 2  # a class that dev lacks
    task = spec("f1_macro", classes=3)
    ten_mistakes, one_mistake = (compute(task, logits(answers.tolist(), 3), gold) for answers in (ten, one))
    assert one_mistake["f1_macro"] == pytest.approx((f1(gold.tolist(), one.tolist(), 0) + 1) / 2)
    assert one_mistake["f1_macro"] > ten_mistakes["f1_macro"]


# -- several labels for a text

SEVERAL = spec("f1_micro", "f1_macro", "subset_accuracy", kind="multilabel", classes=3)
SETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], np.uint8)


def test_metrics_of_several_labels_by_hand() -> None:
    """Answers {a}, {a}, {c}, {b}: three right, b missed once, c named once; dev has no c."""
    answers = np.array([[2.0, -1, -1], [1, -3, -1], [-1, -1, 0], [-1, 1, -1]])
    assert predicted(SEVERAL, answers).tolist() == [[True, False, False], [True, False, False], [False, False, True],
                                                    [False, True, False]]  # fmt: skip
    found = compute(SEVERAL, answers, SETS)
    assert found["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3) / 2), "over the labels that dev has"
    assert found["subset_accuracy"] == 2 / 4


def test_metrics_of_several_labels_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(1)
    gold, answers = (random.random((50, 3)) < 0.4).astype(np.uint8), random.normal(0, 1, (50, 3))
    found = compute(SEVERAL, answers, gold)
    assert found["f1_micro"] == f1_score(gold, answers >= 0, average="micro")
    assert found["f1_macro"] == f1_score(gold, answers >= 0, average="macro")
    assert found["subset_accuracy"] == accuracy_score(gold, answers >= 0)


def test_no_label_anywhere_is_nothing() -> None:
    found = compute(SEVERAL, np.full((2, 3), -1.0), np.zeros((2, 3), np.uint8))
    assert found == {"f1_micro": 0.0, "f1_macro": 0.0, "subset_accuracy": 1.0}


def test_the_majority_guess_of_several_labels_is_the_most_frequent_set() -> None:
    train = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]], np.uint8)
    found = majority(SEVERAL, train, SETS)
    assert found["subset_accuracy"] == 1 / 4
    assert found["f1_micro"] == pytest.approx(2 * 4 / (2 * 4 + 4))


def test_agreement_of_several_labels_is_about_all_of_a_row() -> None:
    one, other = np.array([[1.0, 1, -1], [1, -1, -1]]), np.array([[1.0, -1, -1], [1, -1, -1]])
    assert agreement(SEVERAL, one, other) == 0.5
    lower = TaskSpec("t", "multilabel", SEVERAL.labels, SEVERAL.metrics, is_pair=False, thresholds=(0.5, 0.2, 0.5))
    assert agreement(SEVERAL, one, other, other_spec=lower) == 0.5, "each at its own thresholds: row 2 has b as well"


def test_the_loss_of_several_labels() -> None:
    answers = np.array([[math.log(3.0), 0.0, -math.log(3.0)]])
    expected = (-math.log(3 / 4) - math.log(1 / 2) - math.log(1 / 4)) / 3
    assert label_loss(SEVERAL, answers, np.array([[1, 0, 1]])) == pytest.approx(expected)


def test_thresholds_by_hand() -> None:
    """Of label a, 0.3 divides the two; b is right at 0.5 already; c never applies; of d, 0.5 is as good as 0.85."""
    shares = np.array([[0.4, 0.9, 0.7, 0.9], [0.35, 0.6, 0.6, 0.6], [0.25, 0.2, 0.9, 0.8], [0.1, 0.1, 0.1, 0.7]])
    gold = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert best_thresholds(shares, gold) == pytest.approx((0.3, 0.5, 0.5, 0.5))
