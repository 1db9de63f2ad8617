"""Read several labels for a text from the user's files: lists, labels joined in one text, or a column of 0 and 1 for each."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.files import Table
from engine.data.label_columns import LIST, MARKS, SWITCHES, natural, unknown_label
from engine.data.text_files import shown
from engine.errors import DataError

MOST_LABELS = 1000
"""Labels beyond which a column of texts is taken for something else."""

LabelSets = list[tuple[str, ...]]
Matrix = npt.NDArray[np.uint8]
"""(rows, labels), 1 where a label applies."""


def label_separator(table: Table, column: str) -> str | None:
    """What joins the labels of a training file's column: the one mark of `MARKS` that occurs; None where all rows are lists.

    Raises DataError where none or several of them occur.
    """
    words = [value for value in table.values[column] if isinstance(value, str) and not _is_list(value)]
    if not any(word.strip() for word in words):
        return None
    found = [mark for mark in MARKS if any(mark in word for word in words)]
    if len(found) == 1:
        return found[0]
    which = "--set 'task.columns.separator=|'"
    if found:
        sentence = f"the labels in column {shown(column)} could be joined by {_or(found)}: name it, as in {which}"
        raise DataError(sentence, kind="several-separators", file=table.path, key="task.columns.separator")
    sentence = (
        f"no row of column {shown(column)} has labels joined by {_or(MARKS)}: name what joins them, as in {which}, or, if "
        "each text has one label, --set task.kind=classification"
    )
    raise DataError(sentence, kind="no-separator", file=table.path, key="task.columns.separator")


def label_sets(table: Table, column: str, separator: str | None) -> LabelSets:
    """The names of the labels of each row, which may be none at all ([], or nothing in a text); each name counts once.

    Raises DataError naming the rows where labels are missing, are no names, or one of them is empty.
    """
    names = table.class_names.get(column)
    sets = []
    for row, value in enumerate(table.values[column]):
        parts = _parts(value, separator)
        if parts is None:
            sentence = f"the labels in column {shown(column)} are missing; write [] for a text without labels"
            raise table.fault(sentence, [row], kind="missing-label")
        found = [_name(part, names) for part in parts]
        if None in found:
            part = parts[found.index(None)]
            what = "is empty" if part == "" else "is no name of a label"
            sentence = f"the label {shown(part)} of {shown(value)} in column {shown(column)} {what}"
            raise table.fault(sentence, [row], kind="bad-label-in-list")
        sets.append(tuple(dict.fromkeys(name for name in found if name is not None)))
    return sets


def label_names(table: Table, column: str, sets: LabelSets) -> tuple[str, ...]:
    """The labels of a training file: in the file's own order if it names them, otherwise sorted naturally.

    Raises DataError for fewer than two, or for far too many.
    """
    found = sorted({name for names in sets for name in names}, key=natural)
    if len(found) > 1 and column in table.class_names:
        return table.class_names[column]
    if len(found) < 2:
        what = f"the only label in column {shown(column)} is {shown(found[0])}" if found else "no row has a label"
        sentence = f"{what}: a task with several labels needs at least two"
        raise DataError(sentence, kind="single-label", file=table.path)
    if len(found) > MOST_LABELS or len(found) > max(100, len(sets) / 2):
        sentence = (
            f"column {shown(column)} has {len(found):,} different labels in {len(sets):,} rows: are these labels?"
        )
        raise DataError(sentence, kind="too-many-labels", file=table.path, key="task.columns.label")
    return tuple(found)


def matrix_of(table: Table, column: str, sets: LabelSets, order: Sequence[str], train: str) -> Matrix:
    """Which labels each row has; raises DataError for a label that is not in the training file `train`."""
    index = {name: number for number, name in enumerate(order)}
    matrix = np.zeros((len(sets), len(order)), np.uint8)
    for row, names in enumerate(sets):
        for name in names:
            if name not in index:
                raise unknown_label(table, column, name, [row], order, train)
            matrix[row, index[name]] = 1
    return matrix


def switches(table: Table, columns: Sequence[str]) -> Matrix:
    """Which labels each row has, from a column for each. Raises DataError naming the rows with other values than 0 and 1."""
    found = np.zeros((len(table), len(columns)), np.uint8)
    for index, column in enumerate(columns):
        values = [SWITCHES.get(str(value).strip().lower()) for value in table.values[column]]
        if bad := [row for row, value in enumerate(values) if value is None]:
            sentence = f"column {shown(column)} of a label holds {shown(table.values[column][bad[0]])}, neither 0 nor 1"
            raise table.fault(sentence, bad, kind="label-not-switch")
        found[:, index] = [value == 1 for value in values]
    return found


def _or(words: Sequence[str]) -> str:
    return " or ".join(map(shown, words))


def _is_list(value: str) -> bool:
    return LIST.fullmatch(value.strip()) is not None


def _parts(value: Any, separator: str | None) -> Sequence[Any] | None:
    """The labels of a row as they stand in it; None where they are missing."""
    if isinstance(value, str):
        if _is_list(value) and isinstance(written := _written_list(value), (list, tuple)):
            return written
        if not value.strip():
            return ()
        return [part.strip() for part in value.split(separator)] if separator else [value.strip()]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, (list, tuple)) else [value]


def _written_list(text: str) -> Any:
    """A list that was written as text, by JSON or Python; None where it is none."""
    for read in (json.loads, _python_list):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _python_list(text: str) -> Any:
    """A list as Python writes it, in which `1_0` is the label of this name, as in a column of labels, and not 10."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            written = ast.get_source_segment(text, node) or ""
            node.value = written if "_" in written else node.value
    return ast.literal_eval(tree)


def _name(part: Any, names: Sequence[str] | None) -> str | None:
    """The name of a label; None where it has none. `names` are those that a file gives to numbers."""
    if isinstance(part, str):
        return part.strip() or None
    if isinstance(part, bool):
        return str(part).lower()
    if isinstance(part, float) and part.is_integer():
        part = int(part)
    if not isinstance(part, int):
        return None
    if names is None:
        return str(part)
    return names[part] if 0 <= part < len(names) else None
