"""Rows of a dev set with the answers of student and teacher, in the order in which they are worth reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from engine.report.predictions import ModelAnswers, RowText

NO_LABEL = "(no label)"
"""What stands for the labels of a text that has none."""
Answer = float | tuple[int, ...]
"""As in `Answers`: the index of a class, or 1 or 0 for each label."""
Right = Literal["teacher", "student", "neither"]
RIGHT: dict[Right, int] = {"teacher": 0, "neither": 1, "student": 2}
"""Whose answer is the gold label (of scores: is nearer to it), in the order of disagreements."""


@dataclass(frozen=True)
class AnsweredRow:
    """A dev row with the answers of student and teacher: names of classes (of several labels, joined), or scores.

    The probabilities are those of each model's own answer, `*_shares` those of every class; of scores there are none. A set
    of labels has the product over all labels, as if they were independent.
    `right` is one of `RIGHT`. Without a teacher that answers these rows, its answers are None or empty.
    """

    id: str
    text: RowText | None
    label: str | float
    student: str | float
    teacher: str | float | None
    student_probability: float | None
    teacher_probability: float | None
    student_shares: tuple[float, ...]
    teacher_shares: tuple[float, ...]
    right: Right | None


def whose(label: object, student: object, teacher: object) -> Right:
    """Which of two models is right, of which at most one is."""
    return "teacher" if teacher == label else "student" if student == label else "neither"


def by_worth(rows: Sequence[AnsweredRow]) -> list[AnsweredRow]:
    """In the order of `RIGHT`, each kind by the student's confidence."""
    return sorted(rows, key=lambda row: (RIGHT[row.right or "neither"], -(row.student_probability or 0.0)))


def class_rows(student: ModelAnswers, teacher: ModelAnswers | None, texts: Mapping[str, RowText]) -> list[AnsweredRow]:
    """The rows that the models have not all right, `by_worth`; `teacher` is None where it doesn't answer them."""
    names, found = student.answers.classes, []
    for index, name in enumerate(student.ids):
        label, own = student.answers.labels[index], student.answers.predictions[index]
        theirs = label if teacher is None else teacher.answers.predictions[index]
        if own == theirs == label:
            continue
        shares = student.probabilities[index]
        row = AnsweredRow(
            name, texts.get(name), _named(label, names), _named(own, names), None, _share(own, shares), None, shares, (),
            None,
        )  # fmt: skip
        if teacher is not None:
            other = teacher.probabilities[index]
            row = replace(
                row,
                teacher=_named(theirs, names),
                teacher_probability=_share(theirs, other),
                teacher_shares=other,
                right=whose(label, own, theirs),
            )
        found.append(row)
    return by_worth(found)


def score_rows(student: ModelAnswers, teacher: ModelAnswers | None, texts: Mapping[str, RowText]) -> list[AnsweredRow]:
    """Every row of a regression, in the order of the dev set; `teacher` is None where it doesn't answer them."""
    found = []
    for index, name in enumerate(student.ids):
        label, own = student.answers.labels[index], student.answers.predictions[index]
        theirs = None if teacher is None else teacher.answers.predictions[index]
        right: Right | None = None
        if theirs is not None:
            right = "student" if distance(own, label) < distance(theirs, label) else "teacher"
        found.append(AnsweredRow(name, texts.get(name), label, own, theirs, None, None, (), (), right))
    return found


def distance(one: str | float, other: str | float) -> float:
    """How far two scores are from each other."""
    return abs(float(one) - float(other))


def _named(answer: Answer, names: Sequence[str]) -> str:
    """A class, or labels that are joined."""
    if isinstance(answer, tuple):
        return ", ".join(name for name, has in zip(names, answer, strict=True) if has) or NO_LABEL
    return names[int(answer)]


def _share(answer: Answer, shares: Sequence[float]) -> float:
    """The probability of an answer."""
    if isinstance(answer, tuple):
        return prod(share if has else 1 - share for share, has in zip(shares, answer, strict=True))
    return shares[int(answer)]
