"""Examples in columns: texts as Arrow lays them out, in mapped files; labels as numbers. Imports neither torch nor Arrow, whose
import takes longer than a small task.

A row costs the process a few bytes: its texts are read from the file when they are asked for. An `Examples` is a sequence of
`Example`, which are made on access; what works on many rows takes the columns instead.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from engine.data.array_files import array_of, bytes_of
from engine.data.spool import Spool
from engine.data.types import Example, Label, WordLabels

T = TypeVar("T")

CHUNK = 4096
"""Rows whose texts are decoded at once."""

RowNumbers = npt.NDArray[np.int64]
Content = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[Any]
"""int64 (classes), float64 (scores), or objects where the labels are of several types or some are missing, (rows,); of several
labels for a text uint8, 1 where a text has a label, (rows, labels); of labels by word objects, which are `WordLabels`, (rows,)."""


class Rows(Sequence[T]):
    """A sequence that equals every other one with equal items, such as a tuple."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]


class TextColumn(Rows[str]):
    """Texts of rows as UTF-8 bytes, one after the other, text r from `offsets[r]` to `offsets[r + 1]`: Arrow's layout.

    `rows` are the positions of those that count, in their order (None: all).
    """

    def __init__(self, offsets: RowNumbers, content: Content, rows: RowNumbers | None = None) -> None:
        self._offsets, self._content, self._rows = offsets, content, rows

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextColumn:
        """The column of some texts: itself, where it is one. Raises UnicodeEncodeError for half of a surrogate pair."""
        if isinstance(texts, TextColumn):
            return texts
        builder, left = TextBuilder(), iter(texts)
        while part := list(islice(left, CHUNK)):
            builder.append(part)
        return builder.column()

    def __len__(self) -> int:
        return len(self._offsets) - 1 if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> TextColumn: ...

    def __getitem__(self, index: int | slice) -> str | TextColumn:
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self)), dtype=np.int64))
        row = range(len(self))[index]
        row = row if self._rows is None else int(self._rows[row])
        return self._content[self._offsets[row] : self._offsets[row + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks():
            yield from chunk

    def __reduce__(self) -> tuple[Any, ...]:
        return TextColumn.of, (list(self),)

    def take(self, rows: RowNumbers) -> TextColumn:
        """Some of the rows, in the order of `rows`."""
        return TextColumn(self._offsets, self._content, rows if self._rows is None else self._rows[rows])

    def parts(self, size: int = CHUNK) -> Iterator[tuple[RowNumbers, Content]]:
        """Offsets from 0 and UTF-8 bytes of `size` rows, the last part of fewer."""
        for start in range(0, len(self), size):
            if self._rows is None:
                offsets = self._offsets[start : start + size + 1]
                yield offsets - offsets[0], self._content[offsets[0] : offsets[-1]]
            else:
                rows = self._rows[start : start + size]
                starts, ends = self._offsets[rows], self._offsets[rows + 1]
                texts = map(slice, starts.tolist(), ends.tolist())
                yield _ends(ends - starts), np.concatenate([self._content[text] for text in texts])

    def chunks(self, size: int = CHUNK) -> Iterator[list[str]]:
        """The texts, `size` at once."""
        for offsets, content in self.parts(size):
            raw, ends = content.tobytes(), offsets.tolist()
            text = raw.decode()
            if len(text) == len(raw):  # ASCII: characters are where bytes are
                yield [text[start:end] for start, end in pairwise(ends)]
            else:
                yield [raw[start:end].decode() for start, end in pairwise(ends)]

    def lengths(self) -> Iterator[RowNumbers]:
        """The number of characters of each text, in pieces."""
        for offsets, content in self.parts():
            begins = (content & 0xC0) != 0x80  # other bytes continue a character of UTF-8
            yield np.diff(_ends(begins)[offsets])

    def flat(self) -> tuple[RowNumbers, Content]:
        """Offsets (rows + 1,) and UTF-8 bytes of all texts; they are not copied unless rows were taken."""
        if self._rows is None:
            return self._offsets, self._content
        builder = TextBuilder()
        for part in self.parts():
            builder.append_part(*part)
        return builder.flat()


class TextBuilder:
    """A column of texts that is being read."""

    def __init__(self) -> None:
        self._offsets, self._content = Spool(), Spool()
        self._offsets.append(bytes(8))

    def append(self, texts: list[str]) -> None:
        """Add texts. Raises UnicodeEncodeError, and adds none of them, where one has half of a surrogate pair."""
        encoded = [text.encode() for text in texts]
        content = np.frombuffer(b"".join(encoded), np.uint8)
        self.append_part(_ends(np.fromiter(map(len, encoded), np.int64, len(encoded))), content)

    def append_part(self, offsets: RowNumbers, content: Content) -> None:
        """Add texts by their offsets from 0 and their bytes, as `TextColumn.parts` gives them."""
        self._offsets.append(bytes_of(offsets[1:] + self._content.size))
        self._content.append(bytes_of(content))

    def flat(self) -> tuple[RowNumbers, Content]:
        """As `TextColumn.flat`. Nothing can be added afterwards."""
        return array_of(self._offsets, np.int64), array_of(self._content, np.uint8)

    def column(self) -> TextColumn:
        """The column. Nothing can be added afterwards."""
        return TextColumn(*self.flat())


def _ends(lengths: npt.NDArray[Any]) -> RowNumbers:
    """Where texts of these lengths begin and end, from 0."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))


class NumberedIds(Rows[str]):
    """The ids of rows that are named by their numbers: "train-0", "train-1"."""

    def __init__(self, prefix: str, numbers: range | RowNumbers) -> None:
        self.prefix, self.numbers = prefix, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> NumberedIds: ...

    def __getitem__(self, index: int | slice) -> str | NumberedIds:
        if isinstance(index, slice):
            return NumberedIds(self.prefix, self.numbers[index])
        return f"{self.prefix}-{self.numbers[index]}"

    def take(self, rows: RowNumbers) -> NumberedIds:
        """Some of the rows, in the order of `rows`."""
        return NumberedIds(self.prefix, np.asarray(self.numbers, np.int64)[rows])


@dataclass(frozen=True, eq=False)
class Examples(Rows[Example]):
    """Examples by column; each column has a value for every row. `pairs` is None for single texts, `labels` where none has
    one. `groups` are numbers of the queries whose rows are ranked against each other, (rows,)."""

    ids: TextColumn | NumberedIds
    texts: TextColumn
    pairs: TextColumn | None = None
    labels: LabelArray | None = None
    groups: RowNumbers | None = None

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Examples:
        """The examples by column: themselves, where they are. Raises ValueError when only some of them are pairs."""
        if isinstance(examples, Examples):
            return examples
        rows = list(examples)
        pairs = [row.pair for row in rows if row.pair is not None]
        if pairs and len(pairs) < len(rows):
            raise ValueError("some examples are pairs and some are not")
        return cls(
            TextColumn.of([row.id for row in rows]),
            TextColumn.of([row.text for row in rows]),
            TextColumn.of(pairs) if pairs else None,
            labels_of([row.label for row in rows]),
        )

    @classmethod
    def joined(cls, parts: Iterable[Examples], prefix: str) -> Examples:
        """The inputs of several, one after the other, without labels; "`prefix`-0" is the first. All are pairs, or none is.

        They are copied where they are those of more than one, so the disk holds them twice.
        """
        whole = [part for part in parts if len(part)]
        if len(whole) == 1:
            return whole[0].unlabelled()
        texts, pairs = TextBuilder(), TextBuilder()
        for part in whole:
            for column, builder in ((part.texts, texts), (part.pairs, pairs)):
                for offsets, content in () if column is None else column.parts():
                    builder.append_part(offsets, content)
        paired = any(part.pairs is not None for part in whole)
        ids = NumberedIds(prefix, range(sum(map(len, whole))))
        return cls(ids, texts.column(), pairs.column() if paired else None)

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Example | Self:
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self)), dtype=np.int64))
        pair = None if self.pairs is None else self.pairs[index]
        label = None if self.labels is None else self.labels[index]
        return Example(self.ids[index], self.texts[index], pair, plain_label(label))

    def __iter__(self) -> Iterator[Example]:
        labels = iter(()) if self.labels is None else map(plain_label, self.labels)
        for name, (text, pair) in zip(self.ids, self.inputs(), strict=True):
            yield Example(name, text, pair, next(labels, None))

    def inputs(self) -> Iterator[tuple[str, str | None]]:
        """Each row's text and pair, without its id and label."""
        for texts, pairs in self.chunks():
            yield from ((text, None) for text in texts) if pairs is None else zip(texts, pairs, strict=True)

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[list[str], list[str] | None]]:
        """The texts and pairs, `size` rows at once."""
        if self.pairs is None:
            yield from ((texts, None) for texts in self.texts.chunks(size))
        else:
            yield from zip(self.texts.chunks(size), self.pairs.chunks(size), strict=True)

    def take(self, rows: RowNumbers) -> Self:
        """Some of the rows, in the order of `rows`."""
        return replace(
            self,
            ids=self.ids.take(rows),
            texts=self.texts.take(rows),
            pairs=None if self.pairs is None else self.pairs.take(rows),
            labels=None if self.labels is None else self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def unlabelled(self) -> Self:
        """The same inputs without their labels."""
        return replace(self, labels=None, groups=None)


def labels_of(labels: Sequence[Label | None]) -> LabelArray | None:
    """Labels as an array; None where there is none at all."""
    types = set(map(type, labels))
    if types <= {type(None)}:
        return None
    if types == {int}:
        return np.array(labels, np.int64)
    if types == {float}:
        return np.array(labels, np.float64)
    if types == {tuple}:
        return np.array(labels, np.uint8)
    found = np.empty(len(labels), object)
    found[:] = labels
    return found


def plain_label(label: Any) -> Label | None:
    """A label as a number of Python's own, or as a tuple of them."""
    if isinstance(label, np.ndarray):
        return tuple(label.tolist())
    plain: Label | None = label.item() if isinstance(label, np.generic) else label
    return plain


def label_numbers(labels: LabelArray) -> npt.NDArray[np.int64]:
    """A number for each row (rows,), equal for equal labels: the class, or the number of a set or sequence of labels."""
    if labels.dtype == object and len(labels) and isinstance(labels[0], WordLabels):
        known: dict[WordLabels, int] = {}
        return np.fromiter((known.setdefault(each, len(known)) for each in labels), np.int64, len(labels))
    if labels.ndim == 1:
        return labels.astype(np.int64, copy=False)
    return np.asarray(np.unique(labels, axis=0, return_inverse=True)[1], np.int64).reshape(len(labels))


def named_label(label: Label | None, names: Sequence[str]) -> str | float | list[str] | None:
    """A label in the words of its task: the name of the class, the names of all labels of a text, or the score."""
    if isinstance(label, WordLabels):
        return [names[index] for index in label]
    if isinstance(label, tuple):
        return [name for name, has in zip(names, label, strict=True) if has]
    return names[label] if isinstance(label, int) and names else label


def flat_labels(labels: LabelArray) -> npt.NDArray[np.int64]:
    """The classes of all words of rows with `WordLabels`, one row after the other."""
    return np.fromiter(chain.from_iterable(labels.tolist()), np.int64)
