"""Validate a merged preset, and explain each problem with it in one plain sentence."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.preset import rules, schema_keys
from engine.preset.schema import Preset
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import dotted


@dataclass(frozen=True)
class Problem:
    """What is wrong, the path of the key to blame as `--set` writes it, and what kind of mistake it is."""

    path: KeyPath
    sentence: str
    kind: str


_STAND_INS: dict[str, Any] = {
    # What replaces a required key that is missing, so that the rest can be checked.
    "task": {"name": "rte"},
    "teacher": {"model": "stand/in"},
    "stage": {"stand-in": {"name": "stand-in", "objectives": {"logits": 1.0}}},
    "name": "rte",
    "model": "stand/in",
    "objectives": {"logits": 1.0},
    "train": "stand-in",
    "corpus": "stand/in",
    "words": "delete",
    "worst": 1,
    "of": 1,
}


def validate(tree: Mapping[str, Any]) -> tuple[Preset | None, dict[str, Any], list[Problem]]:
    """The preset, or None; its document; and everything that is wrong with it.

    `tree` is the merged preset as plain data with its stages by name; in the document they are a list.

    Keys are checked one by one first. What is wrong is taken out, or replaced where it is required, and then keys are
    checked together. Nothing is reported that depends on a key that was taken out or replaced.
    """
    document = _document(tree)
    problems: dict[Problem, None] = {}
    touched: set[KeyPath] = set()  # keys whose value is not what the user wrote any more
    rest = dict(tree)

    def report(problem: Problem, needs: Sequence[KeyPath]) -> None:
        if not any(_overlap(need, other) for need in needs for other in touched):
            problems[problem] = None

    while True:
        try:
            preset = Preset.model_validate(_document(rest))
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
        rest = copy.deepcopy(rest)
        stages = list(rest.get("stage", ()))
        changed = False
        for detail in details:
            path = _path(detail, stages)
            problem = _problem(detail, path, stages)
            report(problem, [problem.path])
            taken = _put_in(rest, path) if _is_missing(detail, path) else _take_out(rest, path)
            changed = changed or taken is not None
            if taken is not None and detail["type"] != "extra_forbidden":
                touched.add(taken)
        if not changed:
            return None, document, list(problems)  # nothing is left that could be taken out
    for path, fault in rules.all_faults(preset, list(rest["stage"])):
        needs = [(*path, *key.split(".")) for key in fault.keys]
        where = f"{plain(dotted(path))}: " if path else ""
        report(Problem(needs[0], f"{where}{fault.sentence}", fault.kind), needs)
    return None if problems else preset, document, list(problems)


def _document(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A merged preset as a file holds it, with an array of stages."""
    return {key: list(value.values()) if key == "stage" else value for key, value in tree.items()}


def _path(detail: ErrorDetails, stages: Sequence[str]) -> KeyPath:
    """The location of an error as `--set` would write it: without the tags of unions, stages by name."""
    parts = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("<") and part[-1] == ">")]
    if parts and parts[-1] == "[key]":
        parts.pop()
    if len(parts) > 1 and parts[0] == "stage" and isinstance(parts[1], int):
        parts[1] = stages[parts[1]]
    return tuple(parts)


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return one[: len(other)] == other[: len(one)]


def _problem(detail: ErrorDetails, path: KeyPath, stages: Sequence[str]) -> Problem:
    """One of pydantic's errors in our own words."""
    if _is_missing(detail, path):
        return Problem(path, _missing(path, stages), "missing-key")
    if detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]":
        return Problem(path, unknown_key(path), "unknown-key")
    keys, value = tuple(part for part in path if not isinstance(part, int)), detail["input"]
    if keys == ("schema",) and isinstance(value, int) and value > 1:
        sentence = f"the preset has format {value}, but this crild reads format 1: install a newer crild"
        return Problem(keys, sentence, "newer-format")
    return Problem(keys, _wrong(path, keys, value), "wrong-value")


