"""Read and validate sweep files: one strict declaration, all problems reported at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import CrildError, PresetError, UsageError
from engine.preset.field_types import Record, Seed
from engine.preset.source_names import is_table, uncompressed_name
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_file import read_document
from engine.preset.toml_lines import KeyPath
from engine.preset.toml_text import inline
from engine.record.run import LONGEST_NAME
from engine.sweep.seeds import check_unique, parse_seeds

MOST_RUNS = 1000
"""The default of `max_runs`."""
MOST_RUNS_ALLOWED = 10_000
"""The largest `max_runs`."""
FIXED = ("method", "task", "seed")
"""Axes of every sweep; `axes` declares further ones."""

Words = str | list[str]
Scalar = str | bool | int | float
Several = Annotated[list[Words], Field(min_length=1)] | Annotated[dict[str, Words], Field(min_length=1)]

_AXIS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME // 2 - 1}}}")
_EXPECTED = {
    ("name",): "text in quotes",
    ("methods",): 'a list of presets, as ["kd", "crild", ["crild", "mine.toml"]], or a table name = preset',
    ("tasks",): 'a list of presets, as ["mrpc", "rte"], or a table name = preset',
    ("seeds",): 'a list of seeds, as [1, 2, 3], or text, as "1-5"',
    ("preset",): "a preset or a list of presets",
    ("set",): 'a list of settings, as ["train.epochs=4"]',
    ("max_runs",): f"a whole number from 1 to {MOST_RUNS_ALLOWED}",
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
    """Values by axis; a list matches any of them."""
    set: list[str] = Field(default_factory=list)
    """Settings as for `--set`."""
    preset: Words = Field(default_factory=list)
    """Presets merged last."""


class Sweep(Record):
    """The [sweep] table."""

    name: str | None = None
    """Name of the sweep, its record and its runs; by default the file's name."""
    methods: Several
    """Shipped names or paths; a list merges; a table gives names."""
    tasks: Several | None = None
    """Likewise; omitted where the methods name their task."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | str | None = None
    """Seeds, or text such as "1-5"; by default the presets' own."""
    preset: Words = Field(default_factory=list)
    """Presets merged after method and task."""
    set: list[str] = Field(default_factory=list)
    """Settings of every run, as for `--set`."""
    exclude: list[Annotated[dict[str, Scalar | list[Scalar]], Field(min_length=1)]] = Field(default_factory=list)
    """Parts of the grid to leave out: values by axis."""
    axes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further axes by name: values of one key or of several together, settings or presets by name."""
    when: list[When] = Field(default_factory=list)
    """Settings for parts of the grid."""
    max_runs: Annotated[int, Field(ge=1, le=MOST_RUNS_ALLOWED)] = MOST_RUNS
    """More runs than this are refused, so that a typo does not keep a machine busy for a year."""


@dataclass(frozen=True)
class Point:
    """One value of an axis: its label, and the presets and settings that it adds."""

    label: str
    presets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Axis:
    """One dimension of the grid; `path` is its key in the file."""

    name: str
    points: tuple[Point, ...]
    path: KeyPath

    def sets(self) -> tuple[str, ...]:
        """The keys that its points set, in order."""
        return tuple(dict.fromkeys(key_of(setting) for point in self.points for setting in point.settings))


@dataclass(frozen=True)
class SweepFile:
    """A sweep file: its declaration, its axes other than the seeds, and the seeds."""

    path: Path
    shown: str
    """The file's name in messages."""
    name: str
    sweep: Sweep
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...] | None
    lines: Mapping[KeyPath, int]
    table: str = "sweep"
    """The table that declares it: "sweep" or "search"."""

    def problem(self, path: KeyPath, sentence: str, *, kind: str) -> CrildError:
        """A problem at a key of the table."""
        return problem_at(self.shown, self.lines, (self.table, *path), sentence, kind)


