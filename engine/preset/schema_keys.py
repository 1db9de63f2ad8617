"""What the schema says about keys: which keys a table has, and which values a key takes, in words."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from engine.preset import schema
from engine.preset.field_types import Record
from engine.preset.names import ObjectiveName
from engine.preset.text import listed, shown
from engine.preset.toml_lines import KeyPath

_IN_WORDS = {
    # Unions and patterns are easier to read when written by hand.
    "layer_map": '"last", "uniform", "upper", "reverse", "all-to-one", "random", "emd", "alp" or pairs [[teacher layer, student layer], ...] counted from 1',
    "keep": '"first", "last", "alternate" or a list of layers counted from 0',
    "evaluate": '"epoch" or a number of steps',
    "data": '"task", or a table { corpus = "folder" }, { files = ["more.csv"] }, { task = { name = "mnli" } } or { augment = { words = "delete" } }',
    "with_task": "true, false or a share above 0 and below 1",
    "mixup": "false or a table, as { alpha = 1.0 }",
    "consistency": "false or a table, as { weight = 0.1 }",
    "select": "false or a table, as { worst = 2, of = 8 }",
    "device": '"auto", "cpu", "mps", "cuda" or "cuda:1"',
    "classes": 'a table with the column of each class, as { positive = "p_pos", negative = "p_neg" }',
    "others": 'a table with a teacher for each name, as { large = { model = "folder" } }',
    "finetune": "a table, or false to take back an inherited one",
    "class_weights": '"balanced" or a table with a weight for each class, as { common = 1.0, rare = 3.0 }',
    "objectives": "a table of at least one objective, as { logits = 1.0 }",
}
_STAGE_NAME = "at most 32 lower-case letters, digits, - and _, starting with a letter or digit"
_PROJECT = "a name of letters, digits, '.', '_' and '-', at most 100"


@dataclass(frozen=True)
class _Kinds:
    """The branches of a type, flattened: unions and annotations taken apart."""

    plain: tuple[type, ...]  # str, int, float, bool
    words: tuple[object, ...]  # values of Literals
    records: tuple[type[Record], ...]
    lists: tuple[Any, ...]  # element types
    optional: bool
    limits: dict[str, float]  # ge, gt, le, lt


def tables(path: KeyPath) -> tuple[type[Record], ...]:
    """The records that may stand at a path as written by `--set`; () where no table of known keys belongs."""
    found: tuple[type[Record], ...] = (schema.Preset,)
    rest = list(path)
    while rest and found:
        part = str(rest.pop(0))
        if found == (schema.Preset,) and part == "stage":
            if not rest:
                return ()
            rest.pop(0)
            found = (schema.Stage,)
        elif found == (schema.Stage,) and part == "objectives":
            if not rest:
                return ()
            rest.pop(0)
            found = (schema.Objective,)
        elif found == (schema.Teacher,) and part == "others":
            if not rest:
                return ()
            rest.pop(0)
            found = (schema.OtherTeacher,)
        else:
            found = tuple(record for info in _infos(found, part) for record in _kinds(info).records)
    return found


def known_keys(path: KeyPath) -> tuple[str, ...]:
    """Keys of the table at a path; the names of the objectives for a stage's `objectives`."""
    if len(path) == 3 and path[0] == "stage" and path[2] == "objectives":
        return get_args(ObjectiveName)
    return tuple(dict.fromkeys(key for record in tables(path) for key in _by_key(record)))


def home_of(key: str) -> str | None:
    """The table of a preset that has this key, as a header: for keys that were put in the wrong one."""
    for table in ("task", "teacher", "student", "train", "baseline"):
        if key in known_keys((table,)):
            return f"[{table}]"
    return "[[stage]]" if key in _by_key(schema.Stage) else None


def takes_text(path: KeyPath) -> bool:
    """Whether the key takes free text, so that `--set teacher.revision=1234567` means the text."""
    return any(str in _kinds(info).plain for info in _at(path))


def takes_false_back(path: KeyPath) -> bool:
    """Whether `false` can only mean to take back an inherited value: optional keys that take no booleans."""
    return any(kinds.optional and not _takes_false(kinds) for kinds in map(_kinds, _at(path)))


def _takes_false(kinds: _Kinds) -> bool:
    return bool in kinds.plain or any(word is False for word in kinds.words)


