"""What the student of a finished run gets wrong on a dev set, from the predictions that the run saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import RunError, UsageError
from engine.preset.text import listed, shown
from engine.record.files import read_json
from engine.record.json_values import mapping
from engine.record.paths import RESULTS, STUDENT, TEACHER
from engine.report.class_metrics import (
    ClassFigures,
    Confusion,
    Matrix,
    class_figures,
    confusion_matrix,
    confusions,
    label_figures,
)
from engine.report.predictions import (
    ModelAnswers,
    RowText,
    further_splits,
    predictions_file,
    read_model_answers,
    read_texts,
)

if TYPE_CHECKING:
    from engine.report.calibration import Calibration

SCHEMA = 1
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
    `right` is one of `RIGHT`.
    """

    id: str
    text: RowText | None
    label: str | float
    student: str | float
    teacher: str | float
    student_probability: float | None
    teacher_probability: float | None
    student_shares: tuple[float, ...]
    teacher_shares: tuple[float, ...]
    right: Right


@dataclass(frozen=True)
class StudentErrors:
    """What a student gets wrong on a dev set of so many rows.

    Of a regression there are no classes, no matrix and no calibration, and every row is a disagreement, the largest
    difference first; `student_error` and `teacher_error` are mean absolute errors then. Where a text can have several labels,
    there is no matrix and there are no confusions, the figures of a class are those of a label, and the calibration is that
    of every label's probability.
    """

    run: str
    split: str | None
    """None for the primary dev set."""
    rows: int
    names: tuple[str, ...]
    classes: tuple[ClassFigures, ...]
    teacher_classes: tuple[ClassFigures, ...]
    matrix: Matrix
    confusions: tuple[Confusion, ...]
    calibration: Calibration | None
    teacher_calibration: Calibration | None
    disagreements: tuple[AnsweredRow, ...]
    """The rows with different answers: those that the teacher has right first, each kind by the student's confidence."""
    mistakes: tuple[AnsweredRow, ...]
    """The rows that the student gets wrong: those on which the teacher agrees with it first, since there the label may be
    wrong; each kind by the student's confidence. Of a regression all rows, by the student's error."""
    student_error: float | None = None
    teacher_error: float | None = None

    @property
    def wrong(self) -> int:
        """Rows of which the student gets the class, or any label, wrong."""
        return len(self.mistakes) if self.names else 0

    @property
    def has_texts(self) -> bool:
        """Whether the run saved the texts of its dev rows."""
        return any(row.text is not None for row in (*self.disagreements, *self.mistakes))

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """As plain data, `schema` first; `rows` is whether to list disagreements and mistakes."""
        data = {"schema": SCHEMA, **asdict(self)}
        if not rows:
            data |= {"disagreements": len(self.disagreements), "mistakes": len(self.mistakes)}
        return data


