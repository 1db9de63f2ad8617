"""Resume a run: check which settings may still change, and write them into its preset."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.runs.states import check_possible, command_hints
from engine.errors import ModelError, PresetError, UsageError
from engine.record.paths import PRESET

if TYPE_CHECKING:
    from engine.launch.resume_check import RunProgress
    from engine.record.run import RunEntry
    from engine.user.consent import Consent


@dataclass(frozen=True)
class Prepared:
    """A run that can resume, as it was, the consent for its engine, and what was done to the run so that it can."""

    entry: RunEntry
    consent: Consent
    notes: tuple[str, ...] = ()


def prepare(run_dir: Path, changes: Sequence[str], *, trust: bool = False, elsewhere: bool = False) -> Prepared:
    """Check that a run can resume with these `--set` items, and write them into its preset.

    `trust` is whether the user lets code that comes with its models run, `elsewhere` whether it resumes on another machine,
    whose devices are not known here. A finished run whose results were lost can
    resume, to write them again; a preset that is missing is written again from the newest checkpoint. Raises UsageError,
    PresetError or OwnCodeError, and changes nothing, if the run cannot resume, RunError if its checkpoints cannot be
    read, or are behind a link.
    """
    from engine.launch.resume_check import run_progress
    from engine.record.inventory import refuse_links
    from engine.record.run import read_run

    entry = read_run(run_dir)
    refuse_links(run_dir)
    extends = any(_lengthens(change) for change in changes)
    if extends or entry.state != "finished" or not lacks_results(run_dir):
        check_possible(entry, "extend" if extends else "resume", command_hints(run_dir))
    _only_changeable(run_dir, changes)
    if extends and entry.state == "finished" and (problem := extension_problem(run_dir, changes)) is not None:
        raise problem
    progress = run_progress(run_dir)
    notes = _restore_preset(run_dir, progress)
    if entry.state == "finished" and progress is None:
        notes = (*notes, "its results are lost and its checkpoints deleted: it trains again from the start")
    waits = entry.status is not None and entry.status.state == "queued"
    consent = _check(run_dir, changes, progress, trust=trust, elsewhere=elsewhere, waits=waits)
    if changes:
        rewrite(run_dir, changes)
    return Prepared(entry, consent, notes)


def extension_problem(run_dir: Path, changes: Sequence[str] = ()) -> UsageError | None:
    """Why a finished run cannot be trained for longer, with the command of a new run; None if it can.

    Raises RunError when its checkpoints cannot be read.
    """
    from engine.record.checkpoints import has_checkpoints

    if has_checkpoints(run_dir):
        return None
    items = [*(changes or ("stage.kd.epochs=8",)), "train.keep_for_extending=true"]
    command = (
        f"crild run {shlex.quote(str(run_dir / PRESET))} {' '.join(f'--set {shlex.quote(item)}' for item in items)}"
    )
    return UsageError(
        f"{run_dir.name} cannot be trained for longer: its checkpoints were deleted when it finished, or by crild prune. "
        f"Start a new run: {command}",
        kind="no-checkpoints-to-extend",
    )


def lacks_results(run_dir: Path) -> bool:
    """Whether the results of a run, or its student, are missing or damaged."""
    from engine.record.files import read_json
    from engine.record.paths import RESULTS, STUDENT

    return read_json(run_dir / RESULTS) is None or not (run_dir / STUDENT).is_dir()


def _restore_preset(run_dir: Path, progress: RunProgress | None) -> tuple[str, ...]:
    """Write a missing preset.toml again as the newest checkpoint has it; returns the sentence that says so."""
    from engine.preset.retired_keys import without_retired_keys
    from engine.preset.schema import Preset
    from engine.preset.write import dump

    if progress is None or os.path.lexists(run_dir / PRESET):
        return ()
    _write_preset(run_dir, dump(Preset.model_validate(without_retired_keys(progress.document))))
    return (f"{PRESET} was missing: restored from the checkpoint of stage {progress.stage} at step {progress.step}",)


def _check(
    run_dir: Path, changes: Sequence[str], progress: RunProgress | None, *, trust: bool, elsewhere: bool, waits: bool
) -> Consent:
    """Raise for mistakes in the run's preset with the changes, before anything of the run changes; returns the consent.

    A run that `waits` in a queue may start as the student of a run before it there, which has none yet.
    """
    from crild_tui.runs.create import check_device_of
    from engine.launch.resume_check import incompatible_changes
    from engine.preflight.check import check
    from engine.preset.load import load_run_preset
    from engine.user.consent import consent_to

    try:
        loaded = load_run_preset(run_dir, changes)
    except PresetError as error:
        if progress is None or not any((problem.file or "").endswith(PRESET) for problem in error.problems):
            raise
        sentence = (
            f"the checkpoint of stage {progress.stage} at step {progress.step} holds the preset that this run started "
            f"with: to restore it, delete {PRESET}, then run crild resume again"
        )
        hint = UsageError(sentence, kind="preset-in-checkpoint", file=str(run_dir / PRESET))
        raise PresetError([*error.problems, hint]) from None
    if progress is not None and (unfit := incompatible_changes(progress, loaded.preset.document())):
        raise PresetError(
            [loaded.problem(UsageError, key, sentence, kind="incompatible-change") for key, sentence in unfit]
        )
    consent = consent_to([loaded.preset], trust=trust)
    try:
        check(loaded, consent)
    except ModelError as error:
        if not waits or error.kind != "run-without-student":
            raise
    if not elsewhere:
        check_device_of(loaded)
    return consent


def _only_changeable(run_dir: Path, changes: Sequence[str]) -> None:
    """Raise UsageError for a `--set` of a key that can no longer change."""
    from engine.launch.resume_check import CHANGEABLE

    for change in changes:
        if "=" in change and not CHANGEABLE.fullmatch(_key(change)):
            raise UsageError(
                f"{_key(change)} cannot change once a run has started: what was computed so far would no longer fit. "
                "Still allowed: epochs, steps, evaluate, patience and keep_best of stages; device, evaluate, "
                "evaluate_precision, evaluate_train, log_every and checkpoint settings under train. For anything else, start a new run: "
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
    from engine.record.lock import RunLock

    _only_changeable(run_dir, changes)
    with RunLock(run_dir) as lock:
        lock.take()
        _write_preset(run_dir, dump(load_run_preset(run_dir, changes).preset))


def _write_preset(run_dir: Path, text: str) -> None:
    from engine.record.files import cause, write_atomic

    try:
        write_atomic(run_dir / PRESET, text)
    except OSError as error:
        sentence = f"the run's preset cannot be changed: {cause(error)}"
        raise UsageError(sentence, kind="unwritable-preset", file=str(run_dir / PRESET)) from error
