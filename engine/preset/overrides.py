"""`--set stage.ild.epochs=5`: one key from the command line, with a value as TOML writes it or a bare word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import CrildError
from engine.preset import schema_keys
from engine.preset.explain import unknown_key
from engine.preset.preset_file import Layer, names_in
from engine.preset.text import cut, listed, nearest, plain, shown
from engine.preset.toml_file import DEEPEST, ParseError, parse
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, build

_LONGEST_SHOWN = 200  # characters of an override that messages repeat
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def read_overrides(overrides: Sequence[str], stages: Sequence[str], folder: Path, problems: list[CrildError]) -> Layer:
    """All `--set` together as one layer; later ones win. What is wrong with them is added to `problems`.

    `stages` are the names that `stage.<name>.<key>` may use; relative paths are relative to `folder`.
    """
    root = Node({}, "--set")
    for text in overrides:
        argument = f"--set {cut(plain(text), _LONGEST_SHOWN)}"
        try:
            path, value = _parse(text, stages)
        except CrildError as error:
            error.file = argument
            problems.append(error)
        else:
            _put(root, path, build(value, argument, {}))
    selected = names_in(root.value.pop("stages", None), "stages", "a list of stage names", problems)
    return Layer(root, folder, stages=selected)


def _parse(text: str, stages: Sequence[str]) -> tuple[KeyPath, Any]:
    """The path and value of one override. Raises CrildError for what is wrong with it."""
    key, sign, value = text.partition("=")
    path: KeyPath = tuple(key.strip().split("."))
    if not sign or not _KEY.fullmatch(key.strip()) or len(path) > DEEPEST:
        sentence = "write a key, = and a value, as in --set train.epochs=5 or --set stage.kd.temperature=2.0"
        raise CrildError(sentence, kind="malformed-override")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CrildError("this is not UTF-8 text", kind="not-utf8") from None
    if path[0] == "extends":
        sentence = "extends belongs in a preset file; on the command line, name the presets one after another"
        raise CrildError(sentence, kind="extends-override")
    if path[0] == "stage":
        _check_stage(path, stages)
    elif path != ("stages",) and len(path) == 1 and path[0] not in schema_keys.known_keys(()):
        raise CrildError(unknown_key(path), kind="unknown-key")
    value = value.strip()
    if schema_keys.takes_text(path) and value[:1] not in ('"', "'"):
        return path, False if value == "false" and schema_keys.takes_false_back(path) else value
    return path, _value(value)


def _check_stage(path: KeyPath, stages: Sequence[str]) -> None:
    """Raises CrildError unless the path names a stage and a key in it."""
    name = str(path[1]) if len(path) > 1 else ""
    if name in stages and len(path) > 2:
        return
    if not stages:
        raise CrildError("the preset has no stages to change", kind="no-stages")
    known = f"the stages are {listed((shown(stage) for stage in stages), 'and')}"
    if name in stages:
        raise CrildError(f"name a key of the stage: --set stage.{name}.epochs=5", kind="override-without-key")
    near = nearest(name, stages) if len(path) > 1 else None
    if len(path) < 3 and near is None:
        sentence = f"name the stage: --set stage.{stages[0]}.{name or 'epochs'}=...; {known}"
        raise CrildError(sentence, kind="override-without-stage")
    hint = f"did you mean {shown(near)}?" if near else known
    raise CrildError(f"there is no stage {shown(name)}; {hint}", kind="unknown-stage")


def _value(text: str) -> Any:
    """The value that TOML reads; else the bare word, or a list of bare words. Raises CrildError for broken TOML."""
    try:
        document = parse(f"value = {text}")
        if list(document) == ["value"]:
            return document["value"]
    except ParseError as error:
        raise CrildError(f"this value has {plain(str(error))}", kind=error.kind) from None
    except ValueError:  # it is not TOML
        pass
    if text.startswith("[") and text.endswith("]") and not set(text[1:-1]) & set("[]{}\"'"):
        return [_value(word.strip()) for word in text[1:-1].split(",") if word.strip()]
    if text[:1] in ("[", "{", '"', "'"):
        raise CrildError(f"the value {shown(text)} starts like TOML but is not valid TOML", kind="invalid-toml")
    return text


def _put(root: Node, path: KeyPath, node: Node) -> None:
    """Set a key in the tree of overrides, opening tables on the way."""
    table: dict[str, Node] = root.value
    for key in map(str, path[:-1]):
        inner = table.get(key)
        if inner is None or not inner.is_table:
            # After --set ...mixup=false, ...mixup.alpha=1 opens a new table instead of changing the preset's.
            inner = table[key] = Node({}, node.file, partial=inner is None)
        table = inner.value
    table[str(path[-1])] = node
