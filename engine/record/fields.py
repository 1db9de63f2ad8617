"""Read the fields of a JSON record that may be damaged or foreign; errors name the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.errors import RunError

MOST_ROWS = 10_000
"""Rows of the longest list that is read; crild writes no longer ones."""

_T = TypeVar("_T")


def check_schema(data: Mapping[str, Any], version: int) -> None:
    """Raise RunError when a record is of a newer schema version, or of none."""
    schema = data.get("schema")
    if type(schema) is int and schema > version:
        raise RunError(
            f"was written by a newer crild (schema {schema}, this one reads {version}): upgrade crild to use it",
            kind="newer-record",
        )
    if type(schema) is not int or schema != version:
        raise RunError("has no known schema version: it was written by another program", kind="unknown-record-version")


def invalid_field(name: str, value: object, expected: str) -> RunError:
    """The error for a field with a value that crild does not write."""
    return RunError(
        f"has {name} = {str(value)[:60]!r} instead of {expected}: it was written by another program",
        kind="invalid-field",
        key=name,
    )


@dataclass(frozen=True)
class Fields:
    """A record, or a table in one. Each method reads one field; all raise RunError when it is of another type."""

    data: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text."""
        value = self.data.get(name)
        if not isinstance(value, str):
            raise invalid_field(name, value, "text")
        return value

    def number(self, name: str) -> float | None:
        """A number; None when it is missing or not finite."""
        value = self.data.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_field(name, value, "a number")
        try:
            number = float(value)
        except OverflowError:
            raise invalid_field(name, "an enormous number", "a number") from None
        return number if math.isfinite(number) else None

    def required_number(self, name: str) -> float:
        """A finite number."""
        number = self.number(name)
        if number is None:
            raise invalid_field(name, number, "a number")
        return number

    def count(self, name: str) -> int:
        """A whole number from 0."""
        value = self.data.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            raise invalid_field(name, value, "a count")
        return value

    def table(self, name: str) -> Fields:
        """A table."""
        value = self.data.get(name)
        if not isinstance(value, Mapping):
            raise invalid_field(name, value, "a table")
        return Fields(value)

    def rows(self, name: str, read: Callable[[Fields], _T]) -> tuple[_T, ...]:
        """A list of tables, each as `read` returns it; empty when it is missing."""
        rows = self.data.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows) or len(rows) > MOST_ROWS:
            raise invalid_field(name, rows, "a list of tables")
        return tuple(read(Fields(row)) for row in rows)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty when it is missing."""
        values = self.data.get(name, [])
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values) or len(values) > MOST_ROWS:
            raise invalid_field(name, values, "a list of texts")
        return tuple(values)
