"""Read JSON records that may be damaged or foreign into dataclasses; errors name the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from engine.errors import RunError
from engine.record.json_values import LARGEST

MOST_ROWS = 10_000
"""Rows of the longest list that is read; crild writes no longer ones."""
_WORDS: Mapping[Any, str] = {
    str: "text", int: "a count", float: "a number", bool: "true or false", tuple: "a list", Mapping: "a table",
}  # fmt: skip

_T = TypeVar("_T")


def check_schema(data: Mapping[str, Any], version: int) -> None:
    """Raise RunError when a record is of a newer schema version, or of none."""
    schema = data.get("schema")
    if type(schema) is int and schema > version:
        sentence = f"was written by a newer crild (schema {schema}, this one reads {version}): upgrade crild to use it"
        raise RunError(sentence, kind="newer-record")
    if type(schema) is not int or schema != version:
        raise RunError("has no known schema version: it was written by another program", kind="unknown-record-version")


def invalid_field(name: str, value: object, expected: str) -> RunError:
    """The error for a field with a value that crild does not write."""
    sentence = f"has {name} = {str(value)[:60]!r} instead of {expected}: it was written by another program"
    return RunError(sentence, kind="invalid-field", key=name)


def read_fields(cls: type[_T], data: Mapping[str, Any]) -> _T:
    """A dataclass from a JSON object: each field as its annotation says, at any depth; other keys are ignored.

    A field that is missing or null takes its default. Raises RunError, with the field, for a value of another type.
    """
    values = {}
    for name, expected, has_default in _fields_of(cls):  # type: ignore[arg-type]  # classes are hashable
        value = data.get(name)
        if name not in data and not has_default and not isinstance(expected, UnionType):
            raise RunError(f"has no {name}: it was written by another program", kind="missing-field", key=name)
        if value is not None or not has_default:
            values[name] = _checked(name, value, expected)
    return cls(**values)


@cache
def _fields_of(cls: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type, and whether there is a default, of each field of a dataclass."""
    types = get_type_hints(cls)
    return tuple(
        (item.name, types[item.name], (item.default, item.default_factory) != (MISSING, MISSING))
        for item in fields(cls)
    )


def _checked(name: str, value: Any, expected: Any) -> Any:
    """`value` as a type: str, int (0 or more), float, bool, Any, Mapping, tuple, a dataclass, or one of these or None."""
    if isinstance(expected, UnionType):
        inner = expected.__args__[0]
        nothing = value is None or (inner is float and isinstance(value, float) and not math.isfinite(value))
        return None if nothing else _checked(name, value, inner)
    if expected is Any:
        return value
    if expected is float and type(value) in (int, float):
        if abs(value) < LARGEST:
            return float(value)
        raise invalid_field(name, "an enormous number", "a number")
    if expected is int and type(value) is int and 0 <= value < 2**53:
        return value
    if expected in (str, bool) and isinstance(value, expected):
        return value
    kind, arguments = get_origin(expected) or expected, get_args(expected)
    if kind is tuple and isinstance(value, list | tuple) and len(value) <= MOST_ROWS:
        return tuple(_checked(name, item, arguments[0]) for item in value)
    if kind is Mapping and isinstance(value, Mapping):
        return {key: _checked(key, item, arguments[1]) for key, item in value.items()}
    if is_dataclass(kind) and isinstance(value, Mapping):
        own = getattr(kind, "from_dict", None)
        return read_fields(kind, value) if own is None else own(value)  # type: ignore[arg-type]
    raise invalid_field(name, value, _WORDS.get(kind, "a table"))
