"""Preset data as a tree in which every value knows the file and line that set it, and how two trees merge.

In the root, `stage` is a table of stages by name, in their order: stages merge by name, and messages and `--set` name
them so. They become the array that a preset holds when the tree is validated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import CrildError
from engine.preset.toml_lines import KeyPath


@dataclass(frozen=True)
class Node:
    """A table, a list or a plain value, and where it was set.

    `file` is named as the user would name it, or is a `--set` argument; `line` counts from 1. `partial` marks a table
    that a dotted `--set` opened to change one key in it: it never replaces a table.
    """

    value: Any  # dict[str, Node], list[Node], or what TOML has for plain values
    file: str
    line: int | None = None
    partial: bool = False

    @property
    def is_table(self) -> bool:
        """Whether this is a table."""
        return isinstance(self.value, dict)

    @property
    def entries(self) -> dict[str, Node]:
        """The entries of a table; none for other values."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def elements(self) -> list[Node] | None:
        """The elements of a list; None for other values."""
        return self.value if isinstance(self.value, list) else None

    def get(self, *path: str) -> Node | None:
        """The node under these keys, or None."""
        node: Node | None = self
        for key in path:
            node = None if node is None else node.entries.get(key)
        return node

    def nearest(self, path: KeyPath) -> Node | None:
        """The node under these keys or, where there is none, of the nearest table above; None above the first key."""
        inner = self.entries.get(str(path[0])) if path else None
        return inner and (inner.nearest(path[1:]) or inner)

    def plain(self) -> Any:
        """The value alone: dicts, lists and plain values."""
        if self.is_table:
            return {key: node.plain() for key, node in self.value.items()}
        return self.value if self.elements is None else [node.plain() for node in self.elements]

    def with_entry(self, key: str, node: Node) -> Node:
        """The table with one entry added or replaced."""
        return replace(self, value={**self.value, key: node})

    def problem(self, sentence: str, *, kind: str, key: str | None = None) -> CrildError:
        """An error that is located where this value was set."""
        return CrildError(sentence, kind=kind, file=self.file, line=self.line, key=key)


def build(value: object, file: str, lines: Mapping[KeyPath, int], path: KeyPath = (), line: int | None = None) -> Node:
    """Parsed TOML as nodes, with the line of each key; a value without a line of its own takes its parent's."""
    line = lines.get(path, line)
    if isinstance(value, dict):
        entries = {key: build(item, file, lines, (*path, key), line) for key, item in value.items()}
        return Node(entries, file, line)
    if isinstance(value, list):
        return Node([build(item, file, lines, (*path, index), line) for index, item in enumerate(value)], file, line)
    return Node(value, file, line)


_WHOLE = (
    "objectives",
    "mixup",
    "consistency",
    "select",
    "data",
)  # of a stage: half of one and half of another makes no sense
_DEPENDENTS = {
    # Another value under the first key makes the others meaningless: they describe the model or task it replaces.
    ("task", "name"): ("title", "revision", "files", "columns", "kind", "class_names", "dev_share", "metrics"),
    ("teacher", "model"): ("revision", "tokenizer", "labels", "architecture"),
    ("teacher", "answers"): ("columns", "values", "join"),
    ("student", "init"): ("revision", "hidden_size", "heads", "intermediate_size"),
    ("augment", "words"): ("model", "revision", "share", "top"),
}
_DISPLACED = {
    # A key that replaces others, whatever they are: each says the same thing in another way.
    ("teacher", "model"): ("answers", "columns", "values", "join"),
    ("teacher", "answers"): (
        "model",
        "revision",
        "tokenizer",
        "labels",
        "architecture",
        "finetune",
        "others",
        "weight",
        "combine",
    ),
    ("stage", "epochs"): ("steps",),
    ("stage", "steps"): ("epochs",),
}
_WITHOUT_SOURCE = ("toy-", "custom")  # beginnings of the names of tasks that take no `source`


def merge(base: Node, over: Node, path: KeyPath = ()) -> Node:
    """`over` on `base`: tables key by key, everything else replaced.

    A stage's objectives, mixup, consistency, select and data are replaced as wholes. Naming another task, teacher, initial
    model or way to change words drops the settings of the one before; epochs and steps displace each other, as do a teacher's model and answers.
    """
    if not over.is_table:
        return over
    in_stage = len(path) > 2 and path[0] == "stage"
    if over.partial and in_stage and path[2] == "objectives" and len(path) == 4 and _is_number(base.value):
        # --set stage.ild.objectives.attention.mse=true on `attention = 2.0`
        base = Node({"weight": base}, base.file, base.line)
    if not base.is_table or (in_stage and len(path) == 3 and path[2] in _WHOLE and not over.partial):
        return _complete(over)
    merged = _still_meant(base.value, over.value, path)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else _complete(node)
    return replace(base if over.partial else over, value=merged, partial=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _complete(node: Node) -> Node:
    """The node without marks of being partial: there is no table to change, so it stands for itself."""
    if not node.is_table:
        return node
    return replace(node, value={key: _complete(item) for key, item in node.value.items()}, partial=False)


def _still_meant(entries: dict[str, Node], over: dict[str, Node], path: KeyPath) -> dict[str, Node]:
    """The entries of a table that still mean something once `over` is merged into it."""
    dropped: set[str] = set()
    table = path[0] if len(path) == 1 or (len(path) == 2 and path[0] == "stage") else None
    table = "augment" if len(path) == 4 and path[0] == "stage" and path[2:] == ("data", "augment") else table
    new = {key for key, node in over.items() if node.value is not False}
    for (owner, key), dependents in _DEPENDENTS.items():
        if owner == table and key in new and key in entries and entries[key].value != over[key].value:
            dropped.update(dependents)
            if owner == "task" and str(over[key].value).startswith(_WITHOUT_SOURCE):
                dropped.add("source")
    for (owner, key), others in _DISPLACED.items():
        if owner == table and key in new:
            dropped.update(others)
    return {key: node for key, node in entries.items() if key not in dropped}


def without_task(root: Node) -> Node:
    """The tree without what describes its task: the rest of [task] holds for any."""
    task = root.get("task")
    if task is None:
        return root
    described = ("name", "source", *_DEPENDENTS["task", "name"])
    entries = {key: node for key, node in task.entries.items() if key not in described}
    return root.with_entry("task", replace(task, value=entries))


def dotted(path: KeyPath | Sequence[str]) -> str:
    """The path as `--set` and messages write it: `stage.ild.objectives.logits`."""
    return ".".join(str(part) for part in path)
