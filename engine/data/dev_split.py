"""Draw a dev set from the training rows of a custom task that has no dev file."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from engine.data.text_files import listed
from engine.data.types import Example, TaskSpec
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.examples import Examples

DEV_SHARE = 0.2
"""The share of the rows that is drawn where `task.dev_share` is left out."""


def draw_dev(
    examples: Sequence[Example],
    share: float,
    spec: TaskSpec,
    seed: int,
    file: str,
    groups: Sequence[str] | None = None,
) -> tuple[Examples, Examples]:
    """Split examples into training rows and a dev set, both in their original order.

    Each class gives the same share of its texts, at least one, and keeps at least one; scores and several labels for a text
    are drawn regardless of their values. With `groups` (the query of each row), whole groups are drawn instead of texts, regardless
    of labels. Rows with the same text stay
    together, so that dev measures nothing that was trained on. Which texts are drawn follows from the seed and the texts
    alone (by a hash): neither their order nor rows that are added elsewhere matter.

    Raises DataError, naming `file`, where a class has only one text.
    """
    import numpy as np

    from engine.data.examples import Examples

    rows = Examples.of(examples)
    # 16 bytes of SHA-256 name a text: two that are different have different ones, in all probability
    units = rows.inputs() if groups is None else ((str(group), None) for group in groups)
    content = b"".join(_rank(unit, seed)[:16] for unit in units)
    ranks = np.frombuffer(content, ">u8").astype(np.uint64).reshape(-1, 2)
    order = np.lexsort((ranks[:, 1], ranks[:, 0]))  # stable: the first row of a text comes first
    ranks = ranks[order]
    starts = np.flatnonzero(np.r_[True, (ranks[1:] != ranks[:-1]).any(1)][: len(rows)])
    first = order[starts]  # the first row of each text, the texts in the order of their ranks
    labels = np.zeros(len(rows), np.int64)
    by_class = spec.kind == "classification" and groups is None
    if by_class and rows.labels is not None:
        labels = rows.labels.astype(np.int64, copy=False)
    names = spec.labels if by_class else ("",)
    refuse_single_texts((names[label] for label in labels[np.sort(first)].tolist()), file)
    is_drawn = np.zeros(len(first), np.bool_)
    for label in np.unique(labels[first]).tolist():
        texts = np.flatnonzero(labels[first] == label)
        count = min(max(round(share * len(texts)), 1), len(texts) - 1)
        is_drawn[texts[:count]] = True
    in_dev = np.zeros(len(rows), np.bool_)
    in_dev[order] = np.repeat(is_drawn, np.diff(np.r_[starts, len(rows)]))
    return rows.take(np.flatnonzero(~in_dev)), rows.take(np.flatnonzero(in_dev))


def refuse_single_texts(labels: Iterable[Hashable], file: str) -> None:
    """Raise DataError for labels, given once for each different text, that occur only once: they cannot be split."""
    counts: dict[Hashable, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    single = [label for label, count in counts.items() if count == 1]
    if not single:
        return
    way_out = "name a dev file: --set task.files.dev=FILE"
    if single == [""]:
        sentence = f"there is only one text, and a dev set cannot be drawn from one; {way_out}"
        raise DataError(sentence, kind="too-few-rows-to-split", file=file)
    several = len(single) > 1
    sentence = (
        f"the class{'es' * several} {listed(single)} {'have' if several else 'has'} only one text{' each' * several} (equal texts count once), so train "
        f"or dev would have none: add rows, remove {'these classes' if several else 'the class'}, or {way_out}"
    )
    raise DataError(sentence, kind="class-too-small-to-split", file=file)


def _rank(text: tuple[str, str | None], seed: int) -> bytes:
    first, second = text
    words = f"{seed}\0{len(first)}\0{first}\0{second or ''}"
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()
