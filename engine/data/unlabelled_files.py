"""Files with unlabelled rows, before they are read: which they are, their formats, and which columns hold the texts.

Imports neither torch nor numpy: preflight looks at the columns, too.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.files import column_positions
from engine.data.row_stream import FORMATS, TEXT, RowReader, format_of
from engine.data.text_columns import TextColumns, columns_of_task, text_columns
from engine.errors import DataError
from engine.preset.source_names import is_compressed

if TYPE_CHECKING:
    from engine.preset.schema import Task, UnlabelledFiles

_HEAD_ROWS = 100
"""Rows whose columns are looked at before a run: those of JSON lines may lack some."""
_CHOOSE = {False: 'columns = { text = "COLUMN" }', True: 'columns = { text = "COLUMN", pair = "COLUMN" }'}


def check_unlabelled(source: UnlabelledFiles, task: Task) -> None:
    """Check from their first rows that files can be read and have the columns. Raises DataError as reading them does."""
    is_pair = columns_of_task(task)[1]
    for path in files_of(source):
        form = file_format(path)
        with RowReader(path, form) as reader:
            for chunk in reader.chunks(_HEAD_ROWS):
                if chunk.columns:
                    columns_of_file(source, task, chunk.columns, path, form, is_pair=is_pair)
                break


def files_of(source: UnlabelledFiles) -> list[Path]:
    """The files that a preset names, each once; those of a pattern in the order of their names.

    Raises DataError for a pattern that no file matches.
    """
    found: dict[Path, None] = {}
    for name in source.files:
        if Path(name).exists() or not glob.has_magic(name):
            found[Path(name)] = None
            continue
        matches = sorted(path for path in map(Path, glob.glob(name)) if path.is_file())  # noqa: PTH207 - an absolute pattern
        if not matches:
            raise DataError("no file matches this pattern", kind="no-file-matches", file=name)
        found.update(dict.fromkeys(matches))
    return list(found)


def columns_of_file(
    source: UnlabelledFiles, task: Task, columns: Sequence[str], path: Path, form: str, *, is_pair: bool | None
) -> TextColumns:
    """The columns of a file that hold the texts: those that the preset names, those of the task, or usual names.

    `form` is the file's format; `is_pair` whether the task has pairs, None if unknown. Raises DataError for missing columns,
    and for pairs where the task has single texts or the reverse.
    """
    if form == "text":
        if is_pair:
            sentence = (
                "the task has pairs of texts, and plain text has one on each line: use CSV, TSV, JSON lines or Parquet"
            )
            raise DataError(sentence, kind="pairs-in-plain-text", file=str(path))
        return TEXT, None
    chosen = source.columns
    if chosen is None:
        known = columns_of_task(task)[0]
        return text_columns(columns, path, known=known, is_pair=is_pair, choose=_CHOOSE[bool(is_pair)])
    if is_pair is not None and is_pair != (chosen.pair is not None):
        what, remedy = ("pairs of texts", "name") if is_pair else ("single texts", "leave out")
        sentence = f"the task has {what}: {remedy} the column of the second text, pair"
        raise DataError(sentence, kind="pair-does-not-fit", file=str(path), key="columns.pair")
    column_positions(columns, [name for name in (chosen.text, chosen.pair) if name is not None], path, None)
    return chosen.text, chosen.pair


def file_format(path: Path) -> str:
    """The format of a file by the ending of its name. Raises DataError for an unknown one, and for compressed Parquet."""
    form = format_of(path)
    if form is None:
        endings = ", ".join(ending for endings in FORMATS.values() for ending in endings)
        sentence = f"unknown file format: files end in {endings}, or in one of these and .gz or .zst"
        raise DataError(sentence, kind="unknown-file-format", file=str(path))
    if form == "parquet" and is_compressed(path.name):
        sentence = "Parquet files are compressed inside: decompress this file, and name what comes out"
        raise DataError(sentence, kind="compressed-parquet", file=str(path))
    return form
