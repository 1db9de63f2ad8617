"""Load presets by name or path: one validated preset, or every problem with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import CrildError, PresetError, UsageError
from engine.preset import explain, paths, schema_keys
from engine.preset.data_files import data_layer
from engine.preset.explain import Problem
from engine.preset.overrides import read_overrides
from engine.preset.preset_file import Layer, locate, read_layer, stage_tables
from engine.preset.replaced_methods import replaced_method_problems
from engine.preset.retired_keys import without_retired
from engine.preset.schema import Preset
from engine.preset.source_names import is_table
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, dotted, merge, without_task

LONGEST_CHAIN = 100
"""Presets that may extend one another, each the next."""


@dataclass(frozen=True)
class Loaded:
    """A validated preset and where it comes from."""

    preset: Preset
    document: dict[str, Any]
    """The merged presets as plain data: what was set, paths absolute, defaults left out."""
    tree: Node
    """The same with the file and line that set each key; stages by name."""
    refs: tuple[str, ...]
    """The presets as the user named them."""
    ignored: tuple[str, ...] = ()
    """A sentence for each key of a run's preset that no longer has an effect."""
    notes: tuple[str, ...] = ()
    """Sentences about what was recognised in the user's own data (`engine.preflight.own_data`)."""

    @property
    def names_data(self) -> bool:
        """Whether a data file was named in place of a task preset."""
        return any(map(is_table, self.refs))

    def node(self, key: str) -> Node:
        """The node of a dotted key (`stage.ild.epochs`) or of the nearest table above it, whose `file` and `line` say
        where it was set; else the last preset named."""
        return self.tree.nearest(tuple(key.split("."))) or Node(None, plain(self.refs[-1]))

    def set_in(self, key: str) -> str:
        """Which key of the preset names a file, and where it was set, as the end of a sentence."""
        node = self.node(key)
        return f" ({key}, set in {node.file}{f':{node.line}' if node.line else ''})"

    def problem(self, category: type[CrildError], key: str, sentence: str, *, kind: str = "") -> CrildError:
        """An error of this class about a dotted key, located where the key was set."""
        node = self.node(key)
        return category(sentence, kind=kind, file=node.file, line=node.line, key=key)


def load_preset(
    refs: Sequence[str], overrides: Sequence[str] = (), *, base: Path | None = None, of_run: bool = False
) -> Loaded:
    """Loads shipped presets and preset files, merged from left to right, each after what it extends.

    refs: shipped names or paths, among them data files, which together make a custom task. A preset that is reached twice, as the common base of two others, counts once, at
        its first position.
    overrides: `stage.ild.epochs=5`, `student.keep=[0, 2, 4]`: values as TOML writes them; bare words are texts;
        `false` takes back an optional key.
    base: the folder that relative paths in `refs` and `overrides` are relative to; the working directory when None.
    of_run: ignore keys that only older versions had (`retired_keys`), rather than refuse them.

    Raises PresetError with all problems, each with file, line and key; UsageError when `refs` is empty.
    """
    if not refs:
        sentence = "name a preset: `crild run quickstart`, or `crild presets list` for all of them"
        raise UsageError(sentence, kind="no-preset")
    base = Path.cwd() if base is None else base.absolute()
    chains, whole = _read_all(refs, base)
    layers = [layer for chain in chains for layer in chain]
    problems = [problem for layer in layers for problem in layer.problems]
    problems += _task_order_problems(refs, chains)
    root = Node({}, layers[0].root.file)
    for layer in layers:
        root = _apply(root, layer, problems)
    problems += replaced_method_problems(refs, whole, root)
    root = _apply(root, read_overrides(overrides, list(stage_tables(root)), base, problems), problems)
    problems += _replaced_data_problems(refs, root)
    root, refused, ignored = without_retired(_without_taken_back(root), of_run=of_run)
    problems += refused
    preset, document, found = explain.validate(root.plain())
    if any(problem.key in ("extends", "stage") for problem in problems):
        # What seems missing was perhaps written wrongly.
        found = [problem for problem in found if problem.path not in (("task",), ("teacher",), ("stage",))]
    for problem in _setting_problems(found, layers, root):
        node = root.nearest(problem.path) or Node(None, plain(refs[-1]))
        problems.append(node.problem(problem.sentence, kind=problem.kind, key=plain(dotted(problem.path))))
    if problems or preset is None:
        order = {layer.root.file: number for number, layer in enumerate(layers)}  # overrides come last
        problems = _task_alone_problems(problems, root, refs)
        problems.sort(key=lambda problem: (order.get(problem.file or "", len(order)), problem.line or 0))
        raise PresetError(problems)
    return Loaded(preset, document, root, tuple(refs), tuple(ignored))


