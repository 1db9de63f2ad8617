"""Validating a merged preset, and saying each of its problems in one plain sentence."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.preset import fields, rules
from engine.preset.base import FIELDS_ALONE
from engine.preset.schema import Preset
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import dotted


@dataclass(frozen=True)
class Problem:
    """What is wrong, and the path of the key to blame, as `--set` writes it."""

    path: KeyPath
    sentence: str


_STAND_INS: dict[str, Any] = {
    # What stands where a required key is missing, so that the rest can be looked at.
    "task": {"name": "rte"},
    "teacher": {"model": "stand/in"},
    "stage": [{"name": "stand-in", "objectives": {"logits": 1.0}}],
    "name": "rte",
    "model": "stand/in",
    "objectives": {"logits": 1.0},
    "train": "stand-in",
    "dev": "stand-in",
    "corpus": "stand/in",
}


def validate(document: Mapping[str, Any], labels: Sequence[str]) -> tuple[Preset | None, list[Problem]]:
    """The preset, or None and everything that is wrong with the merged document.

    `labels` name the stages in paths: their names, or what stands in for a name that is missing.
    Keys are looked at one by one first; what is wrong is taken out, or replaced where it is required, and then it is
    seen which keys do not go together. What depends on a key that was taken out or replaced is not reported.
    """
    try:
        return Preset.model_validate(document), []
    except ValidationError:
        pass  # why, is found out step by step
    rest = copy.deepcopy(dict(document))
    problems: dict[Problem, None] = {}
    touched: set[KeyPath] = set()  # keys whose value is not what the user wrote any more

    def report(problem: Problem, needs: Sequence[KeyPath]) -> None:
        if not any(_overlap(need, other) for need in needs for other in touched):
            problems[problem] = None

    while True:
        try:
            preset = Preset.model_validate(rest, context=FIELDS_ALONE)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
        changed = False
        for detail in details:
            path = _path(detail, labels)
            problem = _problem(detail, path, labels)
            report(problem, [problem.path])
            taken = _put_in(rest, path, labels) if _is_missing(detail, path) else _take_out(rest, path, labels)
            changed = changed or taken is not None
            if taken is not None and detail["type"] != "extra_forbidden":
                touched.add(taken)
        if not changed:
            return None, list(problems)  # nothing left that could be taken out
    for path, (keys, sentence) in rules.all_faults(preset, labels or ["stand-in"]):
        needs = [(*path, *key.split(".")) for key in keys]
        report(Problem(needs[0], f"{_where(path)}{sentence}"), needs)
    return None, list(problems)


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


def _problem(detail: ErrorDetails, path: KeyPath, labels: Sequence[str]) -> Problem:
    """What one of pydantic's errors says to the user."""
    if _is_missing(detail, path):
        return Problem(path, _missing(path, labels))
    if detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]":
        return Problem(path, unknown_key(path))
    keys = tuple(part for part in path if not isinstance(part, int))
    return Problem(keys, _wrong(path, keys, detail["input"]))


def _is_missing(detail: ErrorDetails, path: KeyPath) -> bool:
    """Whether a key is missing; a missing half of a pair is a wrong pair."""
    return detail["type"] == "missing" and not any(isinstance(part, int) for part in path)


def _where(path: KeyPath) -> str:
    return f"{plain(dotted(path))}: " if path else ""


def _missing(path: KeyPath, labels: Sequence[str]) -> str:
    if path == ("stage",):
        return "no stage says what to do: add a [[stage]], or begin with a method, as in `crild run crild rte`"
    if path == ("task",):
        return "no [task] says what to learn: add one, or merge a task preset, as in `crild run crild rte`"
    if path == ("teacher",):
        return 'no [teacher] says what to distil: add one with model = "a hub id or folder"'
    if path[0] == "stage" and path[-1] == "objectives":
        near = nearest(str(path[1]), [label for label in labels if label != path[1]])
        hint = f"; to change the stage {shown(near)}, use its name" if near is not None else ""
        return f"the stage {shown(str(path[1]))} has no objectives, as {{ logits = 1.0 }}{hint}"
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
    if found == "" and fields.expected(path) == "text in quotes":
        return f"{plain(dotted(keys))} must not be empty"
    inside = "; in it stands" if len(keys) < len(path) else ", not"
    sentence = f"{plain(dotted(keys))} must be {fields.expected(path)}{inside} {shown(found)}"
    near = nearest(found, fields.words_at(keys)) if isinstance(found, str) else None
    return f"{sentence}; did you mean {shown(near)}?" if near is not None else sentence


def _put_in(document: dict[str, Any], path: KeyPath, labels: Sequence[str]) -> KeyPath:
    """Puts a stand-in where a required key is missing."""
    table: Any = document
    for depth, part in enumerate(path[:-1]):
        table = table[labels.index(str(part)) if depth == 1 and path[0] == "stage" else part]
    stage_name = len(path) == 3 and path[0] == "stage" and path[-1] == "name"
    table[path[-1]] = f"stand-in-{labels.index(str(path[1]))}" if stage_name else copy.copy(_STAND_INS[str(path[-1])])
    return path


def _take_out(document: dict[str, Any], path: KeyPath, labels: Sequence[str]) -> KeyPath | None:
    """Removes the key at the path, or the nearest one above it, and returns what was removed, if anything was."""
    table: Any = document
    gone: tuple[dict[Any, Any], Any] | None = None
    taken: KeyPath = ()
    for depth, part in enumerate(path):
        if isinstance(table, dict):
            taken = path[: depth + 1]
            if part not in table:
                return None  # it is gone already
            gone = (table, part)
            table = table[part]
        elif depth == 1 and path[0] == "stage":
            table = table[labels.index(str(part))]
        else:
            break  # somewhere in a list, which goes as a whole
    if gone is None:
        return None
    gone[0].pop(gone[1])
    if len(taken) == 4 and taken[0] == "stage" and taken[2] == "objectives" and not gone[0]:
        return taken[:3]  # that was the last objective: the stage's other keys cannot be judged without it
    return taken
