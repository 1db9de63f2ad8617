"""The JSON Schema of search files, for completion and checks in editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.preset.json_schema import tables_schema
from engine.preset.schema_source import help_texts
from engine.search import declaration
from engine.sweep import spec


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a search file: one table, [search].

    A key of the space may be written without quotes, as tables in tables: such a table may hold anything.
    """
    texts = {**help_texts(Path(spec.__file__)), **help_texts(Path(declaration.__file__))}
    document = tables_schema(declaration.Search, "crild search", texts, required=True)
    definitions = document.pop("$defs")
    head = {key: document.pop(key) for key in ("$schema", "title")}
    return {
        **head,
        "type": "object",
        "properties": {"search": document},
        "required": ["search"],
        "additionalProperties": False,
        "$defs": definitions,
    }
