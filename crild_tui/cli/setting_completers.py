"""What the shell offers for `--set`: keys of presets level by level, then values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import typer

import engine.user
from crild_tui.cli.completers import LARGEST, MOST_FILES, Word, device_words, run_dir_of, some_of
from engine.preset.names import ObjectiveName
from engine.preset.schema_source import Key, help_texts, keys_of, sections_of

SETTINGS = Path(engine.user.__path__[0]) / "settings.py"
"""The source of the settings."""

Tables = tuple[str, ...]
_ROOT: Tables = ("Preset",)
_STAGES: Tables = ("stages by name",)
_OBJECTIVES: Tables = ("objectives by name",)


def settings(context: typer.Context, incomplete: str) -> list[Word]:
    """Keys of the presets on the line, level by level; after `=`, words that a key takes and its present value."""
    return _settings(_merged(_refs(context)), incomplete)


def resume_settings(context: typer.Context, incomplete: str) -> list[Word]:
    """The keys of a run that may change when it is resumed."""
    from engine.launch.resume_check import CHANGEABLE

    run_dir = run_dir_of(context)
    document = _merged([str(run_dir / "preset.toml")]) if run_dir is not None else {}
    stages = document.get("stage", {})
    keys = [
        *(f"train.{key}" for key in keys_of("Train")),
        *(f"task.{key}" for key in keys_of("Task")),
        *keys_of("Preset"),
    ]
    keys += [f"stage.{name}.{key}" for name in stages for key in keys_of("Stage")]
    if "=" in incomplete:
        return _settings(document, incomplete)
    return [f"{key}=" for key in keys if CHANGEABLE.fullmatch(key)]


def setting_keys(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Settings of settings.toml."""
    return [f"{name}.{key}" for name in sections_of(SETTINGS) for key in keys_of(sections_of(SETTINGS)[name], SETTINGS)]


def setting_values(context: typer.Context, incomplete: str) -> list[Word]:
    """The words that the setting on the line takes."""
    section, _, name = str(context.params.get("key") or "").partition(".")
    key = keys_of(sections_of(SETTINGS).get(section, ""), SETTINGS).get(name, Key(name))
    return some_of(*key.items)(context, incomplete) if key.items else list(key.words)


def _settings(document: Mapping[str, Any], incomplete: str) -> list[Word]:
    key, sign, _ = incomplete.partition("=")
    if sign:
        return [f"{key}={value}" for value in _values(document, key)]
    path = key.split(".")[:-1]
    found = list(_level(document, path, key))
    while len(found) == 1 and found[0][0].endswith("."):  # a table alone: what is in it is what the user wants to see
        path = found[0][0].split(".")[:-1]
        found = list(_level(document, path, found[0][0]))
    return [*found]


def _level(document: Mapping[str, Any], path: Sequence[str], beginning: str) -> Iterator[tuple[str, str]]:
    """The keys at a path, `KEY=` for values and `KEY.` for tables, with their help."""
    tables = _tables(document, path)
    for name, key in _keys(document, tables, path).items():
        text = ".".join((*path, name))
        if not text.startswith(beginning):
            continue
        meaning = next((help_texts()[own] for table in tables if (own := f"{table}.{name}") in help_texts()), "")
        if key.words or key.open:
            yield f"{text}=", meaning
        if key.tables:
            yield f"{text}.", meaning


def _keys(document: Mapping[str, Any], tables: Tables, path: Sequence[str]) -> dict[str, Key]:
    if tables == _STAGES:
        return {name: Key(name, tables=("Stage",)) for name in _at(document, path) or ()}
    if tables == _OBJECTIVES:
        return {name: Key(name, tables=("Objective",), open=True) for name in get_args(ObjectiveName)}
    keys = {name: key for table in tables for name, key in keys_of(table).items()}
    if tables == _ROOT:
        keys["stage"] = replace(keys["stage"], tables=_STAGES, open=False)
        del keys["schema"]
    if "Stage" in tables:
        keys["objectives"] = replace(keys["objectives"], words=(), tables=_OBJECTIVES, open=False)
        del keys["name"]
    return keys


def _tables(document: Mapping[str, Any], path: Sequence[str]) -> Tables:
    """The tables that stand at a path; none where there is no such key."""
    tables = _ROOT
    for depth, part in enumerate(path):
        key = _keys(document, tables, path[:depth]).get(part)
        tables = key.tables if key is not None else ()
    return tables


def _values(document: Mapping[str, Any], dotted: str) -> Iterator[str]:
    from engine.preset.toml_text import inline

    path = dotted.split(".")
    key = _keys(document, _tables(document, path[:-1]), path[:-1]).get(path[-1])
    if key is None:
        return
    yield from key.words
    if dotted == "train.device":
        yield from device_words()
    present = _at(document, path)
    present = key.default if present is None else present
    if isinstance(present, bool) or present is None or present == "":
        return
    yield present if isinstance(present, str) else inline(present, short=True)


def _at(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = document
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refs(context: typer.Context) -> list[str]:
    """The presets on the line: of `crild run`, those of --preset, or the method of `crild presets new`."""
    if "origin" in context.params:
        return [context.params["origin"] or "crild"]
    refs = next((words for name in ("presets", "preset", "files") if (words := context.params.get(name))), ())
    return [str(ref) for ref in refs]


def _merged(refs: Sequence[str]) -> dict[str, Any]:
    """What the presets set, roughly merged: stages by name, later values on earlier ones. Skips what cannot be read."""
    document: dict[str, Any] = {}
    seen: set[Path] = set()
    for ref in refs:
        for layer in _layers(ref, Path.cwd(), seen):
            _update(document, layer)
    return document


def _layers(ref: str, folder: Path, seen: set[Path]) -> Iterator[dict[str, Any]]:
    """A preset after those that it extends."""
    from engine.errors import CrildError
    from engine.preset.preset_file import locate
    from engine.preset.regular_file import read_regular
    from engine.preset.source_names import is_table
    from engine.preset.toml_file import parse

    if is_table(ref):
        return
    try:
        path = locate(ref, folder)
        if path in seen or len(seen) >= MOST_FILES:
            return
        seen.add(path)
        layer = parse(read_regular(path, LARGEST).decode("utf-8-sig"))
    except (CrildError, OSError, ValueError):
        return
    extends = layer.get("extends") or ()
    for parent in [extends] if isinstance(extends, str) else extends if isinstance(extends, list) else ():
        if isinstance(parent, str):
            yield from _layers(parent, path.parent, seen)
    stages = layer.get("stage")
    named = [each for each in stages if isinstance(each, dict)] if isinstance(stages, list) else []
    yield {**layer, "stage": {str(each["name"]): each for each in named if "name" in each}}


def _update(document: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _update(document[key], value)
        else:
            document[key] = value
