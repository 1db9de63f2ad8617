"""The JSON Schema of preset files, for completion and checks in editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.preset import schema
from engine.preset.field_types import Record
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
    document = tables_schema(schema.Preset, "crild preset", help_texts(), takes_back=True)
    definitions = document["$defs"]
    definitions["Stage"]["required"] = ["name"]
    data = definitions["Stage"]["properties"]["data"]
    data["anyOf"] = data.pop("oneOf")  # a part of a table, such as { augment = ... }, can belong to several
    objectives = definitions["Stage"]["properties"]["objectives"]
    value = objectives.pop("additionalProperties")
    names = objectives.pop("propertyNames")["enum"]
    described = {"description": help_texts()["Objective"], **value}
    objectives |= {"properties": dict.fromkeys(names, described), "additionalProperties": False}
    properties = document["properties"]
    document["properties"] = {"schema": properties.pop("schema"), "extends": _EXTENDS, "stages": _STAGES} | properties
    return document


def tables_schema(
    record: type[Record], title: str, texts: Mapping[str, str], *, takes_back: bool = False, required: bool = False
) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a TOML file that holds a record; `texts` are its help texts.

    takes_back: an optional key may be `false`. required: keys without a default must be there.
    """
    document = record.model_json_schema(by_alias=True)
    definitions = document.pop("$defs", {})
    for name, definition in ((record.__name__, document), *definitions.items()):
        _finish_table(name, definition, texts, takes_back=takes_back, required=required)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **document,
        "$defs": definitions,
    }


def _finish_table(
    name: str, definition: dict[str, Any], texts: Mapping[str, str], *, takes_back: bool, required: bool
) -> None:
    if not required:
        definition.pop("required", None)
    definition.pop("title", None)
    definition["description"] = texts.get(name, "")
    for key, entry in definition.get("properties", {}).items():
        entry.pop("title", None)
        if entry.get("default", 0) is None or isinstance(entry.get("default"), dict):
            del entry["default"]  # TOML has no null: leaving the key out is the default
        null = {"type": "null"}
        if null in entry.get("anyOf", []):
            _without_null(entry, takes_back=takes_back)
        if f"{name}.{key}" in texts:
            entry["description"] = texts[f"{name}.{key}"]


def _without_null(entry: dict[str, Any], *, takes_back: bool) -> None:
    """Take null out of a key's branches: TOML has none. With `takes_back`, `false` takes its place.

    A single plain branch becomes the key's own rule, because editors show the help of a key once for each branch.
    """
    branches = [branch for branch in entry.pop("anyOf") if branch != {"type": "null"}]
    (first, *others) = branches
    plain = not others and isinstance(first.get("type"), str) and first["type"] not in ("boolean", "array", "object")
    if not takes_back:
        entry |= {"anyOf": branches} if others else first
    elif plain and ("enum" in first or "const" in first):
        entry["enum"] = [*first.get("enum", [first.get("const")]), False]
    elif plain:
        entry |= {**first, "type": [first["type"], "boolean"], "not": {"const": True}}
    else:
        entry["anyOf"] = [*branches, {"const": False}]
