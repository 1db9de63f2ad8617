"""Starting a sweep, going on with one, and ending it."""

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
from engine.preset.load import load_preset
from engine.preset.text import listed, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.record.files import cause
from engine.record.owner import Owner
from engine.record.paths import PRESET
from engine.record.run import RunEntry, is_run, read_run
from engine.record.states import STARTED
from engine.report.compare import ABSENT, flat, read_preset
from engine.sweep.grid import described
from engine.sweep.plan import Plan, Planned
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    presets_file,
    read_sweep_record,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.sweep.spec import SweepFile, key_of, overlap

FREE = re.compile(
    r"description|tags|notify\.command"
    r"|train\.(log_every|checkpoint_every|checkpoint_minutes|keep_checkpoints|save_teacher_cache)"
)
"""Keys that change nothing of what a run computes: they may differ from those of runs that were begun."""


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
    command: Sequence[str] | None = None,
) -> SweepRecord:
    """Let a detached process work through a plan, or through what is left of it; returns the sweep's record.

    `reconcile` should have been asked before. `retry` gives runs that failed another turn. `command` replaces the
    engine's command line (for tests). Raises RunError when a process works on the sweep already or none can be
    started.
    """
    runs_dir = runs_dir.absolute()
    file = sweep_file(runs_dir, plan.name)
    before = existing(runs_dir, plan.name)
    if before is not None and before.alive():
        raise RunError(f"the sweep {plan.name!r} is being worked on already")
    documents, cells = _cells(plan)
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
        begun=now,
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"no sweep can be made: {cause(error)}", file=str(file.parent)) from error
    write_presets(presets_file(file), documents)
    write_sweep_record(file, record)
    start_detached("sweep", file, ["engine.sweep", str(file)], lambda: read_sweep_record(file).owner, command)
    return read_sweep_record(file)


def same(record: SweepRecord, plan: Plan) -> bool:
    """Whether a record is of exactly these runs."""
    return [(cell.run, dict(cell.cell)) for cell in record.cells] == [(run.run, dict(run.place)) for run in plan.runs]


def _cells(plan: Plan) -> tuple[list[dict[str, Any]], tuple[CellRecord, ...]]:
    """The presets of a plan, each once for all seeds, and its runs with the numbers of theirs."""
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
        cells.append(CellRecord(run.run, dict(run.place), run.preset.seed, numbers[key], refs, run.teacher))
    return documents, tuple(cells)


