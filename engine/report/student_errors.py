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
from engine.record.entities import counts_by_type, entities, names_entities
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
    WordAnswers,
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
NO_ENTITY = "(no entity)"
"""What stands for the entities of a sentence that has none, and for an entity that is missing or too much."""
OTHER_WORDS = "(other words)"
"""What stands for an entity whose words only partly agree with another one's."""
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
    student = read_model_answers(run_dir, STUDENT, split)
    if not _has_teacher(run_dir, split):
        return _alone(run_dir, student, split)
    teacher = read_model_answers(run_dir, TEACHER, split)
    if student.answers.dev != teacher.answers.dev or student.answers.classes != teacher.answers.classes:
        sentence = (
            "is about other rows or classes than the student's predictions: one of the files comes from another run"
        )
        raise RunError(sentence, kind="predictions-of-other-rows", file=str(predictions_file(run_dir, TEACHER, split)))
    texts = read_texts(run_dir, split)
    names, labels = student.answers.classes, student.answers.labels
    if student.answers.by_word:
        return _word_errors(run_dir, split, student, teacher, texts)
    if not names:
        scores = _score_rows(student, teacher, texts)
        return StudentErrors(
            run_dir.name, split, len(labels), (), (), (), (), (), None, None,
            tuple(sorted(scores, key=lambda row: -_distance(row.student, row.teacher))),
            tuple(sorted(scores, key=lambda row: -_distance(row.student, row.label))),
            student_error=_mean_error(student), teacher_error=_mean_error(teacher),
        )  # fmt: skip
    from engine.report.calibration import calibration  # numpy

    rows = _class_rows(student, teacher, texts)
    disagreements = tuple(row for row in rows if row.student != row.teacher)
    mistakes = tuple(
        sorted((row for row in rows if row.student != row.label), key=lambda row: row.student != row.teacher)
    )
    if student.answers.several:
        figures, their_figures = (label_figures(labels, each.answers.predictions, names) for each in (student, teacher))
        own, other = (calibration(*_each_label(each)) for each in (student, teacher))
        return StudentErrors(
            run_dir.name, split, len(labels), names, figures, their_figures, (), (), own, other, disagreements, mistakes
        )
    matrix, theirs = (confusion_matrix(labels, each.answers.predictions, len(names)) for each in (student, teacher))
    own, other = (calibration(each.probabilities, labels, each.ids) for each in (student, teacher))
    return StudentErrors(
        run_dir.name, split, len(labels), names, class_figures(matrix, names), class_figures(theirs, names), matrix,
        confusions(matrix, names), own, other, disagreements, mistakes,
    )  # fmt: skip


def _has_teacher(run_dir: Path, split: str | None) -> bool:
    """Whether the teacher's answers are saved; taken for granted, unless the results say that it has none on this set."""
    if predictions_file(run_dir, TEACHER, split).is_file():
        return True
    results = read_json(run_dir / RESULTS) or {}
    teacher = results.get(TEACHER, {})
    if split is not None and isinstance(teacher, dict):
        return split in teacher or split in mapping(teacher.get("dev_extra"))
    return teacher is not None


def _alone(run_dir: Path, student: ModelAnswers, split: str | None) -> StudentErrors:
    """What a student gets wrong whose teacher doesn't answer these rows."""
    texts, names, labels = read_texts(run_dir, split), student.answers.classes, student.answers.labels

    def row(index: int) -> AnsweredRow:
        name, label, own = student.ids[index], labels[index], student.answers.predictions[index]
        if not names:
            return AnsweredRow(name, texts.get(name), label, own, None, None, None, (), (), None)
        shares = student.probabilities[index]
        gold, answer = _named(label, names), _named(own, names)
        return AnsweredRow(name, texts.get(name), gold, answer, None, _share(own, shares), None, shares, (), None)

    rows = [row(index) for index in range(len(labels))]
    if not names:
        farthest = sorted(rows, key=lambda row: -_distance(row.student, row.label))
        return StudentErrors(
            run_dir.name, split, len(labels), (), (), (), (), (), None, None, (), tuple(farthest),
            student_error=_mean_error(student), has_teacher=False,
        )  # fmt: skip
    from engine.report.calibration import calibration  # numpy

    wrong = (row for row in rows if row.student != row.label)
    worst = tuple(sorted(wrong, key=lambda row: -(row.student_probability or 0.0)))
    if student.answers.several:
        figures = label_figures(labels, student.answers.predictions, names)
        return StudentErrors(
            run_dir.name, split, len(labels), names, figures, (), (), (), calibration(*_each_label(student)), None, (), worst,
            has_teacher=False,
        )  # fmt: skip
    matrix = confusion_matrix(labels, student.answers.predictions, len(names))
    return StudentErrors(
        run_dir.name, split, len(labels), names, class_figures(matrix, names), (), matrix, confusions(matrix, names),
        calibration(student.probabilities, labels, student.ids), None, (), worst, has_teacher=False,
    )  # fmt: skip


