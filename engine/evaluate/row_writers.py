"""Write rows with their predictions, chunk by chunk: CSV, TSV, JSON lines, Parquet, or one label a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.data.compressed import Sink
from engine.data.label_columns import MARKS
from engine.data.row_stream import ArrowChunk, RowChunk, TextChunk
from engine.data.text_files import listed, shown
from engine.errors import DataError
from engine.preset.text import json_escaped, plain
from engine.record.files import finite

DIGITS = 6
"""Digits after the point of probabilities and scores in text formats."""
LABEL, SCORE, PROBABILITY, PROBABILITIES = "label", "score", "probability", "probabilities"
"""Names of output columns: `probability_CLASS` for each class in tables, an object `probabilities` in JSON lines."""
_AGAIN = "predicted_"  # before a name that the input has


@dataclass(frozen=True)
class Predictions:
    """The predictions of some rows.

    `values` (rows, classes) are probabilities, or (rows, 1) scores where `classes` is empty; a row without a prediction
    has NaN. With `thresholds`, one for each class, a row has every label whose probability is not below it; without, it has
    the most likely class.
    """

    classes: tuple[str, ...]
    values: npt.NDArray[np.float64]
    thresholds: tuple[float, ...] = ()

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which rows have a prediction, (rows,)."""
        return np.asarray(~np.isnan(self.values).any(axis=1))

    def sets(self) -> list[list[str] | None]:
        """The labels of each row, of a model that answers each on its own; None for a row without a prediction."""
        applies = self.values >= self.thresholds
        return [
            [name for name, has in zip(self.classes, row, strict=True) if has] if known else None
            for row, known in zip(applies.tolist(), self.known.tolist(), strict=True)
        ]

    def labels(self) -> list[str | None]:
        """The class with the highest probability of each row, or its labels, joined by the first of `MARKS` that is in no
        name; None for a row without a prediction."""
        if self.thresholds:
            mark = next((mark for mark in MARKS if not any(mark in name for name in self.classes)), MARKS[0])
            return [None if names is None else mark.join(names) for names in self.sets()]
        best = np.nan_to_num(self.values, nan=-1.0).argmax(axis=1).tolist()
        return [self.classes[index] if known else None for index, known in zip(best, self.known.tolist(), strict=True)]

    def rounded(self) -> list[list[float | None]]:
        """The values of each row for text formats."""
        rows: list[list[float | None]] = np.round(self.values, DIGITS).tolist()
        for index in np.flatnonzero(~self.known).tolist():
            rows[index] = [None] * self.values.shape[1]
        return rows

    def cells(self) -> list[list[Any]]:
        """What a table gains in each row: label and probabilities, or the score."""
        rows: list[list[Any]] = list(self.rounded())
        return [[label, *row] for label, row in zip(self.labels(), rows, strict=True)] if self.classes else rows


@dataclass(frozen=True)
class OutputNames:
    """The names of what is added to the columns of an input; none of them is a column of the input."""

    label: str
    """Of the label, or of the score."""
    probabilities: tuple[str, ...]
    """Of each class's probability, in tables."""
    nested: str
    """Of the object with the probabilities, in JSON lines."""

    @classmethod
    def beside(cls, columns: Sequence[str], classes: Sequence[str]) -> OutputNames:
        """The names for an input with these columns: a name that the input has gets "predicted_" before it."""
        used = set(columns)

        def free(name: str) -> str:
            while name in used:
                name = _AGAIN + name
            used.add(name)
            return name

        label = free(LABEL if classes else SCORE)
        return cls(label, tuple(free(f"{PROBABILITY}_{name}") for name in classes), free(PROBABILITIES))

    def table(self) -> list[str]:
        """The columns that a table gains."""
        return [self.label, *self.probabilities]

    def renamed(self) -> str | None:
        """A sentence for the user where the input has a column of the usual name; else None."""
        if not self.label.startswith(_AGAIN):
            return None
        usual = self.label.removeprefix(_AGAIN)
        return f"the input has a column {shown(usual)}, so the predictions are in {shown(self.label)}"


class RowWriter(Protocol):
    """Writes rows with their predictions. The chunks of all inputs have the same columns, except in JSON lines."""

    def write(self, chunk: RowChunk, predictions: Predictions) -> None:
        """Write some rows. Raises DataError for a row that does not fit the rows before it."""

    def close(self) -> None:
        """Write what a format has at its end."""


