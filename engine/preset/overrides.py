"""`--set stage.ild.epochs=5`: one key from the command line, with a value as TOML writes it or a bare word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli

from engine.errors import CrildError
from engine.preset import fields
from engine.preset.explain import unknown_key
from engine.preset.source import Layer
from engine.preset.text import cut, listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, Place

_LONGEST_SHOWN = 200  # characters of an override that messages repeat
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def read_overrides(overrides: Sequence[str], stages: Sequence[str], folder: Path, problems: list[CrildError]) -> Layer:
    """All `--set` together as one layer; later ones win. What is wrong with them is added to `problems`.

    `stages` are the names that `stage.<name>.<key>` may use; relative paths are relative to `folder`.
    """
    root = Node({}, Place("--set"))
    selected: tuple[tuple[str, Place], ...] | None = None
    for text in overrides:
        place = Place(f"--set {cut(plain(text), _LONGEST_SHOWN)}")
        try:
            path, value = _split(text, stages)
        except ValueError as error:
            problems.append(CrildError(str(error), file=place.file))
            continue
        if path == ("stages",):
            words = value if isinstance(value, list) else [value]
            if words and all(isinstance(word, str) for word in words):
                selected = tuple((word, place) for word in words)
            else:
                sentence = f"stages must be a list of names of stages, not {shown(value)}"
                problems.append(CrildError(sentence, file=place.file, key="stages"))
        else:
            _put(root, path, _node(value, place), place)
    return Layer(root, "--set", folder, stages=selected)


def _split(text: str, stages: Sequence[str]) -> tuple[KeyPath, Any]:
    """The path and value of one override. Raises ValueError with the sentence for what is wrong with it."""
    key, sign, value = text.partition("=")
    path: KeyPath = tuple(key.strip().split("."))
    if not sign or not _KEY.fullmatch(key.strip()):
        raise ValueError("write a key, = and a value, as in --set train.epochs=5 or --set stage.kd.temperature=2.0")
    if not _is_unicode(text):
        raise ValueError("this is not UTF-8 text")
    if path[0] == "extends":
        raise ValueError("extends belongs into a preset file; on the command line, name the presets one after another")
    if path[0] == "stage":
        _check_stage(path, stages)
    elif path != ("stages",) and len(path) == 1 and path[0] not in fields.known_keys(()):
        raise ValueError(unknown_key(path))
    value = value.strip()
    if fields.takes_text(path) and value[:1] not in ('"', "'"):
        return path, False if value == "false" and fields.takes_false_back(path) else value
    return path, _value(value)


def _check_stage(path: KeyPath, stages: Sequence[str]) -> None:
    name = str(path[1]) if len(path) > 1 else ""
    if len(path) > 1 and name in stages and len(path) > 2:
        return
    if not stages:
        raise ValueError("the preset has no stage that could be changed")
    known = f"the stages are {listed((shown(stage) for stage in stages), 'and')}"
    if len(path) > 1 and name in stages:
        raise ValueError(f"say which key of the stage: --set stage.{name}.epochs=5")
    if len(path) == 1 or (len(path) == 2 and nearest(name, stages) is None):
        raise ValueError(f"say which stage: --set stage.{stages[0]}.{name or 'epochs'}=...; {known}")
    near = nearest(name, stages)
    hint = f"did you mean {shown(near)}?" if near else known
    raise ValueError(f"there is no stage {shown(name)}; {hint}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> Any:
    """What TOML reads there; else the bare word, or a list of bare words. Raises ValueError for broken TOML."""
    try:
        document = tomli.loads(f"value = {text}")
        if list(document) == ["value"]:
            return document["value"]
    except RecursionError:
        raise ValueError("this value nests too deep") from None
    except ValueError:  # TOMLDecodeError, or a number of thousands of digits
        pass
    if text.startswith("[") and text.endswith("]") and not set(text[1:-1]) & set("[]{}\"'"):
        return [_value(word.strip()) for word in text[1:-1].split(",") if word.strip()]
    if text[:1] in ("[", "{", '"', "'"):
        raise ValueError(f"the value {shown(text)} begins like TOML but cannot be read as it")
    return text


def _node(value: Any, place: Place) -> Node:
    if isinstance(value, dict):
        return Node({key: _node(item, place) for key, item in value.items()}, place)
    if isinstance(value, list):
        return Node([_node(item, place) for item in value], place)
    return Node(value, place)


def _put(root: Node, path: KeyPath, node: Node, place: Place) -> None:
    """Sets a key in the tree of overrides, opening tables on the way."""
    table: dict[str, Node] = root.value
    for key in map(str, path[:-1]):
        inner = table.get(key)
        if inner is None or inner.table is None:
            # After --set ...mixup=false, ...mixup.alpha=1 begins anew instead of changing what the preset has.
            inner = Node({}, place, partial=inner is None)
            table[key] = inner
        table = inner.value
    table[str(path[-1])] = node
