"""Predict texts with a run's student, or with any classifier, in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from crild.api.packages import use_packages
from crild.api.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from crild_tui.runs.model_reference import ModelReference

    Text = str | None | Sequence[str | None]
    """A text, or the two texts of a pair; None for a text that is missing."""


def predict(
    model: Run | str | os.PathLike[str],
    inputs: str | Iterable[Text] | pd.DataFrame | os.PathLike[str],
    *,
    text: str | None = None,
    pair: str | None = None,
    max_length: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    runs_dir: str | os.PathLike[str] | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """Predict inputs, as `crild predict`; returns them with a label and the probability of each class.

    `model` is a run, a run's name, the folder of a model, or a hub id. `inputs` is a text, texts, pairs of texts, a
    DataFrame (which keeps its columns and its index), or the `Path` of a file. `text` and `pair` name the columns of the
    texts in a DataFrame or file; by default those that the run was trained on, or usual names. `max_length` counts tokens.
    `trust_remote_code` lets code that comes with the model run.

    The model is loaded in a process of its own, again in each call: give it all inputs at once. Raises CrildError where
    `crild predict` refuses.
    """
    use_packages()
    from crild_tui.runs.create import check_device
    from crild_tui.runs.model_reference import model_reference
    from crild_tui.runs.prediction import texts_of_table
    from engine.errors import CrildError, UsageError
    from engine.record.paths import runs_dir as folder_of

    check_device(device)
    folder = folder_of(None if runs_dir is None else os.fspath(runs_dir))
    reference = model_reference(str(model.path) if isinstance(model, Run) else os.fspath(model), folder)
    options = {"max_length": max_length, "batch_size": batch_size, "device": device}
    how = {"trust": trust_remote_code, "quiet": quiet}
    if isinstance(inputs, os.PathLike):
        return _predicted(reference, Path(inputs), {**options, "text": text, "pair": pair}, **how)
    frame = _frame(inputs)
    if not len(frame):
        raise UsageError("there is nothing to predict: the inputs are empty", kind="nothing-to-predict")
    named = texts_of_table(list(map(str, frame.columns)), reference.run_dir, text=text, pair=pair)
    columns = [name for name in named if name is not None]
    with TemporaryDirectory(prefix="crild-") as temporary:
        file = Path(temporary) / "inputs.jsonl"
        _write_texts(file, frame, columns)
        try:
            answer = _predicted(reference, file, {**options, "text": named[0], "pair": named[1]}, **how)
        except CrildError as error:
            error.file = "inputs" if error.file == str(file) else error.file
            raise
    return _beside(frame, answer.drop(columns=columns))


def _frame(inputs: str | Iterable[Text] | pd.DataFrame) -> pd.DataFrame:
    """The inputs as a table: a DataFrame as it is, texts in a column `text`, the second of pairs in `pair`."""
    import pandas as pd

    from engine.errors import DataError

    if isinstance(inputs, pd.DataFrame):
        return inputs
    several = [inputs] if isinstance(inputs, str) else list(inputs)
    rows = [tuple(row) if isinstance(row, list | tuple) else (row,) for row in several]
    widths = set(map(len, rows))
    if len(widths) > 1 or not widths <= {1, 2}:
        sentence = "all inputs must be texts, or all pairs of two texts"
        raise DataError(sentence, kind="uneven-inputs", file="inputs")
    return pd.DataFrame(rows, columns=["text", "pair"][: max(widths, default=1)], dtype=object)


def _write_texts(file: Path, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Write these columns as JSON lines; what is missing (None, NaN) becomes null."""
    import pandas as pd

    texts = frame.rename(columns=str)[list(columns)].astype(object)
    rows = texts.where(pd.notna(texts), None).itertuples(index=False, name=None)
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(dict(zip(columns, row, strict=True)), default=str) + "\n" for row in rows)


def _predicted(
    reference: ModelReference, file: Path, options: dict[str, Any], *, trust: bool, quiet: bool
) -> pd.DataFrame:
    """The rows of a file with their predictions."""
    import pandas as pd

    from crild_tui.cli.follow.cell_display import tell
    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.prediction import check_options, task_of
    from engine.preflight.prediction import check_prediction, row_formats
    from engine.record.paths import user_path
    from engine.record.prediction import PredictionRequest, PredictionSummary
    from engine.user.consent import Consent

    check_options(options["text"], options["pair"])
    path = user_path(str(file), "an input")
    with TemporaryDirectory(prefix="crild-") as temporary:
        output = Path(temporary) / "predicted.parquet"
        formats = row_formats([path], output, form=None, input_form=None)
        request = PredictionRequest(
            model=reference.model,
            run=None if reference.run_dir is None else str(reference.run_dir),
            inputs=(str(path),),
            input_format=formats.inputs,
            output=str(output),
            output_format=formats.output,
            **options,
        )
        check_prediction(request, task_of(reference.run_dir))
        consent = Consent(frozenset([request.model] if trust else []))
        answer = run_tool("predict", [*consent.words(), request.to_json()], quiet=quiet)
        tell(PredictionSummary.from_answer(answer).notes, quiet=quiet)
        return _with_lists(pd.read_parquet(output))


def _with_lists(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with lists for arrays: what a model with several labels for a text answers."""
    for name in frame.select_dtypes(object):
        frame[name] = [cell.tolist() if hasattr(cell, "tolist") else cell for cell in frame[name]]
    return frame


def _beside(frame: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """A table with the predictions as further columns; a name that it has gets "predicted_" before it, as in files."""
    import pandas as pd

    names: dict[Any, str] = {}
    for name in predicted.columns:
        new = str(name)
        while new in frame.columns or new in names.values():
            new = f"predicted_{new}"
        names[name] = new
    return pd.concat([frame, predicted.rename(columns=names).set_axis(frame.index, axis=0)], axis=1)
