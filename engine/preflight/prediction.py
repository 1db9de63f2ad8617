"""Check, before an engine starts, that the inputs of `crild predict` can be read and the output be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.row_stream import FORMATS, RowReader, format_of
from engine.data.text_columns import TextColumns, columns_of_task, text_columns
from engine.errors import DataError, UsageError
from engine.preset.schema import Task
from engine.preset.source_names import is_compressed
from engine.preset.text import listed, plain
from engine.record.prediction import PredictionRequest

_ROWS = 100
"""Rows whose columns are looked at: those of JSON lines may lack some."""


@dataclass(frozen=True)
class RowFormats:
    """The formats of inputs and output."""

    inputs: str
    output: str


def row_formats(inputs: Sequence[Path], output: Path | None, *, form: str | None, input_form: str | None) -> RowFormats:
    """The formats of files by their endings, unless `form` and `input_form` name them.

    Without inputs, standard input is plain text. Without an output's name and format, the output has the inputs' format.
    Raises UsageError for an unknown format, and for inputs of several; for compressed Parquet.
    """
    for name in (form, input_form):
        if name is not None and name not in FORMATS:
            sentence = f"there is no format {plain(name)!r}; choose one of {listed(FORMATS)}"
            raise UsageError(sentence, kind="unknown-format")
    forms = {path: input_form or _form(path, "--input-format") for path in inputs}
    if len(set(forms.values())) > 1:
        first, other = next((a, b) for a in inputs for b in inputs if forms[a] != forms[b])
        sentence = f"{first.name} is {forms[first]}, and {other.name} is {forms[other]}: predict inputs of one format at a time"
        raise UsageError(sentence, kind="several-input-formats")
    read = next(iter(forms.values()), input_form or "text")
    written = form or (read if output is None else _form(output, "--format"))
    for path, one in (*forms.items(), *([] if output is None else [(output, written)])):
        if one == "parquet" and is_compressed(path.name):
            sentence = "Parquet is compressed inside, so crild neither reads nor writes it compressed once more"
            raise UsageError(sentence, kind="compressed-parquet", file=str(path))
    return RowFormats(read, written)


def _form(path: Path, option: str) -> str:
    form = format_of(path)
    if form is None:
        endings = listed(ending for endings in FORMATS.values() for ending in endings)
        sentence = f"the name does not end in {endings} (or in one of these and .gz or .zst); name the format with {option} {'|'.join(FORMATS)}"
        raise UsageError(sentence, kind="unknown-row-format", file=str(path))
    return form


def check_prediction(request: PredictionRequest, task: Task | None) -> None:
    """Check the inputs from their first rows (Parquet is left to the engine), and the output's folder.

    `task` is that of the run whose student predicts. Raises DataError as the engine would, and UsageError for an output
    that cannot be written.
    """
    if request.input_format == "text" and task is not None and columns_of_task(task)[1]:
        sentence = (
            "the run was trained on pairs of texts, and plain text has one column: use CSV, TSV, JSON lines or Parquet"
        )
        raise DataError(sentence, kind="pairs-in-plain-text")
    for name in request.inputs:
        path = Path(name)
        with RowReader(path, request.input_format) as reader:
            if request.input_format == "parquet":
                continue
            columns = next(reader.chunks(_ROWS)).columns
        if columns:
            chosen_columns(columns, path, task, text=request.text, pair=request.pair)
    if request.output is not None:
        _check_output(Path(request.output), [Path(name) for name in request.inputs])


def chosen_columns(
    columns: Sequence[str], path: str | Path, task: Task | None, *, text: str | None, pair: str | None
) -> TextColumns:
    """Which columns hold the texts: the user's choice, those of a run's task, or usual names. Raises DataError as the engine
    would; `path` is what it calls the table."""
    known, is_pair = ([], None) if task is None else columns_of_task(task)
    return text_columns(columns, Path(path), text=text, pair=pair, known=known, is_pair=is_pair)


def _check_output(output: Path, inputs: Sequence[Path]) -> None:
    if not output.parent.is_dir():
        sentence = f"there is no folder {plain(str(output.parent))!r}: create it first"
        raise UsageError(sentence, kind="no-output-folder", file=str(output), key="--output")
    if output.exists() and any(output.samefile(path) for path in inputs):
        sentence = "this file is also an input, which the predictions would replace: name another file"
        raise UsageError(sentence, kind="output-is-input", file=str(output), key="--output")
