"""probe.json: a probe of a run's student (overfitting, distance to the teacher, sharpness), in frozen records.

    {"schema": 1, "run": id, "metric": name, "loss": {"train": x, "dev": y}, "metrics": {name: {"train": x, "dev": y}},
     "layers": [{"layer": n, "teacher_layer": m, "distances": {"attention": {"train": x, "dev": y}, ...}}],
     "noise": [{"scale": s, "metric": mean, "deviation": sd, "loss": mean, "loss_deviation": sd, "draws": n}],
     "sharpness": {"scale": s, "train": rise, "dev": rise, "draws": n}, ...}

`docs/probes.md` explains how each figure is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.record.fields import check_schema, read_fields
from engine.record.files import read_record, write_json
from engine.record.student import student_hash

SCHEMA_VERSION = 1
PROBE = "probe.json"
DISTANCES = ("attention", "query", "key", "value", "hidden", "cls", "pooled", "cka")
"""All distances between two layers, in the order in which they are shown."""


@dataclass(frozen=True)
class Sides:
    """One figure on the training examples and on dev; None where it is not finite."""

    train: float | None
    dev: float | None

    @property
    def gap(self) -> float | None:
        """dev − train."""
        return None if self.train is None or self.dev is None else self.dev - self.train

    @property
    def ratio(self) -> float | None:
        """dev / train, None where train is 0."""
        return None if not self.train or self.dev is None else self.dev / self.train


@dataclass(frozen=True)
class Layer:
    """The distances of a student layer from the teacher layer that it is compared with; layers count from 1."""

    layer: int
    teacher_layer: int
    distances: Mapping[str, Sides]
    """By name, of `DISTANCES`, without those that do not exist for these two models."""


@dataclass(frozen=True)
class Noise:
    """Dev under Gaussian noise of one scale on the weights: means and standard deviations over the draws.

    A deviation is None for a single draw. The first point has scale 0: the weights as they are.
    """

    scale: float
    metric: float | None
    deviation: float | None
    loss: float | None
    loss_deviation: float | None
    draws: int


@dataclass(frozen=True)
class Sharpness:
    """How much the loss on labels rises, on average, under noise of one scale."""

    scale: float
    train: float | None
    dev: float | None
    draws: int


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation during the student's training, from the run's events."""

    stage: str
    step: int
    """Optimiser steps done in the stage."""
    split: str
    """dev, or train where the preset has `train.evaluate_train`."""
    metric: float | None
    loss: float | None
    """Mean loss on labels; None where the run did not record it."""


@dataclass(frozen=True)
class Probe:
    """The results of one probe."""

    run: str
    task: str
    method: str
    metric: str
    """Name of the task's primary metric."""
    student: str
    """Hash of the student's weights and config, which shows whether the run has another student by now."""
    made: float
    """When it was measured, in seconds since 1970."""
    device: str
    seconds: float
    """Duration without loading libraries, data and models (as in `run_seconds`)."""
    run_seconds: float | None
    """Duration of the student's own stages; None where the run does not record it."""
    settings: Mapping[str, Any]
    """As requested: `scales`, `draws`, `examples`; and `seed`, from which the draws come."""
    examples: Mapping[str, int]
    """How many examples of `train` and of `dev` were measured."""
    loss: Sides
    """Mean loss on labels: cross-entropy, or the squared error of scores."""
    metrics: Mapping[str, Sides]
    """By name, the primary one first."""
    teacher_loss: Sides
    teacher_metrics: Mapping[str, Sides]
    output: Sides
    """Distance of the logits: KL(teacher ‖ student) at temperature 1, or the squared error of scores."""
    layers: tuple[Layer, ...]
    unavailable: Mapping[str, str]
    """Why a distance is missing, by name."""
    noise: tuple[Noise, ...]
    sharpness: Sharpness
    curves: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = field(default=())
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Hashes of what was measured on: "train" and "dev" (all rows, not only the examples drawn); and of the run's teacher
    before its fine-tuning, "teacher", where that is recorded."""
    changed: tuple[str, ...] = ()
    """Names of those that are not what the run was trained with."""

    @property
    def fit(self) -> Sides:
        """The primary metric."""
        return self.metrics.get(self.metric, Sides(None, None))

    def to_dict(self) -> dict[str, Any]:
        """As plain data, `schema` first."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data; ignores keys of later versions.

        Raises RunError when the schema is newer, or a field is missing or of another type.
        """
        check_schema(data, SCHEMA_VERSION)
        return read_fields(cls, data)


def read_probe(run_dir: Path) -> Probe | None:
    """The probe of a run, None where there is none.

    Raises RunError, with the file, when it is newer, truncated or invalid.
    """
    try:
        return read_record(run_dir / PROBE, Probe.from_dict)
    except FileNotFoundError:
        return None


def write_probe(run_dir: Path, probe: Probe) -> None:
    """Write the probe of a run, atomically. Raises RunError when it cannot be written."""
    write_json(run_dir / PROBE, probe.to_dict())


def is_stale(probe: Probe, run_dir: Path) -> bool:
    """Whether the run has another student by now. Reads the weights: a few tenths of a second for large ones."""
    return probe.student != student_hash(run_dir)
