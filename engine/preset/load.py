"""From names and paths of presets to one validated preset, or to every problem with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import CrildError, PresetError, UsageError
from engine.preset import explain, fields, paths
from engine.preset.overrides import read_overrides
from engine.preset.schema import Preset
from engine.preset.source import Layer, locate, read_layer
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, Place, dotted, merge, sources


@dataclass(frozen=True)
class Loaded:
    """A validated preset and where it comes from."""

    preset: Preset
    document: dict[str, Any]
    """The merged presets as plain data: what was set, paths absolute, defaults left out."""
    sources: Mapping[str, Place]
    """Which file and line set each key: by dotted key, as `stage.ild.epochs`."""
    refs: tuple[str, ...]
    """The presets as the user named them."""

    def place(self, key: str) -> Place:
        """Where a dotted key was set, or the nearest table above it; else the last preset named."""
        return _place(self.sources, tuple(key.split(".")), self.refs)

    def problem(self, kind: type[CrildError], key: str, sentence: str) -> CrildError:
        """An error of this kind about a dotted key, with its place."""
        place = self.place(key)
        return kind(sentence, file=place.file, line=place.line, key=key)


def load_preset(refs: Sequence[str], overrides: Sequence[str] = (), *, base: Path | None = None) -> Loaded:
    """Loads shipped presets and preset files, merged from left to right, each after what it extends.

    refs: shipped names or paths. A preset that is reached twice, as the common base of two others, counts once, at
        its first place.
    overrides: `stage.ild.epochs=5`, `student.keep=[0, 2, 4]`: values as TOML writes them; bare words are texts;
        `false` takes back an optional key.
    base: the folder that relative paths in `refs` and `overrides` are relative to; the working directory when None.

    Raises PresetError with all problems, each with file, line and key; UsageError when `refs` is empty.
    """
    if not refs:
        raise UsageError("name a preset: `crild run quickstart`, or `crild presets list` for what there is")
    base = Path.cwd() if base is None else base.absolute()
    chains = _read_all(refs, base)
    problems = [problem for chain in chains for layer in chain for problem in layer.problems]
    problems += _order_problems(refs, chains)
    root = _fold([layer for chain in chains for layer in chain], problems)
    root = _apply(root, read_overrides(overrides, _stage_names(root), base, problems), problems)
    root = _without_taken_back(root)
    places, document = sources(root), _document(root)
    preset, found = explain.validate(document, _stage_names(root))
    if any(problem.key in ("extends", "stage") for problem in problems):
        # What seems missing was perhaps written wrongly.
        found = [problem for problem in found if problem.path not in (("task",), ("teacher",), ("stage",))]
    for problem in _of_settings(found, chains, root):
        place = _place(places, problem.path, refs)
        problems.append(CrildError(problem.sentence, file=place.file, line=place.line, key=plain(dotted(problem.path))))
    if problems or preset is None:
        raise PresetError(_in_order(_without_method(problems, root, refs), chains))
    return Loaded(preset, document, places, tuple(refs))


def _read_all(refs: Sequence[str], base: Path) -> list[list[Layer]]:
    """For each ref its layers, what it extends before it. Raises PresetError with every file that cannot be read."""
    reader = _Reader(base, set(), [])
    chains: list[list[Layer]] = []
    for ref in refs:
        chains.append([])
        reader.read(ref, base, None, (), chains[-1])
    if reader.problems:
        raise PresetError(reader.problems)
    return chains


@dataclass(frozen=True)
class _Reader:
    base: Path
    seen: set[Path]
    problems: list[CrildError]

    def read(self, ref: str, folder: Path, place: Place | None, above: tuple[Path, ...], chain: list[Layer], /) -> None:
        """Adds the layers of one ref to the chain; `above` are the files that led here through `extends`."""
        try:
            path = locate(ref, folder, place)
            identity = Path(os.path.realpath(path))  # resolve() stumbles over links in a circle
            if place is not None and identity in above:
                self.problems.append(self._circle(place, (*above[above.index(identity) :], identity)))
            if identity in self.seen:
                return
            self.seen.add(identity)
            layer = read_layer(path, _named(path, self.base))
        except PresetError as error:
            self.problems.extend(error.problems)
            return
        for parent, where in layer.extends:
            self.read(parent, layer.folder, where, (*above, identity), chain)
        chain.append(layer)

    def _circle(self, place: Place, files: Sequence[Path]) -> CrildError:
        circle = " extends ".join(_named(file, self.base) for file in files)
        sentence = f"presets extend each other in a circle: {circle}"
        return CrildError(sentence, file=place.file, line=place.line, key="extends")


def _named(path: Path, base: Path) -> str:
    """The path as messages show it: relative where it lies below the working directory."""
    return plain(str(path.relative_to(base) if path.is_relative_to(base) else path))


def _order_problems(refs: Sequence[str], chains: list[list[Layer]]) -> list[CrildError]:
    """A task preset before a preset with a task of its own would be overridden in silence."""
    problems = []
    named: tuple[str, str] | None = None  # the ref of the task preset, its task
    for ref, chain in zip(refs, chains, strict=True):
        names = [name for layer in chain if (name := layer.root.get("task", "name")) is not None]
        if named is not None and names and names[-1].value != named[1]:
            sentence = (
                f"{shown(ref)} brings a task of its own ({shown(names[-1].value)}), which would replace that of "
                f"{shown(named[0])}: name {shown(named[0])} last"
            )
            place = names[-1].place
            problems.append(CrildError(sentence, file=place.file, line=place.line, key="task.name"))
        if names and chain[-1].is_task:
            named = (ref, str(names[-1].value))
    return problems


def _fold(layers: Sequence[Layer], problems: list[CrildError]) -> Node:
    root = Node({}, layers[0].root.place)
    for layer in layers:
        root = _apply(root, layer, problems)
    return root


def _apply(root: Node, layer: Layer, problems: list[CrildError]) -> Node:
    over = paths.absolutise(layer.root, layer.folder, problems)
    if (layer.is_task or layer.is_setting) and root.get("stage") is not None:
        over = _with_joined_description(root, over)
    merged = merge(root, over)
    return merged if layer.stages is None else _select(merged, layer.stages, problems)


def _with_joined_description(root: Node, over: Node) -> Node:
    """A task or setting preset adds its description to the method's instead of replacing it."""
    before, new = root.get("description"), over.get("description")
    if before is None or new is None:
        return over
    return Node({**over.value, "description": Node(f"{before.value}; {new.value}", new.place)}, over.place)


