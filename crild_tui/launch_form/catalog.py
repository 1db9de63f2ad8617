"""What there is to choose from: the presets that come with crild, and the presets and data of the current folder."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.errors import CrildError
from engine.preset.preset_file import Layer, locate, read_layer
from engine.preset.schema import Preset
from engine.preset.shipped import find, folder, path_of, shipped
from engine.preset.source_names import is_compressed, uncompressed_name
from engine.preset.text import plain
from engine.report.units import size

Kind = Literal["run", "method", "task", "data", "variant", "part", "broken"]

OWN_FOLDER = "presets"
"""Subfolder whose preset files are listed too."""
MOST = 500
"""Most files of the user to read: a folder with more is not a folder of presets."""
MOST_DATA = 50
"""Data files that are listed."""
DATA_ENDINGS = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSON lines", ".parquet": "Parquet"}
"""The formats of data files that are listed: most `.json` files hold something else."""
_DEEPEST = 8  # levels of `extends` to follow to find the kind of a preset
_KEYS = {info.alias or name for name, info in Preset.model_fields.items()} | {"extends", "stages"}


@dataclass(frozen=True)
class Entry:
    """A preset of the list, or a data file, which is a task. "run" is complete, "method" needs a task, "variant" changes
    the data of both, "part" sets some keys only."""

    ref: str
    """How the command line names it."""
    kind: Kind
    description: str
    path: Path
    own: bool
    """Whether it is a file of the user."""
    problem: str | None = None
    """Why it cannot be read; such a preset can be chosen only to edit it."""
    copy: str | None = None
    """The user's file of the same name and content, which is not listed again."""
    takes_task: bool = False
    """Whether a complete one that comes with crild goes with another task too, as a method does."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.own:
            return f"your file {plain(self.ref)}"
        return f"comes with crild; {plain(self.copy)} is a copy of it" if self.copy else "comes with crild"

    def matches(self, words: str) -> bool:
        """Whether each word occurs in its name, kind or description."""
        text = f"{self.ref} {self.kind} {self.description}".casefold()
        return all(word in text for word in words.casefold().split())


def catalog(here: Path) -> list[Entry]:
    """All presets: complete ones, methods, tasks and variants that come with crild, then the user's by name, then data."""
    copies = {stem: ref_of(path, here) for path in own_files(here) if (stem := _copied(path)) is not None}
    return [*(replace(entry, copy=copies.get(entry.ref)) for entry in known()), *own_entries(here), *data_entries(here)]


def families(entries: Sequence[Entry]) -> list[tuple[Entry, tuple[Entry, ...]]]:
    """The entries in their order, each with its variants: those whose names begin with its name and a dash.

    A variant follows its head alone; the user's files are nobody's variants.
    """
    names = {entry.ref for entry in entries if not entry.own}
    heads = {entry.ref: _head(entry.ref, names) for entry in entries if not entry.own}
    return [
        (
            entry,
            tuple(other for other in entries if not other.own and other is not entry and heads[other.ref] == entry.ref),
        )
        for entry in entries
        if entry.own or heads[entry.ref] == entry.ref
    ]


def _head(ref: str, names: Collection[str]) -> str:
    """The shortest name that a name continues after a dash; itself if there is none."""
    parts = ref.split("-")
    starts = ("-".join(parts[:count]) for count in range(1, len(parts)))
    return next((start for start in starts if start in names), ref)


def known() -> list[Entry]:
    """The presets that come with crild."""
    return [
        Entry(each.name, each.kind, each.description, each.path, own=False, takes_task=each.takes_task)
        for each in shipped()
    ]


def own_entries(here: Path) -> Iterator[Entry]:
    """The preset files of a folder and of the folder `presets` in it; other TOML files are left out."""
    for path in own_files(here):
        if _copied(path) is None and (entry := _entry(path, ref_of(path, here), here)) is not None:
            yield entry


def data_entries(here: Path) -> Iterator[Entry]:
    """The data files of a folder, by name. They are not read."""
    for path, status in _data_files(here):
        form = DATA_ENDINGS[Path(uncompressed_name(path.name)).suffix.lower()]
        description = f"{form}, {'compressed, ' if is_compressed(path.name) else ''}{size(status.st_size)}"
        yield Entry(ref_of(path, here), "data", description, path, own=True)


