"""Group runs that differ only in the seed, and name the settings in which groups differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from engine.errors import CrildError
from engine.preset.names import LABELS, task_title
from engine.preset.text import listed, plain, shown
from engine.report.collect import FinishedRun, read_finished
from engine.report.compare import ABSENT, flat
from engine.report.final_metrics import STUDENT
from engine.report.inputs import Setting, unexplained

_NO_SETTING = (
    "schema", "seed", *LABELS, "notify", "baseline", "teacher.trust_remote_code", "task.name", "task.title", "task.source", "task.measure_holdout",
    "train.device", "train.threads", "train.processes", "train.log_every", "train.checkpoint_every", "train.checkpoint_minutes",
    "train.keep_checkpoints", "train.save_teacher_cache",
)  # fmt: skip
"""Keys without influence on what is learnt: seeds, descriptions, locations, and how a run is executed."""
_LAYERS, _INIT = "student.layers", "student.init"
_COMMON = ("task.", _LAYERS, "student.hidden_size", "student.heads", "student.intermediate_size")
"""Methods are only compared where these are equal: the data, and the size of the student."""
_ABSENT_WORDS = {"task.examples": "all", "task.holdout": "none"}
_NAMES = {"task.holdout": "rows held out"}
_PREFIXES = ("stage.", "task.", "student.", "train.", "teacher.finetune.")
MOST_NAMED = 4
"""Settings that a row's name holds; more are counted."""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed: a method under a common and an own setting, on one task.

    The common setting ends with `inputs`: what tells their data and models from those of other runs with equal presets.
    A key of mappings by identity.
    """

    method: str
    task: str
    common: Setting
    own: Setting
    runs: tuple[FinishedRun, ...]
    inputs: Setting = ()


def group_runs(runs: Sequence[FinishedRun]) -> list[Group]:
    """The runs in groups, in the order in which they are first met."""
    as_written = [_flat(run) for run in runs]
    flats = _chained(runs, as_written)
    common = _varying(flats, [(run.task,) for run in runs], lambda key: key.startswith(_COMMON))
    commons = [_values(table, common) for table in flats]
    keys_of_runs = [(run.method, run.task, setting) for run, setting in zip(runs, commons, strict=True)]
    owns: list[Setting] = [()] * len(runs)
    for method in dict.fromkeys(run.method for run in runs):
        same = [index for index, run in enumerate(runs) if run.method == method]
        own_flats = [flats[index] for index in same]
        keys = _varying(own_flats, [keys_of_runs[index] for index in same], lambda key: not key.startswith(_COMMON))
        for index, setting in zip(same, _compressed(own_flats, keys), strict=True):
            owns[index] = setting
    scopes = [(run.task, setting) for run, setting in zip(runs, commons, strict=True)]
    inputs = unexplained([run.content for run in runs], scopes, as_written)
    groups: dict[tuple[str, str, Setting, Setting, Setting], list[FinishedRun]] = {}
    for index, run in enumerate(runs):
        groups.setdefault((run.method, run.task, commons[index], inputs[index], owns[index]), []).append(run)
    return [
        Group(method, task, (*common, *others), own, tuple(members), others)
        for (method, task, common, others, own), members in groups.items()
    ]


def _chained(runs: Sequence[FinishedRun], tables: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The settings of each run, where the seeds of a chain have one `student.init`.

    In a chain each seed starts as the student of a run of its own seed, and those runs differ in nothing but the seed. A run
    that students of other seeds start from too, as in a sweep, is a setting like any other.
    """
    users: dict[tuple[str, str, Path], list[int]] = {}
    for index, run in enumerate(runs):
        if (folder := _init_folder(run)) is not None:
            users.setdefault((run.method, run.task, folder), []).append(index)
    starts, members = {}, []
    for (_, _, folder), indices in users.items():
        start = _start(folder)
        # a start was made before the run, or a preset that somebody edited could lead back to itself
        if start and all(start.seed == runs[n].seed and start.created < runs[n].created for n in indices):
            starts[folder] = start
            members += [(index, folder) for index in indices]
    names: dict[Path, str] = {}
    for group in group_runs(list(starts.values())) if len(starts) > 1 else ():
        first = group.runs[0]
        name = _word(str(first.run_dir)).removesuffix(f"-s{first.seed}")
        seeds = ",".join(dict.fromkeys(str(run.seed) for run in group.runs))
        names |= {run.run_dir: f"{name}-s{seeds}" for run in group.runs if len(group.runs) > 1}
    shared = {index: {_INIT: names[folder]} for index, folder in members if folder in names}
    return [{**table, **shared.get(index, {})} for index, table in enumerate(tables)]


