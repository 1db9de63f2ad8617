"""What `crild predict` asks of an engine process, and what that answers: records that cross as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from engine.record.fields import read_fields


@dataclass(frozen=True)
class PredictionRequest:
    """Predict rows with a model. Paths are absolute."""

    model: str
    """A folder, or a hub id."""
    input_format: str
    output_format: str
    """Formats of `engine.data.row_stream`."""
    inputs: tuple[str, ...] = ()
    """Files, read one after the other; standard input if there are none."""
    run: str | None = None
    """The run whose student the model is: its preset names the columns and the length."""
    output: str | None = None
    """The file to write; None for the open descriptor `descriptor`."""
    descriptor: int | None = None
    text: str | None = None
    pair: str | None = None
    """Columns of the texts."""
    max_length: int | None = None
    """Most tokens of an input."""
    batch_size: int | None = None
    """Most rows of a batch; None for as many as fit a number of tokens."""
    precision: str = "fp32"
    """fp32, bf16 or auto."""
    device: str | None = None

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`. Raises RunError for anything else."""
        return read_fields(cls, json.loads(text))


@dataclass(frozen=True)
class PredictionSummary:
    """What has been predicted. `seconds` are those from the first row to the last, without the loading of the model."""

    rows: int
    seconds: float
    notes: tuple[str, ...] = ()
    """Sentences for the user."""
    reader_gone: bool = False
    """Whether the reader of the output closed it before the end."""

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_answer(cls, answer: object) -> Self:
        """Reads `to_dict`. Raises RunError for anything else."""
        return read_fields(cls, answer if isinstance(answer, dict) else {})
