"""Chains of runs (`crild run ... --then ...`): the student of each starts as the student of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.runs.create import RunRequest, create_run_of, data_alone, discard_runs, method_of

if TYPE_CHECKING:
    from engine.preset.load import Loaded
    from engine.preset.schema import Preset


def requests(first: RunRequest, then: Sequence[str]) -> list[RunRequest]:
    """A request for each run of a chain: the first one's, then one for each item of `then`.

    An item names presets, separated by commas. If they only name the data, the methods of the run before come first. The
    settings are those of the first run, a name gets the run's number in the chain.

    Raises as reading a preset does.
    """
    made = [first]
    for number, item in enumerate(then, 2):
        presets = tuple(word.strip() for word in item.split(","))
        methods = [ref for ref in made[-1].presets if not data_alone([ref])]
        name = None if first.name is None else f"{first.name}-{number}"
        made.append(replace(first, presets=(*(methods if data_alone(presets) else ()), *presets), name=name))
    return made


def create_chains(chain: Sequence[RunRequest], loaded: Sequence[Sequence[Loaded]]) -> list[Path]:
    """Create the run directories of a chain for each seed, in the order in which they are to run; if one fails, none is left.

    Args:
        chain: the requests.
        loaded: the presets of each of them, by seed.
    """
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


def started_from(preset: Preset, run_dir: Path) -> Preset:
    """The preset with a student that is that of a run, all of its layers, whenever the run has finished."""
    from engine.preset.schema import Student

    return preset.model_copy(update={"student": Student(init=str(run_dir.absolute()))})
