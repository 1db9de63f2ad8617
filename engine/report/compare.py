"""Compare presets key by key, and summarise figures over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import RunError
from engine.preset.toml_file import read_plain
from engine.record.files import cause


class _Absent:
    """The value of a key that a preset does not set."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True)
class Difference:
    """A key on which presets differ, with each one's value in order (ABSENT where it is left out)."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of `count` values; the deviation of a single one is None."""

    mean: float
    deviation: float | None
    count: int


def read_preset(run_dir: Path) -> dict[str, Any]:
    """The resolved preset of a run as plain data. Raises RunError when the run has none that can be read."""
    path = run_dir / "preset.toml"
    try:
        return read_plain(path)
    except FileNotFoundError:
        sentence = "this folder has no preset.toml, so it is not a run that can be compared"
        raise RunError(sentence, kind="missing-preset", file=str(path)) from None
    except (OSError, ValueError) as error:  # errors of TOML and Unicode are ValueErrors
        reason = cause(error) if isinstance(error, OSError) else error
        raise RunError(
            f"the run's preset cannot be read: {reason}", kind="unreadable-preset", file=str(path)
        ) from error


def flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a preset as `--set` writes them (`stage.ild.epochs`) with their values; stages go by their names."""
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif key == "stage" and isinstance(value, list):
            yield f"{name}s", [stage.get("name") for stage in value if isinstance(stage, Mapping)]
            for stage in value:
                if isinstance(stage, Mapping):
                    rest = {k: v for k, v in stage.items() if k != "name"}
                    yield from flat(rest, f"{name}.{stage.get('name')}.")
        else:
            yield name, value


def differences(documents: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """The keys on which presets differ, in the order in which they are first met."""
    tables = [dict(flat(document)) for document in documents]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = (Difference(key, tuple(table.get(key, ABSENT) for table in tables)) for key in keys)
    return tuple(row for row in rows if any(value != row.values[0] for value in row.values[1:]))


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and sample standard deviation over seeds; None for no values."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
