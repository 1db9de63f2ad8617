"""Plan a sweep: from its cells to checked presets and shared teachers, before any run is created."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import CrildError, DataError, PresetError
from engine.preflight.check import UnusableError, check
from engine.preflight.own_data import completed
from engine.preset.load import Loaded, load_preset
from engine.preset.names import LABELS
from engine.preset.preset_file import locate
from engine.preset.schema import Preset
from engine.preset.source_names import is_table
from engine.preset.text import cut, plain
from engine.preset.toml_lines import KeyPath
from engine.record.run import LONGEST_NAME
from engine.sweep.grid import Cell, cells, described
from engine.sweep.spec import FIXED, SweepFile, label_of, words
from engine.user.consent import consent_to

_T = TypeVar("_T")
_LONGEST_SHOWN = 200  # characters of a setting that messages about `--set` repeat


@dataclass(frozen=True)
class Planned:
    """One run of a plan."""

    run: str
    """Its id, which depends only on the sweep and the cell."""
    cell: Mapping[str, str]
    """Axis -> value as shown: "method", "task" and "seed" among them."""
    preset: Preset
    """Complete except for device and threads, which the slot supplies."""
    refs: tuple[str, ...]
    """Short names of the merged presets."""
    teacher: str | None
    """Runs with the same key share a fine-tuned teacher; None where none is fine-tuned or cached."""
    own_device: str | None
    """The device that the presets name, if any."""
    own_threads: int | None

    @property
    def document(self) -> dict[str, Any]:
        """The preset as plain data."""
        return self.preset.document()


@dataclass(frozen=True)
class Plan:
    """A sweep whose runs have all been checked."""

    name: str
    file: Path
    axes: Mapping[str, tuple[str, ...]]
    """Values as shown, by axis: method, task, the sweep's own, seed."""
    runs: tuple[Planned, ...]

    @property
    def teachers(self) -> dict[str, list[Planned]]:
        """Runs by the teacher that they share."""
        by_teacher: dict[str, list[Planned]] = {}
        for run in self.runs:
            if run.teacher is not None:
                by_teacher.setdefault(run.teacher, []).append(run)
        return by_teacher


def plan(file: SweepFile, trust: bool | None = None) -> Plan:
    """Resolve and check every cell of a sweep file.

    `trust` is whether the user lets the models' own code run, besides that in settings.toml; None does not ask, for a
    plan that is only shown.

    Raises PresetError with all problems at once, or UnusableError where only data or models are at fault.
    """
    _locate_all(file)
    grid = cells(file)
    loaded = _load_all(file, grid, trust)
    runs: list[Planned] = []
    used: set[str] = set()
    for cell in grid:
        runs.append(_planned(file, cell, loaded[_key(cell)], used))
        used.add(runs[-1].run)
    _refuse_twins(file, runs)
    axes = {axis.name: tuple(point.label for point in axis.points) for axis in file.axes}
    values = {name: tuple(dict.fromkeys(run.cell[name] for run in runs)) for name in ("task", "seed")}
    return Plan(file.name, file.path, _in_order({**values, **axes}), tuple(runs))


def teacher_of(preset: Preset) -> str | None:
    """A key that runs with the same fine-tuned teacher share (compare `engine.train.teacher.cache_key`)."""
    if preset.teacher.finetune is None or not preset.train.save_teacher_cache:
        return None
    task = preset.task.model_dump(mode="json", exclude={"title"})
    parts = [preset.teacher.model_dump(mode="json"), task, preset.train.precision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def run_id(sweep: str, coordinates: Mapping[str, str], used: Sequence[str] | set[str] = ()) -> str:
    """The id of a cell's run: readable, with a hash appended where the words alone are ambiguous."""
    parts = [coordinates["task"], coordinates["method"]]
    parts += [f"{axis}-{value}" for axis, value in coordinates.items() if axis not in ("task", "method", "seed")]
    plain_words = [re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-._") for word in parts]
    exact = all(
        re.sub(r"[-+]", "", one) == re.sub(r"[-+]", "", two) for one, two in zip(parts, plain_words, strict=True)
    )
    stem = "-".join([sweep, *filter(None, plain_words)])
    name = f"{stem}-s{coordinates['seed']}"
    if exact and len(stem) <= LONGEST_NAME and name not in used:
        return name
    digest = hashlib.sha256(json.dumps(dict(coordinates), sort_keys=True).encode()).hexdigest()[:8]
    return f"{stem[: LONGEST_NAME - 9].rstrip('-._')}-{digest}-s{coordinates['seed']}"


def _locate_all(file: SweepFile) -> None:
    """Raise PresetError for every missing preset, at the key that names it."""
    problems: list[CrildError] = []
    refs: list[tuple[str, KeyPath]] = [(ref, ("preset",)) for ref in words(file.sweep.preset)]
    refs += [(ref, axis.path) for axis in file.axes for point in axis.points for ref in point.presets]
    refs += [(ref, ("when", n, "preset")) for n, when in enumerate(file.sweep.when) for ref in words(when.preset)]
    for ref, path in dict.fromkeys(refs):
        if is_table(ref):
            continue  # `check` reads it
        try:
            locate(ref, file.path.parent)
        except PresetError as error:
            problems += [file.problem(path, problem.sentence, kind=problem.kind) for problem in error.problems]
    if problems:
        raise PresetError(problems)


def _key(cell: Cell) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a cell's preset depends on, apart from its seed."""
    return cell.presets, tuple(text for text, _ in cell.settings)


def _load_all(
    file: SweepFile, grid: Sequence[Cell], trust: bool | None
) -> dict[tuple[tuple[str, ...], tuple[str, ...]], Loaded]:
    """The presets of all cells, loaded once for all seeds. Raises the problems of all of them, each reported once."""
    several: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Cell]] = {}
    for cell in grid:
        several.setdefault(_key(cell), []).append(cell)
    loaded: dict[tuple[tuple[str, ...], tuple[str, ...]], Loaded] = {}
    found: dict[tuple[Any, ...], tuple[CrildError, list[Cell]]] = {}
    for key, alike in several.items():
        for problem in _problems_of(file, alike[0], key, loaded, trust):
            identity = (problem.file, problem.line, problem.key, problem.sentence)
            found.setdefault(identity, (problem, []))[1].extend(alike)
    problems = [_with_cells(problem, where, len(grid)) for problem, where in found.values()]
    if any(problem.exit_code != DataError.exit_code for problem in problems):
        raise PresetError(problems)
    if problems:
        raise UnusableError(problems)
    return loaded


