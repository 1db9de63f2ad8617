"""Chains of runs (`crild run ... --then ...`): the student of each starts as the student of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.runs.create import (
    RunRequest,
    create_run_of,
    data_alone,
    discard_runs,
    method_of,
    names_task,
    task_refs,
)
from engine.errors import UsageError
from engine.preset.text import listed, plain, shown

if TYPE_CHECKING:
    from engine.preset.load import Loaded
    from engine.preset.schema import Preset
    from engine.user.consent import Consent


def requests(first: RunRequest, then: Sequence[str]) -> list[RunRequest]:
    """A request for each run of a chain: the first one's, then one for each item of `then`.

    An item names presets, separated by commas. If they only name the data, the methods of the run before come first; if they
    name no task, that of the run before comes last. The settings are those of the first run, a name gets the run's number in
    the chain.

    Raises as reading a preset does, and UsageError where the task of the run before is part of its method.
    """
    made = [first]
    for number, item in enumerate(then, 2):
        presets = tuple(word.strip() for word in item.split(","))
        methods = [ref for ref in made[-1].presets if not data_alone([ref])]
        own = (*(methods if data_alone(presets) else ()), *presets)
        if not names_task(own) and names_task(made[-1].presets):
            own = (*own, *_task_before(item, made[-1].presets))
        made.append(replace(first, presets=own, name=name_in_chain(first.name, number)))
    return made


def _task_before(item: str, before: Sequence[str]) -> list[str]:
    """What sets the task of the run before. Raises UsageError where nothing does that alone."""
    refs = task_refs(before)
    if not names_task(refs):
        sentence = (
            f"{shown(item)} names no task, and that of the run before is part of {listed(map(shown, before), 'and')}: name a task or "
            f"your data as well, as in `--then {plain(item)},rte`"
        )
        raise UsageError(sentence, kind="no-task-after", key="--then")
    return refs


def name_in_chain(name: str | None, number: int) -> str | None:
    """What begins the id of a run of a chain, counted from 1."""
    return name if name is None or number == 1 else f"{name}-{number}"


def create_chains(chain: Sequence[RunRequest], loaded: Sequence[Sequence[Loaded]]) -> list[Path]:
    """Create the run directories of a chain for each seed, in the order in which they are to run; if one fails, none is left.

    Args:
        chain: the requests.
        loaded: the presets of each of them, by seed.

    Raises UsageError where a later run would fail, because its teacher reads other tokens than the student.
    """
    from engine.preflight.models import chain_problem

    for later in loaded[1:]:
        if (problem := chain_problem(loaded[0][0], later[0])) is not None:
            raise problem
    created: list[Path] = []
    try:
        for of_seed in zip(*loaded, strict=True):
            before: Loaded | None = None
            for request, one in zip(chain, of_seed, strict=True):
                if before is None:
                    run_dir = create_run_of(request, one.preset)
                else:
                    method = f"{method_of(request.presets)}+after-{before.preset.task.display_name.replace(' ', '-')}"
                    run_dir = create_run_of(request, started_from(one.preset, created[-1]), method=method)
                created.append(run_dir)
                before = one
    except BaseException:
        discard_runs(created)
        raise
    return created


def start_queue(runs: Sequence[Path], consent: Consent, *, chain: int) -> str:
    """Start the queue of runs that were just created, each `chain` of them one chain, and discard them if that fails; returns the
    queue's id. Raises CrildError."""
    from engine.errors import CrildError
    from engine.sweep.queue import enqueue

    try:
        return enqueue(runs, chain=chain, consent=consent)
    except CrildError:
        discard_runs(runs)  # without a queue nothing would ever start them
        raise


def as_planned(loaded: Sequence[Sequence[Loaded]]) -> list[list[Loaded]]:
    """The presets of a chain, by run and seed, as they can be planned before any of its students exists: all students have the shape
    of the first."""
    return [
        [
            replace(one, preset=one.preset.model_copy(update={"student": first.preset.student}))
            for one, first in zip(of_run, loaded[0], strict=True)
        ]
        for of_run in loaded
    ]


def started_from(preset: Preset, run_dir: Path) -> Preset:
    """The preset with a student that is that of a run, all of its layers, whenever the run has finished."""
    from engine.preset.schema import Student

    return preset.model_copy(update={"student": Student(init=str(run_dir.absolute()))})