def _data_files(here: Path) -> list[tuple[Path, os.stat_result]]:
    """The first files by name that may hold rows, with their sizes and times."""
    with os.scandir(here) as entries:
        names = sorted(entry.name for entry in entries if _is_data(entry.name))
    files: list[tuple[Path, os.stat_result]] = []
    for name in names:
        with suppress(OSError):
            status = (here / name).stat()
            files += [(here / name, status)] if stat.S_ISREG(status.st_mode) else []
        if len(files) == MOST_DATA:
            break
    return files


def _is_data(name: str) -> bool:
    return not name.startswith(".") and uncompressed_name(name).lower().endswith(tuple(DATA_ENDINGS))


def _copied(path: Path) -> str | None:
    """The name of the shipped preset that a file of the same name is an exact copy of; else None."""
    there = path_of(path.stem)
    try:
        same = there is not None and filecmp.cmp(there, path, shallow=False)
    except OSError:
        return None
    return path.stem if same else None


def ref_of(path: Path, here: Path) -> str:
    """A file as the command line names it from a folder."""
    ref = os.path.relpath(path, here)
    return ref if ref[:1].isalnum() else f"./{ref}"  # neither an option nor a home folder


def own_files(here: Path) -> list[Path]:
    """The user's TOML files that may be presets."""
    files: list[Path] = []
    for directory in (here, here / OWN_FOLDER):
        if directory.resolve() != folder().resolve():
            files += sorted(path for path in directory.glob("*.toml") if not path.name.startswith("."))
    return files[:MOST]


def fingerprint(here: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the user's files; it differs when something in them may have changed."""
    found = []
    for path in own_files(here):
        try:
            status = path.stat()
        except OSError:
            found.append((str(path), -1, -1))
        else:
            found.append((str(path), status.st_size, status.st_mtime_ns))
    found += [(str(path), status.st_size, status.st_mtime_ns) for path, status in _data_files(here)]
    return tuple(found)


def _entry(path: Path, ref: str, here: Path) -> Entry | None:
    try:
        layer = read_layer(path, plain(ref))
    except CrildError as error:
        return Entry(ref, "broken", "", path, own=True, problem=str(error))
    known = layer.root.entries.keys() & _KEYS
    is_python = known == {"project"} and layer.root.entries["project"].entries  # a table there, a text in presets
    if not layer.extends and layer.stages is None and (not known or is_python):
        return None  # pyproject.toml and the like
    description = layer.root.get("description")
    text = str(description.value) if description is not None and isinstance(description.value, str) else ""
    problem = str(layer.problems[0]) if layer.problems else None
    return Entry(ref, kind_of(layer, here), text, path, own=True, problem=problem)


def kind_of(layer: Layer, here: Path, known_kinds: dict[Path, Kind] | None = None, depth: int = 0) -> Kind:
    """The kind of a preset file, by what it sets and extends; `known_kinds` are those of files that were read before."""
    known_kinds = {} if known_kinds is None else known_kinds
    if layer.is_variant:
        return "variant"
    if layer.is_task:
        return "task"
    brings = layer.root.entries
    if not layer.extends:
        return "run" if "task" in brings and "stage" in brings else "method" if "stage" in brings else "part"
    if "task" in brings:
        return "run"
    kinds = [_kind_of_ref(str(name.value), layer.folder, here, known_kinds, depth) for name in layer.extends]
    if "run" in kinds or ("task" in kinds and "method" in kinds):
        return "run"
    return next((kind for kind in ("method", "task") if kind in kinds), "part")


def _kind_of_ref(ref: str, folder: Path, here: Path, known_kinds: dict[Path, Kind], depth: int) -> Kind:
    if (there := find(ref)) is not None:
        return there.kind
    try:
        path = locate(ref, folder)
        if path not in known_kinds and depth < _DEEPEST:
            known_kinds[path] = "part"  # until it is known: presets may extend each other in a circle
            known_kinds[path] = kind_of(read_layer(path, plain(ref)), here, known_kinds, depth + 1)
        return known_kinds.get(path, "part")
    except CrildError:
        return "method"  # the problem shows when it is chosen
