"""Which columns of a file of answers hold them: those that the preset names, that `crild predict` writes, or of the classes.

Imports no numpy: checks before a run ask for the classes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from engine.data.column_names import IDS, PAIRED, TEXTS, normal
from engine.data.row_stream import RowChunk, RowReader, format_of
from engine.data.text_files import listed, shown
from engine.data.types import TaskSpec
from engine.errors import DataError
from engine.preset.schema import Teacher
from engine.preset.text import plain
from engine.preset.toml_text import inline

Form: TypeAlias = Literal["probabilities", "scores", "logits", "ranks", "label", "score"]
_PREFIXES = ("predicted_predicted_", "predicted_", "")
"""Before a name that the input of `crild predict` had already: its last one is the prediction."""
_LABEL, _SCORE = "label", "score"
_OTHERS = IDS | TEXTS | (PAIRED - {"answer"})
"""Usual names of columns that hold no answers. A question's "answer" can be its second text, and the answer to both."""
_WHOLE = re.compile(r"-?\d+\.0")


def _before_and_object(form: Form) -> tuple[str, str]:
    """What stands before a class in the name of its column, and the name of a column of objects."""
    return ("rank_", "ranks") if form == "ranks" else ("probability_", "probabilities")


@dataclass(frozen=True)
class AnswerColumn:
    """The columns with the answers: one for each output, in their order (`names`), or one with all: an object with numbers by
    class name (`nested`), or a class (`form` "label")."""

    form: Form
    names: tuple[str, ...]
    classes: tuple[str, ...]
    """The task's, in their order; none for scores."""
    nested: bool = False
    each_alone: bool = False
    """A text can have several labels: each probability is of one label alone, and they need no sum."""

    @property
    def may_lack(self) -> bool:
        """Whether an answer can leave classes out: a ranking, or an object of probabilities, which then sum to 1 without them."""
        return self.form == "ranks" or (self.form == "probabilities" and self.nested and not self.each_alone)

    def note(self, path: Path) -> str:
        """How the file was read, in a sentence."""
        where = f"column{'s' * (len(self.names) > 1)} {listed(self.names)}"
        file = plain(path.name)
        if self.form == "label":
            return (
                f"The answers of {file} are classes alone ({where}): each counts as certain, so that the logits objective "
                "learns hard labels."
            )
        return f"The answers of {file} are {'scores' if self.form == 'score' else self.form} ({where})."


def answers_path(teacher: Teacher) -> Path:
    """The file of answers. Raises DataError for an ending that is none of a table's."""
    assert teacher.answers is not None, "the teacher is a file"
    path = Path(teacher.answers)
    if format_of(path) in (None, "text"):
        sentence = "unknown file format: answers are in files that end in .csv, .tsv, .jsonl, .json or .parquet"
        raise DataError(sentence, kind="unknown-file-format", file=str(path), key="teacher.answers")
    return path


def check_answer_columns(teacher: Teacher, spec: TaskSpec) -> None:
    """Raise DataError, as `answer_columns` does, where the first rows of the file show that its columns don't fit the task."""
    path = answers_path(teacher)
    with RowReader(path, format_of(path) or "csv") as reader:
        first = next((chunk for chunk in reader.chunks() if chunk.columns), None)
    if first is not None:
        answer_columns(first, teacher, spec, path)


def answer_columns(chunk: RowChunk, teacher: Teacher, spec: TaskSpec, path: Path) -> AnswerColumn:
    """The columns of a file's answers to a task. Raises DataError where there are none, or not of every class."""
    if spec.kind == "multilabel":
        _refuse_for_several(teacher, spec, path)
        columns = _of_classes(chunk, teacher, spec, path)
        return replace(columns, each_alone=True)
    return _of_classes(chunk, teacher, spec, path)


def _refuse_for_several(teacher: Teacher, spec: TaskSpec, path: Path) -> None:
    """Raise DataError for settings that give each row one class, or shares of one, where it can have several labels."""
    own = teacher.columns
    key = "teacher.columns.label" if own is not None and own.label is not None else "teacher.values"
    if key == "teacher.columns.label" or teacher.values in ("scores", "ranks"):
        sentence = f"a text can have several labels, so each of {listed(spec.labels)} needs a probability or a logit of its own"
        raise DataError(sentence, kind="answers-of-one-class", file=str(path), key=key)


def _of_classes(chunk: RowChunk, teacher: Teacher, spec: TaskSpec, path: Path) -> AnswerColumn:
    own, names = teacher.columns, chunk.columns
    form: Form = teacher.values or "probabilities"
    if own is not None and own.label is not None:
        _check(names, [own.label], path)
        return AnswerColumn("label" if spec.labels else "score", (own.label,), spec.labels)
    if not spec.labels:
        if form == "ranks":
            sentence = "ranks are of classes, and this task has scores: leave out teacher.values"
            raise DataError(sentence, kind="ranks-of-scores", file=str(path), key="teacher.values")
        found = _first(names, (_SCORE, _LABEL))
        if found is None:
            raise _none(names, "the score: name it, --set teacher.columns.label=COLUMN", path)
        return AnswerColumn("score", (found,), ())
    if own is not None and own.classes is not None:
        if set(own.classes) != set(spec.labels):
            sentence = (
                f"teacher.columns.classes names {listed(list(own.classes))}, and the classes are {listed(spec.labels)}"
            )
            raise DataError(sentence, kind="other-classes", file=str(path), key="teacher.columns.classes")
        columns = tuple(own.classes[name] for name in spec.labels)
        _check(names, columns, path)
        return AnswerColumn(form, columns, spec.labels)
    usual, objects = _before_and_object(form)
    for prefix in _PREFIXES:
        if prefix + objects in names:
            return AnswerColumn(form, (prefix + objects,), spec.labels, nested=True)
        for before in (prefix + usual, prefix):
            there = _columns_of(spec.labels, names, before)
            if there:
                is_marked = before.endswith(usual)
                used = set(there.values())
                others = [name for name in names if is_marked and name.startswith(before) and name not in used]
                _refuse_others(there, others, spec, path)
                columns = tuple(there[name] for name in spec.labels)
                _check(names, columns, path)
                return AnswerColumn(form, columns, spec.labels)
    label = None
    if spec.kind != "multilabel" and teacher.values is None:
        label = _first(names, (_LABEL,)) or _sole_of_classes(chunk, teacher, spec.labels)
    if label is None:
        way_out = name_answers(names, teacher, spec.labels, one=spec.kind != "multilabel")
        raise _none(names, f"the answers: name {way_out}; the classes are {listed(spec.labels)}", path)
    _check(names, [label], path)
    return AnswerColumn("label", (label,), spec.labels)


