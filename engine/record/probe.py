"""probe.json: what a probe found in a run's student (overfitting, distance to the teacher, sharpness), in frozen records.

    {"schema": 1, "run": id, "metric": name, "loss": {"train": x, "dev": y}, "metrics": {name: {"train": x, "dev": y}},
     "layers": [{"layer": n, "teacher_layer": m, "distances": {"attention": {"train": x, "dev": y}, ...}}],
     "noise": [{"scale": s, "metric": mean, "deviation": sd, "loss": mean, "loss_deviation": sd, "draws": n}],
     "sharpness": {"scale": s, "train": rise, "dev": rise, "draws": n}, ...}

`docs/probes.md` says how each figure is measured.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from engine.errors import RunError
from engine.record.files import cause, read_object, write_json
from engine.record.paths import STUDENT

SCHEMA_VERSION = 1
PROBE = "probe.json"
DISTANCES = ("attention", "query", "key", "value", "hidden", "cls", "cka")
"""Every distance between two layers that a probe can hold, in the order in which they are shown."""
MOST_ROWS = 10_000
"""Rows of one list; a longer one was not written by crild."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sides:
    """One figure on the training examples and on dev; None where it is no finite number."""

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
    """How far a student layer is from the teacher layer that it is held against; layers are counted from 1."""

    layer: int
    teacher_layer: int
    distances: Mapping[str, Sides]
    """By name, of `DISTANCES`; what these two models cannot be compared by is missing."""


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
    """One evaluation while the student was trained, as the run's events tell it."""

    stage: str
    step: int
    """Optimiser steps done in the stage."""
    split: str
    """dev, or train where the preset has `train.evaluate_train`."""
    metric: float | None
    loss: float | None
    """Mean loss on labels, None where the run did not write it."""


@dataclass(frozen=True)
class Probe:
    """What one probe measured."""

    run: str
    task: str
    method: str
    metric: str
    """Name of the task's primary metric."""
    student: str
    """Hash of the student's weights and config, by which a probe of another student is told."""
    made: float
    """When, in seconds since 1970."""
    device: str
    seconds: float
    """What measuring took, the loading of libraries, data and models left out (as in `run_seconds`)."""
    run_seconds: float | None
    """What the student's own stages took; None where the run does not say."""
    settings: Mapping[str, Any]
    """As asked: `scales`, `draws`, `examples`; and `seed`, which the draws come from."""
    examples: Mapping[str, int]
    """How many were measured on, of `train` and of `dev`."""
    loss: Sides
    """Mean loss on labels: cross-entropy, of scores the squared error."""
    metrics: Mapping[str, Sides]
    """By name, the primary one first."""
    teacher_loss: Sides
    teacher_metrics: Mapping[str, Sides]
    output: Sides
    """Distance of the logits: KL(teacher ‖ student) at temperature 1, of scores the squared error."""
    layers: tuple[Layer, ...]
    unavailable: Mapping[str, str]
    """Why a distance is missing, by name."""
    noise: tuple[Noise, ...]
    sharpness: Sharpness
    curves: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def fit(self) -> Sides:
        """The primary metric."""
        return self.metrics.get(self.metric, Sides(None, None))

    def to_dict(self) -> dict[str, Any]:
        """As plain data, `schema` first."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data; keys of later versions are ignored.

        Raises RunError with a sentence when the schema is newer, something is missing, or is of another type.
        """
        schema = data.get("schema")
        if type(schema) is int and schema > SCHEMA_VERSION:
            raise RunError(
                f"was written by a newer crild (schema {schema}, this one reads {SCHEMA_VERSION}): upgrade crild to use it"
            )
        if type(schema) is not int or schema != SCHEMA_VERSION:
            raise RunError("has no schema version that crild knows: it was written by something else")
        return cls(
            **{name: _word(data, name) for name in ("run", "task", "method", "metric", "student", "device")},
            made=_needed(data, "made"),
            seconds=_needed(data, "seconds"),
            run_seconds=_number(data, "run_seconds"),
            settings=dict(_table(data, "settings")),
            examples={name: _count(_table(data, "examples"), name) for name in ("train", "dev")},
            loss=_sides(data, "loss"),
            metrics=_all_sides(data, "metrics"),
            teacher_loss=_sides(data, "teacher_loss"),
            teacher_metrics=_all_sides(data, "teacher_metrics"),
            output=_sides(data, "output"),
            layers=_rows(data, "layers", _layer),
            unavailable={
                name: _word(_table(data, "unavailable"), name)
                for name in DISTANCES
                if name in _table(data, "unavailable")
            },
            noise=_rows(data, "noise", _noise),
            sharpness=_sharpness(_table(data, "sharpness")),
            curves=_rows(data, "curves", _point),
            notes=_notes(data),
        )


