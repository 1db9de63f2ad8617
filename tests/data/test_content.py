"""The hash of examples: by content, whatever file, tokenizer or order of classes they come with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.data.content import rows_hash
from engine.data.examples import Examples
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


def test_several_labels_count_by_their_names() -> None:
    rows = [replace(row, label=labels) for row, labels in zip(ROWS, ((1, 1), (0, 1)), strict=True)]
    base = rows_hash(rows, NAMES)
    assert rows_hash([replace(rows[0]), replace(rows[1], label=(1, 0))], NAMES[::-1]) == base
    assert rows_hash([replace(rows[0]), replace(rows[1], label=(0, 0))], NAMES) != base


def test_which_rows_share_a_query_counts() -> None:
    rows = Examples.of([*ROWS, replace(ROWS[0], id="x")])
    hashes = [rows_hash(replace(rows, groups=np.array(groups))) for groups in ([7, 7, 2], [0, 0, 1], [0, 1, 1])]
    assert hashes[0] == hashes[1] != hashes[2]
    assert rows_hash(rows) not in hashes


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
