"""What differs between runs of one method and one task, other than the seed: the settings that a report names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any

from engine.preset.text import plain, shown
from engine.report.collect import FinishedRun
from engine.report.compare import ABSENT, flat

_NO_SETTING = (
    "schema", "seed", "tags", "description", "notify", "baseline", "task.name", "task.source", "train.device",
    "train.threads", "train.log_every", "train.checkpoint_every", "train.checkpoint_minutes", "train.keep_checkpoints",
    "train.save_teacher_cache",
)  # fmt: skip
"""Keys that say nothing of what is learnt: seeds, words, places, and how a run is carried out."""
_COMMON = ("task.", "student.layers", "student.hidden_size", "student.heads", "student.intermediate_size")
"""What methods are only held against each other on equal terms of: the data, and the size of the student."""
_ABSENT_WORDS = {"task.examples": "all"}
_PREFIXES = ("stage.", "task.", "student.", "train.", "teacher.finetune.")
MOST_NAMED = 4
"""Settings that a row's name holds; more are counted."""

Setting = tuple[tuple[str, str], ...]
"""Pairs of a key and its value as shown, in the order of the preset."""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed: a method under a common and an own setting, on one task.

    A key of mappings by identity.
    """

    method: str
    task: str
    common: Setting
    own: Setting
    runs: tuple[FinishedRun, ...]


def group_runs(runs: Sequence[FinishedRun]) -> list[Group]:
    """The runs in groups, in the order in which they are first met."""
    flats = [_flat(run) for run in runs]
    common = _varying(flats, [(run.task,) for run in runs], lambda key: key.startswith(_COMMON))
    commons = [_values(table, common) for table in flats]
    places = [(run.method, run.task, setting) for run, setting in zip(runs, commons, strict=True)]
    owns: list[Setting] = [()] * len(runs)
    for method in dict.fromkeys(run.method for run in runs):
        same = [place for place, run in enumerate(runs) if run.method == method]
        keys = _varying(
            [flats[place] for place in same], [places[place] for place in same], lambda key: not key.startswith(_COMMON)
        )
        for place, setting in zip(same, _compressed([flats[place] for place in same], keys), strict=True):
            owns[place] = setting
    found: dict[tuple[str, str, Setting, Setting], list[FinishedRun]] = {}
    for place, run in enumerate(runs):
        found.setdefault((run.method, run.task, commons[place], owns[place]), []).append(run)
    return [Group(*key, tuple(members)) for key, members in found.items()]


def _flat(run: FinishedRun) -> dict[str, str]:
    """Every key that is a setting, its value as it is shown. Of a path, its last two names count."""
    return {key: _word(value) for key, value in flat(run.preset) if not _is_none(key)}


@cache
def _is_none(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _NO_SETTING)


def _word(value: Any) -> str:
    if isinstance(value, str):
        is_path = value.startswith(("/", "~", "./", "../"))
        return plain("/".join(PurePath(value).parts[-2:]) if is_path else value) or '""'
    return shown(value, 200)


def _varying(tables: Sequence[Mapping[str, str]], places: Sequence[object], wanted: Callable[[str], bool]) -> list[str]:
    """The wanted keys on which tables of one place do not agree."""
    members: dict[object, list[Mapping[str, str]]] = {}
    for table, place in zip(tables, places, strict=True):
        members.setdefault(place, []).append(table)
    found: dict[str, None] = {}
    for several in members.values():
        first = several[0]
        for table in several[1:]:
            if table == first:
                continue
            keys = dict.fromkeys((*first, *table))
            found |= {key: None for key in keys if wanted(key) and table.get(key, ABSENT) != first.get(key, ABSENT)}
    return list(found)


def _values(table: Mapping[str, str], keys: Iterable[str]) -> Setting:
    return tuple((key, table.get(key, _ABSENT_WORDS.get(key, "-"))) for key in keys)


def _compressed(tables: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[Setting]:
    """What each run sets of the varying keys; a table that some switch off with one word is "on" for the others."""
    switches = [key for key in keys if any(other.startswith(f"{key}.") for other in keys)]
    kept = []
    for key in keys:
        inside = any(key.startswith(f"{switch}.") for switch in switches)
        values = {table[key] for table in tables if key in table}
        if not inside or len(values) > 1:
            kept.append(key)
    kept.sort(key=lambda key: -len({table.get(key) for table in tables}))  # what tells the most runs apart comes first
    return [
        tuple((key, table.get(key, "on" if key in switches else _ABSENT_WORDS.get(key, "-"))) for key in kept)
        for table in tables
    ]


def own_names(groups: Iterable[Group]) -> dict[tuple[str, Setting], str]:
    """The own setting of each method and setting in words: as many settings as tell the rows of a method apart."""
    places = dict.fromkeys((group.method, group.own) for group in groups)
    found: dict[tuple[str, Setting], str] = {}
    for method in dict.fromkeys(method for method, _ in places):
        owns = [own for known, own in places if known == method]
        longest = max(len(own) for own in owns)
        enough = (
            most for most in range(MOST_NAMED, longest) if len({setting_text(own, most) for own in owns}) == len(owns)
        )
        most = next(enough, max(longest, MOST_NAMED))
        found |= {(method, own): setting_text(own, most) for own in owns}
    return found


def setting_text(setting: Setting, most: int = MOST_NAMED) -> str:
    """A setting in words: `examples=1000, ild.layer_map=last`."""
    shorts = [_short(key) for key, _ in setting]
    words = [
        f"{short if shorts.count(short) == 1 else plain(key)}={value}"
        for short, (key, value) in zip(shorts, setting, strict=True)
    ]
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _short(key: str) -> str:
    return plain(next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key))
