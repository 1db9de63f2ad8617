"""Read files of words and labels in columns, as those of CoNLL's shared tasks and of Universal Dependencies. Imports no torch.

A line is a word: its fields are separated by tabs, where the first one has a tab, and otherwise by white space. An empty line ends a
sentence. Lines of documents (-DOCSTART-) and comments (`# text = ...`) are no words. The columns have no names: they are called
"1", "2", ... .
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from engine.data.text_files import shown
from engine.errors import DataError
from engine.preset.text import plural

DOCUMENT = "-DOCSTART-"
_RANGE = re.compile(r"\d+[-.]\d+")
"""The id of a line of Universal Dependencies that is no word: of a contraction (1-2), or of an omitted word (1.1)."""
_UNIVERSAL = 10  # columns in files of Universal Dependencies


@dataclass(frozen=True)
class Sentence:
    """The words of a sentence by column: `columns[i][w]` is field i of word w. `line` is that of its first word."""

    line: int
    columns: tuple[tuple[str, ...], ...]


def sentences(path: Path, lines: Iterable[tuple[int, str]], *, labelled: bool = True) -> Iterator[Sentence]:
    """The sentences in numbered lines; those that are not `labelled` may have words alone.

    Raises DataError for a line with another number of fields than the first one's, and for words alone where they need labels.
    """
    width, tabs, first = 0, False, 0
    lines, alone = (lines, False) if labelled else _with_width(lines)
    words: list[list[str]] = []
    start = 0
    for number, line in lines:
        if not line.strip():
            if words:
                yield Sentence(start, tuple(zip(*words, strict=True)))
                words = []
            continue
        if not width:
            if line.startswith("#") and (line.startswith("# ") or (not alone and len(line.split()) == 1)):
                continue  # a comment above the first word: nothing else begins a file like this
            tabs = "\t" in line
        fields = line.split("\t") if tabs else line.split()
        if fields[0] == DOCUMENT:
            if words:
                yield Sentence(start, tuple(zip(*words, strict=True)))
                words = []
            continue
        if not width:
            width, first = len(fields), number
            if width < 2 and labelled:
                sentence = (
                    f"this line has one field, {shown(line.strip())}, but each line must be a word and its label, "
                    "separated by a tab or a space, and an empty line must end each sentence"
                )
                raise DataError(sentence, kind="one-column-conll", file=str(path), line=number)
        if len(fields) != width:
            if line.startswith("#") and not words:
                continue
            sentence = f"this line has {plural(len(fields), 'field')}, but line {first:,} has {width}"
            raise DataError(sentence, kind="wrong-field-count", file=str(path), line=number)
        if width == _UNIVERSAL and _RANGE.fullmatch(fields[0]):
            continue
        start = start if words else number
        words.append(fields)
    if words:
        yield Sentence(start, tuple(zip(*words, strict=True)))


def _with_width(lines: Iterable[tuple[int, str]]) -> tuple[Iterable[tuple[int, str]], bool]:
    """The same lines, and whether they are words alone: there `#cats` is a word even above the others."""
    rest, alone = iter(lines), False
    head: list[tuple[int, str]] = []
    for number, line in rest:
        head.append((number, line))
        fields = line.split("\t") if "\t" in line else line.split()
        if line.strip() and not line.startswith("#") and fields[0] != DOCUMENT:
            alone = len(fields) == 1
            break
    return chain(head, rest), alone


def column_names(width: int) -> list[str]:
    """What the columns of such a file are called."""
    return [str(number) for number in range(1, width + 1)]


def table_of(
    path: Path, found: Iterable[Sentence], wanted: Sequence[str] | None
) -> tuple[array[int], dict[str, list[tuple[str, ...]]]]:
    """The lines of the sentences, and the fields of their words by column; without `wanted`, every column.

    Raises DataError for a file without words, and a column that it doesn't have.
    """
    lines = array("q")
    values: dict[str, list[tuple[str, ...]]] = {}
    names: list[str] = []
    known: dict[tuple[str, ...], tuple[str, ...]] = {}  # most label sequences occur often
    for sentence in found:
        if not lines:
            names = column_names(len(sentence.columns))
            wanted = names if wanted is None else wanted
            for name in wanted:
                if name not in names:
                    sentence_of_error = (
                        f"there is no column {shown(name)}: a file of this form has columns 1 to {len(names)}"
                    )
                    raise DataError(sentence_of_error, kind="no-such-column", file=str(path), line=sentence.line)
            values = {name: [] for name in wanted}
        lines.append(sentence.line)
        for name, fields in values.items():
            column = sentence.columns[names.index(name)]
            fields.append(known.setdefault(column, column) if len(known) < 4096 else known.get(column, column))
    if not lines:
        raise DataError("the file has no words", kind="no-rows", file=str(path))
    return lines, values


def likely_columns(names: Sequence[str]) -> tuple[str, str]:
    """The columns of the words and of the labels: the first and the last; of Universal Dependencies form and UPOS."""
    return ("2", "4") if len(names) == _UNIVERSAL else (names[0], names[-1])
