"""Paths in presets: which values are paths, and what they are relative to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engine.errors import CrildError
from engine.preset.source_names import INIT_WORDS, is_corpus_path, is_path
from engine.preset.text import shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, dotted


def absolutise(root: Node, folder: Path, problems: list[CrildError]) -> Node:
    """The tree with every path absolute, `~` expanded; relative ones are taken from `folder`.

    Models, tokenizers and corpora are paths when they look like one or when something of that name lies in `folder`,
    else ids of the hub.
    """
    return _visit(root, (), folder, problems)


def normal(path: Path) -> Path:
    """The path absolute and without `..`; links stay links, so that messages show what the user wrote."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links)


def not_a_file(path: Path) -> str | None:
    """What is wrong with a path where a file is read: a pipe or device, which would be waited for for ever; else None."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None  # who opens it is told more
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "this is a pipe or device, where a file is expected"


def _visit(node: Node, path: KeyPath, folder: Path, problems: list[CrildError]) -> Node:
    if node.table is not None:
        entries = {key: _visit(item, (*path, key), folder, problems) for key, item in node.table.items()}
        return Node(entries, node.place, node.partial)
    if not isinstance(node.value, str) or not node.value or not _is_path(path, node.value, folder):
        return node
    try:
        return Node(str(normal(folder / Path(node.value).expanduser())), node.place)
    except (RuntimeError, ValueError):  # an unknown ~user; a null character
        sentence = f"{dotted(path)} cannot be a path: {shown(node.value)}"
        problems.append(CrildError(sentence, file=node.place.file, line=node.place.line, key=dotted(path)))
        return node


def _is_path(path: KeyPath, value: str, folder: Path) -> bool:
    if path[:1] == ("stage",) and path[2:4] == ("data", "task"):
        path = path[3:]  # another task's files
    match path:
        case ("task", "source"):
            return value != "hub"
        case ("task", "files", _):
            return True
        case ("teacher", "model"):
            return value != "scratch" and is_path(value, folder)
        case ("student", "init"):
            return value not in INIT_WORDS and is_path(value, folder)
        case ("teacher", "tokenizer"):
            return is_path(value, folder)
        case ("stage", _, "data", "corpus"):
            return is_corpus_path(value, folder)
        case _:
            return False
