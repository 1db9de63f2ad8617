"""Hashes of examples by content: equal for equal texts and labels, wherever they were read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from engine.data.array_files import bytes_of
from engine.data.examples import CHUNK, Examples, RowNumbers, TextColumn, named_label, plain_label
from engine.data.types import Example


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def add_texts(state: _Hash, texts: TextColumn, pairs: TextColumn | None) -> None:
    """Add texts (and the second sentences of pairs) to a hash, so that other cuts between them give another one."""
    for side in (texts, TextColumn.of(()) if pairs is None else pairs):
        state.update(len(side).to_bytes(8, "little"))
        for lengths in side.lengths():  # or "ab", "c" would be "a", "bc"
            state.update(bytes_of(lengths))
        for _, content in side.parts():
            state.update(bytes_of(content))


def rows_hash(rows: Sequence[Example], labels: Sequence[str] = ()) -> str:
    """SHA-256 of the texts and labels of examples, in their order; of a class (of several labels, of each) counts
    the name, which `labels` lists; of groups counts which rows share one.

    Ids don't count, nor does the tokenizer.
    """
    state = hashlib.sha256()
    examples = Examples.of(rows)
    add_texts(state, examples.texts, examples.pairs)
    for part in _json_list(examples, labels):
        state.update(part)
    if examples.groups is not None:
        state.update(bytes_of(_in_order(examples.groups)))
    return state.hexdigest()


def _in_order(groups: RowNumbers) -> RowNumbers:
    """The groups of rows, numbered in the order in which they come."""
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[which], np.int64)


def _json_list(rows: Examples, labels: Sequence[str]) -> Iterator[bytes]:
    """The labels as one JSON list, in pieces."""
    known = [None] * len(rows) if rows.labels is None else rows.labels
    for start in range(0, len(rows), CHUNK):
        part = [plain_label(label) for label in known[start : start + CHUNK]]
        named = [
            sorted(name) if isinstance(name, list) else name for name in (named_label(label, labels) for label in part)
        ]
        yield (", " if start else "[").encode() + json.dumps(named)[1:-1].encode()
    yield b"]" if len(rows) else b"[]"