def read_sweep(path: Path, name: str | None = None) -> SweepFile:
    """Read a sweep file; `name` overrides the sweep's name. Raises PresetError with all of its problems."""
    path = path.absolute()
    file = shown_path(path)
    if not path.exists():
        raise PresetError([CrildError(f"there is no sweep file {shown(file, 300)}", kind="missing-sweep-file")])
    document, lines = read_document(path, file, "sweep file")
    problems = [_outside(file, lines, key) for key in document if key != "sweep"]
    table = document.get("sweep")
    if not isinstance(table, dict):
        problem = CrildError(
            'a sweep file needs a [sweep] table with methods = ["kd", "crild"], tasks and seeds',
            kind="missing-sweep-table",
            file=file,
            key="sweep",
        )
        raise PresetError([*problems, problem])
    return sweep_of(table, path, lines, problems, name=name)


def sweep_of(
    table: Mapping[str, Any],
    path: Path,
    lines: Mapping[KeyPath, int],
    problems: Sequence[CrildError] = (),
    *,
    name: str | None = None,
    of: str = "sweep",
) -> SweepFile:
    """The sweep that a table of a file declares. `problems` are what is wrong with the file otherwise, and `of` is the
    name of the table. Raises PresetError with all problems."""
    file = shown_path(path)
    problems = list(problems)
    try:
        sweep = Sweep.model_validate(table)
    except ValidationError as error:
        problems += schema_problems(
            file, lines, error.errors(include_url=False), table, of=of, records=(Sweep, When), expected=_EXPECTED
        )
        raise PresetError(problems) from None
    reader = _Reader(file, lines, problems, of)
    axes = reader.axes(sweep)
    seeds = reader.seeds(sweep)
    sweep_name = reader.name(sweep.name, path) if name is None else name
    reader.settings(sweep, axes)
    if problems:
        raise PresetError(sorted(problems, key=lambda problem: problem.line or 0))
    return SweepFile(path, file, sweep_name, sweep, axes, seeds, lines, of)


def shown_path(path: Path) -> str:
    """The path of a file as messages show it: relative where it is below the working directory."""
    here = Path.cwd()
    return plain(str(path.relative_to(here) if path.is_relative_to(here) else path))


