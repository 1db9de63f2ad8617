"""Read the user's tables (CSV, TSV, JSON lines, Parquet, CoNLL) column by column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from engine.data import conll
from engine.data.columns import ColumnBuilder
from engine.data.spool import Content, count
from engine.data.text_files import (
    HEAD,
    content_blocks,
    content_lines,
    listed,
    opened,
    read_beginning,
    read_content,
    read_head,
    shown,
    split_lines,
)
from engine.errors import DataError
from engine.preset.source_names import CONLL_ENDINGS, TABLE_ENDINGS, is_compressed, uncompressed_name
from engine.preset.text import nearest
from engine.record.files import cause
from engine.record.phases import Report, counted, unreported

QUOTE_HINT = "; a text with a comma, quote or line break must be in double quotes"
_BATCH = 8192  # rows of Parquet read at once
T = TypeVar("T")
FORMATS = TABLE_ENDINGS


@dataclass(frozen=True)
class Table:
    """The requested columns of a file: `values[column][row]`, and each row's line (in Parquet, its number from 1)."""

    path: str
    lines: Sequence[int]
    values: Mapping[str, Sequence[Any]]
    is_text: bool
    """Whether the values are uninterpreted text, as in CSV; JSON and Parquet have types."""
    notes: tuple[str, ...] = ()
    has_lines: bool = True
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the numbers in columns of classes, where the file has them: Parquet files of `datasets`."""
    is_whole: bool = True
    """Whether these are all rows of the file."""
    repeated_names: tuple[str, ...] = ()
    """Names that several columns share, where every column was read: none of these was."""

    def __len__(self) -> int:
        return len(self.lines)

    def missing(self, column: str) -> list[int]:
        """The rows without a value in a column: nothing, NaN or white space."""
        return [row for row, value in enumerate(self.values[column]) if _is_missing(value)]

    def headers(self) -> list[int]:
        """The rows that repeat the column names, as files have that were joined with their headers."""
        first, *others = self.values
        rows = [row for row, value in enumerate(self.values[first]) if value == first]
        return [row for row in rows if all(self.values[name][row] == name for name in others)]

    def fault(self, sentence: str, rows: Sequence[int], *, kind: str) -> DataError:
        """The error for some rows: located at the first, with the number and lines of the others."""
        unit = "line" if self.has_lines else "row"
        first, *others = (self.lines[row] for row in rows)
        if others:
            numbers = ", ".join(f"{number:,}" for number in others[:4])
            more = f" and {len(others) - 4:,} more" if len(others) > 4 else ""
            sentence += f" (also {unit}{'s' * (len(others) > 1)} {numbers}{more})"
        if not self.has_lines:
            return DataError(f"row {first:,}: {sentence}", kind=kind, file=self.path)
        return DataError(sentence, kind=kind, file=self.path, line=first)


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (isinstance(value, float) and math.isnan(value))


def read_table(path: Path, wanted: Sequence[str], *, report: Report = unreported) -> Table:
    """Read the columns `wanted` of a CSV, TSV, JSON lines, Parquet or CoNLL file; the file's ending tells which it is.

    CSV is RFC 4180: a text with a comma, quote or line break is in double quotes, and a quote inside it is doubled. TSV
    is read like GLUE's files, one row per line with quotes as plain characters, unless every quote in the file is where
    a program that quotes would put it and at least one of them is necessary; then a note says so. JSON lines has one
    object per line. Raises DataError with file and line for malformed rows, a missing column (with the nearest name)
    and a file without rows.
    """
    ending = _format(path)
    if ending == ".parquet":
        table = _parquet(path, wanted, report)
    elif ending in (".jsonl", ".json"):
        table = _json_lines(path, wanted, report)
    elif ending == ".csv":
        table = _csv(path, wanted, report)
    elif ending in CONLL_ENDINGS:
        content = read_content(path)
        lines = _counted(content_lines(content, path), path, count(content, b"\n"), report)
        table = _conll_table(path, conll.sentences(path, lines), wanted)
    else:
        table = _tsv(path, wanted, report)
    if not len(table):
        raise DataError("the file has column names but no rows", kind="no-rows", file=str(path))
    return table


def read_table_head(path: Path) -> Table:
    """Every column of a file, with the rows in its first `HEAD` bytes (of Parquet, its first rows).

    Columns that share their name are left out. Raises DataError as `read_table` does.
    """
    ending = _format(path)
    if ending == ".parquet":
        table = _parquet(path, None, unreported, most=_BATCH)
    else:
        head, is_whole = read_beginning(path)
        if not head:
            sentence = f"the first line is longer than {HEAD:,} bytes: this is no table, or one without line breaks"
            raise DataError(sentence, kind="header-too-long", file=str(path))
        if ending in CONLL_ENDINGS:
            table = _conll_table(path, _whole_sentences(path, head, is_whole=is_whole), None)
        elif ending in (".jsonl", ".json"):
            lines = split_lines(head)
            table = _json_table(path, enumerate(lines, 1), len(lines), None, unreported)
        elif ending == ".csv" or is_quoted_tsv(head, whole=is_whole):
            rows = _rows_of_text(path, head, "," if ending == ".csv" else "\t")
            table = _text_table(path, rows if is_whole else _whole_rows(rows), None, QUOTE_HINT)
        else:
            plain_rows = ((line, row.split("\t")) for line, row in enumerate(split_lines(head), 1) if row)
            table = _text_table(path, plain_rows, None, "")
        table = replace(table, is_whole=is_whole)
    return table


def _conll_table(path: Path, found: Iterable[conll.Sentence], wanted: Sequence[str] | None) -> Table:
    lines, values = conll.table_of(path, found, wanted)
    return Table(str(path), lines, values, is_text=True)


def _whole_sentences(path: Path, head: str, *, is_whole: bool) -> Sequence[conll.Sentence]:
    """The sentences in the head of a file, without the last one, which may go on behind it, unless it is the only one."""
    found = list(conll.sentences(path, enumerate(split_lines(head), 1)))
    return found if is_whole or len(found) < 2 else found[:-1]


def _whole_rows(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """The rows before the one in which the head of a file ends, if it ends inside a quoted text."""
    any_row = False
    try:
        for row in rows:
            yield row
            any_row = True
    except DataError as error:
        if error.kind != "invalid-quotes" or not any_row:
            raise


def check_table(path: Path, wanted: Sequence[str]) -> None:
    """Check that a file can be a table with the wanted columns, from its head alone (of Parquet, from its signature).

    Raises DataError as `read_table` does.
    """
    ending = _format(path)
    if ending == ".parquet":
        with opened(path) as file:
            first = file.read(4)
            length = file.seek(0, 2)
            file.seek(max(length - 4, 0))
            if length < 12 or first != b"PAR1" or file.read(4) != b"PAR1":
                raise DataError("this is not a Parquet file, or it is truncated", kind="not-parquet", file=str(path))
        return
    head = read_head(path)
    lines = [(number, line) for number, line in enumerate(split_lines(head), 1) if line.strip()]
    if not lines:
        return  # the first line is longer than the head
    if ending in CONLL_ENDINGS:
        conll.table_of(path, _whole_sentences(path, head, is_whole=True)[:1], wanted)
        return
    number, line = lines[0]
    if ending == ".csv":
        number, names = next(_rows_of_text(path, head, ","))
    elif ending == ".tsv":
        names = [name[1:-1] if name[:1] == name[-1:] == '"' else name for name in line.split("\t")]
    else:
        names = list(json_row(path, number, line))
    column_positions(names, wanted, path, number)


def _format(path: Path) -> str:
    """The ending of a table's name. Raises DataError unless it is one of `FORMATS`."""
    ending = Path(uncompressed_name(path.name)).suffix.lower()
    if is_compressed(path.name) and ending == ".parquet":
        sentence = "Parquet files are compressed inside: decompress this file, and name what comes out"
        raise DataError(sentence, kind="compressed-parquet", file=str(path))
    if ending not in FORMATS:
        what = f"files end in {', '.join(FORMATS)}" if ending else "the file's name has no ending"
        sentence = f"unknown file format: {what}"
        raise DataError(sentence, kind="unknown-file-format", file=str(path))
    return ending