def _word_errors(
    run_dir: Path, split: str | None, student: ModelAnswers, teacher: ModelAnswers, texts: dict[str, RowText]
) -> StudentErrors:
    """The errors where labels are by word."""
    own, theirs = student.answers.words, teacher.answers.words
    every = {label for pair in (*own, *theirs) for side in pair for label in side if label is not None}
    entity = names_entities(every)
    found = []
    for index, name in enumerate(student.ids):
        (gold, answer), (_, other) = own[index], theirs[index]
        if answer == other == gold:
            continue
        text = texts.get(name)
        words = [] if text is None else text.text.split(" ")
        right: Right = "teacher" if other == gold else "student" if answer == gold else "neither"
        texts_of = [_entity_text(side, words) if entity else _label_text(side, words) for side in (gold, answer, other)]
        own_share, their_share = (prod(model.probabilities[index]) for model in (student, teacher))
        found.append(
            AnsweredRow(name, text, texts_of[0], texts_of[1], texts_of[2], own_share, their_share, (), (), right)
        )
    found.sort(key=lambda row: (RIGHT[row.right or "neither"], -(row.student_probability or 0.0)))
    wrong = {name for name, (gold, answer) in zip(student.ids, own, strict=True) if gold != answer}
    apart = {name for name, (_, a), (_, b) in zip(student.ids, own, theirs, strict=True) if a != b}
    mistakes = sorted((row for row in found if row.id in wrong), key=lambda row: row.id in apart)
    matrix: Matrix = ()
    if entity:
        figures, others = (_entity_figures(side) for side in (own, theirs))
        figures, others = _aligned(figures, others)
        pairs = _entity_confusions(own)
    else:
        order = sorted(every)
        matrix, of_teacher = (_word_matrix(side, order) for side in (own, theirs))
        figures, others, pairs = (
            class_figures(matrix, order),
            class_figures(of_teacher, order),
            confusions(matrix, order),
        )
    return StudentErrors(
        run_dir.name, split, len(own), tuple(each.name for each in figures), figures, others, matrix, pairs, None, None,
        tuple(row for row in found if row.id in apart), tuple(mistakes),
    )  # fmt: skip


_WordPairs = Sequence[tuple[WordAnswers, WordAnswers]]


def _entity_figures(pairs: _WordPairs) -> tuple[ClassFigures, ...]:
    """The figures of each type of entity."""
    counts = counts_by_type((gold for gold, _ in pairs), (answer for _, answer in pairs))
    return tuple(
        ClassFigures(
            kind or "entity", each.gold, each.predicted, each.precision if each.predicted else None,
            each.recall if each.gold else None, each.f1 if each.gold + each.predicted else None,
        )
        for kind, each in counts.items()
    )  # fmt: skip


def _aligned(
    own: tuple[ClassFigures, ...], theirs: tuple[ClassFigures, ...]
) -> tuple[tuple[ClassFigures, ...], tuple[ClassFigures, ...]]:
    """Both with the same classes: of one that a model neither met nor predicted, no rows."""
    rows = {each.name: each.rows for each in (*own, *theirs)}
    sides = ({each.name: each for each in side} for side in (own, theirs))
    first, second = (
        tuple(side.get(name, ClassFigures(name, rows[name], 0, None, None, None)) for name in sorted(rows))
        for side in sides
    )
    return first, second


def _entity_confusions(pairs: _WordPairs) -> tuple[Confusion, ...]:
    """What the student took entities for, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for gold, answer in pairs:
        own, theirs = set(entities(gold)), set(entities(answer))
        missed, extra = own - theirs, theirs - own
        spans = {(start, end): kind for kind, start, end in extra}
        for kind, start, end in missed:
            taken = spans.pop((start, end), None)
            if taken is None:
                overlaps = any(begin < end and start < stop for begin, stop in ((b, e) for _, b, e in theirs))
                taken = OTHER_WORDS if overlaps else NO_ENTITY
            counts[kind, taken] = counts.get((kind, taken), 0) + 1
        for (start, end), kind in spans.items():
            if not any(begin < end and start < stop for _, begin, stop in own):
                counts[NO_ENTITY, kind] = counts.get((NO_ENTITY, kind), 0) + 1
    found = (Confusion(kind or "entity", taken or "entity", number) for (kind, taken), number in counts.items())
    return tuple(sorted(found, key=lambda pair: (-pair.rows, pair.label, pair.prediction)))


def _word_matrix(pairs: _WordPairs, order: Sequence[str]) -> Matrix:
    index = {name: number for number, name in enumerate(order)}
    gold, answers = ([index[label] for pair in pairs for label in pair[side] if label is not None] for side in (0, 1))
    return confusion_matrix(gold, answers, len(order))


def _entity_text(labels: WordAnswers, words: Sequence[str]) -> str:
    """The entities of a sentence: "PER Anna Adler, LOC Bonn"; by the numbers of their words, where these are not known."""
    found = []
    for kind, start, end in entities(labels):
        where = " ".join(words[start:end]) if words else f"words {start + 1} to {end}"
        found.append(f"{kind or 'entity'} {where}")
    return ", ".join(found) or NO_ENTITY


def _label_text(labels: WordAnswers, words: Sequence[str]) -> str:
    """The labels of words: "runs/VERB fast/ADV"."""
    names = words or [str(number) for number in range(1, len(labels) + 1)]
    return " ".join(f"{word}/{label}" for word, label in zip(names, labels, strict=False) if label is not None)


def has_predictions(run_dir: Path) -> bool:
    """Whether a run saved what its student answered, and its teacher, if that answers dev."""
    student, teacher = (predictions_file(run_dir, model).is_file() for model in (STUDENT, TEACHER))
    return student and (teacher or not _has_teacher(run_dir, None))


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
    return sorted(found, key=lambda row: (RIGHT[row.right or "neither"], -(row.student_probability or 0.0)))


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


def _distance(one: str | float, other: str | float | None) -> float:
    """How far two scores are from each other; 0 where there is no other."""
    return 0.0 if other is None else abs(float(one) - float(other))


def _mean_error(model: ModelAnswers) -> float:
    answers = model.answers
    return fmean(abs(own - label) for own, label in zip(answers.predictions, answers.labels, strict=True))