def _select(root: Node, wanted: Sequence[tuple[str, Place]], problems: list[CrildError]) -> Node:
    """The root with the wanted stages alone, in their order."""
    stage = root.get("stage")
    known = (stage.table if stage is not None else None) or {}
    chosen: dict[str, Node] = {}
    for name, place in wanted:
        if name in known and name not in chosen:
            chosen[name] = known[name]
            continue
        near = nearest(name, known)
        hint = (
            f"did you mean {shown(near)}?" if near else f"the stages are {listed(map(shown, known), 'and') or 'none'}"
        )
        sentence = f"stages names {shown(name)} twice" if name in chosen else f"there is no stage {shown(name)}; {hint}"
        problems.append(CrildError(sentence, file=place.file, line=place.line, key="stages"))
    if stage is None or not chosen:
        return root
    return Node({**root.value, "stage": Node(chosen, stage.place)}, root.place)


def _without_taken_back(node: Node, path: KeyPath = ()) -> Node:
    """The tree without optional keys that were set to `false`."""
    if node.table is None:
        return node
    kept = {
        key: _without_taken_back(item, (*path, key))
        for key, item in node.table.items()
        if not (item.value is False and fields.takes_false_back((*path, key)))
    }
    return Node(kept, node.place)


def _stage_names(root: Node) -> list[str]:
    stage = root.get("stage")
    return list((stage.table if stage is not None else None) or {})


def _document(root: Node) -> dict[str, Any]:
    document: dict[str, Any] = root.plain()
    stage = document.get("stage")
    return {**document, "stage": list(stage.values())} if isinstance(stage, dict) else document


def _place(places: Mapping[str, Place], path: KeyPath, refs: Sequence[str]) -> Place:
    for length in range(len(path), 0, -1):
        if (place := places.get(dotted(path[:length]))) is not None:
            return place
    return Place(plain(refs[-1]))


def _without_method(problems: list[CrildError], root: Node, refs: Sequence[str]) -> list[CrildError]:
    """One problem instead of two where task presets stand alone."""
    if root.get("task") is None or root.get("stage") is not None or root.get("teacher") is not None:
        return problems
    names = " ".join(plain(ref) for ref in refs)
    sentence = f"this only says what the task is; put a method before it, as in `crild run crild {names}`"
    rest = [problem for problem in problems if problem.key not in ("stage", "teacher")]
    return [CrildError(sentence, file=names, key="stage"), *rest]


def _of_settings(
    problems: Sequence[explain.Problem], chains: list[list[Layer]], root: Node
) -> Iterator[explain.Problem]:
    """The problems, where a setting changes a stage that no method has, in words that say so."""
    brought = [layer.root.get("stage") for chain in chains for layer in chain if layer.is_setting]
    settings = {name for stage in brought if stage is not None for name in stage.table or {}}
    whole = [name for name in _stage_names(root) if root.get("stage", name, "objectives") is not None]
    for problem in problems:
        match problem.path:
            case ("stage", str(name), "objectives") if name in settings and name not in whole:
                there = f"the stages are {listed(map(shown, whole), 'and')}" if whole else "no method is named with it"
                yield explain.Problem(
                    ("stage", name), f"this changes the stage {shown(name)}, which is not there: {there}"
                )
            case ("stage", str(name), *_) if name in settings and name not in whole:
                pass
            case _:
                yield problem


def _in_order(problems: list[CrildError], chains: list[list[Layer]]) -> list[CrildError]:
    """By file, in the order of merging, then by line; overrides last."""
    rank = {layer.file: number for number, layer in enumerate(layer for chain in chains for layer in chain)}
    return sorted(problems, key=lambda problem: (rank.get(problem.file or "", len(rank)), problem.line or 0))
