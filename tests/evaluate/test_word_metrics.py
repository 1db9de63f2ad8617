"""Metrics of labels by word: on hand-made cases, and why they need the bounds of sentences."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.types import TaskSpec
from engine.evaluate.metrics import agreement, compute, label_loss, majority

LABELS = ("B-PER", "I-PER", "O")
SPEC = TaskSpec(
    "ner", "token-classification", LABELS,
    ("entity_f1", "entity_precision", "entity_recall", "accuracy", "f1_macro"), is_pair=False,
)  # fmt: skip


def logits(labels: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[labels]


def test_entities_end_with_their_sentence() -> None:
    """B-PER | I-PER are two entities in two sentences, and one in one."""
    gold, own = np.array([0, 1, 2]), [0, 1, 2]
    apart = compute(SPEC, logits(own), gold, np.array([0, 1, 1]))
    assert apart["entity_f1"] == 1.0
    wrong = compute(SPEC, logits([0, 2, 2]), gold, np.array([0, 1, 1]))
    together = compute(SPEC, logits([0, 2, 2]), gold, np.zeros(3, np.int64))
    assert (wrong["entity_recall"], wrong["entity_precision"]) == (0.5, 1.0)
    assert wrong["entity_f1"] == pytest.approx(2 / 3)
    assert together["entity_recall"] == 0.0
    assert together["accuracy"] == pytest.approx(2 / 3)
    assert together["f1_macro"] == pytest.approx((1.0 + 0.0 + 2 / 3) / 3)


def test_entities_cannot_be_counted_without_their_sentences() -> None:
    with pytest.raises(ValueError, match="entity_f1 needs the group"):
        compute(SPEC, logits([0]), np.array([0]))


def test_the_majority_labels_every_word_alike() -> None:
    train, dev = np.array([2, 2, 0]), np.array([0, 1, 2, 2])
    found = majority(SPEC, train, dev, np.zeros(4, np.int64))
    assert (found["entity_f1"], found["accuracy"]) == (0.0, 0.5)


def test_agreement_and_loss_are_by_word() -> None:
    assert agreement(SPEC, logits([0, 1, 2]), logits([0, 2, 2])) == pytest.approx(2 / 3)
    assert label_loss(SPEC, np.zeros((2, 3), np.float32), np.array([0, 2])) == pytest.approx(np.log(3))
