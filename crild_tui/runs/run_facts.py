"""The settings and the environment of a run as lines: every key of its preset, and what was recorded where it started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.preset.text import one_line, shown
from engine.record.files import read_object
from engine.record.paths import ENVIRONMENT
from engine.report.compare import flat, read_preset

Pairs = tuple[tuple[str, str], ...]
"""Keys with their values, safe to show."""


@dataclass(frozen=True)
class RunFacts:
    """Settings and environment of a run; `problems` says what of them cannot be read."""

    run_dir: Path
    settings: Pairs = ()
    environment: Pairs = ()
    problems: tuple[str, ...] = ()


def read_facts(run_dir: Path) -> RunFacts:
    """Read preset and environment of a run; damage ends in `problems`. Reads files: call it in a thread."""
    problems = []
    settings: Pairs = ()
    environment: Pairs = ()
    try:
        settings = tuple(_pairs(read_preset(run_dir)))
    except RunError as error:
        problems.append(error.sentence)
    try:
        environment = tuple(_pairs(read_object(run_dir / ENVIRONMENT)))
    except FileNotFoundError:
        problems.append(f"{ENVIRONMENT} is missing")
    except RunError as error:
        problems.append(f"{ENVIRONMENT} {error.sentence}")
    return RunFacts(run_dir, settings, environment, tuple(problems))


def _pairs(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flat(document):
        if key != "schema" and value is not None:
            words = isinstance(value, list) and all(isinstance(item, str) for item in value)
            yield (
                one_line(key),
                one_line(value if isinstance(value, str) else " ".join(value) if words else shown(value)),
            )
