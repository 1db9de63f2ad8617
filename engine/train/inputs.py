"""What a run reads, by content: recorded when it starts training, compared whenever it is used again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.data.content import rows_hash
from engine.data.tasks import GLUE, HUB_DATASET
from engine.data.tokens import tokenizer_hash
from engine.data.types import Example, TaskData
from engine.errors import DataError, RunError
from engine.models.load import LoadedModel
from engine.preset.schema import Corpus, OtherTask, Task, TaskCopies, UnlabelledFiles
from engine.preset.text import listed, plain
from engine.record.inputs import (
    ChangedInput,
    InputModel,
    InputRows,
    RunInputs,
    changed_inputs,
    read_inputs,
    write_inputs,
)
from engine.record.paths import PRESET
from engine.train.materials import Materials

UNRECORDED = (
    "an earlier version of crild started this run without recording hashes of its data and models, so it is unknown "
    "whether they have changed since; they are recorded now"
)
"""The warning when such a run resumes."""


def inputs_of(materials: Materials, stage_rows: Mapping[str, Sequence[Example]]) -> RunInputs:
    """The inputs of a run as they are now; `stage_rows` holds the rows of stages that have their own data.

    Call it before the teacher is fine-tuned: its weights count as loaded.
    """
    preset, data, loaded = materials.preset, materials.data, materials.loaded
    sources = {stage.name: _source_of_stage(stage.data, preset.task) for stage in preset.stage if stage.data != "task"}
    teacher, init, answers = preset.teacher, _at(preset.student.init, preset.student.revision), materials.answers
    train, dev = task_data(preset.task, data)
    stages = {name: InputRows(sources[name], len(rows), rows_hash(rows)) for name, rows in stage_rows.items()}
    if answers is not None:
        given = InputRows(answers.source, answers.rows, answers.content())
        own = None if init == "scratch" else _model(loaded, init, materials.teacher_hash)
        return RunInputs(train, dev, None, own, stages, given)
    assert teacher.model is not None, "a teacher without answers is a model"
    initial = materials.initial
    return RunInputs(
        train,
        dev,
        _model(loaded, _at(teacher.model, teacher.revision), materials.teacher_hash),
        None if initial is None else InputModel(init, initial.weights, tokenizer_hash(initial.tokenizer)),
        stages,
        others={other.key: _model(other.loaded, other.source, other.content) for other in materials.others},
    )


def check_inputs(run_dir: Path, inputs: RunInputs, *, resumed: bool, changed_stages: Sequence[str] = ()) -> str | None:
    """Compare a run's inputs with its record and write the record if it has none; returns a warning, if there is one.

    A run that is not `resumed` has computed nothing so far: its present inputs are recorded. `changed_stages` are those
    whose checkpoints were trained on other inputs. Raises DataError when an input has changed since the run started,
    RunError when a newer crild wrote the record, or it cannot be written.
    """
    before, warning = None, None
    if resumed:
        try:
            before = read_inputs(run_dir)
            warning = UNRECORDED if before is None else None
        except RunError as error:
            if error.kind == "newer-record":
                raise
            warning = f"{error}; it is unknown whether data and models have changed since, and they are recorded again"
        changes = () if before is None else changed_inputs(before, inputs)
        if changes or changed_stages:
            raise inputs_changed(changes or [f"the inputs of stage {name}" for name in changed_stages], run_dir)
    if before is None:
        write_inputs(run_dir, inputs)
    return warning


def inputs_changed(changes: Sequence[ChangedInput | str], run_dir: Path) -> DataError:
    """The error for a run whose inputs are not those that it started with; a text stands for what has no record."""
    first = changes[0]
    return DataError(
        f"{listed((plain(str(change)) for change in changes), 'and')} changed since this run started, so its results would "
        "mix old and new. Restore what changed and resume, or start a new run: "
        f"crild run {plain(shlex.quote(str(run_dir / PRESET)))}",
        kind="inputs-changed",
        file=first.source if isinstance(first, ChangedInput) else None,
    )


def changed_data(recorded: RunInputs | None, task: Task, data: TaskData) -> tuple[ChangedInput, ...]:
    """Which of the training rows and dev sets are not those that a run recorded; none where it recorded nothing."""
    if recorded is None:
        return ()
    train, dev = task_data(task, data)
    return changed_inputs(recorded, replace(recorded, train=train, dev=dev))


def task_data(task: Task, data: TaskData) -> tuple[InputRows, dict[str, InputRows]]:
    """The training rows of a task, its dev sets and its test set."""
    dev = {split: _rows(task, rows, data.spec.labels, split) for split, rows in data.measured.items()}
    return _rows(task, data.train, data.spec.labels, "train"), dev


def _rows(task: Task, rows: Sequence[Example], labels: Sequence[str], split: str) -> InputRows:
    return InputRows(_source_of_task(task, split), len(rows), rows_hash(rows, labels))


def _model(loaded: LoadedModel, source: str, weights: str) -> InputModel:
    return InputModel(source, weights, tokenizer_hash(loaded.tokenizer))


def _source_of_task(task: Task, split: str) -> str:
    """Where the rows of a split are read from."""
    if task.files is not None:
        return task.files.source(split)
    if task.name not in GLUE:
        return f"the built-in task {task.name}"
    return _at(f"{HUB_DATASET} ({task.name})", task.revision) if task.source == "hub" else task.source


def _source_of_stage(data: Corpus | OtherTask | UnlabelledFiles | TaskCopies, task: Task) -> str:
    if isinstance(data, TaskCopies):
        return _source_of_task(task, "train")
    if isinstance(data, UnlabelledFiles):
        more = f" and {len(data.files) - 1:,} more" if len(data.files) > 1 else ""
        return f"{data.files[0]}{more}"
    return _at(data.corpus, data.revision) if isinstance(data, Corpus) else _source_of_task(data.task, "train")


def _at(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name} at {revision}"
