"""Going on with a run: which changes it can still take, and taking them. Used by the command line and the dashboard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.runs.states import check_possible, command_hints
from engine.errors import PresetError, UsageError

if TYPE_CHECKING:
    from engine.record.run import RunEntry


def prepare(run_dir: Path, changes: Sequence[str]) -> RunEntry:
    """Check that a run can go on with these `--set` items, and write them into its preset; returns the run as it was.

    Raises UsageError or PresetError, and changes nothing, when it cannot.
    """
    from engine.record.run import read_run

    entry = read_run(run_dir)
    extends = any(_lengthens(change) for change in changes)
    check_possible(entry, "extend" if extends else "resume", command_hints(run_dir))
    _check(run_dir, changes)
    if changes:
        rewrite(run_dir, changes)
    return entry


def _check(run_dir: Path, changes: Sequence[str]) -> None:
    """Raise what can be seen to be wrong with the run's preset as it stands now, before anything of the run changes."""
    from crild_tui.runs.create import check_device_of
    from engine.launch.resume_check import incompatible_changes, run_progress
    from engine.preflight.check import check
    from engine.preset.load import load_preset
    from engine.record.paths import PRESET

    _only_changeable(run_dir, changes)
    loaded = load_preset([str(run_dir / PRESET)], changes)
    there = run_progress(run_dir)
    if there is not None and (unfit := incompatible_changes(there, loaded.preset.document())):
        raise PresetError([loaded.problem(UsageError, key, sentence) for key, sentence in unfit])
    check(loaded)
    check_device_of(loaded)


def _only_changeable(run_dir: Path, changes: Sequence[str]) -> None:
    """Raise UsageError for a `--set` of a key that a run cannot change any more."""
    from engine.launch.resume_check import CHANGEABLE
    from engine.record.paths import PRESET

    for change in changes:
        if "=" in change and not CHANGEABLE.fullmatch(_key(change)):
            raise UsageError(
                f"a run that was begun cannot change {_key(change)}: what it computed so far would no longer fit. "
                "It can change epochs, steps, evaluate, patience and keep_best of stages, and under train device, "
                "evaluate, evaluate_train, log_every and what checkpoints are kept. For anything else start a new run: "
                f"crild run {run_dir / PRESET} --set '{change}'"
            )


def _lengthens(change: str) -> bool:
    return re.fullmatch(r"(stage\.[^.]+|train)\.(epochs|steps)", _key(change)) is not None


def _key(change: str) -> str:
    return change.partition("=")[0].strip()


def rewrite(run_dir: Path, changes: Sequence[str]) -> None:
    """Apply `--set` items to the preset of a run. Raises UsageError for a key that a run cannot change any more."""
    from engine.preset.load import load_preset
    from engine.preset.write import dump
    from engine.record.files import cause, write_atomic
    from engine.record.lock import RunLock
    from engine.record.paths import PRESET

    _only_changeable(run_dir, changes)
    with RunLock(run_dir) as lock:
        lock.take()
        loaded = load_preset([str(run_dir / PRESET)], changes)
        try:
            write_atomic(run_dir / PRESET, dump(loaded.preset))
        except OSError as error:
            raise UsageError(
                f"the run's preset cannot be changed: {cause(error)}", file=str(run_dir / PRESET)
            ) from error
