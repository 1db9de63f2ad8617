"""Entities in the labels of a sentence's words: what they are, and how well predicted ones agree with gold ones.

Entities are read as the evaluation of CoNLL-2000 and seqeval's default mode read them: an entity begins at B- or S-, or wherever
another type begins or the one before ended; I- and E- of the same type continue it. So one rule reads IOB1, IOB2 and BIOES, and a
broken sequence (I- after O) begins an entity too. L- and U- of BILOU mean E- and S-.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OUTSIDE = "O"
"""The label of a word outside of all entities."""
_BEGINS = frozenset("BSU")
_ENDS = frozenset("ESLU")
_PREFIXES = frozenset("BIESLUM")

Entity = tuple[str, int, int]
"""Type, first word, and the word behind the last, counted from 0."""


def prefix_and_type(label: str) -> tuple[str, str] | None:
    """The parts of an entity's label: ("B", "PER") of "B-PER", ("B", "") of "B"; None for a label of another form."""
    prefix, dash, kind = label.partition("-")
    return (prefix, kind) if prefix in _PREFIXES and bool(dash) == bool(kind) else None


def names_entities(labels: Iterable[str]) -> bool:
    """Whether these labels mark entities: O and labels with a prefix (B-, I-, E-, S-, L-, U-), and no others."""
    names = set(labels)
    inside = names - {OUTSIDE}
    return OUTSIDE in names and bool(inside) and all(map(marks_entity, inside))


def marks_entity(label: str) -> bool:
    """Whether a label has a prefix of IOB, BIOES or BILOU, and is well formed."""
    parts = prefix_and_type(label)
    return parts is not None and parts[0] != "M"


def entities(labels: Sequence[str | None]) -> list[Entity]:
    """The entities in the labels of a sentence, in their order. Labels without a prefix are outside of all; words without a label
    (None) are passed over, as if they were not there."""
    found: list[Entity] = []
    start, end, last, open_type = 0, 0, "", None
    for index, label in enumerate((*labels, OUTSIDE)):
        if label is None:
            continue
        parts = None if label == OUTSIDE else prefix_and_type(label)
        if parts is None or open_type != parts[1] or parts[0] in _BEGINS or last in _ENDS:
            if open_type is not None:
                found.append((open_type, start, end))
            open_type, start = None if parts is None else parts[1], index
        last, end = "" if parts is None else parts[0], index + 1
    return found


@dataclass(frozen=True)
class EntityCounts:
    """How many entities there are, how many were predicted, and how many of these have the right type and words."""

    gold: int = 0
    predicted: int = 0
    right: int = 0

    @classmethod
    def of(cls, gold: Sequence[str | None], predicted: Sequence[str | None]) -> EntityCounts:
        """The counts of one sentence, from the labels of its words."""
        own, theirs = set(entities(gold)), set(entities(predicted))
        return cls(len(own), len(theirs), len(own & theirs))

    def __add__(self, other: EntityCounts) -> EntityCounts:
        return EntityCounts(self.gold + other.gold, self.predicted + other.predicted, self.right + other.right)

    @property
    def precision(self) -> float:
        """The share of the predicted entities that are right; 0 where none was predicted."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of the entities that were found; 0 where there are none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / (self.gold + self.predicted) if self.gold + self.predicted else 0.0


def counts_by_type(
    gold: Iterable[Sequence[str | None]], predicted: Iterable[Sequence[str | None]]
) -> dict[str, EntityCounts]:
    """The counts of each type over all sentences, the types in alphabetical order."""
    totals: dict[str, list[int]] = {}
    for own_labels, their_labels in zip(gold, predicted, strict=True):
        own, theirs = set(entities(own_labels)), set(entities(their_labels))
        for position, group in enumerate((own, theirs, own & theirs)):
            for kind, number in Counter(kind for kind, _, _ in group).items():
                totals.setdefault(kind, [0, 0, 0])[position] += number
    return {kind: EntityCounts(*totals[kind]) for kind in sorted(totals)}


@dataclass(frozen=True)
class Scheme:
    """How labels mark entities."""

    name: str
    """IOB1, IOB2, IO, BIOES or BILOU."""
    entities: int
    broken: int
    """Entities that don't begin, or end, as the scheme says, such as I- after O in IOB2."""
    example: tuple[int, int] | None
    """Sentence and word, from 0, of the first broken one."""


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of labels that mark entities (`names_entities`), and where they depart from it.

    Where there are B- and I- alone, it is IOB1 if no entity begins with B- except directly behind another one of its type, and
    some begin with I-; otherwise IOB2.
    """
    prefixes: set[str] = set()
    total = loose = apart = 0
    first_loose: tuple[int, int] | None = None
    bounded: list[tuple[int, int]] = []
    for number, labels in enumerate(sentences):
        parts = [None if label == OUTSIDE else prefix_and_type(label) for label in labels]
        prefixes.update(part[0] for part in parts if part is not None)
        for kind, start, end in entities(labels):
            total += 1
            begin, last = (parts[place] for place in (start, end - 1))
            before = parts[start - 1] if start else None
            assert begin is not None
            assert last is not None
            if begin[0] not in _BEGINS:
                loose += 1
                first_loose = first_loose or (number, start)
            elif before is None or before[1] != kind:
                apart += 1
            if (begin[0] not in _BEGINS) or last[0] not in _ENDS or (end - start == 1) != (begin[0] in "SU"):
                bounded.append((number, start))
    if prefixes & set("ESLU"):
        name = "BILOU" if prefixes & set("LU") else "BIOES"
        return Scheme(name, total, len(bounded), bounded[0] if bounded else None)
    if prefixes == {"I"}:
        return Scheme("IO", total, 0, None)
    if loose and not apart:
        return Scheme("IOB1", total, 0, None)
    return Scheme("IOB2", total, loose, first_loose)
