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
from engine.data.row_stream import ArrowChunk, ConllChunk, RowChunk, TextChunk
from engine.data.text_files import listed, shown
from engine.errors import DataError
from engine.preset.text import json_escaped, plain
from engine.record.entities import entities
from engine.record.files import finite

DIGITS = 6
"""Digits after the point of probabilities and scores in text formats."""
LABEL, SCORE, PROBABILITY, PROBABILITIES = "label", "score", "probability", "probabilities"
"""Names of output columns: `probability_CLASS` for each class in tables, an object `probabilities` in JSON lines."""
ENTITIES = "entities"
"""Of the entities, where the labels of words mark some."""
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

    def additions(self, names: OutputNames) -> list[Mapping[str, Any]]:
        """What an object of JSON lines gains in each row."""
        rows = self.rounded()
        if not self.classes:
            return [{names.label: row[0]} for row in rows]
        answers: Sequence[Any] = self.sets() if self.thresholds else self.labels()
        return [
            {names.label: answer, names.nested: None if answer is None else dict(zip(self.classes, row, strict=True))}
            for answer, row in zip(answers, rows, strict=True)
        ]

    def lines(self) -> list[str]:
        """What is written of each row without its columns."""
        answers = self.labels() if self.classes else [row[0] for row in self.rounded()]
        return ["" if answer is None else plain(str(answer)) for answer in answers]

    def arrow_fields(self, names: OutputNames) -> list[Any]:
        """The columns that a Parquet file gains."""
        import pyarrow as pa

        label = pa.list_(pa.string()) if self.thresholds else pa.string()
        own = [pa.field(names.label, label if self.classes else pa.float32())]
        return own + [pa.field(name, pa.float32()) for name in names.probabilities]

    def arrow_arrays(self) -> list[Any]:
        """The values of these columns."""
        import pyarrow as pa

        unknown = ~self.known
        columns = [pa.array(column, pa.float32(), mask=unknown) for column in self.values.T.astype(np.float32)]
        if self.thresholds:
            return [pa.array(self.sets(), pa.list_(pa.string())), *columns]
        return [pa.array(self.labels(), pa.string()), *columns] if self.classes else columns


class WordPredictions:
    """The predictions of some rows by word: `words` of each row, the label of each word, None for one without an answer, and its
    probability. Where the model's labels mark entities (`marks`), they are given as well."""

    def __init__(
        self,
        words: Sequence[Sequence[str]],
        by_word: Sequence[Sequence[str | None]],
        shares: Sequence[Sequence[float | None]],
        *,
        marks: bool,
    ) -> None:
        self.words, self.by_word, self._shares, self._marks = words, by_word, shares, marks

    def entities(self) -> list[list[dict[str, Any]]]:
        """The entities of each row: type, text, first and last word counted from 0, and the mean probability of their words."""
        rows = []
        for words, labels, shares in zip(self.words, self.by_word, self._shares, strict=True):
            found = []
            for kind, start, end in entities(labels):
                known = [share for share in shares[start:end] if share is not None]
                mean = round(sum(known) / len(known), DIGITS) if known else None
                span = {"type": kind, "text": " ".join(words[start:end]), "first": start, "last": end - 1}
                found.append({**span, PROBABILITY: mean})
            rows.append(found)
        return rows

    def _joined(self) -> list[str]:
        """The labels of each row, one for each word, - for a word without one, joined by spaces."""
        return [" ".join("-" if label is None else label for label in labels) for labels in self.by_word]

    def _written(self) -> list[str]:
        """The entities of each row as a text: "PER Anna Adler; LOC Bonn"."""
        return ["; ".join(f"{each['type']} {each['text']}".strip() for each in row) for row in self.entities()]

    def cells(self) -> list[list[Any]]:
        """What a table gains in each row: labels, and entities."""
        columns = [self._joined(), *([self._written()] if self._marks else [])]
        return [list(row) for row in zip(*columns, strict=True)]

    def additions(self, names: OutputNames) -> list[Mapping[str, Any]]:
        """What an object of JSON lines gains in each row."""
        if not self._marks:
            return [{names.label: list(labels)} for labels in self.by_word]
        return [
            {names.label: list(labels), names.nested: found}
            for labels, found in zip(self.by_word, self.entities(), strict=True)
        ]

    def lines(self) -> list[str]:
        """What is written of each row without its columns."""
        return list(map(plain, self._joined()))

    def arrow_fields(self, names: OutputNames) -> list[Any]:
        """The columns that a Parquet file gains."""
        import pyarrow as pa

        return [pa.field(name, pa.list_(pa.string())) for name in names.table()]

    def arrow_arrays(self) -> list[Any]:
        """The values of these columns."""
        import pyarrow as pa

        columns: list[Any] = [[list(labels) for labels in self.by_word]]
        if self._marks:
            columns.append([[f"{each['type']} {each['text']}".strip() for each in row] for row in self.entities()])
        return [pa.array(column, pa.list_(pa.string())) for column in columns]


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
        free = _Free(columns)
        label = free(LABEL if classes else SCORE)
        return cls(label, tuple(free(f"{PROBABILITY}_{name}") for name in classes), free(PROBABILITIES))

    @classmethod
    def of_words(cls, columns: Sequence[str], *, marks: bool) -> OutputNames:
        """As `beside`, where each word has a label: with a column of entities, if the labels mark some."""
        free = _Free(columns)
        label, found = free(LABEL), free(ENTITIES)
        return cls(label, (found,) if marks else (), found)

    def table(self) -> list[str]:
        """The columns that a table gains."""
        return [self.label, *self.probabilities]

    def renamed(self) -> str | None:
        """A sentence for the user where the input has a column of the usual name; else None."""
        if not self.label.startswith(_AGAIN):
            return None
        usual = self.label.removeprefix(_AGAIN)
        return f"the input has a column {shown(usual)}, so the predictions are in {shown(self.label)}"


