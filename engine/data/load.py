"""Load the examples of a preset's task or corpus from its source, then apply subset and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.data.corpus import load_corpus
from engine.data.dev_split import draw_holdout
from engine.data.examples import Examples
from engine.data.hub import resolve_revision
from engine.data.stored_rows import stored_task
from engine.data.subset import few_samples, noisy_labels
from engine.data.types import Example, TaskData
from engine.errors import DataError
from engine.preset.kinds import WORD_LABELS, Kind
from engine.record.phases import Report, unreported

if TYPE_CHECKING:
    from engine.data.findings import Finding
    from engine.preset.schema import Corpus, OtherTask, Task, TaskCopies, UnlabelledFiles

_OF_ALL_ROWS = ("files", "source", "revision", "max_length", "examples", "label_noise", "holdout", "measure_holdout")
"""Settings of a custom task that don't decide what its files hold."""

__all__ = ["StageInputs", "inputs_for", "load_corpus", "load_task", "resolve_revision", "source_name"]


class StageInputs(NamedTuple):
    """The training inputs of a stage."""

    rows: Sequence[Example]
    findings: tuple[Finding, ...] = ()
    of_task: int = 0
    """How many of them, the last ones, are rows of the task beside rows of files."""


def load_task(task: Task, *, report: Report = unreported) -> TaskData:
    """Load a preset's task: a GLUE task from the hub or a folder, a built-in task, or the user's files.

    Rows to set aside, few-sample subset and label noise are drawn with `task.data_seed`, in this order, and only from
    training rows; notes say so. `report` is called while rows are read. Raises DataError.
    """
    data = _source(task, report)
    if task.title is not None:
        data = replace(data, spec=replace(data.spec, name=task.title))
    if task.holdout is not None:
        data = _held_out(data, task.holdout, task.data_seed, measure=bool(task.measure_holdout))
    if task.examples is not None:
        data = _subset(data, task.examples, task.data_seed)
    if task.label_noise > 0:
        data = _noise(data, task.label_noise, task.data_seed)
    return data


def inputs_for(
    source: Literal["task"] | Corpus | OtherTask | UnlabelledFiles | TaskCopies,
    task: Task,
    data: TaskData,
    *,
    report: Report = unreported,
) -> StageInputs:
    """The training inputs of a stage: from the run's task with labels, from a corpus, another task or unlabelled files without.

    `source` is the preset's `stage.data`, whose copies (`augment`) are not made here; `task` the run's task, whose `data_seed` counts (another task has its own), and
    `data` what it holds.
    """
    from engine.preset.schema import Corpus, OtherTask, TaskCopies

    if source == "task":
        return StageInputs(data.train)
    if isinstance(source, TaskCopies):
        return StageInputs(Examples.of(data.train).unlabelled())
    if isinstance(source, Corpus):
        return StageInputs(load_corpus(source, task.data_seed, report=report))
    if isinstance(source, OtherTask):
        return StageInputs(Examples.of(load_task(source.task, report=report).train).unlabelled())
    from engine.data.unlabelled import unlabelled_inputs

    return StageInputs(*unlabelled_inputs(source, task, data, report=report))


def source_name(task: Task, split: str) -> str:
    """What errors call the examples of a split: their file, if they are the user's own."""
    if task.files is not None:
        return Path(task.files.source(split)).name
    return f"the {split} examples of {task.name}"


def _source(task: Task, report: Report) -> TaskData:
    from engine.data.tasks import GLUE

    if task.name == "custom":
        from engine.data.custom import load_custom

        files = {} if task.files is None else task.files.splits()
        settings = {**task.model_dump(mode="json", exclude=set(_OF_ALL_ROWS)), "splits": list(files)}
        return stored_task(
            [Path(path) for path in files.values()], settings, partial(load_custom, task, report=report), report
        )
    if task.name not in GLUE:
        from engine.data.toy import toy_task

        return toy_task(task.name)
    if task.source == "hub":
        from engine.data.hub import load_hub

        return load_hub(task, report=report)
    from engine.data.glue import glue_files, load_glue

    source = Path(task.source)
    load = partial(load_glue, task.name, source, report=report)
    return stored_task(glue_files(task.name, source), {"name": task.name}, load, report)


def _held_out(data: TaskData, part: float, seed: int, *, measure: bool) -> TaskData:
    rows = len(data.train)
    if part >= rows:
        sentence = f"task.holdout sets {part:,.0f} training rows aside, but {data.spec.name} has {rows:,}"
        raise DataError(sentence, kind="too-few-rows-for-holdout", key="task.holdout")
    train, aside = draw_holdout(data.train, part if part < 1 else part / rows, data.spec, seed)
    use = "measured as the test set when training has ended" if measure else "not used"
    note = f"Set {len(aside):,} of {rows:,} training rows aside, drawn with data_seed {seed}: they are {use}."
    return replace(data, train=train, notes=(*data.notes, note), test=aside if measure else data.test)


def _subset(data: TaskData, count: int, seed: int) -> TaskData:
    rows = len(data.train)
    if count > rows:
        sentence = f"task.examples asks for {count:,} training examples, but {data.spec.name} has {rows:,}"
        raise DataError(sentence, kind="too-few-examples", key="task.examples")
    train = few_samples(data.train, count, seed)
    note = f"Using {count:,} of {rows:,} training examples, drawn with data_seed {seed}."
    return replace(data, train=train, notes=(*data.notes, note))


_NOISE: Mapping[Kind, str] = {
    "classification": "another class",
    "multilabel": "another example's labels",
    "regression": "another example's score",
}


def _noise(data: TaskData, share: float, seed: int) -> TaskData:
    if data.spec.kind == WORD_LABELS:
        raise DataError(
            "label_noise is not defined for labels of words", kind="noise-in-word-labels", key="task.label_noise"
        )
    train, count = noisy_labels(data.train, share, data.spec, seed)
    source = _NOISE[data.spec.kind]
    note = f"Replaced {count:,} of {len(train):,} training labels with {source}, drawn with data_seed {seed}."
    return replace(data, train=train, notes=(*data.notes, note))