def expected(path: KeyPath) -> str:
    """The values that a key takes, in words: `a whole number of 1 or more`, `"linear" or "constant"`."""
    keys = [part for part in path if isinstance(part, str)]
    if keys[:1] == ["stage"] and len(keys) == 3 and keys[2] == "name":
        return _STAGE_NAME
    if keys == ["project"]:
        return _PROJECT
    if keys == ["stage"]:
        return "an array of [[stage]] tables"
    if keys[:1] == ["stage"] and len(keys) == 4 and keys[2] == "objectives":
        return "a weight of 0 or more, or a table as { weight = 1.0 }"
    if keys[:2] == ["train", "class_weights"] and len(keys) == 3:
        return "a number above 0"
    if keys and keys[-1] in _IN_WORDS:
        return _IN_WORDS[keys[-1]]
    infos = _at(tuple(keys))
    return _in_words(_kinds(infos[0])) if infos else "something else"


def expected_in(record: type[Record], key: str) -> str:
    """The values that a key of a record takes, in words, where the record is no part of a preset."""
    return _in_words(_kinds(_by_key(record)[key]))


def words_in(record: type[Record], key: str) -> tuple[str, ...]:
    """The words that a key of such a record takes, where they are a closed list."""
    return tuple(word for word in _kinds(_by_key(record)[key]).words if isinstance(word, str))


def words_at(path: KeyPath) -> tuple[str, ...]:
    """The words that a key takes, where they are a closed list."""
    found = []
    for info in _at(tuple(part for part in path if isinstance(part, str))):
        kinds = _kinds(info)
        inner = [_taken_apart(element) for element in kinds.lists]
        found += [word for each in (kinds, *inner) for word in each.words if isinstance(word, str)]
    return tuple(found)


def _at(path: KeyPath) -> tuple[FieldInfo, ...]:
    return _infos(tables(path[:-1]), str(path[-1])) if path else ()


def _infos(records: tuple[type[Record], ...], key: str) -> tuple[FieldInfo, ...]:
    return tuple(_by_key(record)[key] for record in records if key in _by_key(record))


@cache
def _by_key(record: type[Record]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in record.model_fields.items()}


def _kinds(info: FieldInfo) -> _Kinds:
    return _taken_apart(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)


def _taken_apart(annotation: Any) -> _Kinds:
    plain: list[type] = []
    words: list[object] = []
    records: list[type[Record]] = []
    lists: list[Any] = []
    limits: dict[str, float] = {}
    optional = False
    for branch, metadata in _branches(annotation):
        origin = get_origin(branch)
        if branch is type(None):
            optional = True
        elif origin is Literal:
            words += get_args(branch)
        elif origin in (list, tuple):
            lists += get_args(branch)[:1]
        elif isinstance(branch, type) and issubclass(branch, Record):
            records.append(branch)
        elif isinstance(branch, type):
            plain.append(branch)
        for constraint in metadata:
            limits |= {key: getattr(constraint, key) for key in ("ge", "gt", "le", "lt") if hasattr(constraint, key)}
    return _Kinds(tuple(plain), tuple(words), tuple(records), tuple(lists), optional, limits)


def _branches(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [part for item in more for part in (item.metadata if isinstance(item, FieldInfo) else (item,))]
        yield from _branches(inner, (*metadata, *flat))
    elif get_origin(annotation) in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch, metadata)
    else:
        yield annotation, metadata


def _in_words(kinds: _Kinds) -> str:
    if kinds.records:
        return "a table"
    if kinds.words:
        return listed(shown(word) for word in kinds.words)
    if kinds.lists:
        inner = _taken_apart(kinds.lists[0])
        return f"a list of {listed((shown(word) for word in inner.words), 'and')}" if inner.words else "a list of texts"
    if bool in kinds.plain:
        return "true or false"
    if str in kinds.plain:
        return "text in quotes"
    return ("a whole number" if int in kinds.plain else "a number") + _range(kinds.limits)


def _range(limits: dict[str, float]) -> str:
    low = f" from {limits['ge']:g}" if "ge" in limits else f" above {limits['gt']:g}" if "gt" in limits else ""
    if "le" in limits:
        return f"{low}{' to' if 'ge' in limits else ', at most'} {limits['le']:.15g}"
    if "lt" in limits:
        return f"{low} to below {limits['lt']:.15g}"
    return f" of {limits['ge']:g} or more" if "ge" in limits else low


def plain_types_in(record: type[Record], key: str) -> tuple[type, ...]:
    """The types of plain values that a key of a record takes, closed lists of words apart."""
    return _kinds(_by_key(record)[key]).plain


def takes_list_in(record: type[Record], key: str) -> bool:
    """Whether a key of a record takes a list."""
    return bool(_kinds(_by_key(record)[key]).lists)
