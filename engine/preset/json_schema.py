"""The JSON Schema of preset files, for completion and checks in editors."""

from __future__ import annotations

from typing import Any

from engine.preset import schema
from engine.preset.schema_source import help_texts

_NAMES = [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
_EXTENDS = {
    "description": "Presets that this one changes: a shipped name or a path, or several, merged from left to right.",
    "oneOf": _NAMES,
}
_STAGES = {
    "description": "Names of the stages to keep, of those that are inherited or added, in this order.",
    "oneOf": _NAMES,
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a preset file.

    Only the name of a stage is required: files may be incomplete until they merge, and stages merge by name. Every
    optional key may be `false`, which takes back an inherited value.
    """
    document = schema.Preset.model_json_schema(by_alias=True)
    definitions = document.pop("$defs")
    for name, definition in (("Preset", document), *definitions.items()):
        _finish_table(name, definition)
    definitions["Stage"]["required"] = ["name"]
    properties = document["properties"]
    document["properties"] = {"schema": properties.pop("schema"), "extends": _EXTENDS, "stages": _STAGES} | properties
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "crild preset",
        **document,
        "$defs": definitions,
    }


def _finish_table(name: str, definition: dict[str, Any]) -> None:
    texts = help_texts()
    definition.pop("required", None)
    definition.pop("title", None)
    definition["description"] = texts.get(name, "")
    for key, entry in definition.get("properties", {}).items():
        entry.pop("title", None)
        if entry.get("default", 0) is None or isinstance(entry.get("default"), dict):
            del entry["default"]  # TOML has no null: leaving the key out is the default
        for branch in entry.get("anyOf", []):
            if branch == {"type": "null"}:
                branch.clear()
                branch["const"] = False
        if f"{name}.{key}" in texts:
            entry["description"] = texts[f"{name}.{key}"]