def student_errors(run_dir: Path, split: str | None = None) -> StudentErrors:
    """What a run's student gets wrong on the primary dev set, or on a further one (`split`).

    Raises UsageError for a dev set that the run doesn't have, RunError when there are no predictions, they cannot be read,
    those of student and teacher are about different rows, or nothing trained the student's classifier.
    """
    if mapping((read_json(run_dir / RESULTS) or {}).get("student")).get("head_trained") is False:
        sentence = f"no stage of {run_dir.name} trains the student's head (its classifier), so its answers mean nothing"
        raise RunError(sentence, kind="untrained-head")
    others = further_splits(run_dir)
    if split is not None and split not in others:
        known = f"besides dev it has {listed(others, 'and')}" if others else "it has dev alone"
        sentence = f"{run_dir.name} was not measured on {shown(split)}; {known}"
        raise UsageError(sentence, kind="unknown-split", key="--split")
    student, teacher = (read_model_answers(run_dir, model, split) for model in (STUDENT, TEACHER))
    if student.answers.dev != teacher.answers.dev or student.answers.classes != teacher.answers.classes:
        sentence = (
            "is about other rows or classes than the student's predictions: one of the files comes from another run"
        )
        raise RunError(sentence, kind="predictions-of-other-rows", file=str(predictions_file(run_dir, TEACHER, split)))
    texts = read_texts(run_dir, split)
    names, labels = student.answers.classes, student.answers.labels
    if not names:
        scores = _score_rows(student, teacher, texts)
        return StudentErrors(
            run_dir.name, split, len(labels), (), (), (), (), (), None, None,
            tuple(sorted(scores, key=lambda row: -abs(float(row.student) - float(row.teacher)))),
            tuple(sorted(scores, key=lambda row: -abs(float(row.student) - float(row.label)))),
            student_error=_mean_error(student), teacher_error=_mean_error(teacher),
        )  # fmt: skip
    from engine.report.calibration import calibration  # numpy

    rows = _class_rows(student, teacher, texts)
    disagreements = tuple(row for row in rows if row.student != row.teacher)
    mistakes = tuple(
        sorted((row for row in rows if row.student != row.label), key=lambda row: row.student != row.teacher)
    )
    if student.answers.several:
        figures = (label_figures(labels, each.answers.predictions, names) for each in (student, teacher))
        own, other = (calibration(*_each_label(each)) for each in (student, teacher))
        return StudentErrors(
            run_dir.name, split, len(labels), names, *figures, (), (), own, other, disagreements, mistakes
        )
    matrix, theirs = (confusion_matrix(labels, each.answers.predictions, len(names)) for each in (student, teacher))
    own, other = (calibration(each.probabilities, labels, each.ids) for each in (student, teacher))
    return StudentErrors(
        run_dir.name, split, len(labels), names, class_figures(matrix, names), class_figures(theirs, names), matrix,
        confusions(matrix, names), own, other, disagreements, mistakes,
    )  # fmt: skip


def has_predictions(run_dir: Path) -> bool:
    """Whether a run saved what its student and its teacher answered."""
    return all(predictions_file(run_dir, model).is_file() for model in (STUDENT, TEACHER))


def _class_rows(student: ModelAnswers, teacher: ModelAnswers, texts: dict[str, RowText]) -> list[AnsweredRow]:
    """The rows that not both have right: in the order of `RIGHT`, each kind by the student's confidence."""
    names, found = student.answers.classes, []
    for index, name in enumerate(student.ids):
        label, own, theirs = (
            values[index]
            for values in (student.answers.labels, student.answers.predictions, teacher.answers.predictions)
        )
        if own == theirs == label:
            continue
        right: Right = "teacher" if theirs == label else "student" if own == label else "neither"
        shares, other = student.probabilities[index], teacher.probabilities[index]
        found.append(
            AnsweredRow(
                name, texts.get(name), _named(label, names), _named(own, names), _named(theirs, names),
                _share(own, shares), _share(theirs, other), shares, other, right,
            )
        )  # fmt: skip
    return sorted(found, key=lambda row: (RIGHT[row.right], -(row.student_probability or 0.0)))


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


def _each_label(model: ModelAnswers) -> tuple[list[tuple[float, float]], list[int], list[str]]:
    """Probabilities (it doesn't apply, it applies), gold answers and ids of every label of every row."""
    rows = zip(model.ids, model.probabilities, model.answers.labels, strict=True)
    each = [(name, share, has) for name, shares, gold in rows for share, has in zip(shares, gold, strict=True)]
    return [(1 - share, share) for _, share, _ in each], [has for *_, has in each], [name for name, *_ in each]


def _score_rows(student: ModelAnswers, teacher: ModelAnswers, texts: dict[str, RowText]) -> list[AnsweredRow]:
    return [
        AnsweredRow(
            name, texts.get(name), label, own, theirs, None, None, (), (),
            "student" if abs(own - label) < abs(theirs - label) else "teacher",
        )
        for name, label, own, theirs in zip(
            student.ids, student.answers.labels, student.answers.predictions, teacher.answers.predictions, strict=True
        )
    ]  # fmt: skip


def _mean_error(model: ModelAnswers) -> float:
    answers = model.answers
    return fmean(abs(own - label) for own, label in zip(answers.predictions, answers.labels, strict=True))