def read_probe(run_dir: Path) -> Probe | None:
    """The probe of a run, None where there is none.

    Raises RunError, with the file, when it is newer, torn, or was written by something else.
    """
    path = run_dir / PROBE
    try:
        return Probe.from_dict(read_object(path))
    except FileNotFoundError:
        return None
    except RunError as error:
        raise RunError(error.sentence, file=str(path), key=error.key) from error


def write_probe(run_dir: Path, probe: Probe) -> None:
    """Keep the probe of a run, whole and atomically. Raises RunError when it cannot be written."""
    write_json(run_dir / PROBE, probe.to_dict())


def student_hash(run_dir: Path) -> str | None:
    """SHA-256 over the saved student's weights and config; None where there is no student.

    Raises RunError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for name in ("config.json", "model.safetensors"):
            with (run_dir / STUDENT / name).open("rb") as file:
                digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"the student cannot be read: {cause(error)}", file=str(run_dir / STUDENT)) from error
    return digest.hexdigest()


def is_stale(probe: Probe, run_dir: Path) -> bool:
    """Whether the run has another student by now. Reads the weights: some tenths of a second for a large one."""
    return probe.student != student_hash(run_dir)


# -- reading what stands in the file


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, Mapping):
        raise _strange(name, "no table")
    return value


def _word(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _strange(name, "no text")
    return value


def _number(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _strange(name, "no number")
    try:
        found = float(value)
    except OverflowError:
        raise _strange(name, "a number too large to be true") from None
    return found if math.isfinite(found) else None


def _needed(data: Mapping[str, Any], name: str) -> float:
    value = _number(data, name)
    if value is None:
        raise _strange(name, "no number")
    return value


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise _strange(name, "no count")
    return value


def _sides(data: Mapping[str, Any], name: str) -> Sides:
    found = _table(data, name)
    return Sides(_number(found, "train"), _number(found, "dev"))


def _all_sides(data: Mapping[str, Any], name: str) -> dict[str, Sides]:
    found = _table(data, name)
    return {str(key): _sides(found, key) for key in found}


def _rows(data: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], _T]) -> tuple[_T, ...]:
    rows = data.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows) or len(rows) > MOST_ROWS:
        raise _strange(name, "no list of tables")
    return tuple(read(row) for row in rows)


def _layer(row: Mapping[str, Any]) -> Layer:
    found = _table(row, "distances")
    distances = {name: _sides(found, name) for name in DISTANCES if name in found}
    return Layer(_count(row, "layer"), _count(row, "teacher_layer"), distances)


def _noise(row: Mapping[str, Any]) -> Noise:
    figures = {name: _number(row, name) for name in ("metric", "deviation", "loss", "loss_deviation")}
    return Noise(scale=_needed(row, "scale"), draws=_count(row, "draws"), **figures)


def _sharpness(found: Mapping[str, Any]) -> Sharpness:
    return Sharpness(_needed(found, "scale"), _number(found, "train"), _number(found, "dev"), _count(found, "draws"))


def _point(row: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint(
        _word(row, "stage"), _count(row, "step"), _word(row, "split"), _number(row, "metric"), _number(row, "loss")
    )


def _notes(data: Mapping[str, Any]) -> tuple[str, ...]:
    notes = data.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes) or len(notes) > MOST_ROWS:
        raise _strange("notes", "no list of sentences")
    return tuple(notes)


def _strange(name: str, what: str) -> RunError:
    return RunError(f"says {name} = {what}: it was written by something else", key=name)
