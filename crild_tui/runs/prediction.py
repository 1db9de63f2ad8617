"""Checks of what command line and notebooks ask for a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.preset.schema import Task

PRECISIONS = ("fp32", "bf16", "auto")


def check_options(text: str | None, pair: str | None, precision: str = "fp32") -> None:
    """Raise UsageError for options that make no sense."""
    if precision not in PRECISIONS:
        sentence = f"--precision {precision!r}: choose one of {', '.join(PRECISIONS)}"
        raise UsageError(sentence, kind="unknown-precision")
    if pair is not None and text is None:
        raise UsageError("--pair names the second text of a pair: name the first with --text", kind="pair-without-text")


def task_of(run_dir: Path | None) -> Task | None:
    """The task of a run; None for a model that is no run's."""
    from engine.preset.load import load_run_preset

    return None if run_dir is None else load_run_preset(run_dir).preset.task


def texts_of_table(
    columns: Sequence[str], run_dir: Path | None, *, text: str | None, pair: str | None
) -> tuple[str, str | None]:
    """The columns of the texts in a table without a file, for the student of a run or for any model.

    Raises DataError, naming the columns, where none or several are possible.
    """
    from engine.preflight.prediction import chosen_columns

    check_options(text, pair)
    return chosen_columns(columns, "inputs", task_of(run_dir), text=text, pair=pair)