def column_positions(names: Sequence[str], wanted: Sequence[str], path: Path, line: int | None) -> dict[str, int]:
    """The index of each wanted column. Raises DataError for a missing one and for one that is there twice."""
    for name in wanted:
        if name not in names:
            near = nearest(name, names)
            hint = f"; did you mean {shown(near)}?" if near else ""
            if len(names) == 1 and any(mark in names[0] for mark in ";\t,|"):
                hint = "; the columns seem to be separated by another character than the file's ending says"
            sentence = f"there is no column {shown(name)}; the columns are {listed(names)}{hint}"
            raise DataError(sentence, kind="no-such-column", file=str(path), line=line)
        if names.count(name) > 1:
            sentence = f"two columns are named {shown(name)}"
            raise DataError(sentence, kind="repeated-column", file=str(path), line=line)
    return {name: names.index(name) for name in wanted}


def _text_table(path: Path, rows: Iterator[tuple[int, list[str]]], wanted: Sequence[str] | None, hint: str) -> Table:
    """The table of numbered rows, the first of which is the header; `hint` says what a row of another width lacks.

    Without `wanted` it has every column whose name is its own.
    """
    line, names = next(rows)
    repeated = _repeated(names) if wanted is None else ()
    wanted = [name for name in names if name not in repeated] if wanted is None else wanted
    where = column_positions(names, wanted, path, line)
    lines, columns = array("q"), {name: ColumnBuilder() for name in wanted}
    while part := list(islice(rows, _BATCH)):
        for line, row in part:
            if len(row) != len(names):
                raise wrong_field_count(path, line, len(row), len(names), hint)
            lines.append(line)
        for name, column in where.items():
            columns[name].extend([row[column] for _, row in part])
    values = {name: column.column() for name, column in columns.items()}
    return Table(str(path), lines, values, is_text=True, repeated_names=repeated)


