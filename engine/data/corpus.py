"""Plain text as input for stages without labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from engine.data.examples import CHUNK, Examples, NumberedIds, TextBuilder
from engine.data.stored_rows import Inputs, stored_inputs
from engine.data.subset import drawn_rows
from engine.data.text_files import check_text, corpus_files, text_lines
from engine.errors import DataError
from engine.preset.source_names import is_corpus_path
from engine.record.phases import Report, counted, unreported

if TYPE_CHECKING:
    from engine.preset.schema import Corpus

# a sentence end, closing quotes or brackets, white space, then a possible sentence start
_BORDER = re.compile(r"""([.!?…]['"”’)\]]*(?:\s['"”’)\]](?=\s))*)\s+(?=['"“‘(\[]*\s?[A-ZÀ-ÖØ-Þ0-9])""")
_ABBREVIATION = re.compile(r"(?:^|[\s(\"'])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|vs|etc|cf|e\.g|i\.e)\s?\.$")

T = TypeVar("T")
Unit = tuple[str, str]


def load_corpus(corpus: Corpus, seed: int, *, report: Report = unreported) -> Examples:
    """The inputs of a corpus, without labels.

    A corpus is a file, or all text files of a folder and its subfolders in alphabetical order: UTF-8 with one paragraph
    per line. Blank lines and headings (` = Title = `, as in WikiText) are left out. A unit is a line or a sentence; with
    `pairs`, two consecutive units of a file make an input. If there are more than `examples` inputs, `examples` are drawn
    with `seed`, in their original order, without keeping the others in memory. `report` is called while they are read. Raises DataError for missing, empty or
    binary files, and for lines that are too long to be text.
    """
    sources: list[tuple[str, Callable[[], Iterable[tuple[int, str]]]]]
    files: list[Path] = []
    if is_corpus_path(corpus.corpus):
        files = corpus_files(Path(corpus.corpus))
        sources = [(str(file), partial(text_lines, file)) for file in files]
    else:
        from engine.data.hub import hub_lines

        lines = hub_lines(corpus, report=report)
        sources = [(corpus.corpus, lambda: enumerate(lines, 1))]

    def units() -> Iterator[Unit]:
        found = (unit for source, read in sources for unit in _units(source, read(), corpus.unit))
        return counted(found, report, f"reading {Path(corpus.corpus).name}", unit=f"{corpus.unit}s")

    def load() -> Inputs:
        return _chosen(lambda: _inputs(units(), pairs=corpus.pairs), corpus.examples, seed), {}

    settings = {"unit": corpus.unit, "pairs": corpus.pairs, "examples": corpus.examples, "seed": seed}
    examples, _ = stored_inputs(files, settings, load, report) if files else load()
    if not examples:
        what = "no two in a row in any file" if corpus.pairs else "only blank lines and headings"
        raise DataError(f"the corpus has no {corpus.unit}s: {what}", kind="empty-corpus", file=corpus.corpus)
    return examples


def sentences(line: str) -> list[str]:
    """Split a line after ., !, ? or … (and closing quotes) if white space and a capital letter or digit follow.

    Single capitals and a few abbreviations (Dr., e.g.) don't end a sentence. This is simple and meant for Latin script;
    in other scripts a line mostly stays whole.
    """
    parts: list[str] = []
    start = 0
    for border in _BORDER.finditer(line):
        end = border.end(1)
        if _ABBREVIATION.search(line, max(0, end - 12), end):
            continue
        parts.append(line[start:end].strip())
        start = border.end()
    parts.append(line[start:].strip())
    return [part for part in parts if part]


def _units(source: str, lines: Iterable[tuple[int, str]], unit: Literal["line", "sentence"]) -> Iterator[Unit]:
    """Units, each with its file."""
    for number, line in lines:
        text = line.strip()
        if not text or (text[0] == text[-1] == "="):
            continue
        check_text(text, source, number)
        for part in sentences(text) if unit == "sentence" else [text]:
            yield source, part


def _inputs(units: Iterator[Unit], *, pairs: bool) -> Iterator[tuple[str, str | None]]:
    if not pairs:
        yield from ((text, None) for _, text in units)
        return
    waiting: Unit | None = None
    for source, text in units:
        if waiting is not None and waiting[0] == source:
            yield waiting[1], text
            waiting = None
        else:
            waiting = (source, text)


def _chosen(inputs: Callable[[], Iterator[tuple[str, str | None]]], count: int | None, seed: int) -> Examples:
    """All inputs, or `count` of them; their ids are positions in the corpus, so a subset keeps them."""
    rows = None
    if count is not None:
        total = sum(1 for _ in inputs())
        rows = drawn_rows(total, count, seed) if total > count else None
    chosen = inputs() if rows is None else _of_rows(inputs(), rows)
    texts, pairs = TextBuilder(), TextBuilder()
    read = paired = 0
    while part := list(islice(chosen, CHUNK)):
        texts.append([text for text, _ in part])
        seconds = [pair for _, pair in part if pair is not None]
        pairs.append(seconds)
        read, paired = read + len(part), paired + len(seconds)
    ids = NumberedIds("corpus", range(read) if rows is None else rows)
    return Examples(ids, texts.column(), pairs.column() if paired else None)


def _of_rows(inputs: Iterator[T], rows: npt.NDArray[np.int64]) -> Iterator[T]:
    """The inputs at some positions, which ascend."""
    before = -1
    for row in rows:
        yield next(islice(inputs, int(row) - before - 1, None))
        before = int(row)
