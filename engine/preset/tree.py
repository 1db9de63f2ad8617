"""Preset data whose every value knows the place that set it, and how two of them merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.preset.toml_lines import KeyPath


@dataclass(frozen=True)
class Place:
    """Where a value was set: a file as the user would name it (or a `--set` argument), and a line from 1."""

    file: str
    line: int | None = None


@dataclass(frozen=True)
class Node:
    """A table, a list or a plain value, with its place.

    `partial` marks a table that a dotted `--set` opened to change one key in it; it never replaces a table.
    In the root, `stage` is a table of stages by name, in their order.
    """

    value: Any  # dict[str, Node], list[Node], or what TOML has for plain values
    place: Place
    partial: bool = False

    @property
    def table(self) -> dict[str, Node] | None:
        """The entries when this is a table."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> list[Node] | None:
        """The elements when this is a list."""
        return self.value if isinstance(self.value, list) else None

    def get(self, *path: str) -> Node | None:
        """The node under these keys, or None."""
        node: Node | None = self
        for key in path:
            node = None if node is None or node.table is None else node.table.get(key)
        return node

    def plain(self) -> Any:
        """The value without places: dicts, lists and plain values."""
        if self.table is not None:
            return {key: node.plain() for key, node in self.table.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.value

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """Every node with its path, parents first."""
        yield path, self
        if self.table is not None:
            for key, node in self.table.items():
                yield from node.walk((*path, key))
        elif self.items is not None:
            for index, node in enumerate(self.items):
                yield from node.walk((*path, index))


def build(value: object, file: str, lines: Mapping[KeyPath, int], path: KeyPath = ()) -> Node:
    """Parsed TOML with the line of each key as nodes; what has no line of its own takes its parent's."""
    line = lines.get(path)
    for length in range(len(path) - 1, 0, -1):
        line = line or lines.get(path[:length])
    place = Place(file, line)
    if isinstance(value, dict):
        return Node({key: build(item, file, lines, (*path, key)) for key, item in value.items()}, place)
    if isinstance(value, list):
        return Node([build(item, file, lines, (*path, index)) for index, item in enumerate(value)], place)
    return Node(value, place)


_WHOLE = ("objectives", "mixup", "consistency", "data")  # of a stage: half of one and half of another makes no sense
_SUCCESSION = {
    # Another value under the first key makes the others meaningless: they spoke of the model or task before it.
    ("task", "name"): ("revision", "files", "columns", "kind", "metrics"),
    ("teacher", "model"): ("revision", "tokenizer", "labels", "architecture"),
    ("student", "init"): ("revision", "hidden_size", "heads", "intermediate_size"),
    ("stage", "epochs"): ("steps",),
    ("stage", "steps"): ("epochs",),
}
_WITHOUT_SOURCE = ("toy-", "custom")  # beginnings of the names of tasks that take no `source`


def merge(base: Node, over: Node, path: KeyPath = ()) -> Node:
    """`over` on `base`: tables key by key, everything else replaced.

    A stage's objectives, mixup, consistency and data replace as wholes. Naming another task, teacher or initial
    model drops what was said of the one before, and epochs and steps displace each other.
    """
    if over.table is None:
        return over
    entries = base.table
    if entries is None and over.partial and _is_weight(base, path):
        entries = {"weight": base}  # --set stage.ild.objectives.attention.mse=true on `attention = 2.0`
    if entries is None or (_is_whole(path) and not over.partial):
        return _settled(over)
    merged = _heirs(entries, over.table, path)
    for key, node in over.table.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else _settled(node)
    return Node(merged, base.place if over.partial else over.place)


def _is_whole(path: KeyPath) -> bool:
    return len(path) == 3 and path[0] == "stage" and path[2] in _WHOLE


def _is_weight(node: Node, path: KeyPath) -> bool:
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return number and len(path) == 4 and path[0] == "stage" and path[2] == "objectives"


def _settled(node: Node) -> Node:
    """The node without marks of being partial: there was nothing to change, so it stands for itself."""
    if node.table is None:
        return node
    return Node({key: _settled(item) for key, item in node.table.items()}, node.place)


def _heirs(entries: dict[str, Node], over: dict[str, Node], path: KeyPath) -> dict[str, Node]:
    """The entries of a table that outlive what `over` says."""
    gone: set[str] = set()
    table = path[0] if len(path) == 1 or (len(path) == 2 and path[0] == "stage") else None
    for (owner, key), dependents in _SUCCESSION.items():
        if owner != table or key not in over or over[key].value is False:
            continue
        if owner == "stage" or (key in entries and entries[key].value != over[key].value):
            gone.update(dependents)
            if owner == "task" and str(over[key].value).startswith(_WITHOUT_SOURCE):
                gone.add("source")
    return {key: node for key, node in entries.items() if key not in gone}


def dotted(path: KeyPath) -> str:
    """The path as `--set` and messages write it: `stage.ild.objectives.logits`."""
    return ".".join(str(part) for part in path)


def sources(root: Node) -> dict[str, Place]:
    """The place of every key, by dotted key."""
    return {dotted(path): node.place for path, node in root.walk() if path}
