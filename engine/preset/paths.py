"""Paths in presets: which values are paths, and what they are relative to."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from engine.errors import CrildError
from engine.preset.source_names import INIT_WORDS, is_corpus_path, is_path
from engine.preset.text import shown
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import Node, dotted


def absolutise(node: Node, folder: Path, problems: list[CrildError], path: KeyPath = ()) -> Node:
    """The tree with every path absolute and `~` expanded; relative ones are taken from `folder`.

    Models, tokenizers and corpora are paths when they look like one or when `folder` holds something so named; else
    they are hub ids.
    """
    if node.is_table:
        entries = {key: absolutise(item, folder, problems, (*path, key)) for key, item in node.value.items()}
        return replace(node, value=entries)
    if node.elements is not None:
        return replace(node, value=[absolutise(item, folder, problems, path) for item in node.elements])
    if not isinstance(node.value, str) or not node.value:
        return node
    try:
        if not _is_path(path, node.value, folder):
            return node
        return replace(node, value=_absolute(node.value, folder))
    except (RuntimeError, ValueError):
        sentence = f"{dotted(path)} cannot be a path: {shown(node.value)}"
        problems.append(node.problem(sentence, kind="invalid-path", key=dotted(path)))
        return node


def _absolute(text: str, folder: Path) -> str:
    """A path of a preset, from `folder`. Raises RuntimeError for an unknown ~user, ValueError for a null character."""
    if "\0" in text:
        raise ValueError("a null character")
    return str(normal(folder / Path(text).expanduser()))


def normal(path: Path) -> Path:
    """The path absolute and without `..`; links stay links, so that messages show what the user wrote."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links)


def not_a_file(path: Path) -> str | None:
    """Why a path cannot be read as a file: a pipe or device would block for ever. None for a file, a folder, nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None  # opening it tells more
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "this is a pipe or device, where a file is expected"


def _is_path(path: KeyPath, value: str, folder: Path) -> bool:
    """Whether the text under a key is a path."""
    if path[:1] == ("stage",) and path[2:4] == ("data", "task"):
        path = path[3:]  # another task's files
    match path:
        case ("task", "source"):
            return value != "hub"
        case ("task", "files", _) | ("stage", _, "data", "files") | ("teacher", "answers"):
            return True
        case ("teacher", "model") | ("teacher", "others", _, "model"):
            return value != "scratch" and is_path(value, folder)
        case ("student", "init"):
            return value not in INIT_WORDS and is_path(value, folder)
        case ("teacher", "tokenizer") | ("teacher", "others", _, "tokenizer"):
            return is_path(value, folder)
        case ("stage", _, "data", "augment", "model"):
            return is_path(value, folder)
        case ("stage", _, "data", "corpus"):
            return is_corpus_path(value, folder)
        case _:
            return False
