"""The dev predictions that a finished run saved: of its student, teacher and baseline, and the texts of the rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.preset.regular_file import OversizedError, read_regular
from engine.record.files import cause
from engine.record.json_values import word
from engine.record.paths import PREDICTIONS, STUDENT, texts_file

LARGEST = 2**29
"""Bytes of a file of predictions that is read; no dev set is larger."""

WordAnswers = tuple[str | None, ...]
"""The label of each word of a row; None for one without an answer."""


@dataclass(frozen=True)
class Answers:
    """The answers of one student to one dev set, in the order of its rows.

    Of a classification, labels and predictions are indices into `classes`; of a regression, which has no classes, scores; of
    several labels for a text, 1 or 0 for each of `classes`.
    `dev` is a hash of the examples' ids, labels and groups: only answers to the same examples can be paired.
    """

    dev: str
    classes: tuple[str, ...]
    labels: tuple[Any, ...]
    predictions: tuple[Any, ...]
    words: tuple[tuple[WordAnswers, WordAnswers], ...] = ()
    """Where labels are by word, labels and predictions of each row's words; `labels` and `predictions` are empty then."""
    groups: tuple[int, ...] = ()
    """Where rows are ranked, the number of each row's query."""
    scores: tuple[float, ...] = ()
    """Where rows are ranked, what they are ranked by; NaN comes last."""

    def __len__(self) -> int:
        return len(self.words) or len(self.labels)

    @property
    def by_word(self) -> bool:
        """Whether labels are by word."""
        return bool(self.words)

    @property
    def several(self) -> bool:
        """Whether a text can have several labels."""
        return not self.by_word and isinstance(self.labels[0], tuple)


@dataclass(frozen=True)
class ModelAnswers:
    """The answers of one model to one dev set, with the rows' ids and the probabilities of the classes."""

    ids: tuple[str, ...]
    answers: Answers
    probabilities: tuple[tuple[float, ...], ...]
    """For each row that of each class, in the order of `Answers.classes`; empty for a regression. Of labels by word, those of
    the predictions for its words, 1 where there is none."""


@dataclass(frozen=True)
class RowText:
    """The text of a dev row, and the second one of a pair."""

    text: str
    pair: str | None = None


def read_answers(run_dir: Path, split: str | None = None) -> Answers:
    """The student's answers on the primary dev set, or on a further one (`split`).

    Raises RunError, with the file, when they are missing, torn, or have no labels to compare with.
    """
    path = predictions_file(run_dir, STUDENT, split)
    return _answers(path, _rows(path))


def read_model_answers(run_dir: Path, model: str, split: str | None = None) -> ModelAnswers:
    """The answers of "student", "teacher" or "baseline", row by row. Raises as `read_answers`."""
    path = predictions_file(run_dir, model, split)
    rows = _rows(path)
    answers = _answers(path, rows)
    try:
        ids = tuple(str(row["id"]) for row in rows)
        if answers.by_word:
            return ModelAnswers(ids, answers, tuple(map(_word_shares, rows)))
        shares = tuple(
            tuple(float(row["probabilities"][name]) for name in answers.classes) for row in rows if answers.classes
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        sentence = "has rows without a probability for each class"
        raise RunError(sentence, kind="predictions-without-probabilities", file=str(path)) from error
    return ModelAnswers(ids, answers, shares)


def read_texts(run_dir: Path, split: str | None = None) -> dict[str, RowText]:
    """The texts of a dev set by the ids of its rows; empty where the run saved none, or they cannot be read."""
    try:
        rows = _rows(texts_file(run_dir, split))
    except RunError:
        return {}
    return {
        str(row["id"]): RowText(row["text"], word(row.get("pair")))
        for row in rows
        if "id" in row and isinstance(row.get("text"), str)
    }


def predictions_file(run_dir: Path, model: str, split: str | None = None) -> Path:
    """The file of a model's predictions on the primary dev set, or on a further one."""
    return run_dir / PREDICTIONS / f"{model}{'' if split is None else f'.{split}'}.jsonl"


def further_splits(run_dir: Path) -> tuple[str, ...]:
    """The names of the further dev sets that the student was measured on."""
    names = (path.name for path in (run_dir / PREDICTIONS).glob(f"{STUDENT}.*.jsonl"))
    return tuple(sorted(name.removeprefix(f"{STUDENT}.").removesuffix(".jsonl") for name in names))


def _answers(path: Path, rows: Sequence[Mapping[str, Any]]) -> Answers:
    try:
        groups = tuple(int(row["group"]) for row in rows) if "group" in rows[0] else ()
        scores = tuple(math.nan if row["score"] is None else float(row["score"]) for row in rows) if groups else ()
        known: list[Any] = [(row["id"], row["label"]) for row in rows]
        dev = hashlib.sha256(repr([*known, groups] if groups else known).encode("utf-8", "replace")).hexdigest()
        if "word_probabilities" in rows[0]:
            words = zip(_by_word(rows, "label"), _by_word(rows, "prediction"), strict=True)
            return Answers(dev, (), (), (), tuple(words))
        if "probabilities" in rows[0]:
            classes = tuple(rows[0]["probabilities"])
            if isinstance(rows[0]["label"], list):
                return Answers(dev, classes, _sets(rows, "label", classes), _sets(rows, "prediction", classes))
            index_of = {name: float(index) for index, name in enumerate(classes)}
            labels = tuple(index_of[row["label"]] for row in rows)
            answers = tuple(index_of[row["prediction"]] for row in rows)
            return Answers(dev, classes, labels, answers, groups=groups, scores=scores)
        return Answers(dev, (), _scores(rows, "label"), _scores(rows, "prediction"), groups=groups, scores=scores)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        sentence = "has rows whose label or answer, or of a ranking query or score, is missing or cannot be read"
        raise RunError(sentence, kind="bad-predictions", file=str(path)) from error


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        lines = [line for line in read_regular(path, LARGEST).split(b"\n") if line]
        rows = json.loads(b"[" + b",".join(lines) + b"]", parse_constant=lambda _: None)
    except (FileNotFoundError, IsADirectoryError):
        raise RunError("is missing", kind="missing-predictions", file=str(path)) from None
    except OversizedError:
        raise RunError("is too large for predictions", kind="oversized-predictions", file=str(path)) from None
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


def _sets(rows: Sequence[Mapping[str, Any]], name: str, classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Which of the classes each row has."""
    sets = [frozenset(row[name]) for row in rows]
    if not all(found <= frozenset(classes) for found in sets):
        raise ValueError(name)
    return tuple(tuple(int(each in found) for each in classes) for found in sets)


def _by_word(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[WordAnswers, ...]:
    """The label of each word of each row."""
    found = tuple(tuple(row[name]) for row in rows)
    for row, labels in zip(rows, found, strict=True):
        if len(labels) != len(row["prediction"]) or not all(
            label is None or isinstance(label, str) for label in labels
        ):
            raise ValueError(name)
    return found


def _word_shares(row: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(1.0 if share is None else float(share) for share in row["word_probabilities"])


def _scores(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
    values = tuple(float(row[name]) for row in rows)
    if not all(map(math.isfinite, values)):
        raise ValueError(name)
    return values
