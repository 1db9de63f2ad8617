"""Validating a merged preset, and saying each of its problems in one plain sentence."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.preset import fields
from engine.preset.positions import KeyPath
from engine.preset.schema import Preset
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.tree import dotted


@dataclass(frozen=True)
class Problem:
    """What is wrong, and the path of the key to blame, as `--set` writes it."""

    path: KeyPath
    sentence: str


def validate(document: Mapping[str, Any], labels: Sequence[str]) -> tuple[Preset | None, list[Problem]]:
    """The preset, or None and everything that is wrong with the merged document.

    `labels` name the stages in paths: their names, or what stands in for a name that is missing.
    What is found wrong is taken out and the rest is looked at again, because keys that do not go together are only
    seen once each of them is sound alone. What depends on something that was taken out is not reported.
    """
    rest = copy.deepcopy(dict(document))
    problems: dict[Problem, None] = {}
    touched: set[KeyPath] = set()
    while True:
        try:
            preset = Preset.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            return (None if problems else preset), list(problems)
        repaired: set[KeyPath] = set()
        for detail in details:
            path = _path(detail, labels)
            for problem, needs in _problems(detail, path):
                if not any(_overlap(need, other) for need in needs for other in touched | repaired):
                    problems[problem] = None
            if detail["type"] not in ("faults", "missing"):
                repaired.add(_take_out(rest, path, labels))
        if not repaired - touched:
            return None, list(problems)
        touched |= repaired


def _path(detail: ErrorDetails, labels: Sequence[str]) -> KeyPath:
    """The place of an error as `--set` would write it: marks of unions left out, stages by name."""
    parts = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("<") and part[-1] == ">")]
    if parts and parts[-1] == "[key]":
        parts.pop()
    if len(parts) > 1 and parts[0] == "stage" and isinstance(parts[1], int):
        parts[1] = labels[parts[1]]
    return tuple(parts)


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return one[: len(other)] == other[: len(one)]


def _problems(detail: ErrorDetails, path: KeyPath) -> list[tuple[Problem, list[KeyPath]]]:
    """The problems that one of pydantic's errors stands for, each with the keys that it depends on."""
    if detail["type"] == "faults":
        found = []
        for keys, sentence in detail["ctx"]["faults"]:
            needs = [(*path, *str(key).split(".")) for key in keys]
            found.append((Problem(needs[0], f"{_where(path)}{sentence}"), needs))
        return found
    if detail["type"] == "missing" and not any(isinstance(part, int) for part in path):
        return [(Problem(path, _missing(path)), [path])]
    if detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]":
        return [(Problem(path, unknown_key(path)), [path])]
    keys = tuple(part for part in path if not isinstance(part, int))
    return [(Problem(keys, _wrong(path, keys, detail["input"])), [keys])]


def _where(path: KeyPath) -> str:
    return f"{plain(dotted(path))}: " if path else ""


def _missing(path: KeyPath) -> str:
    if path == ("stage",):
        return "no stage says what to do: add a [[stage]], or begin with a method, as in `crild run crild rte`"
    if path == ("task",):
        return "no [task] says what to learn: add one, or merge a task preset, as in `crild run crild rte`"
    if path == ("teacher",):
        return 'no [teacher] says what to distil: add one with model = "a hub id or folder"'
    return f"{plain(dotted(path))} is missing; it must be {fields.expected(path)}"


def unknown_key(path: KeyPath) -> str:
    """The sentence for a key that its table does not have, with the one that was probably meant."""
    key, table = str(path[-1]), path[:-1]
    known = fields.known_keys(table)
    where = f" in {plain(dotted(table))}" if table else ""
    what = "objective" if len(table) == 3 and table[-1] == "objectives" else "key"
    sentence = f"unknown {what} {shown(key)}{where}"
    home = fields.home_of(key)
    near = nearest(key, known)
    if near is not None:
        return f"{sentence}; did you mean {shown(near)}?"
    if home is not None and len(table) <= 2:
        return f"{sentence}; it belongs to {home}"
    return f"{sentence}; known are {listed(known, 'and')}" if known else sentence


def _wrong(path: KeyPath, keys: KeyPath, found: object) -> str:
    if keys == ("schema",) and isinstance(found, int) and found > 1:
        return f"the preset is written in format {found}, and this crild reads format 1: a newer crild is needed"
    inside = "; in it stands" if len(keys) < len(path) else ", not"
    sentence = f"{plain(dotted(keys))} must be {fields.expected(path)}{inside} {shown(found)}"
    near = nearest(found, fields.words_at(keys)) if isinstance(found, str) else None
    return f"{sentence}; did you mean {shown(near)}?" if near is not None else sentence


def _take_out(document: dict[str, Any], path: KeyPath, labels: Sequence[str]) -> KeyPath:
    """Removes the key at the path, or the nearest one above it, and returns what was removed."""
    table: Any = document
    gone: tuple[Any, Any] = (document, None)
    taken: KeyPath = ()
    for depth, part in enumerate(path):
        key = labels.index(str(part)) if depth == 1 and path[0] == "stage" else part
        if isinstance(table, dict) and key in table:
            gone, taken = (table, key), path[: depth + 1]
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            break
    if gone[1] is not None:
        if len(taken) == 4 and taken[0] == "stage" and taken[2] == "objectives" and len(gone[0]) == 1:
            taken = taken[:3]  # the last objective: the stage's other keys cannot be judged without it
        gone[0].pop(gone[1])
    return taken
