"""The numbers in the columns of a file of answers. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.data.answer_columns import AnswerColumn, class_name
from engine.data.numbers import as_number
from engine.data.row_stream import RowChunk
from engine.data.text_files import listed, shown
from engine.errors import DataError

Missing: TypeAlias = npt.NDArray[np.bool_]


def column_values(chunk: RowChunk, columns: AnswerColumn, path: Path) -> tuple[npt.NDArray[np.float64], Missing]:
    """The numbers (rows, outputs) of some rows, and which are missing (rows, outputs): these are 0. A class counts as 1, the
    others as 0.

    Raises DataError, with the line, for what is no number, for a class that the task lacks, and for what is missing unless
    `columns.may_lack`.
    """
    for name in columns.names:
        if name not in chunk.columns and columns.form != "ranks":  # JSON lines name their columns as they come
            raise _missing(chunk, 0, [name], path)
    if columns.form == "label":
        found = _one_hot(chunk, columns, path)
        return found, np.zeros(found.shape, bool)
    if columns.nested:
        sides: Iterator[list[Any]] = _nested(chunk, columns, path)
    else:
        nothing: list[Any] = [None] * len(chunk.lines)
        sides = (chunk.values(name) if name in chunk.columns else nothing for name in columns.names)
    names = columns.classes if columns.nested else columns.names
    each = [
        _numbers(values, name, chunk, path, may_lack=columns.may_lack)
        for name, values in zip(names, sides, strict=True)
    ]
    values, missing = (np.stack(parts, axis=1) for parts in zip(*each, strict=True))
    if columns.may_lack and (silent := np.flatnonzero(missing.all(axis=1))).size:
        raise _missing(chunk, int(silent[0]), columns.names, path)
    return values, missing


def _numbers(
    values: Sequence[Any], name: str, chunk: RowChunk, path: Path, *, may_lack: bool
) -> tuple[npt.NDArray[np.float64], Missing]:
    """The numbers in a column, 0 where there is none, and where that is."""
    missing = np.zeros(len(values), bool)
    try:
        if not {bool, type(None)} & set(map(type, values)):
            return np.array([as_number(value) for value in values], np.float64), missing
    except (TypeError, ValueError, OverflowError):
        pass
    for row, value in enumerate(values):
        missing[row] = value is None or (isinstance(value, str) and not value.strip())
        if missing[row] and not may_lack:
            raise _missing(chunk, row, [name], path)
        if not missing[row] and not _is_number(value):
            sentence = f"the answer {shown(value)} in column {shown(name)} is not a number"
            raise DataError(sentence, kind="answer-not-number", file=str(path), line=chunk.lines[row])
    numbers = (0.0 if lacks else as_number(value) for value, lacks in zip(values, missing, strict=True))
    return np.array(list(numbers), np.float64), missing


def _is_number(value: Any) -> bool:
    try:
        as_number(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)


def _nested(chunk: RowChunk, columns: AnswerColumn, path: Path) -> Iterator[list[Any]]:
    """The numbers of each class in turn."""
    known = set(columns.classes)
    rows = [_by_class(value, known) for value in chunk.values(columns.names[0])]
    for row, value in enumerate(rows):
        if not isinstance(value, Mapping):
            if value is None:
                raise _missing(chunk, row, columns.names[:1], path)
            sentence = f"{shown(value)} in {shown(columns.names[0])} is not an object with a number for each class"
            raise DataError(sentence, kind="answer-not-object", file=str(path), line=chunk.lines[row])
        if not value.keys() <= known or (not columns.may_lack and value.keys() != known):
            must = "no other may stand here" if columns.may_lack else "every one needs a number, and no other"
            sentence = (
                f"{shown(columns.names[0])} has the classes {listed(list(value))}, and those of the task are "
                f"{listed(columns.classes)}: {must}; give these names to the teacher's answers"
            )
            raise DataError(sentence, kind="other-classes", file=str(path), line=chunk.lines[row])
    for name in columns.classes:
        yield [row.get(name) for row in rows]


def _by_class(value: Any, known: Set[str]) -> Any:
    """An object whose keys are the names of classes where it writes them otherwise, as "1.0" for the class 1; all else as it is."""
    if not isinstance(value, Mapping) or value.keys() <= known:
        return value
    named = {key if key in known else class_name(key): each for key, each in value.items()}
    return named if len(named) == len(value) else value


def _one_hot(chunk: RowChunk, columns: AnswerColumn, path: Path) -> npt.NDArray[np.float64]:
    numbers = {name: index for index, name in enumerate(columns.classes)}
    found = np.zeros((len(chunk.lines), len(numbers)))
    for row, value in enumerate(chunk.values(columns.names[0])):
        if value is None or value == "":
            raise _missing(chunk, row, columns.names[:1], path)
        index = numbers.get(str(value).strip(), numbers.get(class_name(value)))
        if index is None:
            sentence = f"the answer {shown(value)} in column {shown(columns.names[0])} is no class; these are {listed(columns.classes)}"
            raise DataError(sentence, kind="unknown-class", file=str(path), line=chunk.lines[row])
        found[row, index] = 1.0
    return found


def _missing(chunk: RowChunk, row: int, names: Sequence[str], path: Path) -> DataError:
    sentence = f"the answer in column{'s' * (len(names) > 1)} {listed(names)} is missing: every row needs one"
    return DataError(sentence, kind="missing-answer", file=str(path), line=chunk.lines[row])