def _is_missing(detail: ErrorDetails, path: KeyPath) -> bool:
    """Whether a key is missing; a missing half of a pair is a wrong pair."""
    return detail["type"] == "missing" and not any(isinstance(part, int) for part in path)


def _missing(path: KeyPath, stages: Sequence[str]) -> str:
    if path == ("stage",):
        return "there is no stage: add a [[stage]], or start from a method, as in `crild run crild rte`"
    if path == ("task",):
        return "there is no [task]: add one, or add a task preset, as in `crild run crild rte`"
    if path == ("teacher",):
        return 'there is no [teacher]: add one with model = "a hub id or folder"'
    if path[0] == "stage" and path[-1] == "objectives":
        near = nearest(str(path[1]), [stage for stage in stages if stage != path[1]])
        hint = f"; to change the stage {shown(near)}, use its name" if near is not None else ""
        return f"the stage {shown(str(path[1]))} has no objectives, as {{ logits = 1.0 }}{hint}"
    return f"{plain(dotted(path))} is missing; it must be {schema_keys.expected(path)}"


def unknown_key(path: KeyPath) -> str:
    """The sentence for a key that its table does not have, with the one that was probably meant."""
    key, table = str(path[-1]), path[:-1]
    known = schema_keys.known_keys(table)
    where = f" in {plain(dotted(table))}" if table else ""
    what = "objective" if len(table) == 3 and table[-1] == "objectives" else "key"
    sentence = f"unknown {what} {shown(key)}{where}"
    if path in (("sweep",), ("search",)):
        return f"this is a {path[0]} file, not a preset; `crild {path[0]} FILE --plan` checks it"
    home = schema_keys.home_of(key)
    near = nearest(key, known)
    if near is not None:
        return f"{sentence}; did you mean {shown(near)}?"
    if home is not None and len(table) <= 2:
        return f"{sentence}; it belongs in {home}"
    return f"{sentence}; known are {listed(known, 'and')}" if known else sentence


def _wrong(path: KeyPath, keys: KeyPath, value: object) -> str:
    if value == "" and schema_keys.expected(path) == "text in quotes":
        return f"{plain(dotted(keys))} must not be empty"
    inside = "; it contains" if len(keys) < len(path) else ", not"
    sentence = f"{plain(dotted(keys))} must be {schema_keys.expected(path)}{inside} {shown(value)}"
    near = nearest(value, schema_keys.words_at(keys)) if isinstance(value, str) else None
    return f"{sentence}; did you mean {shown(near)}?" if near is not None else sentence


def _put_in(tree: dict[str, Any], path: KeyPath) -> KeyPath:
    """Puts a stand-in where a required key is missing."""
    table: Any = tree
    for part in path[:-1]:
        table = table[part]
    if len(path) == 3 and path[0] == "stage" and path[-1] == "name":
        table["name"] = f"stand-in-{list(tree['stage']).index(path[1])}"
    else:
        table[path[-1]] = copy.deepcopy(_STAND_INS[str(path[-1])])
    return path


def _take_out(tree: dict[str, Any], path: KeyPath) -> KeyPath | None:
    """Removes the key at the path, or the nearest one above it, and returns what was removed, if anything was."""
    if path[:1] == ("stage",) and path[2:4] == ("data", "files"):
        path = path[:3]  # by this key the others are known
    table: Any = tree
    gone: tuple[dict[Any, Any], Any] | None = None
    taken: KeyPath = ()
    for depth, part in enumerate(path):
        if not isinstance(table, dict):
            break  # an element of a list, which goes as a whole
        if part not in table:
            return None  # it is gone already
        gone, taken = (table, part), path[: depth + 1]
        table = table[part]
    if gone is None:
        return None
    gone[0].pop(gone[1])
    if len(taken) == 4 and taken[0] == "stage" and taken[2] == "objectives" and not gone[0]:
        return taken[:3]  # that was the last objective: the stage's other keys cannot be checked without it
    if taken[:2] == ("train", "class_weights") and len(taken) == 3 and not gone[0]:
        return taken[:2]
    return taken