def sole_column(names: Sequence[str], teacher: Teacher) -> str | None:
    """The one column that is neither a text nor an id, by usual names and by those that the preset has; None where it is not
    one alone."""
    own = teacher.columns
    named = () if own is None else (own.id, own.text, own.pair)
    others = [name for name in names if name not in named and normal(name) not in _OTHERS]
    return others[0] if len(others) == 1 else None


def _sole_of_classes(chunk: RowChunk, teacher: Teacher, classes: Sequence[str]) -> str | None:
    """`sole_column`, if its values are classes of the task."""
    name = sole_column(chunk.columns, teacher)
    if name is None:
        return None
    given = {class_name(value) for value in chunk.values(name) if value is not None} - {""}
    return name if given and given <= set(classes) else None


def name_answers(names: Sequence[str], teacher: Teacher, classes: Sequence[str], *, one: bool = True) -> str:
    """How to name the columns with the answers on the command line: that of the class if it can be `one`, or one for each."""
    label = f"teacher.columns.label={sole_column(names, teacher) or 'COLUMN'}"
    each = inline(dict.fromkeys(classes if 0 < len(classes) <= 3 else ("CLASS",), "COLUMN"))
    ways = [f"the column of the classes, --set {plain(shlex.quote(label))}"] if one and teacher.values is None else []
    return ", or ".join(
        (*ways, f"a column for each class, --set {plain(shlex.quote(f'teacher.columns.classes={each}'))}")
    )


def class_columns(names: Sequence[str], teacher: Teacher) -> tuple[dict[str, str], str | None]:
    """The column of each class by its name (`probability_CLASS`), or else the one column whose values name them: an object
    or a class; neither where nothing says so."""
    usual, objects = _before_and_object(teacher.values or "probabilities")
    own = teacher.columns
    if own is not None and own.label is not None:
        return {}, own.label
    for prefix in _PREFIXES:
        if prefix + objects in names:
            return {}, prefix + objects
        if found := [name for name in names if name.startswith(prefix + usual)]:
            return {class_name(name.removeprefix(prefix + usual)): name for name in found}, None
    return {}, None if teacher.values is not None else _first(names, (_LABEL,))


def class_name(value: Any) -> str:
    """The class that a value of a column of classes, a key of an object or the end of a column's name stands for. Whole numbers,
    true and false count as such, however a program wrote them, as in a column of labels: "1.0" is the class 1."""
    name = str(value).strip()
    if name.lower() in ("true", "false"):
        return name.lower()
    return name.removesuffix(".0") if _WHOLE.fullmatch(name) else name


def _columns_of(classes: Sequence[str], names: Sequence[str], before: str) -> dict[str, str]:
    """The column of each class that has one: by its own name, else by another way to write it (`class_name`)."""
    ends = {name: name.removeprefix(before) for name in names if name.startswith(before)}
    otherwise = {class_name(end): name for name, end in ends.items()}
    found = {name: before + name if before + name in ends else otherwise.get(name) for name in classes}
    return {name: column for name, column in found.items() if column is not None}


def _refuse_others(there: Mapping[str, str], others: Sequence[str], spec: TaskSpec, path: Path) -> None:
    """Raise DataError where only some of the classes have a column, or a class that the task lacks has one."""
    lacking = [name for name in spec.labels if name not in there]
    if lacking or others:
        has = f"column {shown(others[0])} is of none" if others else f"the class {listed(lacking)} has no column"
        sentence = (
            f"{has}; the classes are {listed(spec.labels)}, and every one needs a column, and no other: rename the columns, or "
            'name them all, as teacher.columns = { classes = { CLASS = "COLUMN" } }'
        )
        raise DataError(sentence, kind="other-classes", file=str(path), key="teacher.columns.classes")


def _first(names: Sequence[str], usual: Sequence[str]) -> str | None:
    return next((prefix + name for prefix in _PREFIXES for name in usual if prefix + name in names), None)


def _check(names: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    for name in wanted:
        if names.count(name) != 1:
            what = "there is no column" if name not in names else "two columns are named"
            sentence = f"{what} {shown(name)}; the columns are {listed(names)}"
            raise DataError(sentence, kind="no-such-column", file=str(path), key="teacher.columns")


def _none(names: Sequence[str], what: str, path: Path) -> DataError:
    sentence = f"it is unclear which column has {what}; the columns are {listed(names)}"
    return DataError(sentence, kind="no-answer-column", file=str(path), key="teacher.columns.label")
