"""Read label columns of the user's files: class names or scores."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.data.files import Table
from engine.data.similar_names import difference, look_alike
from engine.data.text_files import listed, shown
from engine.errors import DataError

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
LIST = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)
MARKS = ("|", ";", ",")
"""What joins several labels for a text."""
SWITCHES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
"""What a column of its own says of a label, in lower case."""
_MISSING_WORDS = frozenset({"", "nan", "none", "null", "n/a", "<na>"})
MANY_CLASSES = 100
LONGEST_NUMBER = 300
"""Characters of a label beyond which it is no number of a class: the largest float has fewer digits."""
LARGEST_SCORE = 1e12
"""Above this, squared errors soon overflow single precision."""


def class_names(table: Table, column: str) -> list[str]:
    """The class name of each row.

    Labels can be words, whole numbers (1 and 1.0 are the same class, named "1") or booleans ("true", "false"), but only
    one of these per column. Where the file names its classes (`Table.class_names`), numbers stand for these names.

    Raises DataError naming the rows where a label is missing, has another type than the rest, is a fraction, is a list
    or an object, or has no name.
    """
    values = table.values[column]
    if column in table.class_names:
        return _named(table, column, table.class_names[column])
    if missing := table.missing(column):
        sentence = f"the label in column {shown(column)} is missing; remove rows without a label"
        raise table.fault(sentence, missing, kind="missing-label")
    types = [_type(value, is_text=table.is_text) for value in values]
    for row, name in enumerate(types):
        if name not in ("word", "number", "boolean"):
            sentence = f"the label {shown(values[row])} in column {shown(column)} is {name}, not a class"
            raise table.fault(sentence, [row], kind="label-not-class")
    kinds = sorted(set(types), key=types.count)
    if len(kinds) > 1:
        odd = [row for row, name in enumerate(types) if name != kinds[-1]]
        sentence = (
            f"the label {shown(values[odd[0]])} in column {shown(column)} is a {types[odd[0]]}, "
            f"but most labels are {kinds[-1]}s; use one type for all"
        )
        raise table.fault(sentence, odd, kind="mixed-label-types")
    if kinds[0] == "number":
        return _number_names(table, column)
    words = [value.strip() if isinstance(value, str) else str(value) for value in values]
    if {word.lower() for word in words} <= {"true", "false"}:
        return [word.lower() for word in words]
    return words


def mismatch(table: Table, words: str, labels: str, row: int) -> DataError:
    """The error for a row whose lists of words and of labels differ in length."""
    counts = len(table.values[words][row]), len(table.values[labels][row])
    sentence = (
        f"{counts[0]:,} word{'s' * (counts[0] != 1)} in column {shown(words)}, but {counts[1]:,} label{'s' * (counts[1] != 1)} in "
        f"column {shown(labels)}: each word needs one label"
    )
    return table.fault(sentence, [row], kind="labels-do-not-match-words")


def is_fraction(values: Sequence[Any], *, is_text: bool) -> bool:
    """Whether labels are numbers and some of them have fractions; missing ones don't count."""
    known = [value for value in values if value is not None and str(value).strip().lower() not in _MISSING_WORDS]
    if not known or any(_type(value, is_text=is_text) != "number" for value in known):
        return False
    words = [str(value).strip() for value in known]
    return not all(word.isdecimal() or _is_whole(word) for word in words)


def several_labels(table: Table, column: str) -> str | None:
    """Why a column seems to hold several labels for a text, as a sentence; None where it doesn't.

    Lists (also written as text), and words joined by "|", ";" or "," that occur elsewhere alone or joined otherwise.
    """
    values = table.values[column]
    advice = "if a text can have several labels, say so: --set task.kind=multilabel"
    for value in values:
        if isinstance(value, (list, tuple, dict)) or (isinstance(value, str) and LIST.fullmatch(value.strip())):
            return f"the label {shown(value)} in column {shown(column)} is a list; {advice}; otherwise keep one of them in each row"
    words = {value.strip() for value in values if isinstance(value, str)}
    for mark in MARKS:
        joined = {word: [part.strip() for part in word.split(mark)] for word in words if mark in word}
        counts = Counter(part for parts in joined.values() for part in set(parts))
        counts.update(word for word in words if mark not in word)
        for word, parts in joined.items():
            if len(parts) > 1 and all(part and counts[part] > 1 for part in parts):
                return (
                    f"the label {shown(word)} in column {shown(column)} seems to be {len(parts)} labels joined by "
                    f"{shown(mark)}; {advice}, or, if it is the name of one class, say so: --set task.kind=classification"
                )
    return None


def _named(table: Table, column: str, names: Sequence[str]) -> list[str]:
    """The names that the file gives to the numbers in a column."""
    values = table.values[column]
    if missing := [row for row, value in enumerate(values) if value is None or value == -1]:
        sentence = f"the label in column {shown(column)} is missing; remove rows without a label"
        raise table.fault(sentence, missing, kind="missing-label")
    known = [isinstance(value, int) and 0 <= value < len(names) for value in values]
    if not all(known):
        unknown = [row for row, is_known in enumerate(known) if not is_known]
        sentence = (
            f"the label {shown(values[unknown[0]])} in column {shown(column)} is not the number of a class; this file names "
            f"{len(names)} classes: {listed(names)}"
        )
        raise table.fault(sentence, unknown, kind="label-not-named")
    return [names[value] for value in values]


