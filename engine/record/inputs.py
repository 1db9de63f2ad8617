"""inputs.json: what a run learns from and is measured on, by content, not by path.

    {"schema": 1, "train": {"source": path, "rows": n, "content": sha256}, "dev": {split: {...}, ...},
     "teacher": {"source": path, "weights": sha256, "tokenizer": sha256}, "student": {...} or null,
     "stages": {stage: {"source": path, "rows": n, "content": sha256}}, "answers": {...} or null, "others": {table: {...}},
     "digest": sha256}

Either "teacher" or "answers" (as "train") is null: a teacher is a model, or a file of answers.

The engine writes it once, when it starts training, and compares it when the run resumes. Reports compare it between runs:
figures on other rows, or from another teacher, are never averaged as seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.record.fields import check_schema, read_fields
from engine.record.files import read_record, write_json

SCHEMA_VERSION = 1
INPUTS = "inputs.json"
SHORT = 8
"""Hexadecimal digits of a hash that are shown."""
TRAIN, TEACHER, ANSWERS = "train", "teacher", "teacher.answers"
TOKENIZER = "tokenizer"
STUDENT_INIT = "student.init"


@dataclass(frozen=True)
class InputRows:
    """Rows of data: `source` is a file, folder, data set or built-in task, `content` a hash of texts and labels."""

    source: str
    rows: int
    content: str


@dataclass(frozen=True)
class InputModel:
    """A model as loaded, before any training: hashes of its weights and of its tokenizer's definition."""

    source: str
    weights: str
    tokenizer: str


@dataclass(frozen=True)
class Input:
    """One input of a run under its name; `content` identifies it, `text` is short enough to show."""

    name: str
    source: str
    content: str
    text: str


@dataclass(frozen=True)
class ChangedInput:
    """An input that is not what it was: None where there was none, or is none now."""

    name: str
    before: Input | None
    now: Input | None

    @property
    def source(self) -> str:
        """Where it is read from now (or was, if nothing is read now)."""
        known = self.now or self.before
        return "" if known is None else known.source

    def __str__(self) -> str:
        was, now = ("none" if side is None else side.text for side in (self.before, self.now))
        where = Path(self.source).name if self.source.startswith("/") else self.source
        return f"{self.name} ({where}: was {was}, is now {now})"


@dataclass(frozen=True)
class RunInputs:
    """Everything that a run reads: its data, its teacher, and the model that `student.init` names, if any.

    `dev` holds the dev sets, the primary one first, and then the test set if there is one; `stages` the data of stages that have their own.
    """

    train: InputRows
    dev: Mapping[str, InputRows]
    teacher: InputModel | None
    student: InputModel | None = None
    stages: Mapping[str, InputRows] = field(default_factory=dict)
    answers: InputRows | None = None
    """Of a teacher that is a file of answers; then there is no model. Their content is that of the answers to these rows."""
    others: Mapping[str, InputModel] = field(default_factory=dict)
    """Further teachers, by the table that names them."""

    @property
    def dev_rows(self) -> int:
        """Rows of the primary dev set."""
        return next((rows.rows for rows in self.dev.values()), 0)

    @property
    def data(self) -> tuple[Input, ...]:
        """The training rows and the dev sets."""
        return (_rows(TRAIN, self.train), *(_rows(split, rows) for split, rows in self.dev.items()))

    @property
    def all(self) -> tuple[Input, ...]:
        """Every input: data, data of stages, the teacher and its tokenizer, `student.init` and its tokenizer."""
        stages = (_rows(f"stage.{name}.data", rows) for name, rows in self.stages.items())
        others = (item for name, model in self.others.items() for item in _model(name, model))
        answers = () if self.answers is None else (_rows(ANSWERS, self.answers, "answer"),)
        return (
            *self.data,
            *stages,
            *answers,
            *_model(TEACHER, self.teacher),
            *others,
            *_model(STUDENT_INIT, self.student),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain data, `schema` first, with a digest of the rest."""
        data = {"schema": SCHEMA_VERSION, **asdict(self)}
        return {**data, "digest": _digest(data)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when the schema is newer, a field is invalid, or the digest does not match."""
        check_schema(data, SCHEMA_VERSION)
        if data.get("digest") != _digest({key: value for key, value in data.items() if key != "digest"}):
            raise RunError("is damaged: its digest does not match its content", kind="damaged-inputs")
        return read_fields(cls, data)


def read_inputs(run_dir: Path) -> RunInputs | None:
    """The inputs of a run; None where none are recorded: it has not started, or an earlier crild started it.

    Raises RunError, with the file, when the record is newer, damaged or unreadable.
    """
    try:
        return read_record(run_dir / INPUTS, RunInputs.from_dict)
    except FileNotFoundError:
        return None


def known_inputs(run_dir: Path) -> RunInputs | None:
    """As `read_inputs`, but None also where the record cannot be used."""
    try:
        return read_inputs(run_dir)
    except RunError:
        return None


def write_inputs(run_dir: Path, inputs: RunInputs) -> None:
    """Write the inputs of a run, atomically and durably. Raises RunError when they cannot be written."""
    write_json(run_dir / INPUTS, inputs.to_dict())


def changed_inputs(before: RunInputs, now: RunInputs) -> tuple[ChangedInput, ...]:
    """The inputs that differ in content; where they are read from does not matter."""
    old, new = ({item.name: item for item in inputs.all} for inputs in (before, now))
    changes = (ChangedInput(name, old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new)))
    return tuple(
        change
        for change in changes
        if change.before is None or change.now is None or change.before.content != change.now.content
    )


def short(content: str) -> str:
    """The part of a hash that is shown."""
    return content[:SHORT]


def _rows(name: str, rows: InputRows, unit: str = "row") -> Input:
    count = f"{rows.rows:,} {unit}{'' if rows.rows == 1 else 's'}"
    return Input(name, rows.source, rows.content, f"{count}, {short(rows.content)}")


def _model(name: str, model: InputModel | None) -> tuple[Input, ...]:
    if model is None:
        return ()
    return (
        Input(name, model.source, model.weights, short(model.weights)),
        Input(f"{name} {TOKENIZER}", model.source, model.tokenizer, short(model.tokenizer)),
    )


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
