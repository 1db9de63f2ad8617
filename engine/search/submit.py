"""Start and continue searches."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import CrildError, PresetError, RunError, UsageError
from engine.launch.background import start_detached
from engine.launch.slurm_submit import JobRequest
from engine.preset.text import plain, shown
from engine.report.compare import ABSENT, flat
from engine.search.plan import SearchPlan
from engine.search.trials import trials_file
from engine.sweep.record import (
    SweepRecord,
    create_folder,
    presets_file,
    read_sweep_record,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.sweep.submit import FREE, existing
from engine.user.consent import NONE, Consent

CHANGEABLE = frozenset({"name", "trials", "hours", "pruner"})
"""Keys of [search] that may differ from those that a search was started with."""


def request_of(found: SearchPlan) -> dict[str, Any]:
    """What a search is asked for, as plain data: its table, and its starting presets by method."""
    return {
        "table": found.file.search.model_dump(mode="json", exclude_unset=True),
        "starts": {start.method: json.loads(json.dumps(start.preset.document())) for start in found.starts},
    }


def reconcile_search(found: SearchPlan, runs_dir: Path) -> SweepRecord | None:
    """The record of a search that exists already, after comparing it with the file.

    Raises UsageError for a sweep of this name and for a search of another file, PresetError with the keys that differ from
    those that it was started with.
    """
    record = existing(runs_dir, found.file.name)
    if record is None:
        return None
    if record.search is None:
        sentence = f"{found.file.name!r} is a sweep in {str(runs_dir)!r}: choose another name with --name"
        raise UsageError(sentence, kind="search-named-as-sweep")
    path = str(found.file.start.path)
    if record.file != path and Path(record.file).exists():
        raise UsageError(
            f"the search {found.file.name!r} in {str(runs_dir)!r} belongs to {plain(record.file)}: choose another name with "
            "--name",
            kind="search-of-another-file",
        )
    if problems := list(_changes(found, record.search)):
        raise PresetError(problems)
    return record


def _changes(found: SearchPlan, before: Mapping[str, Any]) -> Iterator[CrildError]:
    now = request_of(found)
    was, table = before.get("table", {}), now["table"]
    for key in dict.fromkeys((*was, *table)):
        if key not in CHANGEABLE and was.get(key) != table.get(key):
            sentence = f"{key} differs from what this search was started with: restore it, or start a separate search with --name NAME"
            yield found.file.problem((key,), sentence, kind="changed-search")
    for method, document in now["starts"].items():
        old, new = dict(flat(before.get("starts", {}).get(method, {}))), dict(flat(document))
        for key in dict.fromkeys((*new, *old)):
            values = old.get(key, ABSENT), new.get(key, ABSENT)
            if values[0] != values[1] and not FREE.fullmatch(key):
                old_words, new_words = ("not set" if value is ABSENT else shown(value) for value in values)
                sentence = (
                    f"{plain(key)} of the starting preset is {new_words} now and was {old_words} ({plain(method)}): restore it, "
                    "or start a separate search with --name NAME"
                )
                yield found.file.problem((), sentence, kind="changed-starting-preset")
                break


def is_over(record: SweepRecord, found: SearchPlan, runs_dir: Path) -> bool:
    """Whether a search has ended, is asked for nothing more, and its trials are there for readers."""
    return (
        trials_file(sweep_file(runs_dir, record.name)).is_file()
        and record.state == "ended"
        and record.search is not None
        and record.search.get("table") == request_of(found)["table"]
    )


def submit_search(
    found: SearchPlan,
    runs_dir: Path,
    slots: Sequence[Slot],
    *,
    ray: str | None = None,
    slurm: JobRequest | None = None,
    consent: Consent = NONE,
    command: Sequence[str] | None = None,
) -> SweepRecord:
    """Start a background process that executes a search, or what is left of it; returns its record.

    Call `reconcile_search` first. `ray` is the cluster that the slots are on; with `slurm`, each run is a job that asks for
    this. Its engines get the `consent`. `command` replaces the engine's command line (for tests).
    Raises RunError when the search is in progress already or its process cannot be started.
    """
    runs_dir = runs_dir.absolute()
    file = sweep_file(runs_dir, found.file.name)
    before = existing(runs_dir, found.file.name)
    if before is not None and before.alive():
        raise RunError(f"the search {found.file.name!r} is already in progress", kind="search-in-progress")
    now = time.time()
    methods = tuple(start.method for start in found.starts)
    axes = {"method": methods, "task": (found.task,), "trial": (), "seed": tuple(map(str, found.seeds))}
    record = SweepRecord(
        name=found.file.name,
        file=str(found.file.start.path),
        created=now if before is None else before.created,
        axes=axes if before is None else before.axes,
        cells=() if before is None else before.cells,
        slots=tuple(slots),
        ray=ray,
        slurm=None if slurm is None else asdict(slurm),
        begun=now,
        search=request_of(found),
    )
    create_folder(file.parent)
    if before is None:
        write_presets(presets_file(file), [])
    write_sweep_record(file, record)
    start_detached("search", file, command, consent)
    return read_sweep_record(file)