class _Free:
    """Names that no column has yet."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._used = set(columns)

    def __call__(self, name: str) -> str:
        while name in self._used:
            name = _AGAIN + name
        self._used.add(name)
        return name


AnyPredictions = Predictions | WordPredictions


class RowWriter(Protocol):
    """Writes rows with their predictions. The chunks of all inputs have the same columns, except in JSON lines."""

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:
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
        case "conll":
            return _Conll(sink)
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

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:
        """Write some rows."""
        _check_columns(self._columns, chunk)
        rows = chunk.rows()
        if not _is_texts(chunk):
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

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:
        """Write some rows."""
        self._check_names(chunk)
        if isinstance(chunk, TextChunk) and chunk.sources is not None:
            heads = [source[:-1].rstrip() for source in chunk.sources]
        else:
            objects = (dict(zip(chunk.columns, row, strict=True)) for row in chunk.rows())
            heads = [json_escaped(_json(row))[:-1] for row in objects]
        lines = (
            f"{head}{', ' if head != '{' else ''}{json_escaped(_json(more))[1:]}\n"
            for head, more in zip(heads, predictions.additions(self._names), strict=True)
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


def _json(value: Mapping[str, Any] | list[Any]) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


class _Parquet:
    """Parquet, one row group for each chunk. The columns' types are those of the input, or of the first chunk."""

    def __init__(self, sink: Sink, columns: Sequence[str], names: OutputNames) -> None:
        self._sink, self._columns, self._names = sink, tuple(columns), names
        self._writer: Any = None
        self._schema: Any = None

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:
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
                pa.RecordBatch.from_arrays([*arrays, *predictions.arrow_arrays()], schema=self._schema)
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

    def _schema_of(self, chunk: RowChunk, predictions: AnyPredictions) -> Any:
        import pyarrow as pa

        own = predictions.arrow_fields(self._names)
        if isinstance(chunk, ArrowChunk):
            schema = chunk.batch.schema
            described = {
                k: v for k, v in (schema.metadata or {}).items() if k != b"huggingface"
            }  # it lists all columns
            return pa.schema([*schema, *own], metadata=described)
        texts = _is_texts(chunk)
        kinds = [pa.string() if texts else _type_of(chunk.values(name), name) for name in self._columns]
        return pa.schema([*map(pa.field, self._columns, kinds), *own])

    def _input_arrays(self, chunk: RowChunk) -> list[Any]:
        import pyarrow as pa

        if isinstance(chunk, ArrowChunk):
            return list(chunk.batch.columns)
        return [pa.array(chunk.values(name), type=self._schema.field(name).type) for name in self._columns]


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

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:  # noqa: ARG002 - the texts are not repeated
        """Write some rows; a row without a prediction, or without labels, is an empty line."""
        self._sink.write("".join(f"{line}\n" for line in predictions.lines()).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Nothing is left to write."""


def _is_texts(chunk: RowChunk) -> bool:
    """Whether all values are texts, as in CSV."""
    return isinstance(chunk, TextChunk) and chunk.sources is None and not isinstance(chunk, ConllChunk)


class _Conll:
    """The words of sentences with their columns, the label behind them, and an empty line after each sentence."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, chunk: RowChunk, predictions: AnyPredictions) -> None:
        """Write some rows. Raises DataError where there are no labels by word."""
        if not isinstance(predictions, WordPredictions):
            sentence = "CoNLL files are for labels of words, and this model labels whole texts: choose another --format"
            raise DataError(sentence, kind="conll-of-texts")
        parts = []
        rows = chunk.rows() if isinstance(chunk, ConllChunk) else [[words] for words in predictions.words]
        for row, labels in zip(rows, predictions.by_word, strict=True):
            lines = zip(*row, labels, strict=True)
            parts += [" ".join("-" if field in (None, "") else str(field) for field in line) for line in lines] + [""]
        self._sink.write("".join(f"{line}\n" for line in parts).encode("utf-8", "backslashreplace"))

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
