"""Read and validate search files: what a sweep file has, the space to search, budget, aims, sampler and pruner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import CrildError, PresetError
from engine.preset.field_types import NotNegative, Positive, Record, Seed
from engine.preset.kinds import MetricName
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_file import read_document
from engine.preset.toml_lines import KeyPath
from engine.preset.toml_text import inline
from engine.sweep.spec import (
    Several,
    SweepFile,
    When,
    Words,
    key_of,
    overlap,
    problem_at,
    schema_problems,
    shown_path,
    sweep_of,
    words,
)

Aim = Literal["metric", "latency", "size"] | MetricName
AIMS: tuple[str, ...] = ("metric", "latency", "size", *get_args(MetricName))
"""What can be searched for: "metric" is the task's first; latency and size are the lower the better."""
LOWER = frozenset({"latency", "size"})
"""Aims of which less is better."""
METHOD = "method"
"""The name of the method among the values of a trial; `when` of a dimension may name it."""
MOST_TRIALS = 10_000

Scalar = str | bool | int | float


class Dimension(Record):
    """One key, or named choice, of the space: a range, a list of choices, or named settings or presets."""

    low: int | float | None = None
    """The least value of a range."""
    high: int | float | None = None
    """The greatest value of a range."""
    step: int | float | None = None
    """Distance of the values of a range; 1 between whole numbers when left out."""
    log: bool = False
    """Draw evenly on a log scale, as suits learning rates."""
    choices: Annotated[list[Any], Field(min_length=1)] | None = None
    """Values to choose from, as in the short form `key = [...]`; for use with `when`."""
    set: Annotated[dict[str, Words], Field(min_length=1)] | None = None
    """Named settings to choose from, as for `--set`."""
    preset: Annotated[dict[str, Words], Field(min_length=1)] | None = None
    """Named presets to choose from, merged last."""
    when: Annotated[dict[str, Scalar | list[Scalar]], Field(min_length=1)] | None = None
    """Only where earlier choices have these values, as { method = "crild" }."""


def _form(value: object) -> str:
    return "<list>" if isinstance(value, list) else "<table>"


Values = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag("<list>")] | Annotated[Dimension, Tag("<table>")],
    Discriminator(_form),
]