def row_writer(form: str, sink: Sink, columns: Sequence[str], names: OutputNames, *, plain_tsv: bool) -> RowWriter:
    """The writer of a format. `columns` are those of the first chunk; `plain_tsv` says that the input is TSV without quotes.

    Raises DataError where a format that names each value cannot hold columns of one name.
    """
    if form in ("jsonl", "parquet") and len(set(columns)) < len(columns):
        twice = next(name for name in columns if list(columns).count(name) > 1)
        sentence = f"two columns are named {shown(twice)}, which {form} cannot hold; write CSV or TSV"
        raise DataError(sentence, kind="repeated-column")
    match form:
        case "csv":
            return _Delimited(sink, columns, names, ",", quoted=True)
        case "tsv":
            marks = any(mark in name for name in names.table() for mark in "\t\r\n")
            return _Delimited(sink, columns, names, "\t", quoted=marks or not plain_tsv)
        case "jsonl":
            return _JsonLines(sink, names)
        case "parquet":
            return _Parquet(sink, columns, names)
        case _:
            return _Labels(sink)


class _Delimited:
    """CSV and TSV."""

    def __init__(self, sink: Sink, columns: Sequence[str], names: OutputNames, delimiter: str, *, quoted: bool) -> None:
        self._sink, self._columns = sink, tuple(columns)
        self._text = io.StringIO(newline="")
        self._quoted = quoted
        self._writer = csv.writer(self._text, delimiter=delimiter, lineterminator="\n")
        self._write_rows([[*columns, *names.table()]])

    def write(self, chunk: RowChunk, predictions: Predictions) -> None:
        """Write some rows."""
        _check_columns(self._columns, chunk)
        rows = chunk.rows()
        if not (isinstance(chunk, TextChunk) and chunk.sources is None):
            rows = [[_cell(value) for value in row] for row in rows]
        self._write_rows([*row, *more] for row, more in zip(rows, predictions.cells(), strict=True))

    def close(self) -> None:
        """Nothing is left to write."""

    def _write_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        if self._quoted:
            self._writer.writerows(rows)
        else:
            lines = ("\t".join("" if cell is None else str(cell) for cell in row) for row in rows)
            self._text.writelines(f"{line}\n" for line in lines)
        self._sink.write(self._text.getvalue().encode("utf-8", "backslashreplace"))
        self._text.seek(0)
        self._text.truncate()


def _cell(value: Any) -> Any:
    """A value of JSON or Parquet as the cell of a text table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return _json(value) if isinstance(value, list | dict) else value


class _JsonLines:
    """One object a line. Rows of JSON lines stay as they stand in the file, up to the last brace."""

    def __init__(self, sink: Sink, names: OutputNames) -> None:
        self._sink, self._names = sink, names
        self._checked: frozenset[str] = frozenset()

    def write(self, chunk: RowChunk, predictions: Predictions) -> None:
        """Write some rows."""
        self._check_names(chunk)
        if isinstance(chunk, TextChunk) and chunk.sources is not None:
            heads = [source[:-1].rstrip() for source in chunk.sources]
        else:
            objects = (dict(zip(chunk.columns, row, strict=True)) for row in chunk.rows())
            heads = [json_escaped(_json(row))[:-1] for row in objects]
        lines = (
            f"{head}{', ' if head != '{' else ''}{json_escaped(_json(more))[1:]}\n"
            for head, more in zip(heads, self._additions(predictions), strict=True)
        )
        self._sink.write("".join(lines).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Nothing is left to write."""

    def _check_names(self, chunk: RowChunk) -> None:
        """Raise DataError where a key that only later rows have is one of the output's."""
        new = set(chunk.columns) - self._checked
        self._checked |= new
        if taken := new & {self._names.label, self._names.nested}:
            sentence = (
                f"from line {chunk.lines[0]:,} on, rows have the key {listed(sorted(taken))}, which the first rows lack and the "
                "predictions use: give the first row that key as well, or rename it"
            )
            raise DataError(sentence, kind="late-key")

    def _additions(self, predictions: Predictions) -> list[Mapping[str, Any]]:
        label, nested, classes = self._names.label, self._names.nested, predictions.classes
        rows = predictions.rounded()
        if not classes:
            return [{label: row[0]} for row in rows]
        answers = predictions.sets() if predictions.thresholds else predictions.labels()
        return [
            {label: answer, nested: None if answer is None else dict(zip(classes, row, strict=True))}
            for answer, row in zip(answers, rows, strict=True)
        ]


