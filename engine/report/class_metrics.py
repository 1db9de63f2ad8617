"""What a classifier gets right and wrong class by class: confusion matrix, precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Matrix = tuple[tuple[int, ...], ...]
"""Rows by gold class (first index) and predicted class (second)."""


@dataclass(frozen=True)
class ClassFigures:
    """One class: its rows, how often it was predicted, and shares of 1.

    Precision is undefined (None) for a class that was never predicted, recall for one without rows, F1 for one with
    neither.
    """

    name: str
    rows: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Rows of one class that were taken for another."""

    label: str
    prediction: str
    rows: int


def confusion_matrix(labels: Sequence[float], predictions: Sequence[float], classes: int) -> Matrix:
    """How many rows of each class (first index) got each answer (second); labels and predictions are class indices."""
    counts = [[0] * classes for _ in range(classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        counts[int(label)][int(prediction)] += 1
    return tuple(map(tuple, counts))


def class_figures(matrix: Matrix, names: Sequence[str]) -> tuple[ClassFigures, ...]:
    """The figures of each class, in the order of the classes; F1 is 2·hits / (rows + predicted)."""
    figures = []
    for index, name in enumerate(names):
        hits, rows, predicted = matrix[index][index], sum(matrix[index]), sum(row[index] for row in matrix)
        figures.append(
            ClassFigures(
                name, rows, predicted, _share(hits, predicted), _share(hits, rows), _share(2 * hits, rows + predicted)
            )
        )
    return tuple(figures)


def label_figures(
    labels: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[ClassFigures, ...]:
    """The figures of each label where a text can have several: 1 or 0 for each of `names` in every row."""
    columns = zip(names, zip(*labels, strict=True), zip(*predictions, strict=True), strict=True)
    return tuple(class_figures(confusion_matrix(gold, named, 2), ("", name))[1] for name, gold, named in columns)


def confusions(matrix: Matrix, names: Sequence[str]) -> tuple[Confusion, ...]:
    """The mistakes by pair of classes, the most frequent first."""
    pairs = (
        Confusion(names[label], names[prediction], rows)
        for label, counts in enumerate(matrix)
        for prediction, rows in enumerate(counts)
        if rows and label != prediction
    )
    return tuple(sorted(pairs, key=lambda pair: -pair.rows))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
