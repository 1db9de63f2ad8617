"""What a sweep file says: one strict declaration, and every problem with it at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import CrildError, PresetError
from engine.preset.field_types import Record
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_file import read_document
from engine.preset.toml_lines import KeyPath
from engine.preset.toml_text import inline
from engine.record.run import LONGEST_NAME

MOST_RUNS = 1000
"""Runs of a sweep that does not say how many there may be."""
LARGEST_SEED = 2**32 - 1
FIXED = ("method", "task", "seed")
"""Axes that every sweep has; others are named in `axes`."""

Words = str | list[str]
Scalar = str | bool | int | float
Several = Annotated[list[Words], Field(min_length=1)] | Annotated[dict[str, Words], Field(min_length=1)]

_AXIS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME // 2 - 1}}}")
_SEEDS = re.compile(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?")
_RIGHT = {
    ("name",): "text in quotes",
    ("methods",): 'a list of presets, as ["kd", "crild", ["crild", "mine.toml"]], or a table name = preset',
    ("tasks",): 'a list of presets, as ["mrpc", "rte"], or a table name = preset',
    ("seeds",): 'a list of seeds, as [1, 2, 3], or text, as "1-5"',
    ("preset",): "a preset or a list of presets",
    ("set",): 'a list of settings, as ["train.epochs=4"]',
    ("max_runs",): "a whole number from 1 to 10000",
    ("exclude",): 'a list of tables, as [{ method = "kd", task = "rte" }]',
    ("axes",): 'tables, as noise = { "task.label_noise" = [0.0, 0.3] }',
    ("when",): "an array of tables, each beginning with [[sweep.when]]",
    ("when", "match"): 'a table, as { task = "rte" }',
    ("when", "set"): 'a list of settings, as ["train.epochs=4"]',
    ("when", "preset"): "a preset or a list of presets",
}


class When(Record):
    """Settings for a part of the grid."""

    match: Annotated[dict[str, Scalar | list[Scalar]], Field(min_length=1)]
    """Values by axis; a list means any of them."""
    set: list[str] = Field(default_factory=list)
    """Settings as `--set` takes them."""
    preset: Words = Field(default_factory=list)
    """Presets that are merged last."""


class Sweep(Record):
    """The [sweep] table."""

    name: str | None = None
    """Of the sweep, its record and its runs; the file's name when left out."""
    methods: Several
    """Shipped names or paths; a list merges; a table gives names."""
    tasks: Several | None = None
    """Likewise; left out where the methods bring a task."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]], Field(min_length=1)] | str | None = None
    """Seeds, or text as "1-5"; the presets' own when left out."""
    preset: Words = Field(default_factory=list)
    """Presets that are merged after method and task."""
    set: list[str] = Field(default_factory=list)
    """Settings of every run, as `--set` takes them."""
    exclude: list[Annotated[dict[str, Scalar | list[Scalar]], Field(min_length=1)]] = Field(default_factory=list)
    """Parts of the grid that are left out: values by axis."""
    axes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further axes by name: values of one key or several together, settings or presets by name."""
    when: list[When] = Field(default_factory=list)
    """Settings for parts of the grid."""
    max_runs: Annotated[int, Field(ge=1, le=10_000)] = MOST_RUNS
    """More runs than this are refused: a slip of the finger is not to keep a machine busy for a year."""


@dataclass(frozen=True)
class Point:
    """One value of an axis: what it is called, what it merges and sets."""

    label: str
    presets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Axis:
    """One dimension of the grid; `path` is the key in the file that says it."""

    name: str
    points: tuple[Point, ...]
    path: KeyPath

    def sets(self) -> tuple[str, ...]:
        """The keys that its points set, in their order."""
        return tuple(dict.fromkeys(key_of(setting) for point in self.points for setting in point.settings))


@dataclass(frozen=True)
class SweepFile:
    """A sweep file that was read: its declaration, its axes but that of the seeds, the seeds."""

    path: Path
    shown: str
    """The file as messages name it."""
    name: str
    sweep: Sweep
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...] | None
    lines: Mapping[KeyPath, int]

    def problem(self, path: KeyPath, sentence: str) -> CrildError:
        """A problem at a key of the [sweep] table."""
        return _problem(self.shown, self.lines, path, sentence)


def read_sweep(path: Path, name: str | None = None) -> SweepFile:
    """Read a sweep file; `name` replaces the name that it gives. Raises PresetError with all of its problems."""
    path = path.absolute()
    here = Path.cwd()
    file = plain(str(path.relative_to(here) if path.is_relative_to(here) else path))
    if not path.exists():
        raise PresetError([CrildError(f"there is no sweep file {shown(file, 300)}")])
    document, lines = read_document(path, file, "sweep file")
    problems = [_problem(file, lines, (), _outside(key), (key,)) for key in document if key != "sweep"]
    table = document.get("sweep")
    if not isinstance(table, dict):
        sentence = 'a sweep file begins with [sweep] and says methods = ["kd", "crild"], tasks and seeds'
        raise PresetError([*problems, CrildError(sentence, file=file, key="sweep")])
    try:
        sweep = Sweep.model_validate(table)
    except ValidationError as error:
        problems += _said(file, lines, error.errors(include_url=False), table)
        raise PresetError(problems) from None
    reader = _Reader(file, lines, problems)
    axes = reader.axes(sweep)
    seeds = reader.seeds(sweep)
    called = reader.name(sweep.name, path) if name is None else name
    reader.settings(sweep, axes)
    if problems:
        raise PresetError(sorted(problems, key=lambda problem: problem.line or 0))
    return SweepFile(path, file, called, sweep, axes, seeds, lines)


@dataclass(frozen=True)
class _Reader:
    """Turns the declaration into axes; what is wrong is added to the problems."""

    file: str
    lines: Mapping[KeyPath, int]
    problems: list[CrildError]

    def refuse(self, path: KeyPath, sentence: str) -> None:
        self.problems.append(_problem(self.file, self.lines, path, sentence))

    def name(self, given: str | None, path: Path) -> str:
        name = path.name.removesuffix(".toml") if given is None else given
        if not _NAME.fullmatch(name):
            where = "the file's name cannot be the sweep's: give it one by name = ..." if given is None else "name"
            self.refuse(
                ("name",),
                f"{where}: a sweep is called by letters, digits, '.', '_' and '-', beginning with a letter or digit, "
                f"at most {LONGEST_NAME // 2}, not {shown(name)}",
            )
        return name

    def axes(self, sweep: Sweep) -> tuple[Axis, ...]:
        found = [self._presets("method", sweep.methods, ("methods",))]
        if sweep.tasks is not None:
            found.append(self._presets("task", sweep.tasks, ("tasks",)))
        for name, table in sweep.axes.items():
            path: KeyPath = ("axes", name)
            if name in FIXED:
                self.refuse(path, f"an axis cannot be called {shown(name)}: {name}s have a key of their own")
            elif not _AXIS_NAME.fullmatch(name):
                self.refuse(path, f"an axis is called by small letters, digits, - and _, not {shown(name)}")
            elif (axis := self._axis(name, table, path)) is not None:
                found.append(axis)
        for axis in found:
            self._twice(axis)
        return tuple(found)

    def _twice(self, axis: Axis) -> None:
        labels = [point.label for point in axis.points]
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            self.refuse(axis.path, f"{axis.name} {shown(label)} is there twice; a table gives names of their own")

    def _presets(self, name: str, given: list[Words] | dict[str, Words], path: KeyPath) -> Axis:
        if isinstance(given, dict):
            pairs = [(label, words(value), (*path, label)) for label, value in given.items()]
        else:
            pairs = [("", words(value), (*path, index)) for index, value in enumerate(given)]
        points = []
        for label, refs, place in pairs:
            if not refs or not all(ref.strip() for ref in refs):
                self.refuse(place, f"this {name} names no preset")
            points.append(Point(label or "+".join(label_of(ref) for ref in refs), refs))
        return Axis(name, tuple(points), path)

    def _axis(self, name: str, table: Mapping[str, Any], path: KeyPath) -> Axis | None:
        if list(table) in (["preset"], ["set"]):
            (kind,) = table
            return self._named(name, kind, table[kind], (*path, kind))
        columns = dict(_flat(table))
        right = 'a list of values, as "task.label_noise" = [0.0, 0.3]'
        for key, values in columns.items():
            if not isinstance(values, list) or not values:
                self.refuse(path, f"{plain(key)} must be {right}, not {shown(values)}")
                return None
        if not columns:
            self.refuse(path, f"the axis {shown(name)} names no key: write {right}")
            return None
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            counts = listed((f"{plain(key)} has {len(values)}" for key, values in columns.items()), "and")
            self.refuse(path, f"the keys of one axis change together, so they have equally many values: {counts}")
            return None
        points = []
        for row in zip(*columns.values(), strict=True):
            label = "/".join(_label(value) for value in row)
            points.append(Point(label, (), tuple(f"{k}={inline(v)}" for k, v in zip(columns, row, strict=True))))
        return Axis(name, tuple(points), path)

    def _named(self, name: str, kind: str, table: object, path: KeyPath) -> Axis | None:
        right = (
            'a table, as { few = ["few-sample"], full = [] }'
            if kind == "preset"
            else 'a table, as { without = ["stage.ild.mixup=false"], with = [] }'
        )
        if not isinstance(table, dict) or not table:
            self.refuse(path, f"{kind} of an axis is {right}, not {shown(table)}")
            return None
        points = []
        for label, value in table.items():
            if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
                self.refuse((*path, label), f"{kind} of an axis is {right}; {plain(label)} holds {shown(value)}")
                return None
            several = words(value)
            points.append(Point(label, several) if kind == "preset" else Point(label, (), several))
        return Axis(name, tuple(points), path)

    def seeds(self, sweep: Sweep) -> tuple[int, ...] | None:
        if sweep.seeds is None:
            return None
        seeds = list(sweep.seeds) if isinstance(sweep.seeds, list) else self._written(sweep.seeds)
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            self.refuse(("seeds",), f"seeds names {', '.join(map(str, twice))} twice: each seed makes one run")
        return tuple(seeds)

    def _written(self, text: str) -> list[int]:
        found: list[int] = []
        for part in text.split(","):
            match = _SEEDS.fullmatch(part)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if last < first or last > LARGEST_SEED or last - first >= 100_000:
                self.refuse(("seeds",), f'seeds {shown(text)} names no seeds: write [1, 2, 3], "1,2,3" or "1-5"')
                return []
            found += range(first, last + 1)
        return found

    def settings(self, sweep: Sweep, axes: Sequence[Axis]) -> None:
        """Contradictions: one key that two parts of the file set."""
        owners: list[tuple[str, str, KeyPath]] = []
        for axis in axes:
            owners += [(key, f"the axis {axis.name}", axis.path) for key in axis.sets()]
        for at, (key, what, path) in enumerate(owners):
            self._seed(key, path)
            for other, its, _ in owners[:at]:
                if what != its and overlap(key, other):
                    self.refuse(path, f"{what} and {its} both set {plain(key)}: a key belongs to one axis")
        places: list[tuple[str, str, KeyPath]] = [
            (setting, "set", ("set", index)) for index, setting in enumerate(sweep.set)
        ]
        for number, when in enumerate(sweep.when):
            places += [(setting, "when", ("when", number, "set", index)) for index, setting in enumerate(when.set)]
            if not when.set and not words(when.preset):
                self.refuse(("when", number), "this part of the grid is given no settings: add set = [...] or preset")
        for setting, what, place in places:
            key = key_of(setting)
            self._seed(key, place)
            for mine, its, _ in owners:
                if overlap(key, mine):
                    self.refuse(place, f"{what} and {its} both set {plain(key)}: the one would undo the other")
        keys = [key_of(setting) for setting in sweep.set]
        for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
            self.refuse(("set",), f"set says {plain(key)} twice")

    def _seed(self, key: str, path: KeyPath) -> None:
        if key == "seed":
            self.refuse(path, "seed is swept by seeds = [1, 2, 3], not as a key")


def key_of(setting: str) -> str:
    """The key of a setting as `--set` takes it."""
    return setting.partition("=")[0].strip()


def overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one a part of the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def label_of(ref: str) -> str:
    """A short name of a preset: a shipped name, or the name of a file without its ending."""
    return Path(ref).name.removesuffix(".toml") or ref


def words(value: Words) -> tuple[str, ...]:
    """A text or a list of texts as several."""
    return (value,) if isinstance(value, str) else tuple(value)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{ task.label_noise = [...] }`, written without quotes, is a table in a table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _label(value: object) -> str:
    return value if isinstance(value, str) else inline(value)


def _problem(
    file: str, lines: Mapping[KeyPath, int], path: KeyPath, sentence: str, full: KeyPath | None = None
) -> CrildError:
    full = ("sweep", *path) if full is None else full
    line = next((lines[full[:n]] for n in range(len(full), 0, -1) if full[:n] in lines), None)
    return CrildError(sentence, file=file, line=line, key=plain(".".join(str(part) for part in full)))


def _outside(key: str) -> str:
    if key in Sweep.model_fields or key in {info.alias for info in Sweep.model_fields.values()}:
        return f"{shown(key)} belongs under [sweep]"
    return f"unknown key {shown(key)}: a sweep file is one table, [sweep]"


def _unknown(key: str, known: Sequence[str]) -> str:
    near = nearest(key, known)
    return f"unknown key {shown(key)}{f'; did you mean {shown(near)}?' if near else ''}"


def _said(
    file: str, lines: Mapping[KeyPath, int], details: Sequence[ErrorDetails], table: Mapping[str, Any]
) -> list[CrildError]:
    """Pydantic's errors in plain sentences, one for each key."""
    found: dict[KeyPath, CrildError] = {}
    for detail in details:
        loc = detail["loc"]
        record, depth = (When, 2) if loc[0] == "when" and len(loc) > 2 else (Sweep, 0)
        key = str(loc[depth])
        path: KeyPath = (*loc[:depth], key)
        named = ("when", key) if depth else (key,)
        if detail["type"] == "extra_forbidden":
            known = tuple(record.model_fields)
            near = nearest(key, known)
            hint = f"did you mean {shown(near)}?" if near else f"known are {listed(known, 'and')}"
            sentence = f"unknown key {shown(key)} in {'sweep.when' if depth else 'sweep'}; {hint}"
        elif detail["type"] == "missing":
            sentence = f"{'.'.join(named)} is missing; it must be {_RIGHT[named]}"
        else:
            given = detail["input"]
            whole: Any = table
            for part in path:
                whole = whole[part]
            inside = ", not" if given is whole else "; in it stands"
            sentence = f"{'.'.join(named)} must be {_RIGHT[named]}{inside} {shown(given)}"
        found.setdefault(path, _problem(file, lines, path, sentence))
    return list(found.values())