def _repeated(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if names.count(name) > 1))


def wrong_field_count(path: Path, line: int, fields: int, columns: int, hint: str) -> DataError:
    """The error for a row that has not one field for each column."""
    sentence = f"this row has {fields} fields, but the header has {columns}{hint}"
    return DataError(sentence, kind="wrong-field-count", file=str(path), line=line)


def csv_rows(path: Path, lines: Iterable[str], delimiter: str, longest: int) -> Iterator[tuple[int, list[str]]]:
    """Each non-blank row, with the line it starts on; `lines` have their ends, no field has more than `longest` characters.

    Raises DataError for quotes that are not as in RFC 4180, and for a longer field.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    # The default refuses fields that `check_text` would still take. The limit is the process's, so it is only raised.
    csv.field_size_limit(max(csv.field_size_limit(), longest + 1))
    begins = 1
    try:
        while True:
            begins = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            if row:
                yield begins, row
    except csv.Error as fault:
        if "end of data" in str(fault):
            sentence = 'this double quote is never closed; inside a quoted text, write a quote twice ("")'
        elif "field limit" in str(fault):
            sentence = f"a field has more than {longest:,} characters; is a double quote never closed?"
        else:
            sentence = 'there is text after a closing quote; inside a quoted text, write a quote twice ("")'
        raise DataError(sentence, kind="invalid-quotes", file=str(path), line=begins) from None


def _rows_of_text(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    return csv_rows(path, io.StringIO(text, newline=""), delimiter, len(text))


def _rows_of_blocks(path: Path, content: Content, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    lines = chain.from_iterable(io.StringIO(block, newline="") for _, block in content_blocks(content, path))
    return csv_rows(path, lines, delimiter, len(content))


def _csv(path: Path, wanted: Sequence[str], report: Report) -> Table:
    content = read_content(path)
    lines = None if content.find(b'"') >= 0 else count(content, b"\n")  # a text in quotes can have several
    return _text_table(path, _counted(_rows_of_blocks(path, content, ","), path, lines, report), wanted, QUOTE_HINT)


def _tsv(path: Path, wanted: Sequence[str], report: Report) -> Table:
    content = read_content(path)
    if is_quoted_tsv(content):
        note = f"{path.name} was read as quoted TSV: every quote in it is where a program that quotes would put it."
        quoted = _counted(_rows_of_blocks(path, content, "\t"), path, None, report)
        return replace(_text_table(path, quoted, wanted, QUOTE_HINT), notes=(note,))
    rows = ((line, row.split("\t")) for line, row in content_lines(content, path) if row)
    return _text_table(path, _counted(rows, path, count(content, b"\n"), report), wanted, "")


def _counted(rows: Iterator[T], path: Path, total: int | None, report: Report) -> Iterator[T]:
    return counted(rows, report, f"reading {path.name}", total=total)


# possessive quantifiers: no backtracking, so one pass decides for a file of any size
_FIELD = re.compile(rb'(?:[^"\t\r\n]*+|"(?P<inner>(?:[^"]|"")*+)")(?P<end>\t|\r?\n|\r|\Z)')
_OPEN_FIELD = re.compile(rb'"(?:[^"]|"")*+')
_UTF8_MARK = b"\xef\xbb\xbf"


def is_quoted_tsv(text: str | Content, *, whole: bool = True) -> bool:
    """Whether a TSV text (as text or UTF-8), or its beginning (not `whole`), was written by a program that quotes.

    In such a file a field is quoted as a whole or not at all, and quotes inside it are doubled. Such programs quote where
    they must (or everywhere, including the header), so at least one quoted field contains a tab, a line break or a
    doubled quote, or is in the header. A sentence that merely begins and ends with a quote doesn't count.
    """
    content = bytearray(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else text
    if content.find(b'"') < 0:
        return False
    at, needed, in_header = len(_UTF8_MARK) if content[:3] == _UTF8_MARK else 0, False, True
    widths: set[int] = set()
    width = 1
    while at < len(content):
        match = _FIELD.match(content, at)
        if match is None:
            if not whole and _OPEN_FIELD.fullmatch(content, at):
                break
            return False
        inner = match["inner"]
        if inner is not None and (in_header or b'""' in inner or any(mark in inner for mark in (b"\t", b"\r", b"\n"))):
            needed = True
        at = match.end()
        if match["end"] == b"\t":
            width += 1
        else:
            in_header = False
            if match.end() - match.start() > len(match["end"]) or width > 1:  # not a blank line
                widths.add(width)
            width = 1
            if not match["end"]:
                break
    return needed and len(widths) == 1


def _json_lines(path: Path, wanted: Sequence[str], report: Report) -> Table:
    content = read_content(path)
    return _json_table(path, content_lines(content, path), count(content, b"\n"), wanted, report)


def _json_table(
    path: Path, numbered: Iterable[tuple[int, str]], total: int, wanted: Sequence[str] | None, report: Report
) -> Table:
    """The table of JSON lines, of which there are about `total`; without `wanted`, every key of the first line."""
    columns = {name: ColumnBuilder() for name in wanted or ()}
    lines, names = array("q"), list[str]()
    counted_lines = _counted(iter(numbered), path, total, report)
    while part := list(islice(counted_lines, _BATCH)):
        rows = []
        for number, line in part:
            if not line.strip():
                continue
            row = json_row(path, number, line)
            if not names:
                names = list(row)
                columns = columns if wanted is not None else {name: ColumnBuilder() for name in names}
                column_positions(names, list(columns), path, number)
            lines.append(number)
            rows.append(row)
        for name, column in columns.items():
            column.extend([row.get(name) for row in rows])
    return Table(str(path), lines, {name: column.column() for name, column in columns.items()}, is_text=False)


def json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object on a line of JSON lines. Raises DataError."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as fault:
        what = fault.msg if isinstance(fault, json.JSONDecodeError) else "too deep or too long a number"
        if number == 1 and line.strip() in ("[", "{"):
            what = "the file seems to be one JSON document; JSON lines has one object on each line"
        raise DataError(f"this line is not JSON: {what}", kind="invalid-json", file=str(path), line=number) from None
    if not isinstance(row, dict):
        what = "the whole file is one list" if isinstance(row, list) else f"{shown(line)} is not an object"
        sentence = f"each line must be one JSON object with a value for each column; {what}"
        raise DataError(sentence, kind="not-json-object", file=str(path), line=number)
    return row


def _parquet(path: Path, wanted: Sequence[str] | None, report: Report, most: int | None = None) -> Table:
    """The wanted columns of a Parquet file, else all; with `most`, at least so many of the rows rather than all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path):
        pass  # which says why a file cannot be opened
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            repeated = _repeated(names) if wanted is None else ()
            wanted = [name for name in names if name not in repeated] if wanted is None else wanted
            column_positions(names, wanted, path, None)
            columns = {name: ColumnBuilder() for name in wanted}
            rows = 0
            metadata = file.schema_arrow.metadata or {}
            for batch in file.iter_batches(_BATCH, columns=list(wanted)):
                report(f"reading {path.name}", rows, file.metadata.num_rows, "rows")
                rows += batch.num_rows
                for name in wanted:
                    columns[name].extend(batch.column(name).to_pylist())
                if most is not None and rows >= most:
                    break
            is_whole = rows == file.metadata.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        if isinstance(fault, OSError) and fault.errno:
            sentence = f"the file cannot be read: {cause(fault)}"
            raise DataError(sentence, kind="unreadable-file", file=str(path)) from None
        reason = shown(str(fault).partition("\n")[0], 120)
        raise DataError(f"cannot read the file as Parquet: {reason}", kind="not-parquet", file=str(path)) from None
    return Table(
        str(path),
        range(1, rows + 1),
        {name: column.column() for name, column in columns.items()},
        is_text=False,
        has_lines=False,
        class_names=_class_names(metadata.get(b"huggingface", b""), wanted),
        is_whole=is_whole,
        repeated_names=repeated,
    )


def _class_names(metadata: bytes, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names of the classes in columns, from the description that `datasets` writes into a Parquet file.

    {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["negative", "positive"]}}}}, or the same as the "feature"
    of a list. What is not of this form has no names.
    """
    try:
        features = json.loads(metadata)["info"]["features"]
        described = {name: features[name] for name in columns if name in features}
        described |= {name: inner for name, feature in described.items() if (inner := feature.get("feature"))}
        found = {name: feature["names"] for name, feature in described.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {
        name: tuple(names)
        for name, names in found.items()
        if isinstance(names, list)
        and all(isinstance(word, str) and word.strip() for word in names)
        and len(set(names)) == len(names) > 1
    }
