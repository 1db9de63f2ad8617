"""One preset file: find it, and read it as a layer that merges with others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import CrildError
from engine.preset import shipped
from engine.preset.paths import normal
from engine.preset.text import nearest, plain, shown
from engine.preset.toml_file import read_document, unreadable
from engine.preset.tree import Node, build

_DATA = {"schema", "description", "tags", "project", "task", "stage"}


@dataclass(frozen=True)
class Layer:
    """What one file, or all `--set` together, sets; and the presets that it extends and the stages that it selects."""

    root: Node  # without `extends` and `stages`; stages by name
    folder: Path  # what its relative paths are relative to
    extends: tuple[Node, ...] = ()
    stages: tuple[Node, ...] | None = None  # names of the stages that remain, in this order
    problems: tuple[CrildError, ...] = ()  # with `extends`, `stages` and the array of stages
    is_data: bool = False  # made from data files, not from a preset

    @property
    def stage_tables(self) -> Mapping[str, Node]:
        """Its stages by name."""
        return stage_tables(self.root)

    @property
    def is_task(self) -> bool:
        """Whether this is a task preset: it sets the task, but neither what is distilled nor how."""
        keys = self.root.entries.keys()
        return "task" in keys and not self.extends and not keys & {"stage", "teacher", "student"}

    @property
    def is_variant(self) -> bool:
        """Whether this only changes the data of a task and method: it names no task and has no objectives."""
        keys = self.root.entries.keys()
        if self.extends or self.stages is not None or not keys <= _DATA or not keys & {"task", "stage"}:
            return False
        only_data = all(stage.entries.keys() <= {"name", "data", "select"} for stage in self.stage_tables.values())
        return self.root.get("task", "name") is None and only_data


def stage_tables(root: Node) -> Mapping[str, Node]:
    """The stages of a tree by name, in their order."""
    stage = root.get("stage")
    return stage.entries if stage is not None else {}


def locate(ref: str, folder: Path, named_by: Node | None = None) -> Path:
    """The file that a shipped name or a path (relative to `folder`) means.

    Shipped names win over files of the same name: `./crild` is the file. Raises PresetError, located at the node that
    names the preset, with the nearest name.
    """
    path = shipped.path_of(ref)
    if path is not None:
        return path
    file, line = (named_by.file, named_by.line) if named_by is not None else (None, None)
    try:
        path = normal(folder / Path(ref).expanduser())
        if ref.strip() and os.path.lexists(path):
            return path
    except (OSError, ValueError, RuntimeError):
        sentence = f"{shown(ref)} cannot be the path of a preset"
        raise unreadable(sentence, kind="invalid-path", file=file, line=line) from None
    is_file = "/" in ref or ref.startswith((".", "~")) or ref.endswith(".toml")
    what = "preset file" if is_file else "shipped preset or file"
    sentence = f"there is no {what} {shown(ref, 300)}; {_nearest_preset(ref, path, is_file=is_file)}"
    raise unreadable(sentence, kind="no-such-preset", file=file, line=line)


def _nearest_preset(ref: str, path: Path, *, is_file: bool) -> str:
    """A hint at the file or shipped preset that was probably meant."""
    try:
        files = {item.stem: str(Path(ref).parent / item.name) for item in path.parent.glob("*.toml")}
    except (OSError, ValueError):
        files = {}
    near = nearest(path.stem, files if is_file else shipped.names())
    near = near or nearest(path.stem, shipped.names() if is_file else files)
    near = files.get(near or "", near)
    return f"did you mean {shown(near)}?" if near else "`crild presets list` lists the shipped ones"


def read_layer(path: Path, file: str) -> Layer:
    """Read one preset file. Raises PresetError when it cannot be read, with its one syntax error if that is why."""
    document, lines = read_document(path, file)
    if not document:
        sentence = "the preset is empty; `crild presets new NAME --from crild` writes one to start from"
        raise unreadable(sentence, kind="empty-preset", file=file)
    root = build(document, file, lines)
    problems: list[CrildError] = []
    table = dict(root.entries)
    extends = names_in(table.pop("extends", None), "extends", "a preset or a list of presets", problems)
    stages = names_in(table.pop("stages", None), "stages", "a list of stage names", problems)
    if "stage" in table:
        table["stage"] = _by_name(table["stage"], problems)
    return Layer(replace(root, value=table), path.parent, extends or (), stages, tuple(problems))


def names_in(node: Node | None, key: str, expected: str, problems: list[CrildError]) -> tuple[Node, ...] | None:
    """The names in `extends` or `stages`, a single one or a list; adds a problem when it is something else."""
    if node is None:
        return None
    names: Sequence[Node] = [node] if node.elements is None else node.elements
    if names and all(isinstance(name.value, str) for name in names):
        return tuple(names)
    problems.append(node.problem(f"{key} must be {expected}, not {shown(node.plain())}", kind="wrong-value", key=key))
    return None


def _by_name(node: Node, problems: list[CrildError]) -> Node:
    """A file's array of stages as a table by name; one without a usable name goes by its number, as `#2`."""
    if node.elements is None or not all(stage.is_table for stage in node.elements):
        sentence = 'write each stage as a [[stage]] table, with name = "..."'
        problems.append(node.problem(sentence, kind="stages-not-tables", key="stage"))
        return replace(node, value={})
    stages: dict[str, Node] = {}
    for number, stage in enumerate(node.elements, start=1):
        name = stage.get("name")
        label = name.value if name is not None and isinstance(name.value, str) else f"#{number}"
        if label in stages and name is not None:
            sentence = f"two stages of this file are named {shown(label)} (the first on line {stages[label].line})"
            problems.append(name.problem(sentence, kind="repeated-stage", key=f"stage.{plain(label)}"))
        stages[label] = stage
    return replace(node, value=stages)
