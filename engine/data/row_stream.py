"""Read rows of any number from CSV, TSV, JSON lines, Parquet, or one text a line: in chunks, in flat memory. All but
Parquet may be compressed.

`engine.data.files` reads the wanted columns of a task's whole files; this module reads all columns, so that they can be
written again with predictions, and unlabelled rows of any number. Imports no torch: preflight looks at the columns, too.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from engine.data.compressed import decompressed
from engine.data.conll import column_names, sentences
from engine.data.files import QUOTE_HINT, csv_rows, is_quoted_tsv, json_row, wrong_field_count
from engine.data.text_files import MAX_TEXT, opened, repeated_header, shown, split_lines, text_blocks
from engine.errors import DataError
from engine.preset.source_names import CONLL_ENDINGS, uncompressed_name
from engine.record.files import cause

FORMATS: Mapping[str, tuple[str, ...]] = {
    "csv": (".csv",),
    "tsv": (".tsv",),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "parquet": (".parquet",),
    "text": (".txt", ".text"),
    "conll": CONLL_ENDINGS,
}
"""The formats of rows, with the endings of their files' names."""
STDIN = Path("stdin")
"""What errors call standard input."""
TEXT = "text"
"""The one column of plain text."""

CHUNK_ROWS = 8192
CHUNK_BYTES = 8 << 20
"""Rows of a chunk, and bytes of a file after which a chunk is not continued: what bounds the memory."""
_STEP = 256  # rows between two looks at the bytes


def format_of(path: Path) -> str | None:
    """The format that the ending of a name means, before that of a compressed file; None for an unknown one."""
    ending = Path(uncompressed_name(path.name)).suffix.lower()
    return next((name for name, endings in FORMATS.items() if ending in endings), None)


class RowChunk(Protocol):
    """Consecutive rows of an input. `lines` are the numbers of their lines (in Parquet, of the rows), from 1."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, those of JSON lines in the order in which they first occurred."""

    @property
    def lines(self) -> Sequence[int]:
        """The number of each row's line."""

    def values(self, column: str) -> list[Any]:
        """The values in a column; of two that have this name, the first."""

    def rows(self) -> Sequence[Sequence[Any]]:
        """The values of each row, in the order of the columns."""


@dataclass(frozen=True)
class TextChunk:
    """Rows of a text file. `sources` are the rows of JSON lines as they stand in the file; None for other formats."""

    columns: tuple[str, ...]
    lines: Sequence[int]
    cells: Sequence[Sequence[Any]]
    sources: Sequence[str] | None = None

    def values(self, column: str) -> list[Any]:
        """The values in a column."""
        index = self.columns.index(column)
        return [row[index] for row in self.cells]

    def rows(self) -> Sequence[Sequence[Any]]:
        """The values of each row."""
        return self.cells


@dataclass(frozen=True)
class ConllChunk(TextChunk):
    """Sentences of a CoNLL file: each cell is the list of a column's fields, one for each word."""


@dataclass(frozen=True)
class ArrowChunk:
    """Rows of a Parquet file; `batch` is a pyarrow.RecordBatch."""

    lines: Sequence[int]
    batch: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.batch.schema.names)

    def values(self, column: str) -> list[Any]:
        """The values in a column."""
        return list(self.batch.column(self.columns.index(column)).to_pylist())

    def rows(self) -> Sequence[Sequence[Any]]:
        """The values of each row."""
        return self._rows

    @cached_property
    def _rows(self) -> list[tuple[Any, ...]]:
        return list(zip(*(column.to_pylist() for column in self.batch.columns), strict=True))


def text_of_words(value: Any) -> Any:
    """A list of words as a text in which spaces separate them; any other value as it is."""
    is_list = isinstance(value, list | tuple) and all(isinstance(word, str) and " " not in word for word in value)
    return " ".join(value) if is_list else value


