"""The record of a sweep, queue or search: its cells in order, its slots, and the process that executes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.preset.regular_file import read_regular
from engine.record.fields import read_fields
from engine.record.files import cause, read_record, write_json
from engine.record.owner import Owner
from engine.record.paths import QUEUES, SWEEPS
from engine.record.status import LOCAL, SLURM, process_alive
from engine.sweep.slots import Slot

SCHEMA_VERSION = 1
SUBMITTED = "submitted"
"""The state of a sweep whose runs are jobs of SLURM: no process executes it."""


@dataclass(frozen=True)
class CellRecord:
    """One run of a sweep, created or still to be created."""

    run: str
    cell: Mapping[str, str]
    """Axis -> value as shown: "method", "task" and "seed" among them."""
    seed: int
    preset: int | None
    """Index of its preset among the sweep's; None for a run of a queue, which exists already and waits as "queued"."""
    refs: str = ""
    """Names of the merged presets, joined by "+"."""
    teacher: str | None = None
    """Runs with the same key share a fine-tuned teacher."""
    after: str | None = None
    """The run of a chain whose student this one starts from (`crild run --then`)."""


@dataclass(frozen=True)
class SweepRecord:
    """A sweep or queue. The outcomes of its runs are in their own statuses."""

    name: str
    file: str
    created: float
    axes: Mapping[str, tuple[str, ...]]
    cells: tuple[CellRecord, ...]
    slots: tuple[Slot, ...]
    fail_fast: bool = False
    retry: bool = False
    """Whether failed runs are run again."""
    ray: str | None = None
    """The Ray cluster that runs it: an address, "auto" or "local"; None for this machine without Ray."""
    slurm: Mapping[str, Any] | None = None
    """What each run asks of SLURM (`engine.launch.slurm_submit.JobRequest`), where the process submits runs one by one."""
    begun: float | None = None
    """When the present (or last) process started."""
    state: str = "active"
    """active, ended (no run is left), stopped (by the user, or by `fail_fast`), or `SUBMITTED`."""
    waiting: str | None = None
    """What it waits for, as "for the GPU: ..."."""
    owner: Owner | None = None
    heartbeat: float | None = None
    failed: tuple[str, ...] = field(default=())
    """Runs that the present process could not create or start, each as `run: reason`."""
    search: Mapping[str, Any] | None = None
    """What a search was asked for (`engine/search/declaration.py`); None for a sweep."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when it is not a sweep's record, or from a newer crild."""
        if data.get("schema") != SCHEMA_VERSION:
            raise RunError("was written by a newer crild or another program", kind="unknown-record-version")
        try:
            record = read_fields(cls, _from_queue(data) if "runs" in data else data)
        except (RunError, KeyError, TypeError) as error:
            raise RunError("is not a complete record of a sweep", kind="incomplete-record") from error
        for cell in record.cells:
            if not record.axes.keys() & {"method", "task"} <= cell.cell.keys():
                sentence = f"has no method or no task for the run {cell.run!r}: it was changed or damaged"
                raise RunError(sentence, kind="incomplete-cell")
        return record

    @property
    def scheduler(self) -> str | None:
        """Of which the process submits runs as jobs: "slurm", or "local" without SLURM; None if it starts them itself."""
        if self.slurm is None:
            return None
        return LOCAL if self.slurm.get("local") else SLURM

    @property
    def command(self) -> str:
        """The command that starts and continues it: "sweep" or "search"."""
        return "sweep" if self.search is None else "search"

    def alive(self, now: float | None = None) -> bool:
        """Whether its process is running or about to start; one that cannot be seen from here is judged by its heartbeat."""
        return process_alive(self.state, self.owner, self.begun or self.created, self.heartbeat, now)


def _from_queue(data: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the record of a queue from the time before queues were sweeps."""
    cells = [{"run": run, "cell": {}, "seed": 0, "preset": None} for run in data["runs"]]
    slots = [{"device": data["device"], "threads": 0}]
    return {**data, "name": data["id"], "file": "", "axes": {}, "cells": cells, "slots": slots}


def sweep_file(runs_dir: Path, name: str) -> Path:
    """The record file of a sweep."""
    return runs_dir / SWEEPS / f"{name}.json"


def presets_file(record: Path) -> Path:
    """The file with the presets of a sweep's runs, next to its record."""
    return record.with_suffix(".presets")


def create_folder(path: Path) -> None:
    """Create the folder of a runs folder's sweeps or queues. Raises RunError when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"cannot create the sweep or queue: {cause(error)}"
        raise RunError(sentence, kind="cannot-create-sweep", file=str(path)) from error


def read_sweep_record(path: Path) -> SweepRecord:
    """The record in a file. Raises RunError with the reason when it cannot be read."""
    try:
        return read_record(path, SweepRecord.from_dict)
    except FileNotFoundError:
        raise RunError("there is no such sweep", kind="unknown-sweep", file=str(path)) from None


def write_sweep_record(path: Path, record: SweepRecord) -> None:
    """Write a record, atomically. Raises RunError when that cannot be done."""
    write_json(path, record.to_dict())


def write_presets(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    """Write the presets of a sweep's runs, without seed, device and threads. Raises RunError."""
    write_json(path, {"schema": SCHEMA_VERSION, "presets": list(documents)})


def read_presets(path: Path) -> list[dict[str, Any]]:
    """The presets of a sweep's runs. Raises RunError when they cannot be read."""
    try:
        found = json.loads(read_regular(path))["presets"]
        return [dict(document) for document in found]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        sentence = f"cannot read the presets of the sweep: {error}"
        raise RunError(sentence, kind="unreadable-sweep-presets", file=str(path)) from error


def list_sweeps(runs_dir: Path) -> list[SweepRecord]:
    """The sweeps of a runs folder, the newest first; unreadable ones are left out."""
    return _records(runs_dir / SWEEPS)[::-1]


def list_queues(runs_dir: Path) -> list[SweepRecord]:
    """The queues of a runs folder (see `engine.sweep.queue`), the oldest first; unreadable ones are left out."""
    return _records(runs_dir / QUEUES)


def _records(folder: Path) -> list[SweepRecord]:
    records = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(RunError):
            records.append(read_sweep_record(path))
    return sorted(records, key=lambda record: (record.created, record.name))
