"""Fill in what a preset leaves open about the user's own data, before a run exists: its preset is complete then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.preset.load import Loaded

if TYPE_CHECKING:
    from engine.preset.schema import Task


def completed(loaded: Loaded) -> Loaded:
    """The preset with the columns, kind and share of dev of its custom task, and notes about what was recognised.

    Raises DataError where the data can be read in more than one way, or in none.
    """
    task, notes = recognised_task(loaded, loaded.preset.task)
    if task is loaded.preset.task:
        return loaded
    return replace(loaded, preset=loaded.preset.model_copy(update={"task": task}), notes=notes)


def recognised_task(loaded: Loaded, task: Task) -> tuple[Task, tuple[str, ...]]:
    """A task of a preset with what it leaves open, and sentences about that. Raises DataError as `completed`."""
    if task.name != "custom" or task.files is None:
        return task, ()
    from engine.data.recognition import recognised  # not for every preset: importing takes 30 ms

    found = recognised(task, by_name_alone=loaded.names_data and task is loaded.preset.task)
    return found.task, found.notes
