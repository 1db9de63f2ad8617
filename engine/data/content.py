"""Hashes of examples by content: equal for equal texts and labels, wherever they were read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from engine.data.array_files import bytes_of
from engine.data.examples import CHUNK, Examples, TextColumn, named_label, plain_label
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
    the name, which `labels` lists.

    Ids don't count, nor does the tokenizer.
    """
    state = hashlib.sha256()
    examples = Examples.of(rows)
    add_texts(state, examples.texts, examples.pairs)
    for part in _json_list(examples, labels):
        state.update(part)
    return state.hexdigest()


def _json_list(rows: Examples, labels: Sequence[str]) -> Iterator[bytes]:
    """The labels as one JSON list, in pieces."""
    known = [None] * len(rows) if rows.labels is None else rows.labels
    for start in range(0, len(rows), CHUNK):
        part = [plain_label(label) for label in known[start : start + CHUNK]]
        named = [named_label(label, labels) for label in part]
        yield (", " if start else "[").encode() + json.dumps(named)[1:-1].encode()
    yield b"]" if len(rows) else b"[]"
