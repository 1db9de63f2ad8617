"""Check the data files of a preset from their heads: do they exist, and have they the columns that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from engine.errors import CrildError, DataError, UsageError
from engine.preflight.own_data import recognised_task, refuse_unnamed_answers
from engine.preset.load import Loaded
from engine.preset.names import GLUE_TASKS
from engine.preset.rules import of_task, of_unlabelled
from engine.preset.schema import Corpus, OtherTask, Task, UnlabelledFiles
from engine.preset.source_names import is_corpus_path
from engine.preset.text import plain


def data_problems(loaded: Loaded) -> Iterator[CrildError]:
    """Everything that is wrong with the data of a preset, as far as the heads of its files show, each problem once: the classes of
    rows without labels come from the file of answers, which is checked itself too."""
    yield from {str(problem): problem for problem in _problems_of_data(loaded)}.values()


def _problems_of_data(loaded: Loaded) -> Iterator[CrildError]:
    yield from _task_problems(loaded, loaded.preset.task, "task")
    yield from _weight_problems(loaded)
    yield from answer_problems(loaded)
    for stage in loaded.preset.stage:
        key = f"stage.{stage.name}.data"
        if isinstance(stage.data, OtherTask):
            yield from _task_problems(loaded, stage.data.task, f"{key}.task")
        elif isinstance(stage.data, Corpus) and is_corpus_path(stage.data.corpus):
            from engine.data.text_files import check_corpus  # not for every preset: importing takes 30 ms

            yield from _problems(loaded, f"{key}.corpus", partial(check_corpus, Path(stage.data.corpus)))
        elif isinstance(stage.data, UnlabelledFiles):
            yield from _problems(loaded, f"{key}.files", partial(_check_unlabelled, loaded, stage.data))


def _check_unlabelled(loaded: Loaded, source: UnlabelledFiles) -> None:
    from engine.data.unlabelled_files import check_unlabelled

    try:
        task = recognised_task(loaded, loaded.preset.task)[0]
    except DataError:
        return  # reported as a problem of the task
    check_unlabelled(source, task)


def _task_problems(loaded: Loaded, task: Task, key: str) -> Iterator[CrildError]:
    if task.name in GLUE_TASKS and task.source != "hub":
        from engine.data.glue import check_glue

        yield from _problems(loaded, f"{key}.source", partial(check_glue, task.name, Path(task.source)))
    if task.name == "custom" and task.files is not None:
        from engine.data.files import check_table

        whole: list[Task] = []
        yield from _problems(loaded, f"{key}.files.train", lambda: whole.append(recognised_task(loaded, task)[0]))
        if whole and whole[0].class_names is not None and task.class_names is None:
            yield from _label_problems(loaded, whole[0])
        for split, path in task.files.splits().items():
            if split != "train" or whole:
                wanted = whole[0].columns_of(split) if whole else task.columns.names() if task.columns else []
                yield from _problems(loaded, f"{key}.files.{split}", partial(check_table, Path(path), wanted))


def _label_problems(loaded: Loaded, task: Task) -> Iterator[CrildError]:
    """What learns from labels, where the training file turned out to have none."""
    preset = loaded.preset.model_copy(update={"task": task})
    for keys, sentence, kind in of_unlabelled(preset, [stage.name for stage in preset.stage]):
        yield loaded.problem(UsageError, keys[0], sentence, kind=kind)
    for keys, sentence, kind in of_task(task):
        yield loaded.problem(UsageError, f"task.{keys[0]}", sentence, kind=kind)


def answer_problems(loaded: Loaded) -> Iterator[CrildError]:
    """A file of answers that is not named, is missing, lacks a column that the preset names, or has none that fit the task."""
    teacher = loaded.preset.teacher
    if teacher.answers is not None:
        own = teacher.columns
        classes = [] if own is None or own.classes is None else own.classes.values()
        named = [] if own is None else [own.id, own.text, own.pair, own.label, *classes]
        columns = [name for name in dict.fromkeys(named) if name is not None]
        problems = list(_problems(loaded, "teacher.answers", partial(_check_answers, loaded, columns)))
        yield from problems or _problems(loaded, "teacher.answers", partial(_check_answer_columns, loaded))


def _check_answers(loaded: Loaded, columns: Sequence[str]) -> None:
    from engine.data.files import check_table

    refuse_unnamed_answers(loaded.preset.teacher)
    assert loaded.preset.teacher.answers is not None, "the teacher is a file"
    check_table(Path(loaded.preset.teacher.answers), columns)


def _check_answer_columns(loaded: Loaded) -> None:
    """Raise DataError where a file of answers doesn't fit the classes, as far as they are known before the rows are read."""
    from engine.data.answer_columns import check_answer_columns
    from engine.data.tasks import GLUE
    from engine.data.types import TaskSpec

    try:
        task = recognised_task(loaded, loaded.preset.task)[0]
    except CrildError:
        return  # reported as a problem of the task
    if task.name in GLUE:
        check_answer_columns(loaded.preset.teacher, GLUE[task.name].spec)
    elif task.kind == "regression" or task.class_names is not None:
        spec = TaskSpec(
            task.display_name, task.kind or "classification", tuple(task.class_names or ()), (), is_pair=False
        )
        check_answer_columns(loaded.preset.teacher, spec)


def _weight_problems(loaded: Loaded) -> Iterator[CrildError]:
    """Class weights that don't fit a GLUE task; the classes of other tasks are known once their rows are read."""
    setting, task = loaded.preset.train.class_weights, loaded.preset.task.name
    if setting is None or task not in GLUE_TASKS:
        return
    from engine.data.class_weights import class_weight_problem
    from engine.data.tasks import GLUE

    found = class_weight_problem(setting, GLUE[task].spec)
    if found is not None:
        yield CrildError(found.sentence + loaded.set_in("train.class_weights"), kind=found.kind, key=found.key)


def _problems(loaded: Loaded, key: str, check: Callable[[], None]) -> Iterator[CrildError]:
    """What a check raises, with the key of the run's own task that decides, else the one that names the file, and where that
    was set, unless the file itself was named."""
    try:
        check()
    except DataError as error:
        table = (error.key or "").partition(".")[0]
        own = error.key if error.key is not None and table in (key.partition(".")[0], "teacher") else key
        sentence = error.sentence + ("" if loaded.names_data else loaded.set_in(own if table == "teacher" else key))
        yield DataError(sentence, kind=error.kind, file=plain(error.file or ""), line=error.line, key=own)
