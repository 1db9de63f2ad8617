"""Which columns of a table hold the texts: named by the user or a run's preset, or recognised by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.data.column_names import IDS, LABELS, PAIRED, PAIRS, TEXTS, normal
from engine.data.conll import column_names, likely_columns
from engine.data.files import column_positions
from engine.data.tasks import GLUE
from engine.data.text_files import listed, shown
from engine.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from engine.preset.schema import Task

TextColumns = tuple[str, str | None]
"""The column of the text, or of the first of a pair; and that of the second, None for single texts."""


def columns_of_task(task: Task) -> tuple[list[TextColumns], bool | None]:
    """The columns of a preset's task, in each form in which its data exist, and whether it has pairs (None: unknown)."""
    if task.name in GLUE:
        glue = GLUE[task.name]
        return list(dict.fromkeys((glue.columns, glue.hub_columns))), glue.spec.is_pair
    if task.name != "custom":
        return [], None
    from engine.preset.schema import Columns

    columns = task.columns or Columns()
    return [(columns.text, columns.pair)], columns.pair is not None


def text_columns(
    columns: Sequence[str],
    path: Path,
    *,
    text: str | None = None,
    pair: str | None = None,
    known: Sequence[TextColumns] = (),
    is_pair: bool | None = None,
    choose: str | None = None,
) -> TextColumns:
    """The columns that hold the texts, among the `columns` of a table; `path` is what errors call it.

    `text` and `pair` are the user's choice. Otherwise the first of `known` that is there counts, and without one, columns
    with a usual name ("sentence", "premise" and "hypothesis"), where only one reading is possible; of the columns of a CoNLL file,
    which have no names, that of the words. `is_pair` says whether the model reads pairs; None if unknown. `choose` is how a
    user names the columns, if not by options. Raises DataError, naming the columns, where none or several are possible.
    """
    if text is not None:
        chosen = [name for name in (text, pair) if name is not None]
        column_positions(columns, chosen, path, None)
        if is_pair is not None and is_pair != (pair is not None):
            trained, option = ("pairs of texts", "add --pair") if is_pair else ("single texts", "leave out --pair")
            raise DataError(f"the run was trained on {trained}: {option}", kind="pair-does-not-fit", file=str(path))
        return text, pair
    for choice in known:
        if all(columns.count(name) == 1 for name in choice if name is not None):
            return choice
    if columns and list(columns) == column_names(len(columns)):  # of a CoNLL file
        return likely_columns(columns)[0], None
    readings = _readings(columns, is_pair)
    if len(readings) == 1:
        column_positions(columns, [name for name in readings[0] if name is not None], path, None)  # each there once
        return readings[0]
    raise _unclear(columns, path, known, readings, is_pair=is_pair, choose=choose)


def _readings(columns: Sequence[str], is_pair: bool | None) -> list[TextColumns]:
    """Every reading of a table's columns that their names allow."""
    usual = {normal(name): name for name in reversed(columns)}
    candidates = [name for name in usual if name in TEXTS | PAIRED]
    pairs: list[TextColumns] = [
        (usual[first], usual[second]) for first, second in PAIRS if first in usual and second in usual
    ]
    if is_pair is True:
        return pairs
    if is_pair is None and len(pairs) == 1 and len(candidates) == 2:
        return pairs
    singles: list[TextColumns] = [(usual[name], None) for name in reversed(candidates) if name in TEXTS]
    others = [name for name in columns if normal(name) not in LABELS | IDS]
    if not candidates and len(others) == 1:
        return [(others[0], None)]
    return singles if is_pair is False else singles + pairs


def _unclear(
    columns: Sequence[str],
    path: Path,
    known: Sequence[TextColumns],
    readings: Sequence[TextColumns],
    *,
    is_pair: bool | None,
    choose: str | None,
) -> DataError:
    option = choose or ("--text COLUMN --pair COLUMN" if is_pair else "--text COLUMN")
    if readings:
        several = " or ".join(" and ".join(shown(name) for name in reading if name is not None) for reading in readings)
        sentence = f"the texts can be in {several}: choose with {option}; the columns are {listed(columns)}"
        return DataError(sentence, kind="several-text-columns", file=str(path))
    missing = [name for name in known[0] if name is not None and name not in columns] if known else []
    trained = f"there is no column {listed(missing)}, where the task has its texts: " if missing else ""
    sentence = f"{trained}name the column of the texts with {option}; the columns are {listed(columns)}"
    return DataError(sentence, kind="no-text-column", file=str(path))
