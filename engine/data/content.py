"""Hashes of examples by content: equal for equal texts and labels, wherever they were read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engine.data.types import Example


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def add_texts(state: _Hash, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    """Add texts (and the second sentences of pairs) to a hash, so that other cuts between them give another one."""
    for side in (texts, pairs or ()):
        lengths = np.fromiter(map(len, side), dtype=np.int64, count=len(side))  # or "ab", "c" would be "a", "bc"
        state.update(len(side).to_bytes(8, "little"))
        state.update(lengths.data)
        state.update("".join(side).encode("utf-8", "surrogatepass"))


def rows_hash(rows: Sequence[Example], labels: Sequence[str] = ()) -> str:
    """SHA-256 of the texts and labels of examples, in their order; of a class counts the name, which `labels` lists.

    Ids don't count, nor does the tokenizer.
    """
    state = hashlib.sha256()
    pairs = [row.pair or "" for row in rows] if any(row.pair is not None for row in rows) else None
    add_texts(state, [row.text for row in rows], pairs)
    named = [labels[row.label] if isinstance(row.label, int) and labels else row.label for row in rows]
    state.update(json.dumps(named).encode())
    return state.hexdigest()
