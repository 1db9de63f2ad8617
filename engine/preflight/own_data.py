"""Fill in what a preset leaves open about the user's own data, before a run exists: its preset is complete then."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import CrildError, DataError, ModelError
from engine.models.problem_types import teacher_without_head
from engine.preset.load import Loaded
from engine.preset.shipped import folder
from engine.preset.text import plain, shown
from engine.record.paths import runs_dir

if TYPE_CHECKING:
    from engine.preset.schema import Task, Teacher

_CLASS_NAMES = """--set 'task.class_names=["one", "other"]'"""


def completed(loaded: Loaded) -> Loaded:
    """The preset with the columns, kind and share of dev of its custom task, and notes about what was recognised.

    Raises DataError where the data can be read in more than one way, or in none.
    """
    task, notes = recognised_task(loaded, loaded.preset.task)
    if task is loaded.preset.task:
        return loaded
    return replace(loaded, preset=loaded.preset.model_copy(update={"task": task}), notes=notes)


@dataclass(frozen=True)
class TextsAlone:
    """Training rows without labels that no run can be made of yet, and why."""

    loaded: Loaded
    """The preset, whose task names the columns of the texts."""
    missing: tuple[str, ...]
    """What has to be added, as sentences without a full stop."""


def texts_alone(loaded: Loaded, error: CrildError) -> TextsAlone | None:
    """What can be looked at where `completed` raised an error; None where the training file has labels, as far as is clear.

    Raises DataError where it is unclear which columns are the texts.
    """
    from engine.data.missing_labels import unlabelled_texts

    task = loaded.preset.task
    columns = unlabelled_texts(task)
    if columns is None or task.files is None:
        return None
    from engine.preset.schema import Columns

    text, pair = columns
    own = {} if task.columns is None else task.columns.model_dump(exclude_unset=True)
    named = task.model_copy(update={"columns": Columns(**{**own, "text": text, "pair": pair})})
    what = f"{shown(text)} is the text" if pair is None else f"{shown(text)} and {shown(pair)} are the two texts"
    note = f"{plain(Path(task.files.train).name)}: {what}; the rows have no labels."
    preset = loaded.preset.model_copy(update={"task": named})
    return TextsAlone(replace(loaded, preset=preset, notes=(note,)), tuple(_missing(loaded)) or (error.sentence,))


def _missing(loaded: Loaded) -> Iterator[str]:
    """What a run on training rows without labels lacks."""
    task, teacher = loaded.preset.task, loaded.preset.teacher
    if task.files is not None and task.files.dev is None:
        yield "a few hundred rows with labels in a file of their own, to measure the student: --set task.files.dev=FILE"
    if teacher.model == "scratch" or teacher.finetune is not None:
        if _knows_classes(teacher):
            yield f"--set teacher.finetune=false: the teacher {plain(teacher.named)} knows its classes already"
            return
        yield (
            "a teacher that knows the task already, --set teacher.model=MODEL --set teacher.finetune=false, or a file of its "
            "answers, --set teacher.answers=FILE --set student.init=MODEL"
        )
        return
    if teacher.answers is not None and not Path(teacher.answers).is_file():
        yield "a file of the teacher's answers: --set teacher.answers=FILE"
    elif task.class_names is None:
        try:
            _classes_of(teacher, task.display_name)
        except CrildError as error:
            yield str(error)


def _knows_classes(teacher: Teacher) -> bool:
    """Whether a model is a classifier whose config names its classes, as far as is known on this machine."""
    from engine.preflight.model_facts import model_facts

    try:
        facts = None if teacher.model in (None, "scratch") else model_facts(teacher.named, teacher.revision)
    except ModelError:
        return False  # reported as a problem of the model
    return facts is not None and facts.labels is not None and facts.has_head("classification")


def _lacking(loaded: Loaded) -> str:
    """What a run on training rows without labels lacks, as the end of a sentence. Where nothing else does, it is the classes:
    with these, a column that could hold labels is not read."""
    return ", and ".join(_missing(loaded)) or f"the classes, {_CLASS_NAMES}"


def recognised_task(loaded: Loaded, task: Task) -> tuple[Task, tuple[str, ...]]:
    """A task of a preset with what it leaves open, and sentences about that. Raises DataError as `completed`."""
    if task.name != "custom" or task.files is None:
        return task, ()
    from engine.data.recognition import recognised  # not for every preset: importing takes 30 ms

    is_own, teacher = task is loaded.preset.task, loaded.preset.teacher
    named = teacher.model != "scratch" and teacher.finetune is None
    classes = partial(_classes_of, teacher, task.display_name) if is_own and named else None
    lacking = partial(_lacking, loaded) if is_own else None
    found = recognised(task, by_name_alone=loaded.names_data and is_own, classes=classes, lacking=lacking)
    return found.task, found.notes


def refuse_unnamed_answers(teacher: Teacher) -> None:
    """Raise DataError where the file of answers is the example of a shipped preset, so that the user has named none."""
    answers = teacher.answers
    if answers is not None and Path(answers).parent == folder() and not Path(answers).exists():
        sentence = "name your file of answers: --set teacher.answers=FILE"
        raise DataError(sentence, kind="answers-not-named", key="teacher.answers")


def _classes_of(teacher: Teacher, task: str) -> tuple[str, Sequence[str]]:
    """What the teacher of a task is called, and the classes that it knows. Raises DataError and ModelError where it doesn't name
    them."""
    refuse_unnamed_answers(teacher)
    if teacher.answers is not None:
        from engine.data.answer_classes import answer_classes

        try:
            return Path(teacher.answers).name, answer_classes(teacher)
        except DataError as error:
            key = error.key or "teacher.answers"
            raise DataError(error.sentence, kind=error.kind, file=error.file, line=error.line, key=key) from None
    from engine.preflight.model_facts import model_facts

    facts = model_facts(teacher.named, teacher.revision)
    if facts is not None and not facts.has_head("classification"):
        file = plain(str(facts.folder / "config.json"))
        sentence = teacher_without_head(teacher.named, task)
        raise ModelError(sentence, kind="teacher-without-head", file=file, key="teacher.model")
    if teacher.labels is not None:
        return "teacher.labels", teacher.labels
    if facts is None and (run := runs_dir() / teacher.named).joinpath("status.json").is_file():
        sentence = (
            f"the teacher {plain(teacher.named)} is not on this machine; did you mean {plain(os.path.relpath(run))}?"
        )
        raise ModelError(sentence, kind="run-without-folder", key="teacher.model")
    if facts is None or facts.labels is None or len(facts.labels) < 2 or not all(facts.labels):
        why = "is not on this machine" if facts is None else "doesn't name its classes"
        sentence = (
            f"the training rows have no labels, and the teacher {plain(teacher.named)} {why}: name the classes, "
            f"{_CLASS_NAMES}"
        )
        raise DataError(sentence, kind="no-class-names", key="task.class_names")
    return Path(teacher.named).name, facts.labels
