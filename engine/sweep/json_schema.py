"""The JSON Schema of sweep files, for completion and checks in editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.preset.json_schema import tables_schema
from engine.preset.schema_source import help_texts
from engine.sweep import spec


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a sweep file: one table, [sweep]."""
    document = tables_schema(spec.Sweep, "crild sweep", help_texts(Path(spec.__file__)), required=True)
    definitions = document.pop("$defs")
    head = {key: document.pop(key) for key in ("$schema", "title")}
    return {
        **head,
        "type": "object",
        "properties": {"sweep": document},
        "required": ["sweep"],
        "additionalProperties": False,
        "$defs": definitions,
    }