def load_run_preset(run_dir: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Loads the preset.toml of a run, also one that an older version wrote. Raises PresetError as `load_preset`."""
    return load_preset([str(run_dir / "preset.toml")], overrides, of_run=True)


def _read_all(refs: Sequence[str], base: Path) -> tuple[list[list[Layer]], list[list[Layer]]]:
    """For each ref its layers, after those that it extends: first without those that an earlier ref brought, then all.

    Raises PresetError for all files that cannot be read.
    """
    seen: dict[Path, list[Layer]] = {}  # the layers of each file, after those that it extends
    problems: list[CrildError] = []

    def file_name(path: Path) -> str:
        """The path as messages show it: relative where it is below the working directory."""
        return plain(str(path.relative_to(base) if path.is_relative_to(base) else path))

    def read(
        ref: str, folder: Path, whole: list[Layer], named_by: Node | None = None, above: tuple[Path, ...] = ()
    ) -> Iterator[Layer]:
        """The new layers of one ref; adds all of its layers to `whole`. `above` are the files that extend it."""
        try:
            path = locate(ref, folder, named_by)
            identity = Path(os.path.realpath(path))  # resolve() fails on links in a circle
            if named_by is not None and len(above) >= LONGEST_CHAIN:
                sentence = f"more than {LONGEST_CHAIN} presets extend one another in a chain: put some into one file"
                problems.append(named_by.problem(sentence, kind="extends-chain-too-long", key="extends"))
                return
            if named_by is not None and identity in above:
                circle = " extends ".join(file_name(file) for file in (*above[above.index(identity) :], identity))
                sentence = f"presets extend each other in a circle: {circle}"
                problems.append(named_by.problem(sentence, kind="extends-circle", key="extends"))
            if identity in seen:
                whole += seen[identity]
                return
            own = seen[identity] = list[Layer]()
            layer = read_layer(path, file_name(path))
        except PresetError as error:
            problems.extend(error.problems)
            return
        for parent in layer.extends:
            yield from read(parent.value, layer.folder, own, parent, (*above, identity))
        own.append(layer)
        whole += own
        yield layer

    wholes: list[list[Layer]] = [[] for _ in refs]
    chains = [[] if is_table(ref) else list(read(ref, base, whole)) for ref, whole in zip(refs, wholes, strict=True)]
    if problems:
        raise PresetError(problems)
    if (data := data_layer(refs, base)) is not None:
        first = next(index for index, ref in enumerate(refs) if is_table(ref))
        chains[first].append(data)
        wholes[first].append(data)
    return chains, wholes


def _task_order_problems(refs: Sequence[str], chains: list[list[Layer]]) -> Iterator[CrildError]:
    """Task presets that a later preset with a task of its own would silently override."""
    earlier: tuple[str, str] | None = None  # the ref of the task preset, its task
    for ref, chain in zip(refs, chains, strict=True):
        names = [name for layer in chain if (name := layer.root.get("task", "name")) is not None]
        if not names:
            continue
        if earlier is not None and (names[-1].value != earlier[1] or chain[-1].is_data):
            sentence = (
                f"{shown(ref)} sets a task of its own ({shown(names[-1].value)}), which would replace that of "
                f"{shown(earlier[0])}: name {shown(earlier[0])} last"
            )
            yield names[-1].problem(sentence, kind="task-not-last", key="task.name")
        if chain[-1].is_task:
            earlier = (ref, str(names[-1].value))


def _replaced_data_problems(refs: Sequence[str], root: Node) -> Iterator[CrildError]:
    """Data files that a setting of the task's name would silently leave unread."""
    name = root.get("task", "name")
    if name is not None and name.value != "custom" and any(map(is_table, refs)):
        sentence = f"the data files named are a task of their own, which {shown(name.value)} would replace: leave one of both out"
        yield name.problem(sentence, kind="task-replaces-data", key="task.name")


def _apply(root: Node, layer: Layer, problems: list[CrildError]) -> Node:
    """The tree with a layer merged into it."""
    over = paths.absolutise(layer.root, layer.folder, problems)
    root = without_task(root) if layer.is_data else root
    before, new = root.get("description"), over.get("description")
    if (layer.is_task or layer.is_variant) and root.get("stage") is not None and before is not None and new is not None:
        # A task or setting adds its description to the method's instead of replacing it.
        over = over.with_entry("description", replace(new, value=f"{before.value}; {new.value}"))
    merged = merge(root, over)
    return merged if layer.stages is None else _select(merged, layer.stages, problems)


def _select(root: Node, names: Sequence[Node], problems: list[CrildError]) -> Node:
    """The tree with the named stages alone, in their order."""
    known = stage_tables(root)
    selected: dict[str, Node] = {}
    for name in names:
        if name.value in selected:
            sentence = f"stages lists {shown(name.value)} twice"
            problems.append(name.problem(sentence, kind="repeated-stage", key="stages"))
        elif name.value in known:
            selected[name.value] = known[name.value]
        else:
            near = nearest(name.value, known)
            stages = listed(map(shown, known), "and") or "none"
            hint = f"did you mean {shown(near)}?" if near else f"the stages are {stages}"
            sentence = f"there is no stage {shown(name.value)}; {hint}"
            problems.append(name.problem(sentence, kind="unknown-stage", key="stages"))
    return root.with_entry("stage", replace(root.value["stage"], value=selected)) if selected else root


def _without_taken_back(node: Node, path: KeyPath = ()) -> Node:
    """The tree without optional keys that were set to `false`."""
    if not node.is_table:
        return node
    entries = {
        key: _without_taken_back(item, (*path, key))
        for key, item in node.value.items()
        if not (item.value is False and schema_keys.takes_false_back((*path, key)))
    }
    return replace(node, value=entries)


def _task_alone_problems(problems: list[CrildError], root: Node, refs: Sequence[str]) -> list[CrildError]:
    """The problems, with one instead of two where task presets have no method."""
    task = root.get("task")
    if task is None or root.get("stage") is not None or root.get("teacher") is not None:
        return problems
    names = " ".join(plain(ref) for ref in refs)
    if task.is_table and task.get("name") is None and any(problem.key == "task.name" for problem in problems):
        sentence = f"this only changes a task; name a method and a task before it, as in `crild run crild rte {names}`"
        rest = [problem for problem in problems if problem.key not in ("stage", "teacher", "task.name")]
        return [CrildError(sentence, kind="variant-without-method", file=names, key="stage"), *rest]
    sentence = f"this only sets the task; name a method before it, as in `crild run crild {names}`"
    rest = [problem for problem in problems if problem.key not in ("stage", "teacher")]
    return [CrildError(sentence, kind="task-without-method", file=names, key="stage"), *rest]


def _setting_problems(problems: Sequence[Problem], layers: Sequence[Layer], root: Node) -> Iterator[Problem]:
    """The problems, with one instead of several where a variant changes a stage that no method has."""
    changed = {name for layer in layers if layer.is_variant for name in layer.stage_tables}
    methods = [name for name, stage in stage_tables(root).items() if "objectives" in stage.entries]
    for problem in problems:
        match problem.path:
            case ("stage", str(name), *rest) if name in changed and name not in methods:
                if rest == ["objectives"]:
                    hint = f"the stages are {listed(map(shown, methods), 'and')}" if methods else "no method is named"
                    sentence = f"this changes the stage {shown(name)}, which does not exist: {hint}"
                    yield Problem(("stage", name), sentence, "unknown-stage")
            case _:
                yield problem
