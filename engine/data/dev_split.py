"""Draw a dev set from the training rows of a custom task that has no dev file."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence

from engine.data.text_files import listed
from engine.data.types import Example, TaskSpec
from engine.errors import DataError

DEV_SHARE = 0.2
"""The share of the rows that is drawn where `task.dev_share` is left out."""


def draw_dev(
    examples: Sequence[Example], share: float, spec: TaskSpec, seed: int, file: str
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split examples into training rows and a dev set, both in their original order.

    Each class gives the same share of its texts, at least one, and keeps at least one. Rows with the same text stay
    together, so that dev measures nothing that was trained on. Which texts are drawn follows from the seed and the texts
    alone (by a hash): neither their order nor rows that are added elsewhere matter.

    Raises DataError, naming `file`, where a class has only one text.
    """
    classes: dict[tuple[str, str | None], int] = {}
    for row in examples:
        classes.setdefault((row.text, row.pair), int(row.label or 0) if spec.kind == "classification" else 0)
    names = spec.labels or ("",)
    refuse_single_texts((names[label] for label in classes.values()), file)
    drawn: set[tuple[str, str | None]] = set()
    members: dict[int, list[tuple[str, str | None]]] = {}
    for text, label in classes.items():
        members.setdefault(label, []).append(text)
    for texts in members.values():
        count = min(max(round(share * len(texts)), 1), len(texts) - 1)
        drawn.update(sorted(texts, key=lambda text: _rank(text, seed))[:count])
    train = tuple(row for row in examples if (row.text, row.pair) not in drawn)
    return train, tuple(row for row in examples if (row.text, row.pair) in drawn)


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
