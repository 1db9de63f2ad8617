"""The JSON Schema of settings.toml, for completion and checks in editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.preset.json_schema import tables_schema
from engine.preset.schema_source import help_texts
from engine.user import settings


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of settings.toml: a table for each section, none of them required."""
    texts = help_texts(Path(settings.__file__))
    sections = {name: tables_schema(record, name, texts, required=True) for name, record in settings.SECTIONS.items()}
    definitions: dict[str, Any] = {}
    for section in sections.values():
        definitions |= section.pop("$defs")
        del section["$schema"], section["title"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "crild settings",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "$defs": definitions,
    }
