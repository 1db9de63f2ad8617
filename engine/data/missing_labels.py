"""Whether a file has labels at all: training rows may have none where the teacher's answers are learnt. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.column_names import IDS, LABELS, PAIRED, TEXTS, normal
from engine.data.files import Table, read_table_head
from engine.data.text_columns import TextColumns, text_columns
from engine.errors import DataError
from engine.preset.source_names import is_conll

if TYPE_CHECKING:
    from engine.preset.schema import Task


def lacks_labels(task: Task, table: Table, named: set[str]) -> bool:
    """Whether a file has no labels: no column could be theirs, or that of the dev set's labels is missing or empty. `named` are
    the roles whose columns the preset names."""
    if task.kind not in (None, "classification") or "labels" in named:
        return False
    empty = empty_columns(table)
    if "label" in named:
        label = str(getattr(task.columns, "label", None))
        return label in empty or (label not in table.values and label in _dev_columns(task, table))
    others = [name for name in table.values if normal(name) not in IDS and name != getattr(task.columns, "id", None)]
    if any(normal(name) in LABELS and name not in empty for name in others):
        return False
    if all(normal(name) in TEXTS | PAIRED or name in empty for name in others) or len(others) == 1:
        return True
    return any(normal(name) in LABELS and name not in set(others) - empty for name in _dev_columns(task, table))


def unlabelled_texts(task: Task) -> TextColumns | None:
    """The columns of the texts of a custom task whose training file has no labels; None where it seems to have some.

    Raises DataError as reading the head of the file does, and where it is unclear which columns are the texts.
    """
    if task.name != "custom" or task.files is None:
        return None
    own = task.columns
    table = read_table_head(Path(task.files.train))
    names = list(table.values)
    named = set() if own is None else own.model_fields_set
    is_other = is_conll(Path(table.path)) or (len(names) == 1 and is_joined(names[0]))
    if (
        is_other
        or table.repeated_names
        or not len(table)
        or (task.class_names is None and not lacks_labels(task, table, named))
    ):
        return None
    text, pair = (getattr(own, role) if role in named else None for role in ("text", "pair"))
    return text_columns(names, Path(table.path), text=text, pair=pair, choose="--set task.columns.text=COLUMN")


def may_lack_labels(task: Task, path: Path, named: set[str]) -> bool:
    """`lacks_labels` of a file that nothing else asks for: what is wrong with it shows when it is read."""
    try:
        return lacks_labels(task, read_table_head(path), named)
    except DataError:
        return False


def empty_columns(table: Table) -> set[str]:
    """The columns without a single value."""
    return {name for name in table.values if len(table) and len(table.missing(name)) == len(table)}


def _dev_columns(task: Task, table: Table) -> set[str]:
    """The columns of the dev file that have values, where it is another file than this table's."""
    if task.files is None or task.files.dev in (None, table.path):
        return set()
    dev = read_table_head(Path(task.files.dev))
    return dev.values.keys() - empty_columns(dev)


def or_without_labels(error: DataError, task: Task, lacking: Callable[[], str] | None) -> DataError:
    """The error, with what there is to do where it is no accident that no column has labels."""
    if task.kind not in (None, "classification") or lacking is None:
        return error
    sentence = f"{error.sentence}. If the rows have no labels, add {lacking()}"
    return DataError(sentence, kind=error.kind, file=error.file, line=error.line, key=error.key)


def is_joined(name: str) -> bool:
    """Whether the only column of a file seems to be several ones, which something else separates."""
    return any(mark in name for mark in ";\t,|")