class RowReader:
    """An input that is open for reading: a file, or standard input where `path` is None.

    A context manager. `name` is what errors call it. `quoted` says, of TSV, whether its fields are quoted; known with the
    first chunk. Raises DataError when it cannot be opened.
    """

    def __init__(self, path: Path | None, form: str) -> None:
        self.name = STDIN if path is None else path
        self.quoted = form == "csv"
        self._path, self._format = path, form
        self._exit = ExitStack()
        file: BinaryIO = sys.stdin.buffer if path is None else self._exit.enter_context(opened(path))
        self._before = os.fstat(file.fileno())
        self._raw = _Counting(file)
        self._file = self._raw if path is None or form == "parquet" else _Counting(decompressed(self._raw, path))  # type: ignore[arg-type]
        self._total: int | None = None
        self.rows = 0
        """Rows that were read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def estimate(self) -> int | None:
        """How many rows the input has, as far as what was read tells; None where nothing can be known."""
        size = self._before.st_size
        if self._total is None and stat.S_ISREG(self._before.st_mode) and self._raw.consumed:
            return max(self.rows, round(self.rows * size / self._raw.consumed))
        return self._total

    def chunks(self, most: int = CHUNK_ROWS) -> Iterator[RowChunk]:
        """All rows, in their order; an input without rows gives one empty chunk with its columns.

        Raises DataError, with file and line, for what cannot be read, and at the end for a file that changed meanwhile.
        """
        read: Callable[[int], Iterator[RowChunk]] = {
            "csv": self._csv,
            "tsv": self._tsv,
            "jsonl": self._json_lines,
            "parquet": self._parquet,
            "text": self._text,
            "conll": self._conll,
        }[self._format]
        try:
            for chunk in read(most):
                self.rows += len(chunk.lines)
                yield chunk
        except OSError as fault:
            sentence = f"the file cannot be read: {cause(fault)}"
            raise DataError(sentence, kind="unreadable-file", file=str(self.name)) from fault
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        """Raises DataError when the file is not the one that was opened, or was written to."""
        if self._path is None or not stat.S_ISREG(self._before.st_mode):
            return
        try:
            now = self._path.stat()
        except OSError:
            now = None
        before = self._before
        if now is None:
            change = "was removed or renamed"
        elif (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            change = "was replaced by another file"
        elif now.st_size != before.st_size:
            change = f"changed from {before.st_size:,} to {now.st_size:,} bytes"
        elif now.st_mtime_ns != before.st_mtime_ns:
            change = "was written to"
        else:
            return
        sentence = f"the file {change} while it was read, so the rows may be a mixture; start again when it is complete"
        raise DataError(sentence, kind="input-changed", file=str(self.name))

    def _chunked(self, rows: Iterator[tuple[int, Any]], most: int) -> Iterator[tuple[list[int], list[Any]]]:
        """Numbered rows in chunks of `most` at most, and of about `CHUNK_BYTES`."""
        while True:
            start, part = self._file.consumed, list(islice(rows, min(_STEP, most)))
            while part and len(part) < most and self._file.consumed - start < CHUNK_BYTES:
                more = list(islice(rows, min(_STEP, most - len(part))))
                if not more:
                    break
                part += more
            if not part:
                return
            lines, values = zip(*part, strict=True)
            yield list(lines), list(values)

    def _csv(self, most: int) -> Iterator[RowChunk]:
        blocks = (text for _, text in text_blocks(self._file, self.name))
        return self._delimited(self._csv_rows(blocks, ","), most, QUOTE_HINT)

    def _csv_rows(self, blocks: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
        lines = chain.from_iterable(io.StringIO(block, newline="") for block in blocks)
        return csv_rows(self.name, lines, delimiter, MAX_TEXT)

    def _tsv(self, most: int) -> Iterator[RowChunk]:
        blocks = text_blocks(self._file, self.name)
        first = next(blocks, None)
        if first is None:
            return self._delimited(iter(()), most, "")
        second = next(blocks, None)
        all_blocks = chain([first], [] if second is None else [second], blocks)
        self.quoted = is_quoted_tsv(first[1], whole=second is None)
        if self.quoted:
            return self._delimited(self._csv_rows((text for _, text in all_blocks), "\t"), most, QUOTE_HINT)
        rows = (
            (number, line.split("\t"))
            for start, block in all_blocks
            for number, line in enumerate(split_lines(block), start)
            if line
        )
        return self._delimited(rows, most, "")

    def _delimited(self, rows: Iterator[tuple[int, list[str]]], most: int, hint: str) -> Iterator[RowChunk]:
        """The chunks of rows whose first names the columns."""
        header = next(rows, None)
        if header is None:
            raise DataError("the file is empty", kind="empty-file", file=str(self.name))
        names, width = tuple(header[1]), len(header[1])
        empty = True
        for lines, cells in self._chunked(rows, most):
            empty = False
            for line, row in zip(lines, cells, strict=True):
                if len(row) != width:
                    raise wrong_field_count(self.name, line, len(row), width, hint)
            if header[1] in cells:
                raise repeated_header(str(self.name), lines[cells.index(header[1])])
            yield TextChunk(names, lines, cells)
        if empty:
            yield TextChunk(names, [], [])

    def _json_lines(self, most: int) -> Iterator[RowChunk]:
        numbered = (
            (number, line.strip())
            for start, block in text_blocks(self._file, self.name)
            for number, line in enumerate(split_lines(block), start)
            if line and not line.isspace()
        )
        columns: dict[str, None] = {}
        for lines, sources in self._chunked(numbered, most):
            objects = [json_row(self.name, line, source) for line, source in zip(lines, sources, strict=True)]
            for row in objects:
                columns.update(dict.fromkeys(row))
            names = tuple(columns)
            yield TextChunk(names, lines, [[row.get(name) for name in names] for row in objects], sources)
        if not columns:
            yield TextChunk((), [], [], [])

    def _text(self, most: int) -> Iterator[RowChunk]:
        numbered = (
            numbered
            for start, block in text_blocks(self._file, self.name)
            for numbered in enumerate(split_lines(block), start)
        )
        empty = True
        for lines, texts in self._chunked(numbered, most):
            empty = False
            yield TextChunk((TEXT,), lines, [[text] for text in texts])
        if empty:
            yield TextChunk((TEXT,), [], [])

    def _conll(self, most: int) -> Iterator[RowChunk]:
        numbered = (
            numbered
            for start, block in text_blocks(self._file, self.name)
            for numbered in enumerate(split_lines(block), start)
        )
        found = ((each.line, each.columns) for each in sentences(self.name, numbered, labelled=False))
        names: tuple[str, ...] = ()
        for lines, columns in self._chunked(found, most):
            names = tuple(column_names(len(columns[0])))
            yield ConllChunk(names, lines, [list(map(list, cells)) for cells in columns])
        if not names:
            raise DataError("the file has no words", kind="no-rows", file=str(self.name))

    def _parquet(self, most: int) -> Iterator[RowChunk]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._file.seekable():
            sentence = "Parquet cannot be read from a pipe, since its columns are listed at its end: name the file"
            raise DataError(sentence, kind="parquet-from-pipe", file=str(self.name))
        try:
            with pq.ParquetFile(self._file) as file:
                done, self._total = 0, file.metadata.num_rows
                for batch in file.iter_batches(most):
                    size = max(1, batch.num_rows * CHUNK_BYTES // max(batch.nbytes, CHUNK_BYTES))
                    for start in range(0, batch.num_rows, size):
                        part = batch.slice(start, size)
                        yield ArrowChunk(range(done + 1, done + part.num_rows + 1), part)
                        done += part.num_rows
                if not done:
                    yield ArrowChunk([], pa.RecordBatch.from_pylist([], file.schema_arrow))
        except (pa.ArrowException, UnicodeDecodeError) as fault:
            reason = shown(str(fault).partition("\n")[0], 120)
            sentence = f"cannot read the file as Parquet: {reason}"
            raise DataError(sentence, kind="not-parquet", file=str(self.name)) from None


class _Counting(io.RawIOBase):
    """A file that counts what is read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.consumed = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.consumed += len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