class Search(Record):
    """The [search] table."""

    name: str | None = None
    """Name of the search, its record and its runs; by default the file's name."""
    methods: Several
    """Shipped names or paths; a list merges; a table gives names. Several are a choice of the search, which starts with
    the first."""
    tasks: Several | None = None
    """One task; omitted where the methods name it."""
    preset: Words = Field(default_factory=list)
    """Presets merged after method and task."""
    set: list[str] = Field(default_factory=list)
    """Settings of every run, as for `--set`."""
    when: list[When] = Field(default_factory=list)
    """Settings for some of the methods."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | str | None = None
    """Seeds of each trial, one run for each, or text such as "1-3"; by default the preset's own."""
    space: Annotated[dict[str, Values], Field(min_length=1)]
    """What is searched: keys with ranges or lists of choices, and named choices of settings or presets."""
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    """Trials after which none is started any more."""
    hours: Positive | None = None
    """Hours of searching after which no trial is started any more."""
    aim: Aim | Annotated[list[Aim], Field(min_length=1)] = "metric"
    """What is best: "metric" (the task's first on dev), a metric by name, "latency", "size"; or several, for a front."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """How values are drawn: tpe learns from earlier trials; grid tries every combination of lists and steps."""
    pruner: Literal["median", "hyperband", False] | None = None
    """What ends a trial early, by the evaluations of its first run: the median of earlier trials when left out; false for
    none, as with several aims."""
    seed: Seed = 0
    """Seed of the search itself."""
    holdout: NotNegative = 0.2
    """Training rows that no trial sees, a share below 1 or a number of rows, to measure the winner on; 0 for none."""
    confirm: Annotated[int, Field(ge=0, le=100)] = 3
    """Runs with fresh seeds, of the winner and of the starting preset, when the trials are over."""


_EXPECTED = {
    ("name",): "text in quotes",
    ("methods",): 'a list of presets, as ["crild"], or a table name = preset',
    ("tasks",): 'a list with one preset, as ["mrpc"]',
    ("preset",): "a preset or a list of presets",
    ("set",): 'a list of settings, as ["train.epochs=4"]',
    ("when",): "an array of tables, each beginning with [[search.when]]",
    ("when", "match"): 'a table, as { method = "kd" }',
    ("when", "set"): 'a list of settings, as ["train.epochs=4"]',
    ("when", "preset"): "a preset or a list of presets",
    ("seeds",): 'a list of seeds, as [1, 2], or text, as "1-3"',
    (
        "space",
    ): 'a table [search.space] of keys, as "train.learning_rate" = { low = 1e-5, high = 1e-3, log = true }, or '
    '"stage.kd.temperature" = [1.0, 2.0, 4.0]',
    ("trials",): f"a whole number from 1 to {MOST_TRIALS}",
    ("hours",): "a number above 0",
    ("aim",): f"one of {listed(AIMS, 'or')}, or a list of them",
    ("sampler",): '"tpe", "random" or "grid"',
    ("pruner",): '"median", "hyperband" or false',
    ("seed",): "a whole number, 0 or more",
    ("holdout",): "a share below 1, a number of rows, or 0",
    ("confirm",): "a whole number from 0 to 100",
}
_SWEEP_KEYS = ("name", "methods", "tasks", "preset", "set", "when", "seeds")


@dataclass(frozen=True)
class SearchFile:
    """A search file: its declaration, and the sweep of its starting presets (method x task x seeds)."""

    search: Search
    start: SweepFile

    @property
    def name(self) -> str:
        """The search's name."""
        return self.start.name

    @property
    def aims(self) -> tuple[str, ...]:
        """What is searched for, the first being the most important."""
        return (self.search.aim,) if isinstance(self.search.aim, str) else tuple(self.search.aim)

    @property
    def pruner(self) -> str | None:
        """The pruner, or None."""
        if self.search.pruner is None:
            return "median" if self.aims[0] not in LOWER and len(self.aims) == 1 else None
        return self.search.pruner or None

    @property
    def holdout(self) -> float:
        """The training rows that no trial sees; 0 where nothing would measure them."""
        return self.search.holdout if self.search.confirm else 0.0

    @property
    def space(self) -> dict[str, Dimension]:
        """The dimensions by name, lists as choices."""
        return {
            name: Dimension(choices=value) if isinstance(value, list) else value
            for name, value in self.search.space.items()
        }

    def problem(self, path: KeyPath, sentence: str, *, kind: str) -> CrildError:
        """A problem at a key of the [search] table."""
        return self.start.problem(path, sentence, kind=kind)


def read_search(path: Path, name: str | None = None, changes: Mapping[str, Any] | None = None) -> SearchFile:
    """Read a search file; `name` overrides the search's name, `changes` keys of its table, as of the command line.

    Raises PresetError with all of its problems.
    """
    path = path.absolute()
    file = shown_path(path)
    if not path.exists():
        raise PresetError([CrildError(f"there is no search file {shown(file, 300)}", kind="missing-search-file")])
    document, lines = read_document(path, file, "search file")
    table = document.get("search")
    if not isinstance(table, dict):
        hint = "; for a [sweep] table, use crild sweep" if "sweep" in document else ""
        sentence = f'a search file needs a [search] table with methods = ["crild"], tasks and [search.space]{hint}'
        raise PresetError([CrildError(sentence, kind="missing-search-table", file=file, key="search")])
    problems = [
        CrildError(
            f"unknown key {shown(key)}: a search file has one table, [search]",
            kind="key-outside-search",
            file=file,
            line=lines.get((key,)),
            key=plain(key),
        )
        for key in document
        if key != "search"
    ]
    return declared({**table, **(changes or {})}, path, lines, problems, name)


def declared(
    table: Mapping[str, Any],
    path: Path,
    lines: Mapping[KeyPath, int] | None = None,
    problems: Sequence[CrildError] = (),
    name: str | None = None,
) -> SearchFile:
    """The search that a [search] table declares. Raises PresetError with all problems."""
    lines = lines or {}
    table = dict(table)
    if isinstance(table.get("space"), Mapping):
        table["space"] = dict(_flat(table["space"]))
    try:
        search = Search.model_validate(table)
    except ValidationError as error:
        details = error.errors(include_url=False)
        outside = [detail for detail in details if detail["loc"][0] != "space" or len(detail["loc"]) == 1]
        found = schema_problems(
            shown_path(path), lines, outside, table, of="search", records=(Search, When), expected=_EXPECTED
        )
        found += _dimension_problems(path, lines, [detail for detail in details if detail not in outside])
        raise PresetError([*problems, *found]) from None
    start = sweep_of(
        {key: table[key] for key in _SWEEP_KEYS if key in table}, path, lines, problems, name=name, of="search"
    )
    result = SearchFile(search, start)
    if found := list(_faults(result)):
        raise PresetError(sorted(found, key=lambda problem: problem.line or 0))
    return result


