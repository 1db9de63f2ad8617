"""The classes that a file of answers knows, for training rows that have no labels of their own. Imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.data.answer_columns import answers_path, class_columns, class_name, name_answers, sole_column
from engine.data.label_columns import MANY_CLASSES, natural
from engine.data.row_stream import RowReader, format_of
from engine.data.text_files import listed, shown
from engine.errors import DataError
from engine.preset.schema import Teacher

_SET = """--set 'task.class_names=["one", "other"]'"""


def answer_classes(teacher: Teacher) -> tuple[str, ...]:
    """The classes in `teacher.answers`, sorted as those of a training file: from the names of its columns, from the objects or
    the classes in one column.

    Raises DataError where nothing says which they are, or where there are too few or too many.
    """
    path = answers_path(teacher)
    if teacher.columns is not None and (own := teacher.columns.classes) is not None:
        if "" in own:
            raise _without_name(f"column {shown(own[''])}", path)
        return tuple(sorted(own, key=natural))
    found: set[str] = set()
    names: tuple[str, ...] = ()
    rows, is_guess = 0, False
    with RowReader(path, format_of(path) or "csv") as reader:
        for chunk in reader.chunks():
            names = chunk.columns
            by_class, column = class_columns(names, teacher)
            if "" in by_class:
                raise _without_name(f"column {shown(by_class[''])}", path)
            if not by_class and column is None and teacher.values is None:
                column, is_guess = sole_column(names, teacher), True
            if column is None or column not in names:
                found.update(by_class)
                break
            rows += len(chunk.lines)
            for line, value in zip(chunk.lines, chunk.values(column), strict=True):
                if isinstance(value, Mapping):
                    found.update(map(class_name, value))
                    if "" in found:
                        raise _without_name(f"a number in {shown(column)}", path, line)
                elif value is not None and not (isinstance(value, str) and not value.strip()):
                    found.add(class_name(value))
    if not found or (is_guess and not 2 <= len(found) <= min(MANY_CLASSES, rows // 2)):
        ways = name_answers(names, teacher, ())
        sentence = (
            f"the training rows have no labels, and it is unclear which columns of the answers are the classes: name {ways}; "
            f"the columns are {listed(names)}"
        )
        raise DataError(sentence, kind="no-class-names", file=str(path), key="teacher.columns.label")
    if not 2 <= len(found) <= MANY_CLASSES:
        sentence = f"these answers know {len(found):,} class{'es' * (len(found) > 1)}: name those of the task, {_SET}"
        raise DataError(sentence, kind="odd-number-of-classes", file=str(path), key="task.class_names")
    return tuple(sorted(found, key=natural))


def _without_name(what: str, path: Path, line: int | None = None) -> DataError:
    sentence = f"{what} is of a class whose name is empty: give the class its name, or leave it out"
    return DataError(sentence, kind="class-without-name", file=str(path), line=line, key="teacher.answers")