def _type(value: Any, *, is_text: bool) -> str:
    """ "word", "number" or "boolean", or a phrase for anything else. In text files, numbers are recognised."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "number" if is_text and _NUMBER.fullmatch(value.strip()) else "word"
    return {"list": "a list", "dict": "an object", "bytes": "raw bytes"}.get(type(value).__name__, "of another type")


def _number_names(table: Table, column: str) -> list[str]:
    values = table.values[column]
    words = [value.strip() if isinstance(value, str) else str(value) for value in values]
    if any(not _WHOLE.fullmatch(word) for word in words) and all(word.isdecimal() for word in words):
        return words  # codes such as 007: the zeros are part of the name
    fractions = [row for row, word in enumerate(words) if not _is_whole(word)]
    if fractions:
        sentence = (
            f"the label {shown(words[fractions[0]])} in column {shown(column)} is not a whole number, so it cannot be a class; "
            'for scores, set kind = "regression"'
        )
        raise table.fault(sentence, fractions, kind="label-not-whole")
    return [str(int(float(word)) if not _WHOLE.fullmatch(word) else int(word.split(".")[0])) for word in words]


def _is_whole(word: str) -> bool:
    return len(word) <= LONGEST_NUMBER and (_WHOLE.fullmatch(word) is not None or float(word).is_integer())


def scores(table: Table, column: str) -> array[float]:
    """The score of each row (rows,); raises DataError naming the rows where it is missing, not a number, or not finite."""
    values = table.values[column]
    found = array("d", map(_score, values))
    bad = [row for row, score in enumerate(found) if math.isnan(score)]
    if bad:
        value = values[bad[0]]
        if value is None or str(value).strip().lower() in _MISSING_WORDS:
            sentence = f"the score in column {shown(column)} is missing"
        else:
            hint = "; use a point as the decimal mark" if re.fullmatch(r"\s*-?\d+,\d+\s*", str(value)) else ""
            what = "too large to learn" if _is_large(value) else "not a finite number"
            sentence = f"the score {shown(value)} in column {shown(column)} is {what}{hint}"
        raise table.fault(sentence, bad, kind="invalid-score")
    return found


def _is_large(value: Any) -> bool:
    try:
        return LARGEST_SCORE < abs(float(value)) < math.inf
    except (TypeError, ValueError, OverflowError):
        return False


def _score(value: Any) -> float:
    """A value as a score; NaN where it is none."""
    if isinstance(value, bool) or value is None or (isinstance(value, str) and not _NUMBER.fullmatch(value.strip())):
        return math.nan
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return score if abs(score) <= LARGEST_SCORE else math.nan


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key for natural sorting: class 2 before class 10, and -1 before 0."""
    if len(name) > LONGEST_NUMBER:
        return ((1, 0, name),)
    if re.fullmatch(r"-\d+", name):
        return ((0, int(name), ""),)
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def label_order(table: Table, column: str, names: Sequence[str]) -> tuple[str, ...]:
    """The classes of a training file: in the file's own order if it names them, otherwise sorted naturally.

    Raises DataError for a single class, or far too many.
    """
    order = tuple(sorted(set(names), key=natural))
    if len(order) > 1 and column in table.class_names:
        return table.class_names[column]
    if len(order) < 2:
        sentence = f"every label in column {shown(column)} is {shown(order[0])}: there is nothing to learn"
        raise DataError(sentence, kind="single-class", file=table.path)
    if len(order) > MANY_CLASSES and len(order) > len(names) / 2:
        sentence = (
            f"column {shown(column)} has {len(order):,} different labels in {len(names):,} rows, too many for classes; "
            'choose another column in [task.columns], or set kind = "regression" for scores'
        )
        raise DataError(sentence, kind="too-many-classes", file=table.path)
    return order


def class_indices(table: Table, column: str, names: Sequence[str], order: Sequence[str], train: str) -> array[int]:
    """The class index of each row (rows,); raises DataError for a class that is not in the training file `train` (or the key
    of the preset that names the classes)."""
    index = {name: number for number, name in enumerate(order)}
    unknown = [row for row, name in enumerate(names) if name not in index]
    if unknown:
        raise unknown_label(table, column, names[unknown[0]], unknown, order, train)
    return array("q", map(index.__getitem__, names))


def unknown_label(
    table: Table, column: str, name: str, rows: Sequence[int], order: Sequence[str], train: str
) -> DataError:
    """The error for rows with a label that is not in the training file `train`, whose labels are `order`."""
    similar = look_alike(name, order)
    hint = ""
    if similar is not None:
        hint = f"; {name!a} differs from {similar!a} only in {difference(name, similar)}"
    sentence = (
        f"the label {shown(name)} in column {shown(column)} is not in {train}, whose labels are {listed(order)}{hint}"
    )
    return table.fault(sentence, rows, kind="unknown-label")
