"""The presets that come with crild."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tomli

Kind = Literal["run", "method", "task", "variant"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_RUNS = frozenset({"answers", "local-teacher", "quickstart"})  # complete as they are


@dataclass(frozen=True)
class ShippedPreset:
    """A shipped preset. `kind`: "run" is complete, "method" needs a task preset and "task" a method, "variant" changes
    the data of both."""

    name: str
    path: Path
    description: str
    kind: Kind
    varies_method: bool = False
    """Whether a variant changes what a stage reads, not the task: a run with it is a different method."""
    takes_task: bool = False
    """Whether a run names a teacher of the user's, or its answers, so that it goes with the user's task too, as a method does."""


@cache
def folder() -> Path:
    """Their folder: inside the package when it was installed from a wheel, else the source tree's `presets/`."""
    packaged = Path(__file__).parent / "shipped"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "presets"


def names() -> list[str]:
    """Their names, in alphabetical order."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def shipped() -> list[ShippedPreset]:
    """All of them: runs first, then methods (crild and what varies it before the others), tasks and variants."""
    order: dict[Kind, int] = {"run": 0, "method": 1, "task": 2, "variant": 3}
    presets = [preset for name in names() if (preset := find(name)) is not None]
    return sorted(presets, key=lambda preset: (order[preset.kind], not preset.name.startswith("crild"), preset.name))


def find(name: str) -> ShippedPreset | None:
    """The shipped preset of this name, or None."""
    path = path_of(name)
    if path is None:
        return None
    document = tomli.loads(path.read_text(encoding="utf-8"))
    kind = "run" if name in _RUNS else _kind(document)
    varies = kind == "variant" and "stage" in document
    takes = kind == "run" and document.get("teacher", {}).get("model") != "scratch"
    return ShippedPreset(name, path, str(document.get("description", "")), kind, varies, takes)


def _kind(document: Mapping[str, Any]) -> Kind:
    if "extends" in document or any("objectives" in stage for stage in document.get("stage", ())):
        return "method"
    return "task" if "name" in document.get("task", ()) else "variant"


def path_of(name: str) -> Path | None:
    """The file of the shipped preset of this name, or None."""
    if not _NAME.fullmatch(name):
        return None
    path = folder() / f"{name}.toml"
    return path if path.is_file() else None
