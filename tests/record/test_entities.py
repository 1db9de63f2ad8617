"""Entities in label sequences: by hand, and as seqeval reads them."""

from __future__ import annotations

import random

import pytest

from engine.record.entities import (
    Entity,
    EntityCounts,
    counts_by_type,
    entities,
    names_entities,
    prefix_and_type,
    scheme_of,
)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O B-PER I-PER O B-LOC", [("PER", 1, 3), ("LOC", 4, 5)]),
        ("I-PER I-PER B-PER O", [("PER", 0, 2), ("PER", 2, 3)]),  # IOB1: B- only behind another one
        ("O I-LOC I-PER", [("LOC", 1, 2), ("PER", 2, 3)]),
        ("B-PER E-PER S-PER O B-LOC I-LOC E-LOC", [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 7)]),
        ("E-LOC I-LOC E-LOC S-LOC I-LOC", [("LOC", 0, 1), ("LOC", 1, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
        ("B-PER L-PER U-LOC", [("PER", 0, 2), ("LOC", 2, 3)]),  # BILOU
        ("B I O", [("", 0, 2)]),
        ("B-PER-first I-PER-first", [("PER-first", 0, 2)]),
        ("O NOUN O", []),
        ("", []),
    ],
    ids=["iob2", "iob1", "broken", "bioes", "ends-first", "bilou", "no-type", "two-dashes", "other-labels", "empty"],
)
def test_entities_by_hand(labels: str, expected: list[Entity]) -> None:
    assert entities(labels.split()) == expected


def test_words_without_an_answer_are_passed_over() -> None:
    assert entities(["B-PER", None, "I-PER", None, "O"]) == [("PER", 0, 3)]
    assert entities(["B-PER", None, "I-LOC"]) == [("PER", 0, 1), ("LOC", 2, 3)]


def test_they_are_those_of_seqeval_for_any_sequence() -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    draw = random.Random(0)
    names = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("A", "B"))]
    for _ in range(3000):
        labels = draw.choices(names, k=draw.randint(1, 7))
        theirs = [(kind, start, end + 1) for kind, start, end in seqeval.get_entities(labels)]
        assert entities(labels) == theirs, labels


def test_precision_recall_and_f1_by_hand_and_as_seqeval() -> None:
    """3 gold entities, 4 predicted, 2 of them right: one is longer than the gold one, one is too much."""
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-PER", "B-LOC"]]
    counts = EntityCounts.of(gold[0], predicted[0]) + EntityCounts.of(gold[1], predicted[1])
    assert (counts.gold, counts.predicted, counts.right) == (3, 4, 2)
    assert (counts.precision, counts.recall, counts.f1) == (2 / 4, 2 / 3, 4 / 7)
    assert counts_by_type(gold, predicted) == {"LOC": EntityCounts(1, 1, 0), "PER": EntityCounts(2, 3, 2)}
    metrics = pytest.importorskip("seqeval.metrics")
    assert metrics.f1_score(gold, predicted) == pytest.approx(counts.f1)
    assert metrics.precision_score(gold, predicted) == counts.precision
    assert metrics.recall_score(gold, predicted) == pytest.approx(counts.recall)


def test_without_entities_every_figure_is_0() -> None:
    counts = EntityCounts.of(["O"], ["O"])
    assert (counts.precision, counts.recall, counts.f1) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        (["B-PER I-PER O", "B-PER B-PER"], ("IOB2", 3, 0, None)),
        (["B-PER O", "O I-PER I-PER"], ("IOB2", 2, 1, (1, 1))),
        (["I-PER I-PER B-PER O", "I-LOC"], ("IOB1", 3, 0, None)),
        (["I-PER O I-LOC"], ("IO", 2, 0, None)),
        (["S-PER O B-LOC E-LOC"], ("BIOES", 2, 0, None)),
        (["S-PER O B-LOC I-LOC O", "O"], ("BIOES", 2, 1, (0, 2))),
        (["U-PER B-LOC L-LOC"], ("BILOU", 2, 0, None)),
    ],
    ids=["iob2", "iob2-broken", "iob1", "io", "bioes", "bioes-unclosed", "bilou"],
)
def test_the_scheme_and_where_it_is_broken(
    sentences: list[str], expected: tuple[str, int, int, tuple[int, int] | None]
) -> None:
    found = scheme_of([sentence.split() for sentence in sentences])
    assert (found.name, found.entities, found.broken, found.example) == expected


def test_which_labels_mark_entities() -> None:
    assert names_entities({"O", "B-PER", "I-PER"})
    assert names_entities({"O", "B", "I"})
    assert not names_entities({"B-PER", "I-PER"})
    assert not names_entities({"O"})
    assert not names_entities({"O", "NOUN", "VERB"})
    assert prefix_and_type("I-") is None
    assert prefix_and_type("X-PER") is None
