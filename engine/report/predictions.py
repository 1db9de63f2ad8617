"""The dev predictions of a run's student, as `significance` tests them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.files import cause
from engine.record.paths import PREDICTIONS, STUDENT

LARGEST = 2**29
"""Bytes of a file of predictions that is read; no dev set is larger."""


@dataclass(frozen=True)
class Answers:
    """The answers of one student to one dev set, in the order of its rows.

    Of a classification, labels and predictions are indices into `classes`; of a regression, which has no classes, scores.
    `dev` is a hash of the examples' ids and labels: only answers to the same examples can be paired.
    """

    dev: str
    classes: tuple[str, ...]
    labels: tuple[float, ...]
    predictions: tuple[float, ...]


def read_answers(run_dir: Path, split: str | None = None) -> Answers:
    """The student's answers on the primary dev set, or on a further one (`split`).

    Raises RunError, with the file, when they are missing, torn, or have no labels to compare with.
    """
    path = run_dir / PREDICTIONS / f"{STUDENT}{'' if split is None else f'.{split}'}.jsonl"
    rows = _rows(path)
    try:
        dev = hashlib.sha256(repr([(row["id"], row["label"]) for row in rows]).encode("utf-8", "replace")).hexdigest()
        if "probabilities" in rows[0]:
            classes = tuple(rows[0]["probabilities"])
            index_of = {name: float(index) for index, name in enumerate(classes)}
            labels = tuple(index_of[row["label"]] for row in rows)
            return Answers(dev, classes, labels, tuple(index_of[row["prediction"]] for row in rows))
        return Answers(dev, (), _scores(rows, "label"), _scores(rows, "prediction"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        sentence = "has rows without a label or without an answer"
        raise RunError(sentence, kind="bad-predictions", file=str(path)) from error


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        if not path.is_file():
            raise RunError("is missing", kind="missing-predictions", file=str(path))
        if path.stat().st_size > LARGEST:
            raise RunError("is too large for predictions", kind="oversized-predictions", file=str(path))
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        rows = json.loads(b"[" + b",".join(lines) + b"]", parse_constant=lambda _: None)
    except OSError as error:
        raise RunError(f"cannot be read: {cause(error)}", kind="unreadable-predictions", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        sentence = "is not complete JSON lines: it was cut off, or written by something else"
        raise RunError(sentence, kind="torn-predictions", file=str(path)) from error
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        sentence = "does not hold one object a line: it was written by something else"
        raise RunError(sentence, kind="not-json-lines", file=str(path))
    if not rows:
        raise RunError("is empty", kind="empty-predictions", file=str(path))
    return rows  # type: ignore[no-any-return]


def _scores(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
    values = tuple(float(row[name]) for row in rows)
    if not all(map(math.isfinite, values)):
        raise ValueError(name)
    return values
