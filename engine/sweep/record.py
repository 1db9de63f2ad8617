"""The record of a sweep: its cells in order, where they work, and whose process it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.record.files import read_object, write_json
from engine.record.owner import Owner
from engine.record.paths import QUEUES, SWEEPS
from engine.record.status import process_alive
from engine.sweep.slots import Slot

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CellRecord:
    """One run of a sweep, made or still to be made."""

    run: str
    cell: Mapping[str, str]
    """Axis -> value as shown: "method", "task" and "seed" among them."""
    seed: int
    preset: int | None
    """Which of the sweep's presets it is made from; None for a run that was made beforehand, and waits as "queued"."""
    refs: str = ""
    """Names of the merged presets, joined by "+"."""
    teacher: str | None = None
    """Runs with the same word share a fine-tuned teacher."""


@dataclass(frozen=True)
class SweepRecord:
    """A sweep. What became of its runs stands in their own statuses."""

    name: str
    file: str
    created: float
    axes: Mapping[str, tuple[str, ...]]
    cells: tuple[CellRecord, ...]
    slots: tuple[Slot, ...]
    fail_fast: bool = False
    retry: bool = False
    """Whether runs that failed before get another turn."""
    begun: float | None = None
    """When the present (or last) process was started."""
    state: str = "active"
    """active, ended (every run had its turn), or stopped (asked to, or by `fail_fast`)."""
    waiting: str | None = None
    """What is waited for, to end the sentence "waits: ..."."""
    owner: Owner | None = None
    heartbeat: float | None = None
    failed: tuple[str, ...] = field(default=())
    """Runs that could not even be made or started by the present process, with the sentence: `run: sentence`."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when it is none or from a newer crild."""
        if data.get("schema") != SCHEMA_VERSION:
            raise RunError("was written by a newer crild or something else")
        try:
            data = _from_queue(data) if "runs" in data else data
            owner, waiting = data.get("owner"), data.get("waiting")
            begun, heartbeat = data.get("begun"), data.get("heartbeat")
            return cls(
                name=str(data["name"]),
                file=str(data["file"]),
                created=float(data["created"]),
                axes={str(name): tuple(map(str, values)) for name, values in data["axes"].items()},
                cells=tuple(_cell(cell) for cell in data["cells"]),
                slots=tuple(Slot(str(slot["device"]), int(slot["threads"])) for slot in data["slots"]),
                fail_fast=data.get("fail_fast") is True,
                retry=data.get("retry") is True,
                begun=None if begun is None else float(begun),
                state=str(data["state"]),
                waiting=None if waiting is None else str(waiting),
                owner=None if owner is None else Owner.from_dict(owner),
                heartbeat=None if heartbeat is None else float(heartbeat),
                failed=tuple(map(str, data.get("failed", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError("is no complete record of a sweep") from error

    def alive(self, now: float | None = None) -> bool:
        """Whether a process works on it, or is about to; one that cannot be seen from here is known by its heartbeat."""
        return process_alive(self.state, self.owner, self.begun or self.created, self.heartbeat, now)


def _cell(data: Mapping[str, Any]) -> CellRecord:
    teacher = data.get("teacher")
    return CellRecord(
        run=str(data["run"]),
        cell={str(axis): str(value) for axis, value in data["cell"].items()},
        seed=int(data["seed"]),
        preset=None if data["preset"] is None else int(data["preset"]),
        refs=str(data.get("refs", "")),
        teacher=None if teacher is None else str(teacher),
    )


def _from_queue(data: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a queue in the form of crild before queues were sweeps, in today's form."""
    cells = [{"run": run, "cell": {}, "seed": 0, "preset": None} for run in data["runs"]]
    slots = [{"device": data["device"], "threads": 0}]
    return {**data, "name": data["id"], "file": "", "axes": {}, "cells": cells, "slots": slots}


def sweep_file(runs_dir: Path, name: str) -> Path:
    """Where the record of a sweep lies."""
    return runs_dir / SWEEPS / f"{name}.json"


def presets_file(record: Path) -> Path:
    """Where the presets lie from which a sweep's runs are made."""
    return record.with_suffix(".presets")


def read_sweep_record(path: Path) -> SweepRecord:
    """The record in a file. Raises RunError with the reason when it cannot be read."""
    try:
        return SweepRecord.from_dict(read_object(path))
    except FileNotFoundError:
        raise RunError("there is no such sweep", file=str(path)) from None
    except RunError as error:
        raise RunError(error.sentence, file=str(path)) from error


def write_sweep_record(path: Path, record: SweepRecord) -> None:
    """Write a record, atomically. Raises RunError when that cannot be done."""
    write_json(path, record.to_dict())


def write_presets(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    """Write the presets that runs are made from, without seed, device and threads. Raises RunError."""
    write_json(path, {"schema": SCHEMA_VERSION, "presets": list(documents)})


def read_presets(path: Path) -> list[dict[str, Any]]:
    """The presets that a sweep's runs are made from. Raises RunError when they cannot be read."""
    try:
        found = json.loads(path.read_bytes())["presets"]
        return [dict(document) for document in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"the presets of the sweep cannot be read: {error}", file=str(path)) from error


def list_sweeps(runs_dir: Path) -> list[SweepRecord]:
    """The sweeps of a runs folder, the newest first; those that cannot be read are left out."""
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
