"""What the student of a finished run gets wrong on a dev set, from the predictions that the run saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from engine.errors import RunError, UsageError
from engine.preset.text import listed, shown
from engine.record.files import read_json
from engine.record.json_values import mapping
from engine.record.paths import RESULTS, STUDENT, TEACHER
from engine.report.answered_rows import AnsweredRow, class_rows, distance, score_rows
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
from engine.report.query_errors import RankingErrors, ranking_errors
from engine.report.word_errors import word_figures, word_rows

if TYPE_CHECKING:
    from engine.report.calibration import Calibration

SCHEMA = 1


@dataclass(frozen=True)
class StudentErrors:
    """What a student gets wrong on a dev set of so many rows.

    Of a regression there are no classes, no matrix and no calibration, and every row is a disagreement, the largest
    difference first; `student_error` and `teacher_error` are mean absolute errors then. Where a text can have several labels,
    there is no matrix and there are no confusions, the figures of a class are those of a label, and the calibration is that
    of every label's probability.

    Where labels are by word and mark entities, a class is a type of entity and its rows are entities: one is right if its type
    and words are. Confusions are entities that were missed, found where there is none, of another type, or of other words.
    Labels of another form are classes whose rows are words. A row of disagreements or mistakes is a sentence. There is no
    calibration.
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
    has_teacher: bool = True
    """False where the teacher is a file of answers that lacks rows of this dev set: then it has no figures, and no row
    is a disagreement."""
    ranking: RankingErrors | None = None
    """Where rows are ranked, how well each query is."""

    @property
    def wrong(self) -> int:
        """Rows of which the student gets the class, or any label, wrong."""
        return len(self.mistakes) if self.classes else 0

    @property
    def has_texts(self) -> bool:
        """Whether the run saved the texts of its dev rows."""
        return any(row.text is not None for row in (*self.disagreements, *self.mistakes))

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """As plain data, `schema` first; `rows` is whether to list disagreements and mistakes."""
        data = {"schema": SCHEMA, **asdict(self)}
        if not rows:
            data |= {"disagreements": len(self.disagreements), "mistakes": len(self.mistakes)}
            if self.ranking is not None:
                data["ranking"]["worst"] = len(self.ranking.worst)
        return data


def student_errors(run_dir: Path, split: str | None = None) -> StudentErrors:
    """What a run's student gets wrong on the primary dev set, or on a further one (`split`).

    Raises UsageError for a dev set that the run doesn't have, RunError when there are no predictions, they cannot be read,
    those of student and teacher are about different rows, or nothing trained the student's classifier.
    """
    results = read_json(run_dir / RESULTS) or {}
    if mapping(results.get("student")).get("head_trained") is False:
        sentence = f"no stage of {run_dir.name} trains the student's head (its classifier), so its answers mean nothing"
        raise RunError(sentence, kind="untrained-head")
    others = further_splits(run_dir)
    if split is not None and split not in others:
        known = f"besides dev it has {listed(others, 'and')}" if others else "it has dev alone"
        sentence = f"{run_dir.name} was not measured on {shown(split)}; {known}"
        raise UsageError(sentence, kind="unknown-split", key="--split")
    student = read_model_answers(run_dir, STUDENT, split)
    teacher = read_model_answers(run_dir, TEACHER, split) if _has_teacher(run_dir, split) else None
    if teacher is not None and (
        student.answers.dev != teacher.answers.dev or student.answers.classes != teacher.answers.classes
    ):
        sentence = (
            "is about other rows or classes than the student's predictions: one of the files comes from another run"
        )
        raise RunError(sentence, kind="predictions-of-other-rows", file=str(predictions_file(run_dir, TEACHER, split)))
    texts = read_texts(run_dir, split)
    errors = _row_errors(run_dir.name, split, student, teacher, texts)
    if not student.answers.groups:
        return errors
    return replace(errors, ranking=ranking_errors(student, teacher, texts, str(results.get("metric"))))


