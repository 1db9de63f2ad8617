"""The events of a run as a table: a row for each event, a column for each field. Read twice, so that memory stays flat."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from engine.preset.text import one_line
from engine.record.events import read_events

FIRST = ("t", "kind", "stage", "step", "epoch", "model", "split")
"""Columns that come first, where the events have them."""
LEFT_OUT = frozenset(["v"])
ROWS = 10_000
"""Rows of a Parquet row group."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event: those of tables in it with a dot, as `metrics.accuracy`; lists as JSON."""
    fields: dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, Mapping):
            fields |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        elif key not in LEFT_OUT:
            fields[key] = json.dumps(value) if isinstance(value, list) else value
    return fields


def columns(run_dir: Path, kinds: Collection[str] | None = None) -> dict[str, str]:
    """The columns of a run's events, with their types ("number", "text" or "bool"; "text" where they are mixed)."""
    types: dict[str, str] = {}
    for event in read_events(run_dir, kinds):
        for name, value in flat(event).items():
            if value is not None:
                own = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
                types[name] = own if types.get(name, own) == own else "text"
            else:
                types.setdefault(name, "number")
    return {name: types[name] for name in dict.fromkeys((*FIRST, *types)) if name in types}


def write_csv(run_dir: Path, kinds: Collection[str] | None, out: TextIO) -> int:
    """Write the events as CSV; returns their number. Texts that a spreadsheet would compute begin with an apostrophe."""
    names = list(columns(run_dir, kinds))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    count = 0
    for count, event in enumerate(read_events(run_dir, kinds), 1):  # noqa: B007 - the number of the last one
        fields = flat(event)
        writer.writerow([_cell(fields.get(name)) for name in names])
    return count


def write_parquet(run_dir: Path, kinds: Collection[str] | None, path: str) -> int:
    """Write the events to a Parquet file; returns their number. Raises OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds_of = {"number": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    types = columns(run_dir, kinds)
    schema = pa.schema([(name, kinds_of[kind]) for name, kind in types.items()])
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _pieces(run_dir, kinds):
            count += len(rows)
            arrays = [
                pa.array([_typed(row.get(name), kind) for row in rows], kinds_of[kind]) for name, kind in types.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return count


def column_values(run_dir: Path, kinds: Collection[str] | None = None) -> dict[str, list[Any]]:
    """The values of each of `columns`, an entry for each event, typed as in Parquet; None where an event lacks one."""
    types = columns(run_dir, kinds)
    values: dict[str, list[Any]] = {name: [] for name in types}
    for event in read_events(run_dir, kinds):
        fields = flat(event)
        for name, kind in types.items():
            values[name].append(_typed(fields.get(name), kind))
    return values


def _pieces(run_dir: Path, kinds: Collection[str] | None) -> Iterator[Sequence[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for event in read_events(run_dir, kinds):
        rows.append(flat(event))
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _typed(value: Any, kind: str) -> Any:
    if value is None or kind == "bool":
        return value
    return float(value) if kind == "number" else value if isinstance(value, str) else json.dumps(value)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        text = one_line(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return "" if value is None else json.dumps(value)