def reconcile(file: SweepFile, plan: Plan, runs_dir: Path) -> list[RunEntry]:
    """The runs that there are already of a plan, each held against what the sweep file says now.

    Raises PresetError that names the keys in which runs that were begun would be others now, UsageError for runs of
    those names that belong to something else, and for a sweep of this name from another file.
    """
    record = existing(runs_dir, plan.name)
    if record is not None and record.file != str(plan.file) and Path(record.file).exists():
        raise UsageError(
            f"the sweep {plan.name!r} in {str(runs_dir)!r} is that of {plain(record.file)}: choose another name by --name"
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
        if status.sweep != plan.name or dict(status.cell) != dict(run.place):
            raise UsageError(
                f"a run called {run.run!r} exists already in {str(runs_dir)!r} and is no part of this sweep: "
                "give the sweep another name by --name"
            )
        for key, was, now in changes(run, run_dir):
            changed.setdefault(key, []).append((run, was, now))
    if changed:
        raise PresetError([_changed(file, key, where) for key, where in changed.items()])
    return entries


def changes(run: Planned, run_dir: Path) -> Iterator[tuple[str, object, object]]:
    """Keys in which a run that was made is another than the planned one: key, value then, value now."""
    new = dict(flat(json.loads(json.dumps(run.document))))
    old = dict(flat(read_preset(run_dir)))
    if not any(_differs(key, old.get(key, ABSENT), new.get(key, ABSENT), run) for key in (*old, *new)):
        return
    # Defaults that a later crild has and the run's preset does not name are no change.
    old = dict(flat(json.loads(json.dumps(load_preset([str(run_dir / PRESET)]).preset.document()))))
    for key in dict.fromkeys((*new, *old)):
        was, now = old.get(key, ABSENT), new.get(key, ABSENT)
        if _differs(key, was, now, run):
            yield key, was, now


def _differs(key: str, was: object, now: object, run: Planned) -> bool:
    if was == now or FREE.fullmatch(key):
        return False
    if (key == "train.device" and run.own_device is None) or (key == "train.threads" and run.own_threads is None):
        return False  # those of the slot
    return not (now is ABSENT and key.endswith("revision"))  # written down when the run was started


def _changed(file: SweepFile, key: str, where: Sequence[tuple[Planned, object, object]]) -> CrildError:
    run, was, now = where[0]
    said = [_said(value) for value in (was, now)]
    others = "" if len(where) == 1 else f" and {len(where) - 1:,} more"
    sentence = (
        f"{plain(key)} is {said[1]} now and was {said[0]} when {described(run.place)}{others} ran: put it back, or make a"
        " sweep of its own by --name NAME"
    )
    settings: list[tuple[KeyPath, str]] = [(("set", n), text) for n, text in enumerate(file.sweep.set)]
    settings += [(("when", n, "set", at), text) for n, w in enumerate(file.sweep.when) for at, text in enumerate(w.set)]
    path = next((path for path, text in settings if overlap(key_of(text), key)), ())
    placed = file.problem(path, sentence)
    return UsageError(placed.sentence, file=placed.file, line=placed.line, key=key)


def _said(value: object) -> str:
    return "left open" if value is ABSENT else shown(value)


def stop_sweep(runs_dir: Path, name: str) -> bool:
    """Ask a sweep to stop: its engines write checkpoints, what is left stays for later. True when its process was asked.

    Where that is gone, engines that it left behind are asked themselves. Raises UsageError when there is no such sweep
    or nothing of it works, RunError when its process is out of reach.
    """
    owner, left = _at_work(runs_dir, name)
    if owner is not None:
        send(owner, signal.SIGTERM)
        return True
    for run_dir in left:
        stop(run_dir)
    return False


def kill_sweep(runs_dir: Path, name: str) -> None:
    """End the runs of a sweep at once, without checkpoints, and let its process end. Raises as `stop_sweep`."""
    owner, left = _at_work(runs_dir, name)
    if owner is not None:
        send(owner, signal.SIGTERM)
    for run_dir in left:
        kill(run_dir)


def _at_work(runs_dir: Path, name: str) -> tuple[Owner | None, list[Path]]:
    """The process of a sweep, where there is one, and its runs that an engine works on. Raises as `stop_sweep`."""
    record = _there(runs_dir, name)
    owner = record.owner if record.alive() else None
    if owner is not None and owner.state() == "elsewhere":
        raise RunError(f"the sweep {name!r} is {owner}, out of reach from here: stop it there")
    left = working(record, runs_dir)
    if owner is None and not left:
        raise UsageError(f"there is nothing to stop: no run of the sweep {name!r} works")
    return owner, left


def working(record: SweepRecord, runs_dir: Path) -> list[Path]:
    """The runs of a sweep that an engine works on."""
    folders = [runs_dir / cell.run for cell in record.cells]
    return [folder for folder in folders if is_run(folder) and read_run(folder).state in STARTED]


def _there(runs_dir: Path, name: str) -> SweepRecord:
    record = existing(runs_dir, name)
    if record is None:
        from engine.sweep.record import list_sweeps

        known = listed([sweep.name for sweep in list_sweeps(runs_dir)][:8], "and")
        hint = f"there are {known}" if known else "there are none yet"
        raise UsageError(f"there is no sweep {shown(name)} in {str(runs_dir)!r}; {hint}")
    return record
