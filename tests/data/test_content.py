"""The hash of examples: by content, whatever file, tokenizer or order of classes they come with."""

from __future__ import annotations

from dataclasses import replace

from engine.data.content import rows_hash
from engine.data.types import Example

ROWS = (Example("dev-0", "ab", None, 0), Example("dev-1", "c", None, 1))
NAMES = ("bad", "good")


def test_texts_and_labels_count_ids_do_not() -> None:
    base = rows_hash(ROWS, NAMES)
    assert rows_hash([replace(row, id=f"x{row.id}") for row in ROWS], NAMES) == base
    others = [
        ROWS[::-1],
        ROWS[:1],
        (replace(ROWS[0], text="a"), replace(ROWS[1], text="bc")),
        (replace(ROWS[0], label=1), ROWS[1]),
        tuple(row.unlabelled() for row in ROWS),
        tuple(replace(row, pair="") for row in ROWS),
        tuple(replace(row, text=row.text + "\u200b") for row in ROWS),
    ]
    hashes = {rows_hash(rows, NAMES) for rows in others}
    assert len(hashes) == len(others)
    assert base not in hashes


def test_the_second_sentence_counts() -> None:
    pair = [replace(row, pair="x") for row in ROWS]
    assert rows_hash(pair, NAMES) != rows_hash([replace(row, pair="y") for row in ROWS], NAMES)


def test_a_class_counts_by_its_name() -> None:
    swapped = [replace(row, label=0 if row.label else 1) for row in ROWS]
    assert rows_hash(swapped, NAMES[::-1]) == rows_hash(ROWS, NAMES)
    assert rows_hash(ROWS, ("Bad", "good")) != rows_hash(ROWS, NAMES)


def test_scores_count() -> None:
    scores = [replace(row, label=0.5 + place) for place, row in enumerate(ROWS)]
    assert rows_hash(scores) != rows_hash([replace(row, label=0.25) for row in scores])


def test_no_rows_have_a_hash_too() -> None:
    assert len(rows_hash([])) == 64
