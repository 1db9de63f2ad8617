"""Start, continue, stop and kill sweeps."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.errors import CrildError, PresetError, RunError, UsageError
from engine.launch.background import start_detached
from engine.launch.signals import kill, send, stop
from engine.preset.load import load_run_preset
from engine.preset.text import listed, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.record.owner import Owner
from engine.record.run import RunEntry, is_run, read_run
from engine.record.states import STARTED
from engine.report.compare import ABSENT, flat, read_preset
from engine.sweep.grid import described
from engine.sweep.plan import Plan, Planned
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    create_folder,
    list_sweeps,
    presets_file,
    read_sweep_record,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.sweep.spec import SweepFile, key_of, overlap
from engine.user.consent import NONE, Consent

FREE = re.compile(
    r"description|tags|project|notify\.command|teacher\.trust_remote_code"
    r"|train\.(log_every|checkpoint_every|checkpoint_minutes|keep_checkpoints|keep_for_extending|save_teacher_cache)"
)
"""Keys that do not affect what a run computes: they may differ from those of existing runs."""


def existing(runs_dir: Path, name: str) -> SweepRecord | None:
    """The sweep of this name, or None. Raises RunError when its record cannot be read."""
    file = sweep_file(runs_dir, name)
    return read_sweep_record(file) if file.exists() else None


def submit(
    plan: Plan,
    runs_dir: Path,
    slots: Sequence[Slot],
    *,
    fail_fast: bool = False,
    retry: bool = False,
    ray: str | None = None,
    consent: Consent = NONE,
    command: Sequence[str] | None = None,
) -> SweepRecord:
    """Start a background process that executes a plan, or what is left of it; returns the sweep's record.

    Call `reconcile` first. `retry` runs failed runs again. `ray` is the cluster that the slots are on. Its engines get the `consent`. `command` replaces the engine's command line (for tests).
    Raises RunError when the sweep is in progress already or its process cannot be started.
    """
    runs_dir = runs_dir.absolute()
    file = sweep_file(runs_dir, plan.name)
    before = existing(runs_dir, plan.name)
    if before is not None and before.alive():
        raise RunError(f"the sweep {plan.name!r} is already in progress", kind="sweep-in-progress")
    documents, cells = cells_of(plan)
    now = time.time()
    record = SweepRecord(
        name=plan.name,
        file=str(plan.file),
        created=before.created if before is not None else now,
        axes=plan.axes,
        cells=cells,
        slots=tuple(slots),
        fail_fast=fail_fast,
        retry=retry,
        ray=ray,
        begun=now,
    )
    create_folder(file.parent)
    write_presets(presets_file(file), documents)
    write_sweep_record(file, record)
    start_detached("sweep", file, command, consent)
    return read_sweep_record(file)


def same(record: SweepRecord, plan: Plan) -> bool:
    """Whether a record has exactly the runs of a plan."""
    return [(cell.run, dict(cell.cell)) for cell in record.cells] == [(run.run, dict(run.cell)) for run in plan.runs]


def cells_of(plan: Plan) -> tuple[list[dict[str, Any]], tuple[CellRecord, ...]]:
    """The presets of a plan, each once for all seeds, and its runs with the indices of their presets."""
    numbers: dict[str, int] = {}
    documents: list[dict[str, Any]] = []
    cells = []
    for run in plan.runs:
        document = {key: value for key, value in run.document.items() if key != "seed"}
        key = json.dumps(document, sort_keys=True)
        if key not in numbers:
            numbers[key] = len(documents)
            documents.append(document)
        refs = "+".join(run.refs)
        cells.append(CellRecord(run.run, dict(run.cell), run.preset.seed, numbers[key], refs, run.teacher))
    return documents, tuple(cells)


def reconcile(file: SweepFile, plan: Plan, runs_dir: Path) -> list[RunEntry]:
    """The existing runs of a plan, after comparing each with the sweep file.

    Raises PresetError with the keys that differ from those of existing runs, and UsageError for runs of those names that
    belong to something else, and for a sweep of this name from another file.
    """
    record = existing(runs_dir, plan.name)
    if record is not None and record.file != str(plan.file) and Path(record.file).exists():
        raise UsageError(
            f"the sweep {plan.name!r} in {str(runs_dir)!r} belongs to {plain(record.file)}: choose another name with --name",
            kind="sweep-of-another-file",
        )
    entries = []
    changed: dict[str, list[tuple[Planned, object, object]]] = {}
    for run in plan.runs:
        run_dir = runs_dir / run.run
        if not is_run(run_dir):
            continue
        entry = read_run(run_dir)
        entries.append(entry)
        status = entry.status
        if status is None:
            continue
        if status.sweep != plan.name or dict(status.cell) != dict(run.cell):
            raise UsageError(
                f"the run {run.run!r} exists in {str(runs_dir)!r} and does not belong to this sweep: choose another name for "
                "the sweep with --name",
                kind="run-outside-sweep",
            )
        for key, was, now in changes(run, run_dir):
            changed.setdefault(key, []).append((run, was, now))
    if changed:
        raise PresetError([_changed(file, key, where) for key, where in changed.items()])
    return entries


def changes(run: Planned, run_dir: Path) -> Iterator[tuple[str, object, object]]:
    """Keys in which an existing run differs from the planned one: key, its value, the planned value."""
    new = dict(flat(json.loads(json.dumps(run.document))))
    old = dict(flat(read_preset(run_dir)))
    if not any(_differs(key, old.get(key, ABSENT), new.get(key, ABSENT), run) for key in (*old, *new)):
        return
    # Defaults that a newer crild has added since are not changes.
    old = dict(flat(json.loads(json.dumps(load_run_preset(run_dir).preset.document()))))
    for key in dict.fromkeys((*new, *old)):
        was, now = old.get(key, ABSENT), new.get(key, ABSENT)
        if _differs(key, was, now, run):
            yield key, was, now


def _differs(key: str, was: object, now: object, run: Planned) -> bool:
    if was == now or FREE.fullmatch(key):
        return False
    if (key == "train.device" and run.own_device is None) or (key == "train.threads" and run.own_threads is None):
        return False  # the slot supplies them
    return not (now is ABSENT and key.endswith("revision"))  # pinned when the run was started


def _changed(file: SweepFile, key: str, where: Sequence[tuple[Planned, object, object]]) -> CrildError:
    run, was, now = where[0]
    old, new = ("not set" if value is ABSENT else shown(value) for value in (was, now))
    others = "" if len(where) == 1 else f" and {len(where) - 1:,} more"
    settings: list[tuple[KeyPath, str]] = [(("set", n), text) for n, text in enumerate(file.sweep.set)]
    settings += [(("when", n, "set", i), text) for n, w in enumerate(file.sweep.when) for i, text in enumerate(w.set)]
    path = next((path for path, text in settings if overlap(key_of(text), key)), ())
    problem = file.problem(
        path,
        f"{plain(key)} is {new} now and was {old} for {described(run.cell)}{others}: restore it, or start a separate "
        "sweep with --name NAME",
        kind="changed-sweep-setting",
    )
    return UsageError(problem.sentence, kind=problem.kind, file=problem.file, line=problem.line, key=key)


def stop_sweep(runs_dir: Path, name: str) -> bool:
    """Ask a sweep to stop: its engines write checkpoints, and the rest can continue later. True if its process was asked.

    Where that is gone, asks the engines that it left behind. Raises UsageError when there is no such sweep or nothing of
    it is running, RunError when its process cannot be reached from here.
    """
    owner, left = _in_progress(runs_dir, name)
    if owner is not None:
        send(owner, signal.SIGTERM)
        return True
    for run_dir in left:
        stop(run_dir)
    return False


def kill_sweep(runs_dir: Path, name: str) -> None:
    """Kill the runs of a sweep at once, without checkpoints, and stop its process. Raises as `stop_sweep`."""
    owner, left = _in_progress(runs_dir, name)
    if owner is not None:
        send(owner, signal.SIGTERM)
    for run_dir in left:
        kill(run_dir)


def _in_progress(runs_dir: Path, name: str) -> tuple[Owner | None, list[Path]]:
    """The process of a sweep, if there is one, and its running runs. Raises as `stop_sweep`."""
    record = _find_sweep(runs_dir, name)
    owner = record.owner if record.alive() else None
    if owner is not None and owner.state() == "elsewhere":
        sentence = f"the sweep {name!r} is {owner}, which cannot be reached from here: stop it there"
        raise RunError(sentence, kind="sweep-elsewhere")
    left = working(record, runs_dir)
    if owner is None and not left:
        raise UsageError(f"nothing to stop: no run of the sweep {name!r} is running", kind="sweep-not-running")
    return owner, left


def working(record: SweepRecord, runs_dir: Path) -> list[Path]:
    """The runs of a sweep that are running, or wait as jobs of SLURM; those that wait come first."""
    entries = [read_run(runs_dir / cell.run) for cell in record.cells if is_run(runs_dir / cell.run)]
    waiting = [entry for entry in entries if entry.state == "queued" and entry.status and entry.status.job is not None]
    return [entry.path for entry in (*waiting, *(entry for entry in entries if entry.state in STARTED))]


def _find_sweep(runs_dir: Path, name: str) -> SweepRecord:
    record = existing(runs_dir, name)
    if record is None:
        known = listed([sweep.name for sweep in list_sweeps(runs_dir)][:8], "and")
        hint = f"there are {known}" if known else "there are none yet"
        raise UsageError(f"there is no sweep {shown(name)} in {str(runs_dir)!r}; {hint}", kind="unknown-sweep")
    return record