def _dimension_problems(
    path: Path, lines: Mapping[KeyPath, int], details: Sequence[ErrorDetails]
) -> Iterator[CrildError]:
    """Pydantic's errors about dimensions as plain sentences, one for each dimension."""
    seen = set()
    for detail in details:
        name, key = str(detail["loc"][1]), next((str(part) for part in detail["loc"][3:]), "")
        if name in seen:
            continue
        seen.add(name)
        known = tuple(Dimension.model_fields)
        if detail["type"] == "extra_forbidden":
            near = nearest(key, known)
            hint = f"did you mean {shown(near)}?" if near else f"known keys: {listed(known, 'and')}"
            sentence, kind = f"unknown key {shown(key)} in space.{plain(name)}; {hint}", "unknown-key"
        else:
            what = f"{key} of " if key else ""
            sentence = (
                f"{what}space.{plain(name)} cannot be {shown(detail['input'])}: write a range "
                "{ low = 1e-5, high = 1e-3, log = true }, a list of choices, or named set = {...} or preset = {...}"
            )
            kind = "invalid-dimension"
        yield problem_at(shown_path(path), lines, ("search", "space", name), sentence, kind)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`train.learning_rate = { low = ... }`, written without quotes, is a table in a table."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value and not value.keys() & Dimension.model_fields.keys():
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _faults(file: SearchFile) -> Iterator[CrildError]:
    search = file.search
    tasks = next((axis for axis in file.start.axes if axis.name == "task"), None)
    if tasks is not None and len(tasks.points) != 1:
        yield file.problem(("tasks",), "a search has one task: use a file for each", kind="several-tasks-to-search")
    if search.trials is None and search.hours is None:
        sentence = "a search needs an end: set trials = 30, hours = 2.0, or both"
        yield file.problem((), sentence, kind="search-without-budget")
    if len(set(file.aims)) < len(file.aims):
        yield file.problem(("aim",), "aim names one thing twice", kind="repeated-aim")
    if search.pruner and (len(file.aims) > 1 or file.aims[0] in LOWER):
        sentence = "a pruner goes by one metric on dev: with another aim, or several, leave it out"
        yield file.problem(("pruner",), sentence, kind="pruner-without-metric")
    if search.confirm == 0 and search.holdout and "holdout" in search.model_fields_set:
        sentence = (
            "the rows of holdout are for the runs of confirm, and there are none: set confirm = 3, or holdout = 0"
        )
        yield file.problem(("holdout",), sentence, kind="holdout-without-confirmation")
    for number, when in enumerate(search.when):
        if set(when.match) != {METHOD}:
            sentence = "when of a search goes by the method alone: match = { method = ... }; for a value, use when in the space"
            yield file.problem(("when", number, "match"), sentence, kind="when-of-search")
    yield from _space_faults(file)


def _space_faults(file: SearchFile) -> Iterator[CrildError]:
    known = {METHOD: [point.label for point in file.start.axes[0].points]}
    keys: list[tuple[str, str]] = [(key_of(text), "set") for text in file.search.set]
    keys += [(key_of(text), "when") for when in file.search.when for text in when.set]
    for name, dimension in file.space.items():
        path: KeyPath = ("space", name)
        if name in (METHOD, "seed", "task"):
            sentence = f"{name} is not searched here: use {name}s = [...] under [search]"
            yield file.problem(path, sentence, kind="reserved-dimension")
            continue
        faults = list(_dimension_faults(file, path, dimension))
        yield from faults
        if faults:
            continue
        yield from _when_faults(file, path, dimension, known)
        labels = labels_of(dimension)
        if labels is not None:
            known[name] = labels
        own = sets_of(name, dimension)
        for key in own:
            conditions = [f"the dimension {plain(condition)}" for condition in dimension.when or {}]
            other = next((owner for taken, owner in keys if overlap(key, taken) and owner not in conditions), None)
            if key == "seed":
                yield file.problem(path, "the seed of runs is not searched: use seeds", kind="seed-as-key")
            elif other is not None:
                sentence = f"{other} and this both set {plain(key)}: one would override the other"
                yield file.problem(path, sentence, kind="key-set-twice-in-search")
        keys += [(key, f"the dimension {plain(name)}") for key in own]


