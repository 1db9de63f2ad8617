"""The JSON Schema says of a preset file what loading it says."""

from __future__ import annotations

import operator
import re
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, given, settings

from engine.preset import schema, shipped
from engine.preset.field_types import Record
from engine.preset.json_schema import json_schema
from engine.preset.schema_source import help_texts
from tests.preset.strategies import DOCUMENTS

SCHEMA = json_schema()


def faults(value: object, rule: dict[str, Any], where: str = "") -> list[str]:
    """What is wrong with a value by the keywords that our schema uses; any other keyword fails the test."""
    known = {
        "title",
        "description",
        "default",
        "$schema",
        "$defs",
        "$ref",
        "type",
        "const",
        "enum",
        "oneOf",
        "anyOf",
        "not",
    }
    known |= {
        "properties",
        "additionalProperties",
        "required",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "pattern",
        "minLength",
    }
    known |= {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "propertyNames",
        "minProperties",
        "maxLength",
    }
    assert rule.keys() <= known, rule.keys() - known
    if "$ref" in rule:
        return faults(value, SCHEMA["$defs"][rule["$ref"].removeprefix("#/$defs/")], where)
    for key, fits in (("oneOf", lambda count: count == 1), ("anyOf", bool)):
        if key in rule and not fits(sum(not faults(value, branch, where) for branch in rule[key])):
            return [f"{where}: no branch of {key}"]
    types: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    if "type" in rule:
        named = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
        expected: Any = tuple(kind for name in named for kind in (types[name] if name == "number" else (types[name],)))
        if not isinstance(value, expected) or (isinstance(value, bool) and "boolean" not in named):
            return [f"{where}: not of type {rule['type']}"]
    found = []
    if "not" in rule and not faults(value, rule["not"], where):
        found.append(f"{where}: what it must not be")
    if "const" in rule and (value != rule["const"] or isinstance(value, bool) != isinstance(rule["const"], bool)):
        found.append(f"{where}: not {rule['const']}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{where}: none of {rule['enum']}")
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        found.append(f"{where}: not of the pattern")
    if isinstance(value, str) and not rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", 10**9):
        found.append(f"{where}: too short or too long")
    if isinstance(value, int | float) and not isinstance(value, bool):
        limits = {"minimum": operator.ge, "maximum": operator.le}
        limits |= {"exclusiveMinimum": operator.gt, "exclusiveMaximum": operator.lt}
        found += [f"{where}: {key}" for key, holds in limits.items() if key in rule and not holds(value, rule[key])]
    if isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", 10**9):
            found.append(f"{where}: {len(value)} items")
        for index, item in enumerate(value):
            inner = rule["prefixItems"][index] if index < len(rule.get("prefixItems", ())) else rule.get("items", {})
            found += faults(item, inner, f"{where}[{index}]")
    if isinstance(value, dict):
        found += [f"{where}: {key} is missing" for key in rule.get("required", ()) if key not in value]
        if len(value) < rule.get("minProperties", 0):
            found.append(f"{where}: too few keys")
        for key, item in value.items():
            other = rule.get("additionalProperties", {})
            if key not in rule.get("properties", {}) and other is False:
                found.append(f"{where}.{key}: unknown")
            found += faults(key, rule.get("propertyNames", {}), f"{where}.{key}")
            found += faults(item, rule.get("properties", {}).get(key, other or {}), f"{where}.{key}")
    return found


@pytest.mark.parametrize("name", shipped.names())
def test_each_shipped_preset_conforms(name: str) -> None:
    path = shipped.path_of(name)
    assert path is not None
    assert faults(tomli.loads(path.read_text(encoding="utf-8")), SCHEMA) == []


@given(document=DOCUMENTS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
def test_what_loads_conforms(document: dict[str, Any]) -> None:
    assert faults(document, SCHEMA) == []


@pytest.mark.parametrize(
    "text",
    [
        "sed = 1",
        "schema = 2",
        "[train]\nepohcs = 3",
        "[train]\nepochs = 0",
        "[train]\nevaluate = 'epochs'",
        "[train]\ndevice = 'gpu'",
        "[task]\nname = 'rtee'",
        "[task]\nlabel_noise = 2",
        "[student]\nkeep = 'frist'",
        "[student]\nkeep = []",
        "[teacher]\nfinetune = true",
        "[train]\nthreads = true",
        "[train]\nthreads = 0",
        "[task]\nkind = 'regresion'",
        "[task]\nkind = true",
        "[task]\ntitle = true",
        f"[task]\ntitle = '{'x' * 61}'",
        "extends = 3",
        "stages = []",
        "stage = []",
        "[[stage]]\nepochs = 3",
        "[[stage]]\nname = 'A b'",
        "[[stage]]\nname = 'a'\nmixup = true",
        "[[stage]]\nname = 'a'\nobjectives = { logist = 1 }",
        "[[stage]]\nname = 'a'\nobjectives = {}",
        "[[stage]]\nname = 'a'\nobjectives = { logits = { wait = 1 } }",
        "[[stage]]\nname = 'a'\nlayer_map = [[1]]",
        "[[stage]]\nname = 'a'\ndata = 'x'",
    ],
)
def test_what_is_wrong_does_not_conform(text: str) -> None:
    assert faults(tomli.loads(text), SCHEMA)


def test_a_partial_file_conforms() -> None:
    text = (
        'extends = ["crild", "x.toml"]\nstages = "kd"\n[teacher]\nfinetune = false\n[task]\nexamples = false\n[train]\n'
    )
    assert (
        faults(tomli.loads(text + 'epochs = 3\n[[stage]]\nname = "kd"\nepochs = false\nmixup = false\n'), SCHEMA) == []
    )
    assert faults({}, SCHEMA) == []
    assert faults(tomli.loads("[train]\nthreads = false\n[task]\nkind = false\ntitle = false\n"), SCHEMA) == []


def test_every_table_and_key_has_a_help_text_on_one_line() -> None:
    texts = help_texts()
    for name in vars(schema):
        record = getattr(schema, name)
        if isinstance(record, type) and issubclass(record, Record) and record is not Record:
            assert texts[name]
            for field in record.model_fields:
                assert texts[f"{name}.{field.rstrip('_')}"], f"{name}.{field}"
    assert all("\n" not in text for text in texts.values())


def test_help_texts_are_in_the_schema() -> None:
    assert SCHEMA["$defs"]["Train"]["properties"]["accumulate"]["description"] == (
        "Micro-batches in each optimiser step: less memory, the same step but for the draws of dropout."
    )
    assert SCHEMA["properties"]["seed"]["description"]
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(SCHEMA["properties"])[:3] == ["schema", "extends", "stages"]
