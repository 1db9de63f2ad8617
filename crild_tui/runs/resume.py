"""Resume a run: check which settings may still change, and write them into its preset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.runs.states import check_possible, command_hints
from engine.errors import PresetError, UsageError

if TYPE_CHECKING:
    from engine.record.run import RunEntry
    from engine.user.consent import Consent


def prepare(run_dir: Path, changes: Sequence[str], *, trust: bool = False) -> tuple[RunEntry, Consent]:
    """Check that a run can resume with these `--set` items, and write them into its preset.

    `trust` is whether the user lets code that comes with its models run. Returns the run as it was, and the consent for
    its engine. Raises UsageError, PresetError, RunError or OwnCodeError, and changes nothing, if it cannot resume.
    """
    from engine.record.inventory import refuse_links
    from engine.record.run import read_run

    entry = read_run(run_dir)
    refuse_links(run_dir)
    extends = any(_lengthens(change) for change in changes)
    check_possible(entry, "extend" if extends else "resume", command_hints(run_dir))
    consent = _check(run_dir, changes, trust=trust)
    if changes:
        rewrite(run_dir, changes)
    return entry, consent


def _check(run_dir: Path, changes: Sequence[str], *, trust: bool) -> Consent:
    """Raise for mistakes in the run's preset with the changes, before anything of the run changes; returns the consent."""
    from crild_tui.runs.create import check_device_of
    from engine.launch.resume_check import incompatible_changes, run_progress
    from engine.preflight.check import check
    from engine.preset.load import load_run_preset
    from engine.user.consent import consent_to

    _only_changeable(run_dir, changes)
    loaded = load_run_preset(run_dir, changes)
    progress = run_progress(run_dir)
    if progress is not None and (unfit := incompatible_changes(progress, loaded.preset.document())):
        raise PresetError(
            [loaded.problem(UsageError, key, sentence, kind="incompatible-change") for key, sentence in unfit]
        )
    consent = consent_to([loaded.preset], trust=trust)
    check(loaded, consent)
    check_device_of(loaded)
    return consent


def _only_changeable(run_dir: Path, changes: Sequence[str]) -> None:
    """Raise UsageError for a `--set` of a key that can no longer change."""
    from engine.launch.resume_check import CHANGEABLE
    from engine.record.paths import PRESET

    for change in changes:
        if "=" in change and not CHANGEABLE.fullmatch(_key(change)):
            raise UsageError(
                f"{_key(change)} cannot change once a run has started: what was computed so far would no longer fit. "
                "Still allowed: epochs, steps, evaluate, patience and keep_best of stages; device, evaluate, "
                "evaluate_train, log_every and checkpoint settings under train. For anything else, start a new run: "
                f"crild run {run_dir / PRESET} --set '{change}'",
                kind="unchangeable-setting",
            )


def _lengthens(change: str) -> bool:
    return re.fullmatch(r"(stage\.[^.]+|train)\.(epochs|steps)", _key(change)) is not None


def _key(change: str) -> str:
    return change.partition("=")[0].strip()


def rewrite(run_dir: Path, changes: Sequence[str]) -> None:
    """Apply `--set` items to the preset of a run. Raises UsageError for a key that can no longer change."""
    from engine.preset.load import load_run_preset
    from engine.preset.write import dump
    from engine.record.files import cause, write_atomic
    from engine.record.lock import RunLock
    from engine.record.paths import PRESET

    _only_changeable(run_dir, changes)
    with RunLock(run_dir) as lock:
        lock.take()
        loaded = load_run_preset(run_dir, changes)
        try:
            write_atomic(run_dir / PRESET, dump(loaded.preset))
        except OSError as error:
            sentence = f"the run's preset cannot be changed: {cause(error)}"
            raise UsageError(sentence, kind="unwritable-preset", file=str(run_dir / PRESET)) from error
