"""The record of a queue: which runs it starts one after the other, where it stands, and whose process it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.record.files import read_object, write_json
from engine.record.owner import Owner
from engine.record.paths import QUEUES
from engine.record.status import process_works

SCHEMA_VERSION = 1
START_WITHIN = 30.0
"""Seconds in which a new queue must find its process."""


@dataclass(frozen=True)
class QueueRecord:
    """A queue. `runs` are ids in order; those before `next` were started or passed over."""

    id: str
    created: float
    runs: tuple[str, ...]
    device: str = "auto"
    """Queues for one device wait for each other; queues for different ones work side by side."""
    next: int = 0
    present: str | None = None
    """The run that works now."""
    waiting: str | None = None
    """What is waited for, to end the sentence "waits: ..."."""
    state: str = "active"
    """active, ended (every run had its turn), or stopped (asked to)."""
    owner: Owner | None = None
    heartbeat: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when it is none or from a newer crild."""
        if data.get("schema") != SCHEMA_VERSION:
            raise RunError("was written by a newer crild or something else")
        try:
            owner = data.get("owner")
            waiting, present, heartbeat = data.get("waiting"), data.get("present"), data.get("heartbeat")
            return cls(
                id=str(data["id"]),
                created=float(data["created"]),
                runs=tuple(str(run) for run in data["runs"]),
                device=str(data["device"]),
                next=int(data["next"]),
                present=None if present is None else str(present),
                waiting=None if waiting is None else str(waiting),
                state=str(data["state"]),
                owner=None if owner is None else Owner.from_dict(owner),
                heartbeat=None if heartbeat is None else float(heartbeat),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError("is no complete record of a queue") from error

    def alive(self, now: float | None = None) -> bool:
        """Whether a process works on it, or is about to; one that cannot be seen from here is known by its heartbeat."""
        if self.state != "active":
            return False
        return process_works(self.owner, self.created, self.heartbeat, START_WITHIN, now)


def queue_file(runs_dir: Path, queue: str) -> Path:
    """Where the record of a queue lies."""
    return runs_dir / QUEUES / f"{queue}.json"


def read_queue(path: Path) -> QueueRecord:
    """The record in a file. Raises RunError with the reason when it cannot be read."""
    try:
        return QueueRecord.from_dict(read_object(path))
    except FileNotFoundError:
        raise RunError("there is no such queue", file=str(path)) from None
    except RunError as error:
        raise RunError(error.sentence, file=str(path)) from error


def write_queue(path: Path, record: QueueRecord) -> None:
    """Write a record, atomically. Raises RunError when that cannot be done."""
    write_json(path, record.to_dict())


def list_queues(runs_dir: Path) -> list[QueueRecord]:
    """The queues of a runs folder, the oldest first; those that cannot be read are left out."""
    found = []
    for path in sorted((runs_dir / QUEUES).glob("*.json")):
        try:
            found.append(read_queue(path))
        except RunError:
            continue
    return sorted(found, key=lambda record: (record.created, record.id))


def queue_alive(runs_dir: Path, queue: str) -> bool:
    """Whether the process of a queue works; False for a queue whose record is gone."""
    if "/" in queue or queue.startswith("."):
        return False
    try:
        return read_queue(queue_file(runs_dir, queue)).alive()
    except RunError:
        return False
