"""The cells of a sweep: every combination of its axes' values except the excluded ones. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import CrildError, PresetError
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.sweep.spec import Axis, Scalar, SweepFile, key_of, overlap, words

MOST_COMBINATIONS = 1_000_000
"""Combinations that are tried, excluded ones included."""

Match = Mapping[str, Scalar | list[Scalar]]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, not yet resolved. `seed` is None where the preset has its own."""

    coordinates: Mapping[str, str]
    """Axis -> value as shown; without "task" or "seed" where the presets name them."""
    presets: tuple[str, ...]
    """Presets to merge, from left to right."""
    settings: tuple[tuple[str, KeyPath], ...]
    """Settings to apply then, as for `--set`, each with its key in the sweep file."""
    seed: int | None

    def __str__(self) -> str:
        return described(self.coordinates)


def described(coordinates: Mapping[str, str]) -> str:
    """A cell in words: `crild, mrpc, seed 1`."""
    return ", ".join(
        plain(value if axis in ("method", "task") else f"{axis} {value}") for axis, value in coordinates.items()
    )


def cells(file: SweepFile) -> list[Cell]:
    """The cells in the order of their runs: all of the first seed, then all of the next.

    Raises PresetError for too many cells, for none, and for axes or values in `exclude` and `when` that do not exist.
    """
    problems = list(_match_problems(file))
    if problems:
        raise PresetError(problems)
    sizes = {axis.name: len(axis.points) for axis in file.axes} | {"seed": len(file.seeds or (0,))}
    count, most = math.prod(sizes.values()), file.sweep.max_runs
    made = " x ".join(f"{size} {name}{'s' * (size != 1)}" for name, size in sizes.items())
    if count > MOST_COMBINATIONS:
        raise PresetError([_too_many(file, f"{made} make {count:,} runs", most)])
    found: list[Cell] = []
    for seed in file.seeds or (None,):
        for points in itertools.product(*(axis.points for axis in _ordered(file))):
            labels = {axis.name: point.label for axis, point in zip(_ordered(file), points, strict=True)}
            coordinates = {
                axis.name: labels[axis.name] for axis in file.axes
            }  # method first, whatever the order of runs
            if seed is not None:
                coordinates["seed"] = str(seed)
            if not any(matches(coordinates, part) for part in file.sweep.exclude):
                found.append(_cell(file, coordinates, seed))
    if not found:
        raise PresetError(
            [file.problem(("exclude",), f"exclude leaves none of the {count:,} runs", kind="everything-excluded")]
        )
    if len(found) > most:
        left = "" if len(found) == count else f", {len(found):,} without the excluded ones"
        raise PresetError([_too_many(file, f"{made} make {count:,} runs{left}", most)])
    for number, when in enumerate(file.sweep.when):
        if not any(matches(cell.coordinates, when.match) for cell in found):
            problems.append(
                file.problem(("when", number), "no run of the grid matches this part", kind="when-without-runs")
            )
    problems += _when_problems(file, found)
    if problems:
        raise PresetError(problems)
    return found


def matches(coordinates: Mapping[str, str], part: Match) -> bool:
    """Whether a cell is in a part of the grid: each axis has the value, or one of the values."""
    return all(coordinates.get(axis) in _values(value) for axis, value in part.items())


def _values(value: Scalar | list[Scalar]) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return [("true" if value else "false") if isinstance(value, bool) else str(value) for value in several]


def _too_many(file: SweepFile, made: str, most: int) -> CrildError:
    sentence = f"{made}; at most {most:,} are allowed: exclude some, or set max_runs = N under [sweep]"
    return file.problem(("max_runs",), sentence, kind="too-many-runs")


def _ordered(file: SweepFile) -> Sequence[Axis]:
    return sorted(file.axes, key=lambda axis: axis.name != "task")


def _cell(file: SweepFile, coordinates: Mapping[str, str], seed: int | None) -> Cell:
    points = [(axis, next(p for p in axis.points if p.label == coordinates[axis.name])) for axis in file.axes]
    fixed = [p for axis, p in points if axis.name in ("method", "task")]
    free = [(axis, p) for axis, p in points if axis.name not in ("method", "task")]
    parts = [(n, when) for n, when in enumerate(file.sweep.when) if matches(coordinates, when.match)]
    presets = [ref for point in fixed for ref in point.presets] + list(words(file.sweep.preset))
    presets += [ref for _, point in free for ref in point.presets]
    presets += [ref for _, when in parts for ref in words(when.preset)]
    settings: list[tuple[str, KeyPath]] = [(text, ("set", n)) for n, text in enumerate(file.sweep.set)]
    settings += [(text, ("when", n, "set", i)) for n, when in parts for i, text in enumerate(when.set)]
    settings += [(text, axis.path) for axis, point in free for text in point.settings]
    return Cell(coordinates, tuple(presets), tuple(settings), seed)


def _match_problems(file: SweepFile) -> Iterator[CrildError]:
    """Axes and values in `exclude` and `when` that the grid does not have."""
    known = {axis.name: [point.label for point in axis.points] for axis in file.axes}
    if file.seeds is not None:
        known["seed"] = [str(seed) for seed in file.seeds]
    parts: list[tuple[KeyPath, Match]] = [(("exclude", n), part) for n, part in enumerate(file.sweep.exclude)]
    parts += [(("when", n, "match"), when.match) for n, when in enumerate(file.sweep.when)]
    for path, part in parts:
        for axis, values in part.items():
            if axis not in known:
                near = nearest(axis, known)
                hint = f"did you mean {shown(near)}?" if near else f"there are {listed(known, 'and')}"
                yield file.problem((*path, axis), f"there is no axis {shown(axis)}; {hint}", kind="unknown-axis")
                continue
            for value in _values(values):
                if value not in known[axis]:
                    near = nearest(value, known[axis])
                    some = listed(map(plain, known[axis][:12]), "and") + (" ..." if len(known[axis]) > 12 else "")
                    hint = f"did you mean {shown(near)}?" if near else f"there are {some}"
                    yield file.problem(
                        (*path, axis), f"{axis} {shown(value)} is not in the grid; {hint}", kind="unknown-axis-value"
                    )


def _when_problems(file: SweepFile, found: Sequence[Cell]) -> Iterator[CrildError]:
    """Parts of the grid that overlap and set the same key differently."""
    reported = set()
    for cell in found:
        parts = [(text, path) for text, path in cell.settings if path[0] == "when"]
        for (one, first), (two, second) in itertools.combinations(parts, 2):
            key = key_of(two)
            if first[1] != second[1] and one != two and overlap(key_of(one), key) and (first, second) not in reported:
                reported.add((first, second))
                sentence = f"two parts of the grid set {plain(key)} differently, and {cell} is in both"
                yield file.problem(second, sentence, kind="conflicting-parts")