def _json(value: Mapping[str, Any] | list[Any]) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


class _Parquet:
    """Parquet, one row group for each chunk. The columns' types are those of the input, or of the first chunk."""

    def __init__(self, sink: Sink, columns: Sequence[str], names: OutputNames) -> None:
        self._sink, self._columns, self._names = sink, tuple(columns), names
        self._writer: Any = None
        self._schema: Any = None

    def write(self, chunk: RowChunk, predictions: Predictions) -> None:
        """Write some rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        _check_columns(self._columns, chunk)
        if self._writer is None:
            self._schema = self._schema_of(chunk, predictions)
            self._writer = pq.ParquetWriter(self._sink, self._schema)
        try:
            arrays = self._input_arrays(chunk)
            self._writer.write_batch(
                pa.RecordBatch.from_arrays([*arrays, *self._own(predictions)], schema=self._schema)
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as fault:
            first = chunk.lines[0] if len(chunk.lines) else 1
            reason = plain(str(fault).partition("\n")[0][:120])
            sentence = f"the rows from {first:,} on do not fit the types of the first rows ({reason}); write JSON lines: --format jsonl"
            raise DataError(sentence, kind="types-differ") from None

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()

    def _schema_of(self, chunk: RowChunk, predictions: Predictions) -> Any:
        import pyarrow as pa

        names = pa.list_(pa.string()) if predictions.thresholds else pa.string()
        own = [pa.field(self._names.label, names if predictions.classes else pa.float32())]
        own += [pa.field(name, pa.float32()) for name in self._names.probabilities]
        if isinstance(chunk, ArrowChunk):
            schema = chunk.batch.schema
            described = {
                k: v for k, v in (schema.metadata or {}).items() if k != b"huggingface"
            }  # it lists all columns
            return pa.schema([*schema, *own], metadata=described)
        texts = isinstance(chunk, TextChunk) and chunk.sources is None
        kinds = [pa.string() if texts else _type_of(chunk.values(name), name) for name in self._columns]
        return pa.schema([*map(pa.field, self._columns, kinds), *own])

    def _input_arrays(self, chunk: RowChunk) -> list[Any]:
        import pyarrow as pa

        if isinstance(chunk, ArrowChunk):
            return list(chunk.batch.columns)
        return [pa.array(chunk.values(name), type=self._schema.field(name).type) for name in self._columns]

    def _own(self, predictions: Predictions) -> list[Any]:
        import pyarrow as pa

        unknown = ~predictions.known
        columns = [pa.array(column, pa.float32(), mask=unknown) for column in predictions.values.T.astype(np.float32)]
        if predictions.thresholds:
            return [pa.array(predictions.sets(), pa.list_(pa.string())), *columns]
        return [pa.array(predictions.labels(), pa.string()), *columns] if predictions.classes else columns


def _type_of(values: Sequence[Any], column: str) -> Any:
    """The Parquet type of a column of JSON lines. Raises DataError for values of several types."""
    import pyarrow as pa

    try:
        kind = pa.array(values).type
    except (pa.ArrowException, TypeError, OverflowError):
        sentence = f"column {shown(column)} has values of several types, which Parquet cannot hold; write JSON lines: --format jsonl"
        raise DataError(sentence, kind="mixed-types") from None
    return pa.string() if pa.types.is_null(kind) else kind


class _Labels:
    """One label or score a line: what is added to plain text, for `paste` and the like."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, chunk: RowChunk, predictions: Predictions) -> None:  # noqa: ARG002 - the texts are not repeated
        """Write some rows; a row without a prediction, or without labels, is an empty line."""
        answers = predictions.labels() if predictions.classes else [row[0] for row in predictions.rounded()]
        lines = ("" if answer is None else plain(str(answer)) for answer in answers)
        self._sink.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Nothing is left to write."""


def _check_columns(columns: tuple[str, ...], chunk: RowChunk) -> None:
    """Raise DataError where a chunk has other columns than the first one."""
    if chunk.columns != columns:
        sentence = (
            f"the rows from line {chunk.lines[0] if len(chunk.lines) else 1:,} on have the columns {listed(chunk.columns)}, but "
            f"the first rows have {listed(columns)}; JSON lines can hold both: --format jsonl"
        )
        raise DataError(sentence, kind="columns-differ")