def _init_folder(run: FinishedRun) -> Path | None:
    """The folder that its student's weights come from, if it is one."""
    student = run.preset.get("student")
    init = student.get("init") if isinstance(student, Mapping) else None
    return Path(init) if isinstance(init, str) and Path(init).is_absolute() else None


def _start(folder: Path) -> FinishedRun | None:
    """The finished run in a folder; None where it is none, or can no longer be read."""
    try:
        return read_finished(folder)
    except CrildError:
        return None


def input_notes(groups: Sequence[Group]) -> list[str]:
    """Why runs with equal presets stand in blocks of their own, a sentence for each task; and which have no record."""
    notes = []
    for task in dict.fromkeys(group.task for group in groups):
        several = dict.fromkeys(setting_text(group.inputs) for group in groups if group.task == task and group.inputs)
        if several:
            notes.append(
                f"{task_title(task)}: runs with the same settings had other inputs ({'; '.join(several)}). They stand in blocks of their "
                "own, and are neither averaged nor tested against each other."
            )
    runs = [run for group in groups for run in group.runs]
    unknown = [run.name for run in runs if run.inputs is None]
    if 0 < len(unknown) < len(runs):
        notes.append(
            f"{len(unknown)} of {len(runs)} runs have no record of their data and models (an earlier crild made them), and "
            f"were grouped by their presets: {listed(unknown, 'and', 3)}."
        )
    return notes


def _flat(run: FinishedRun) -> dict[str, str]:
    """Every key that is a setting, its value as it is shown. Of a path, its last two names count. A student that starts as
    a finished one has that one's layers."""
    table = {key: _word(value) for key, value in flat(run.preset) if not _is_none(key)}
    layers = run.sizes[STUDENT].layers if STUDENT in run.sizes else None
    return table if layers is None else {_LAYERS: str(layers), **table}


@cache
def _is_none(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _NO_SETTING)


def _word(value: Any) -> str:
    if isinstance(value, str):
        is_path = value.startswith(("/", "~", "./", "../"))
        return plain("/".join(PurePath(value).parts[-2:]) if is_path else value) or '""'
    return shown(value, 200)


def _varying(tables: Sequence[Mapping[str, str]], groups: Sequence[object], counts: Callable[[str], bool]) -> list[str]:
    """The keys that count in which tables of one group differ."""
    members: dict[object, list[Mapping[str, str]]] = {}
    for table, group in zip(tables, groups, strict=True):
        members.setdefault(group, []).append(table)
    varying: dict[str, None] = {}
    for several in members.values():
        first = several[0]
        for table in several[1:]:
            if table == first:
                continue
            keys = dict.fromkeys((*first, *table))
            varying |= {key: None for key in keys if counts(key) and table.get(key, ABSENT) != first.get(key, ABSENT)}
    return list(varying)


def _values(table: Mapping[str, str], keys: Iterable[str]) -> Setting:
    return tuple((key, table.get(key, _ABSENT_WORDS.get(key, "-"))) for key in keys)


def _compressed(tables: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[Setting]:
    """What each run sets of the varying keys; a table that some switch off with one word is "on" for the others."""
    switches = [key for key in keys if any(other.startswith(f"{key}.") for other in keys)]
    settings = []
    for key in keys:
        inside = any(key.startswith(f"{switch}.") for switch in switches)
        values = {table[key] for table in tables if key in table}
        if not inside or len(values) > 1:
            settings.append(key)
    settings.sort(
        key=lambda key: -len({table.get(key) for table in tables})
    )  # the setting with the most values comes first
    return [
        tuple((key, table.get(key, "on" if key in switches else _ABSENT_WORDS.get(key, "-"))) for key in settings)
        for table in tables
    ]


def own_names(groups: Iterable[Group]) -> dict[tuple[str, Setting], str]:
    """The own setting of each method and setting as text, with as many settings as distinguish the rows of a method."""
    rows = dict.fromkeys((group.method, group.own) for group in groups)
    names: dict[tuple[str, Setting], str] = {}
    for method in dict.fromkeys(method for method, _ in rows):
        owns = [own for known, own in rows if known == method]
        longest = max(len(own) for own in owns)
        enough = (
            most for most in range(MOST_NAMED, longest) if len({setting_text(own, most) for own in owns}) == len(owns)
        )
        most = next(enough, max(longest, MOST_NAMED))
        names |= {(method, own): setting_text(own, most) for own in owns}
    return names


def setting_text(setting: Setting, most: int = MOST_NAMED) -> str:
    """A setting as text: `examples=1000, ild.layer_map=last`."""
    shorts = [_short(key) for key, _ in setting]
    words = [
        f"{short if shorts.count(short) == 1 else plain(key)}={value}"
        for short, (key, value) in zip(shorts, setting, strict=True)
    ]
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _short(key: str) -> str:
    return _NAMES.get(key) or plain(
        next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)
    )
