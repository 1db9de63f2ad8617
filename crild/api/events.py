"""The events of a run as typed dictionaries: one for each kind, told apart by `kind`."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict


class _Common(TypedDict):
    v: int
    t: float


class RunStarted(_Common, total=False):
    """An attempt starts or continues. The fields of all kinds are explained in the reference of events."""

    kind: Required[Literal["run_started"]]
    attempt: int
    stages: list[str]
    stage: str
    step: int
    total: int
    resumed: bool
    repeated: int
    run: dict[str, Any]


class StageStarted(_Common, total=False):
    """A stage starts or continues."""

    kind: Required[Literal["stage_started"]]
    stage: Required[str]
    step: Required[int]
    role: str
    steps: int
    epochs: float
    examples: int
    objectives: dict[str, float]


class Step(_Common, total=False):
    """Means over the steps since the last event of this kind; a figure that is not finite is None."""

    kind: Required[Literal["step"]]
    stage: Required[str]
    step: Required[int]
    epoch: float
    loss: float | None
    terms: dict[str, float | None]
    consistency: float | None
    consistency_weight: float | None
    candidates: int
    chosen: int
    divergence: float | None
    candidates_divergence: float | None
    learning_rate: float
    gradient_norm: float | None
    examples_per_second: float
    tokens_per_second: float
    memory: int
    ranks: list[dict[str, Any]]


class Evaluation(_Common, total=False):
    """Metrics of one model on one set of rows, as shares of 1."""

    kind: Required[Literal["evaluation"]]
    stage: str
    step: int
    model: str
    split: str
    primary: bool
    metrics: dict[str, float | None]
    label_loss: float | None
    loss: float | None
    terms: dict[str, float | None]
    best: bool


class Checkpoint(_Common, total=False):
    """A checkpoint was written."""

    kind: Required[Literal["checkpoint"]]
    stage: Required[str]
    step: Required[int]
    path: str
    seconds: float


class Message(_Common, total=False):
    """A sentence for the user."""

    kind: Required[Literal["message"]]
    level: Literal["info", "warning", "error"]
    text: str
    finding: dict[str, Any]


class Phase(_Common, total=False):
    """Progress of anything else that takes longer than two seconds."""

    kind: Required[Literal["phase"]]
    phase: str
    done: int
    total: int | None
    unit: str
    seconds: float
    ended: bool


class StageFinished(_Common, total=False):
    """All steps of a stage are done."""

    kind: Required[Literal["stage_finished"]]
    stage: Required[str]
    step: Required[int]
    seconds: float
    examples_per_second: float
    ended_early: bool


class RunFinished(_Common, total=False):
    """The last event of an attempt that came to an orderly end."""

    kind: Required[Literal["run_finished"]]
    state: str
    metrics: dict[str, float | None]


Event = RunStarted | StageStarted | Step | Evaluation | Checkpoint | Message | Phase | StageFinished | RunFinished
"""An event: a dictionary whose `kind` says which fields it has."""