@dataclass(frozen=True)
class _Reader:
    """Turns the declaration into axes; adds what is wrong to `problems`."""

    file: str
    lines: Mapping[KeyPath, int]
    problems: list[CrildError]
    table: str

    def refuse(self, path: KeyPath, sentence: str, *, kind: str) -> None:
        self.problems.append(problem_at(self.file, self.lines, (self.table, *path), sentence, kind))

    def name(self, declared: str | None, path: Path) -> str:
        name = path.name.removesuffix(".toml") if declared is None else declared
        if not _NAME.fullmatch(name):
            source = "the file's name cannot be the sweep's, so set name = ..." if declared is None else "name"
            self.refuse(
                ("name",),
                f"{source}: allowed are letters, digits, '.', '_' and '-', beginning with a letter or digit, "
                f"at most {LONGEST_NAME // 2} characters, not {shown(name)}",
                kind="invalid-sweep-name",
            )
        return name

    def axes(self, sweep: Sweep) -> tuple[Axis, ...]:
        axes = [self._presets("method", sweep.methods, ("methods",))]
        if sweep.tasks is not None:
            axes.append(self._presets("task", sweep.tasks, ("tasks",)))
        for name, table in sweep.axes.items():
            path: KeyPath = ("axes", name)
            if name in FIXED:
                self.refuse(
                    path, f"an axis cannot be named {shown(name)}: use {name}s = ... instead", kind="reserved-axis-name"
                )
            elif not _AXIS_NAME.fullmatch(name):
                self.refuse(
                    path,
                    f"an axis name is made of lower-case letters, digits, - and _, not {shown(name)}",
                    kind="invalid-axis-name",
                )
            elif (axis := self._axis(name, table, path)) is not None:
                axes.append(axis)
        for axis in axes:
            labels = [point.label for point in axis.points]
            for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
                sentence = f"{axis.name} {shown(label)} is repeated; use a table to name each"
                self.refuse(axis.path, sentence, kind="repeated-axis-value")
        return tuple(axes)

    def _presets(self, name: str, values: list[Words] | dict[str, Words], path: KeyPath) -> Axis:
        if isinstance(values, dict):
            pairs = [(label, words(value), (*path, label)) for label, value in values.items()]
        else:
            pairs = [("", words(value), (*path, index)) for index, value in enumerate(values)]
        points = []
        for label, refs, key in pairs:
            if not refs or not all(ref.strip() for ref in refs):
                self.refuse(key, f"this {name} names no preset", kind="axis-value-without-preset")
            points.append(Point(label or "+".join(label_of(ref) for ref in refs), refs))
        return Axis(name, tuple(points), path)

    def _axis(self, name: str, table: Mapping[str, Any], path: KeyPath) -> Axis | None:
        if list(table) in (["preset"], ["set"]):
            (kind,) = table
            return self._named(name, kind, table[kind], (*path, kind))
        columns = dict(_flat(table))
        expected = 'a list of values, as "task.label_noise" = [0.0, 0.3]'
        for key, values in columns.items():
            if not isinstance(values, list) or not values:
                self.refuse(
                    path, f"{plain(key)} must be {expected}, not {shown(values)}", kind="axis-key-without-values"
                )
                return None
        if not columns:
            self.refuse(path, f"the axis {shown(name)} names no key: write {expected}", kind="axis-without-keys")
            return None
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            counts = listed((f"{plain(key)} has {len(values)}" for key, values in columns.items()), "and")
            self.refuse(
                path,
                f"the keys of one axis change together and need the same number of values: {counts}",
                kind="unequal-axis-values",
            )
            return None
        points = []
        for row in zip(*columns.values(), strict=True):
            label = "/".join(_label(value) for value in row)
            points.append(Point(label, (), tuple(f"{k}={inline(v)}" for k, v in zip(columns, row, strict=True))))
        return Axis(name, tuple(points), path)

    def _named(self, name: str, kind: str, table: object, path: KeyPath) -> Axis | None:
        expected = (
            'a table, as { few = ["few-sample"], full = [] }'
            if kind == "preset"
            else 'a table, as { without = ["stage.ild.mixup=false"], with = [] }'
        )
        if not isinstance(table, dict) or not table:
            self.refuse(
                path, f"{kind} of an axis must be {expected}, not {shown(table)}", kind="axis-without-named-values"
            )
            return None
        points = []
        for label, value in table.items():
            if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
                self.refuse(
                    (*path, label),
                    f"{kind} of an axis must be {expected}; {plain(label)} is {shown(value)}",
                    kind="invalid-named-value",
                )
                return None
            several = words(value)
            points.append(Point(label, several) if kind == "preset" else Point(label, (), several))
        return Axis(name, tuple(points), path)

    def seeds(self, sweep: Sweep) -> tuple[int, ...] | None:
        if sweep.seeds is None:
            return None
        try:
            if not isinstance(sweep.seeds, list):
                return parse_seeds(sweep.seeds, "seeds", MOST_RUNS_ALLOWED)
            check_unique(sweep.seeds, "seeds")
        except UsageError as error:
            self.refuse(("seeds",), error.sentence, kind=error.kind)
            return None
        return tuple(sweep.seeds)

    def settings(self, sweep: Sweep, axes: Sequence[Axis]) -> None:
        """Refuse contradictions: a key that two parts of the file set."""
        owners: list[tuple[str, str, KeyPath]] = []
        for axis in axes:
            owners += [(key, f"the axis {axis.name}", axis.path) for key in axis.sets()]
        for index, (key, part, path) in enumerate(owners):
            self._refuse_seed(key, path)
            for other, other_part, _ in owners[:index]:
                if part != other_part and overlap(key, other):
                    self.refuse(
                        path,
                        f"{part} and {other_part} both set {plain(key)}: only one axis can set a key",
                        kind="key-of-two-axes",
                    )
        settings: list[tuple[str, str, KeyPath]] = [
            (setting, "set", ("set", index)) for index, setting in enumerate(sweep.set)
        ]
        for number, when in enumerate(sweep.when):
            settings += [(setting, "when", ("when", number, "set", index)) for index, setting in enumerate(when.set)]
            if not when.set and not words(when.preset):
                self.refuse(
                    ("when", number),
                    "this part sets nothing: add set = [...] or preset = ...",
                    kind="when-without-settings",
                )
        for setting, part, path in settings:
            key = key_of(setting)
            self._refuse_seed(key, path)
            for axis_key, owner, _ in owners:
                if overlap(key, axis_key):
                    self.refuse(
                        path,
                        f"{part} and {owner} both set {plain(key)}: one would override the other",
                        kind="key-of-axis-and-setting",
                    )
        keys = [key_of(setting) for setting in sweep.set]
        for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
            self.refuse(("set",), f"set contains {plain(key)} twice", kind="repeated-setting")

    def _refuse_seed(self, key: str, path: KeyPath) -> None:
        if key == "seed":
            self.refuse(path, "to sweep seeds, use seeds = [1, 2, 3], not the key seed", kind="seed-as-key")


