"""Every setting with its value and where it comes from; `crild config` shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin

from engine.errors import CrildError, PresetError
from engine.preset.field_types import Record
from engine.preset.toml_lines import KeyPath
from engine.preset.toml_text import key_text
from engine.record.paths import cache_dir, runs_dir
from engine.user.settings import SECTIONS, Located, read_located, settings_files

VARIABLES: Mapping[str, str] = {"dashboard.ascii": "CRILD_ASCII"}
"""Environment variables that switch a setting on, whatever the files say."""


@dataclass(frozen=True)
class Setting:
    """A setting: `path` are its keys; `value` is plain data, None where it is left open."""

    path: tuple[str, ...]
    value: Any
    origin: Literal["default", "file", "environment", "option"] = "default"
    file: Path | None = None
    line: int | None = None
    variable: str | None = None
    """The environment variable or option."""

    @property
    def key(self) -> str:
        """The key as TOML writes it: `dashboard.keys."live.stop"`."""
        return dotted_key(self.path)


def dotted_key(path: Sequence[str]) -> str:
    """Keys joined by points, in quotes where TOML needs them."""
    return ".".join(map(key_text, path))


def all_settings() -> tuple[list[Setting], list[CrildError]]:
    """The settings of every section, and what is wrong with the others."""
    settings: list[Setting] = []
    problems: dict[str, CrildError] = {}
    for name, section in SECTIONS.items():
        try:
            settings += settings_of(name, read_located(section))
        except PresetError as error:
            problems |= {str(problem): problem for problem in error.problems}
    return settings, list(problems.values())


def settings_of(name: str, located: Located[Any]) -> Iterator[Setting]:
    """The settings of a section, one for each entry of a table or list of tables."""
    values = located.values.model_dump(mode="json")
    for key, value in values.items():
        path = (name, key)
        variable = VARIABLES.get(f"{name}.{key}")
        if variable is not None and os.environ.get(variable):
            yield Setting(path, True, "environment", variable=variable)
        elif located.source is None or key not in located.written:
            yield Setting(path, value)
        elif is_free_table(type(located.values), key):
            yield from (_written(located, (*path, entry), (key, entry), item) for entry, item in value.items())
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                kept = {name: part for name, part in item.items() if part is not None}
                yield _written(located, path, (key, index), kept)
        else:
            yield _written(located, path, (key,), value)


def _written(located: Located[Any], path: tuple[str, ...], inside: KeyPath, value: Any) -> Setting:
    assert located.source is not None
    return Setting(path, value, "file", located.source.file, located.source.line(inside))


def is_free_table(section: type[Record], key: str) -> bool:
    """Whether a key is a table of entries that the user names, as `dashboard.keys`."""
    return get_origin(section.model_fields[key].annotation) is dict


def folders(runs: str | None) -> list[Setting]:
    """The folders and files that crild uses, which no settings file decides. `runs` is the option `--runs-dir`."""
    settings = settings_files().settings
    return [
        _place("runs-dir", runs_dir(runs), "CRILD_RUNS_DIR", "--runs-dir" if runs else None),
        _place("cache-dir", cache_dir(), "CRILD_CACHE_DIR"),
        _place("settings-file", settings, "CRILD_CONFIG"),
    ]


def _place(name: str, path: Path | None, variable: str, option: str | None = None) -> Setting:
    value = None if path is None else str(path)
    if option is not None:
        return Setting((name,), value, "option", variable=option)
    if os.environ.get(variable):
        return Setting((name,), value, "environment", variable=variable)
    return Setting((name,), value)