def _problems_of(
    file: SweepFile,
    cell: Cell,
    key: tuple[tuple[str, ...], tuple[str, ...]],
    loaded: dict[Any, Loaded],
    trust: bool | None,
) -> Iterator[CrildError]:
    places = {f"--set {cut(plain(text), _LONGEST_SHOWN)}": path for text, path in cell.settings}
    try:
        loaded[key] = load_preset(cell.presets, [text for text, _ in cell.settings], base=file.path.parent)
        check(loaded[key], None if trust is None else consent_to([loaded[key].preset], trust=trust))
        loaded[key] = completed(loaded[key])
    except CrildError as error:
        for problem in getattr(error, "problems", (error,)):
            path = places.get(problem.file or "")
            if path is None:
                yield problem
                continue
            at_path = file.problem(path, problem.sentence, kind=problem.kind)
            yield _copy(problem, problem.sentence, file=at_path.file, line=at_path.line)


def _with_cells(problem: CrildError, where: Sequence[Cell], of: int) -> CrildError:
    """The problem, naming the cells that have it unless all do."""
    if len(where) == of:
        return problem
    others = "" if len(where) == 1 else f" and {len(where) - 1:,} more of {of:,} runs"
    sentence = f"{problem.sentence} (in {where[0]}{others})"
    return _copy(problem, sentence, file=problem.file, line=problem.line)


def _copy(problem: CrildError, sentence: str, *, file: str | None, line: int | None) -> CrildError:
    return type(problem)(sentence, kind=problem.kind, file=file, line=line, key=problem.key)


def _planned(file: SweepFile, cell: Cell, loaded: Loaded, used: set[str]) -> Planned:
    preset = loaded.preset if cell.seed is None else loaded.preset.model_copy(update={"seed": cell.seed})
    coordinates = _in_order({"task": preset.task.display_name, "seed": str(preset.seed), **cell.coordinates})
    train = loaded.document.get("train", {})
    device = train.get("device")
    return Planned(
        run=run_id(file.name, coordinates, used),
        cell=coordinates,
        preset=preset,
        refs=tuple(label_of(ref) for ref in cell.presets),
        teacher=teacher_of(preset),
        own_device=None if device in (None, "auto") else device,
        own_threads=train.get("threads") or None,
    )


def _in_order(axes: Mapping[str, _T]) -> dict[str, _T]:
    """Method and task first, the seed last."""
    free = [name for name in axes if name not in FIXED]
    return {name: axes[name] for name in ("method", "task", *free, "seed")}


def _refuse_twins(file: SweepFile, runs: Sequence[Planned]) -> None:
    """Raise PresetError for cells that resolve to the same preset: their runs would be the same."""
    seen: dict[str, Planned] = {}
    problems: list[CrildError] = []
    for run in runs:
        document = {key: value for key, value in run.document.items() if key not in LABELS}
        twin = seen.setdefault(json.dumps(document, sort_keys=True), run)
        if twin is not run:
            differs = next(axis for axis in run.cell if run.cell[axis] != twin.cell[axis])
            path: KeyPath = {"method": ("methods",), "task": ("tasks",)}.get(differs, ("axes", differs))
            sentence = f"{described(run.cell)} and {described(twin.cell)} are the same run: their presets are equal"
            problems.append(file.problem(path, sentence, kind="same-run-twice"))
    if problems:
        more = len(problems) - 3
        if more > 0:
            problems[2] = file.problem((), f"{problems[2].sentence}; so are {more:,} more pairs", kind="same-run-twice")
        raise PresetError(problems[:3])