def _dimension_faults(file: SearchFile, path: KeyPath, dimension: Dimension) -> Iterator[CrildError]:
    kinds = [kind for kind in ("low", "choices", "set", "preset") if getattr(dimension, kind) is not None]
    ranged = {key for key in ("low", "high", "step", "log") if key in dimension.model_fields_set}
    if len(kinds) != 1 or (ranged and kinds != ["low"]):
        sentence = "this must be one of a range { low = 1, high = 8 }, a list of choices, or named set = {...} or preset = {...}"
        yield file.problem(path, sentence, kind="unclear-dimension")
    elif kinds == ["low"]:
        low, high, step = dimension.low, dimension.high, dimension.step
        if low is None or high is None:
            yield file.problem(path, "a range needs low and high", kind="incomplete-range")
        elif low >= high:
            sentence = f"this range is empty: low is {low!r} and high {high!r}"
            yield file.problem(path, sentence, kind="empty-range")
        elif dimension.log and low <= 0:
            sentence = f"a log scale begins above 0, and low is {low!r}"
            yield file.problem(path, sentence, kind="log-range-from-zero")
        elif step is not None and dimension.log:
            yield file.problem(path, "a range has a step or a log scale, not both", kind="step-and-log")
        elif step is not None and not 0 < step <= high - low:
            sentence = f"step must be above 0 and at most high - low, not {step!r}"
            yield file.problem(path, sentence, kind="unusable-step")
        elif file.search.sampler == "grid" and not is_whole(dimension) and step is None:
            sentence = 'sampler = "grid" tries every value: give this range a step, or list choices'
            yield file.problem(path, sentence, kind="grid-without-steps")
        elif file.search.sampler == "grid" and dimension.log:
            yield file.problem(path, 'sampler = "grid" has no log scale: list choices', kind="grid-without-steps")
    else:
        labels = labels_of(dimension) or []
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            yield file.problem(path, f"the choice {shown(label)} is repeated", kind="repeated-choice")


def _when_faults(
    file: SearchFile, path: KeyPath, dimension: Dimension, known: Mapping[str, Sequence[str]]
) -> Iterator[CrildError]:
    for name, values in (dimension.when or {}).items():
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {shown(near)}?" if near else f"there are {listed(map(plain, known), 'and')}"
            sentence = f"when names {shown(name)}, which is no choice above this one; {hint}"
            yield file.problem(path, sentence, kind="unknown-dimension-in-when")
            continue
        for value in as_labels(values):
            if value not in known[name]:
                sentence = f"{plain(name)} is never {shown(value)}; there are {listed(map(plain, known[name]), 'and')}"
                yield file.problem(path, sentence, kind="unknown-choice-in-when")


def labels_of(dimension: Dimension) -> list[str] | None:
    """The choices of a dimension as texts; None for a range."""
    if dimension.choices is not None:
        return [label_of_value(value) for value in dimension.choices]
    named = dimension.set or dimension.preset
    return None if named is None else list(named)


def label_of_value(value: object) -> str:
    """A choice as text, as tables of trials show it."""
    return value if isinstance(value, str) else inline(value)


def as_labels(values: Scalar | list[Scalar]) -> list[str]:
    """The values of one entry of `when` as texts."""
    return [label_of_value(value) for value in (values if isinstance(values, list) else [values])]


def sets_of(name: str, dimension: Dimension) -> list[str]:
    """The keys that a dimension sets, each once; none for presets."""
    if dimension.preset is not None:
        return []
    if dimension.set is not None:
        return list(dict.fromkeys(key_of(text) for value in dimension.set.values() for text in words(value)))
    return [name]


def is_whole(dimension: Dimension) -> bool:
    """Whether a range is of whole numbers."""
    return all(isinstance(value, int | None) for value in (dimension.low, dimension.high, dimension.step))