def _row_errors(
    name: str, split: str | None, student: ModelAnswers, teacher: ModelAnswers | None, texts: Mapping[str, RowText]
) -> StudentErrors:
    """What a student gets wrong row by row; `teacher` is None where it doesn't answer these rows."""
    names, rows, has_teacher = student.answers.classes, len(student.answers), teacher is not None
    if student.answers.by_word:
        assert teacher is not None, "labels by word have a model as their teacher"
        figures, theirs, matrix, confused = word_figures(student.answers.words, teacher.answers.words)
        names = tuple(each.name for each in figures)
        disagreements, mistakes = word_rows(student, teacher, texts)
        return StudentErrors(
            name, split, rows, names, figures, theirs, matrix, confused, None, None, disagreements, mistakes
        )
    if not names:
        scores = score_rows(student, teacher, texts)
        apart = [(distance(row.student, row.teacher), row) for row in scores if row.teacher is not None]
        return StudentErrors(
            name, split, rows, (), (), (), (), (), None, None,
            tuple(row for _, row in sorted(apart, key=lambda pair: -pair[0])),
            tuple(sorted(scores, key=lambda row: -distance(row.student, row.label))),
            student_error=_mean_error(student), teacher_error=None if teacher is None else _mean_error(teacher),
            has_teacher=has_teacher,
        )  # fmt: skip
    found = class_rows(student, teacher, texts)
    differ = [row for row in found if has_teacher and row.student != row.teacher]
    wrong = [row for row in found if row.student != row.label]
    figures, matrix, own = _figures(student, names)
    theirs, _, other = ((), (), None) if teacher is None else _figures(teacher, names)
    return StudentErrors(
        name, split, rows, names, figures, theirs, matrix, confusions(matrix, names), own, other, tuple(differ),
        tuple(sorted(wrong, key=lambda row: has_teacher and row.student != row.teacher)), has_teacher=has_teacher,
    )  # fmt: skip


def _figures(model: ModelAnswers, names: Sequence[str]) -> tuple[tuple[ClassFigures, ...], Matrix, Calibration]:
    """The figures of each class, the matrix (none of several labels), and the calibration of a model."""
    from engine.report.calibration import calibration  # numpy

    labels, answers = model.answers.labels, model.answers.predictions
    if model.answers.several:
        return label_figures(labels, answers, names), (), calibration(*_each_label(model))
    matrix = confusion_matrix(labels, answers, len(names))
    return class_figures(matrix, names), matrix, calibration(model.probabilities, labels, model.ids)


def _has_teacher(run_dir: Path, split: str | None) -> bool:
    """Whether the teacher's answers are saved; taken for granted, unless the results say that it has none on this set."""
    if predictions_file(run_dir, TEACHER, split).is_file():
        return True
    results = read_json(run_dir / RESULTS) or {}
    teacher = results.get(TEACHER, {})
    if split is not None and isinstance(teacher, dict):
        return split in teacher or split in mapping(teacher.get("dev_extra"))
    return teacher is not None


def has_predictions(run_dir: Path) -> bool:
    """Whether a run saved what its student answered, and its teacher, if that answers dev."""
    student, teacher = (predictions_file(run_dir, model).is_file() for model in (STUDENT, TEACHER))
    return student and (teacher or not _has_teacher(run_dir, None))


def _each_label(model: ModelAnswers) -> tuple[list[tuple[float, float]], list[int], list[str]]:
    """Probabilities (it doesn't apply, it applies), gold answers and ids of every label of every row."""
    rows = zip(model.ids, model.probabilities, model.answers.labels, strict=True)
    each = [(name, share, has) for name, shares, gold in rows for share, has in zip(shares, gold, strict=True)]
    return [(1 - share, share) for _, share, _ in each], [has for *_, has in each], [name for name, *_ in each]


def _mean_error(model: ModelAnswers) -> float:
    answers = model.answers
    return fmean(abs(own - label) for own, label in zip(answers.predictions, answers.labels, strict=True))
