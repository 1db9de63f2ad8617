"""What `crild export` writes beside an exported model: where it comes from and what was measured. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.preset.text import listed
from engine.record.files import read_json

NEEDED = ("onnx", "onnxruntime", "onnxscript")
"""Packages of the extra `onnx`."""
EXPORT = "crild_export.json"
CARD = "README.md"
"""The card of any model."""
LARGEST_CARD = 1_000_000  # bytes
SCHEMA = 1
FORMS = ("onnx", "int8", "int8-static", "fp16")
"""The model as it is, with weights of 8 bits (and activations measured as they come, or beforehand on training rows), and with
half precision."""


@dataclass(frozen=True)
class ExportFacts:
    """An exported model, as its folder's `crild_export.json` has it."""

    form: str
    """One of `FORMS`."""
    source: str
    """The run or model that was exported, by name."""
    parameters: int
    metric: str | None = None
    """The task's primary metric; None where no task was named."""
    value: float | None = None
    """On dev, as exported."""
    original: float | None = None
    """On dev, before."""
    logits_differ: float | None = None
    """Largest difference of a logit on dev, or on random tokens where no task was named."""
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema": SCHEMA, **asdict(self)}


def read_facts(folder: Path) -> ExportFacts | None:
    """The facts of an exported folder; None where it has none that can be read."""
    document = read_json(folder / EXPORT)
    if document is None:
        return None
    known = {name: document[name] for name in ExportFacts.__dataclass_fields__ if name in document}
    try:
        return ExportFacts(**known)
    except TypeError:
        return None


def missing_packages() -> list[str]:
    """The packages of the extra `onnx` that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def check_installed() -> None:
    """Raises `ModelError`, with the command that installs what is missing."""
    if missing := missing_packages():
        sentence = f"ONNX needs {listed(missing, 'and')}: pip install 'crild[onnx]'"
        raise ModelError(sentence, kind="onnx-not-installed")
