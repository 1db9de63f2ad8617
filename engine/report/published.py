"""Figures that others published, with their sources and the caveats of comparing one's own with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class Published:
    """A row of somebody's table: figures by task, as shares of 1."""

    name: str
    source: str
    caveat: str
    figures: Mapping[str, float]


def published() -> tuple[Published, ...]:
    """Every row that crild knows, in the order of the file."""
    document = _document()
    sources = document["sources"]
    return tuple(
        Published(
            row["name"],
            sources[row["source"]]["name"],
            sources[row["source"]]["caveat"],
            {task: round(value / 100, 6) for task, value in row["figures"].items()},
        )
        for row in document["row"]
    )


def official_dev_rows() -> dict[str, int]:
    """How many rows the dev set has that published figures are of, by task."""
    return dict(_document()["dev_rows"])


def _document() -> dict[str, Any]:
    return tomli.loads(FILE.read_text(encoding="utf-8"))