def key_of(setting: str) -> str:
    """The key of a setting in the form of `--set`."""
    return setting.partition("=")[0].strip()


def overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are equal, or one is inside the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def label_of(ref: str) -> str:
    """A short name of a preset: a shipped name, or a file's name without its suffix."""
    return Path(uncompressed_name(ref)).stem if is_table(ref) else Path(ref).name.removesuffix(".toml") or ref


def words(value: Words) -> tuple[str, ...]:
    """One text or several as a tuple."""
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


def problem_at(file: str, lines: Mapping[KeyPath, int], full: KeyPath, sentence: str, kind: str) -> CrildError:
    """A problem at a key of a file, with the line of the key or of the nearest table above it."""
    line = next((lines[full[:length]] for length in range(len(full), 0, -1) if full[:length] in lines), None)
    return CrildError(sentence, kind=kind, file=file, line=line, key=plain(".".join(str(part) for part in full)))


def _outside(file: str, lines: Mapping[KeyPath, int], key: str) -> CrildError:
    """The problem with a key outside the [sweep] table."""
    if key in Sweep.model_fields or key in {info.alias for info in Sweep.model_fields.values()}:
        sentence = f"{shown(key)} belongs under [sweep]"
    else:
        sentence = f"unknown key {shown(key)}: a sweep file has one table, [sweep]"
    return CrildError(sentence, kind="key-outside-sweep", file=file, line=lines.get((key,)), key=plain(key))


def schema_problems(
    file: str,
    lines: Mapping[KeyPath, int],
    details: Sequence[ErrorDetails],
    table: Mapping[str, Any],
    *,
    of: str,
    records: tuple[type[Record], type[Record]],
    expected: Mapping[tuple[str, ...], str],
) -> list[CrildError]:
    """Pydantic's errors as plain sentences, one for each key of the table `of`. `records` are its own and that of its
    `when`; `expected` says what each key must be."""
    problems: dict[KeyPath, CrildError] = {}
    for detail in details:
        loc = detail["loc"]
        record, depth = (records[1], 2) if loc[0] == "when" and len(loc) > 2 else (records[0], 0)
        key = str(loc[depth])
        path: KeyPath = (*loc[:depth], key)
        named = ("when", key) if depth else (key,)
        if detail["type"] == "extra_forbidden":
            known = tuple(record.model_fields)
            near = nearest(key, known)
            hint = f"did you mean {shown(near)}?" if near else f"known keys: {listed(known, 'and')}"
            kind, sentence = "unknown-key", f"unknown key {shown(key)} in {f'{of}.when' if depth else of}; {hint}"
        elif detail["type"] == "missing":
            kind, sentence = "missing-key", f"{'.'.join(named)} is missing; it must be {expected[named]}"
        else:
            value = detail["input"]
            whole: Any = table
            for part in path:
                whole = whole[part]
            but = ", not" if value is whole else "; it contains"
            kind, sentence = "invalid-value", f"{'.'.join(named)} must be {expected[named]}{but} {shown(value)}"
        problems.setdefault(path, problem_at(file, lines, (of, *path), sentence, kind))
    return list(problems.values())
