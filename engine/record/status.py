"""status.json: the present state of a run, in one frozen record with one serializer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from engine.errors import CrildError
from engine.record.fields import check_schema, invalid_field, read_fields
from engine.record.owner import Owner
from engine.record.secrets import without_secrets
from engine.record.states import ACTIVE, ENDED, WRITTEN

SCHEMA_VERSION = 1

STALLED_AFTER = 60.0
"""Seconds without a heartbeat after which a living owner counts as stalled."""
LOST_AFTER = 120.0
"""Seconds without a heartbeat after which an owner that cannot be seen from here counts as gone."""
START_WITHIN = 60.0
"""Seconds in which a created run must find its engine."""
PROCESS_WITHIN = 30.0
"""Seconds in which a queue or sweep must find its process."""

SLURM, LOCAL = "slurm", "local"
"""What schedules the job of a run."""


def process_alive(
    state: str, owner: Owner | None, started: float, heartbeat: float | None, now: float | None = None
) -> bool:
    """Whether the process of a queue or sweep is running, or about to start and become its record's owner.

    An owner that cannot be seen from here is judged by its heartbeat. Times are seconds since 1970.
    """
    if state != "active":
        return False
    present = time.time() if now is None else now
    if owner is None:
        return present - started < PROCESS_WITHIN
    where = owner.state()
    return where == "alive" or (where == "elsewhere" and present - (heartbeat or started) < LOST_AFTER)


@dataclass(frozen=True)
class Fault:
    """Why a run failed: the sentence for the user, and where the fault is."""

    kind: str
    """As `CrildError.category`: run, usage, preset, data, model; or "bug" for a fault of crild itself."""
    sentence: str
    """What happened, and what to do."""
    file: str | None = None
    """The file to blame, if there is one."""
    line: int | None = None
    """Its line."""
    key: str | None = None
    """Its key."""

    @classmethod
    def from_error(cls, error: CrildError) -> Self:
        """The record of an error; several problems become one sentence a line."""
        problems = getattr(error, "problems", (error,))
        sentence = error.sentence if len(problems) == 1 else str(error)
        return cls(error.category, without_secrets(sentence), error.file, error.line, error.key)

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{position}: {self.sentence}" if position and "\n" not in self.sentence else self.sentence


@dataclass(frozen=True)
class Job:
    """The job through which a scheduler starts a run's engine."""

    id: str
    """As the scheduler prints it: "1234", or "1234_5" for a task of an array; "" while it is being submitted."""
    scheduler: str = SLURM
    """`SLURM`, or `LOCAL` for a job on this machine without SLURM."""
    cluster: str = ""
    """Name of the SLURM cluster, where known."""

    def __str__(self) -> str:
        kind = "SLURM" if self.scheduler == SLURM else "local"
        return f"{kind} job {self.id}" if self.id else f"{kind} job that is being submitted"


@dataclass(frozen=True)
class Status:
    """The state of a run. Times are seconds since 1970; steps are optimiser steps."""

    id: str
    """Name of the run directory."""
    created: float
    """When the run was created."""
    state: str = "created"
    """As it was last written: see [states](../glossary.md#states-of-a-run)."""
    attempt: int = 0
    """Engine processes that have worked on this run so far."""
    started: float | None = None
    """When the present (or last) attempt started."""
    ended: float | None = None
    """When the run finished, failed or was stopped."""
    stage: str | None = None
    """Name of the present stage."""
    stage_index: int = 0
    """Of the present stage, counted from 1; 0 before the first."""
    stages: int = 0
    """Number of stages."""
    step: int = 0
    """Steps done in the present stage."""
    steps: int = 0
    """Steps of the present stage."""
    done: int = 0
    """Steps done over all stages."""
    total: int = 0
    """Steps of all stages."""
    preset: str = ""
    """Names of the merged presets, joined by "+"."""
    task: str = ""
    """The task's title, else its name."""
    method: str = ""
    """Name of the method."""
    seed: int = 0
    """The preset's seed."""
    device: str | None = None
    """What the engine trains on, such as "cuda:0"."""
    metric_name: str | None = None
    """The task's primary metric; the figures below are its values."""
    last: float | None = None
    """Of the student, at its last evaluation."""
    best: float | None = None
    """Of the student, at the best evaluation of its present stage."""
    teacher: float | None = None
    """Of the fine-tuned teacher."""
    majority: float | None = None
    """Of a model that always predicts the most frequent class."""
    self_teacher: float | None = None
    """Of the self-teacher, at the last evaluation."""
    eta: float | None = None
    """Seconds until the run is done."""
    rate: float | None = None
    """Examples a second."""
    owner: Owner | None = None
    """The engine process that works on the run, or did last."""
    heartbeat: float | None = None
    """When the engine last reported that it is alive."""
    inode: str | None = None
    """Number of the run directory in which this was written: a copy of the run has another."""
    error: Fault | None = None
    """Why the run failed."""
    exit_code: int | None = None
    """Of the last engine that ended."""
    queue: str | None = None
    """Id of the queue that starts the run (see `engine.sweep.queue`)."""
    job: Job | None = None
    """The job that starts its engine, for a run that was submitted to a scheduler (see `engine.launch.slurm`)."""
    sweep: str | None = None
    """Name of the sweep that the run is a part of."""
    cell: Mapping[str, str] = field(default_factory=dict)
    """Its cell of the sweep: axis -> value as shown, "method", "task" and "seed" among them."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, `schema` first; non-finite numbers become None."""
        data: dict[str, Any] = {"schema": SCHEMA_VERSION, **asdict(self)}
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in data.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data; ignores keys of later versions.

        Raises RunError when the schema is newer, a key is missing, or a value has another type.
        """
        check_schema(data, SCHEMA_VERSION)
        status = read_fields(cls, data)
        if status.state not in WRITTEN:
            raise invalid_field("state", status.state, f"one of {', '.join(WRITTEN)}")
        return status


def derived(status: Status, now: float | None = None, *, queue_alive: bool | None = None) -> str:
    """The state to show: the written one, or "lost" or "stalled" where that is no longer true.

    `now` is seconds since 1970 (by default the clock's). `queue_alive` tells whether the process of `status.queue` is
    running; None when that is unknown, which leaves a queued run queued.
    """
    present = time.time() if now is None else now
    if status.state in ENDED:
        return status.state
    if status.state == "queued":
        return "lost" if queue_alive is False else "queued"
    if status.owner is None:
        waited = present - (status.heartbeat or status.created)
        return "lost" if status.state in ACTIVE or waited > START_WITHIN else status.state
    silent = present - (status.heartbeat or status.started or status.created)
    where = status.owner.state()
    if where == "gone" or (where == "elsewhere" and silent > LOST_AFTER):
        return "lost"
    if where == "alive" and silent > STALLED_AFTER:
        return "stalled"
    return status.state
