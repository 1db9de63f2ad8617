"""Reading one preset file: finding it, decoding it, parsing it, and putting its faults into words."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli

from engine.errors import CrildError, PresetError
from engine.preset import shipped
from engine.preset.paths import normal
from engine.preset.text import nearest, plain, shown
from engine.preset.toml_lines import KeyPath, key_lines, repeated
from engine.preset.tree import Node, Place, build, dotted

_DATA = {"schema", "description", "tags", "task", "stage"}
LARGEST = 1_000_000  # bytes: a thousand times an ordinary preset


@dataclass(frozen=True)
class Layer:
    """One file (or all `--set` together): what it sets, and what it asks for beside that."""

    root: Node  # without `extends` and `stages`; stages by name
    file: str  # as the user would name it
    folder: Path  # what its relative paths are relative to
    extends: tuple[tuple[str, Place], ...] = ()
    stages: tuple[tuple[str, Place], ...] | None = None  # the stages that remain, in this order
    problems: tuple[CrildError, ...] = ()  # what is odd about `extends`, `stages` and the array of stages

    @property
    def is_task(self) -> bool:
        """Whether this is a task preset: it says what the task is, and neither what is distilled nor how."""
        brings = self.root.table or {}
        return "task" in brings and not self.extends and not brings.keys() & {"stage", "teacher", "student"}

    @property
    def is_setting(self) -> bool:
        """Whether this changes nothing but the data of task and method: no name of a task, no objectives."""
        brings = self.root.table or {}
        if (
            self.extends
            or self.stages is not None
            or not brings.keys() <= _DATA
            or not brings.keys() & {"task", "stage"}
        ):
            return False
        stages = self.root.get("stage")
        tables = [stage.table or {} for stage in ((stages.table if stages else None) or {}).values()]
        return self.root.get("task", "name") is None and all(table.keys() <= {"name", "data"} for table in tables)


def locate(ref: str, folder: Path, place: Place | None = None) -> Path:
    """The file that a shipped name or a path (relative to `folder`) means.

    Shipped names win over files of the same name: `./crild` is the file. Raises PresetError naming what comes close.
    """
    found = shipped.path_of(ref)
    if found is not None:
        return found
    try:
        path = normal(folder / Path(ref).expanduser())
        if ref.strip() and os.path.lexists(path):
            return path
    except (OSError, ValueError, RuntimeError):
        raise _refused(f"{shown(ref)} cannot be the path of a preset", place) from None
    raise _refused(_not_there(ref, path), place)


def _not_there(ref: str, path: Path) -> str:
    pathlike = "/" in ref or ref.startswith((".", "~")) or ref.endswith(".toml")
    kind = "preset file" if pathlike else "shipped preset or file"
    try:
        neighbours = {item.stem: str(Path(ref).parent / item.name) for item in path.parent.glob("*.toml")}
    except (OSError, ValueError):
        neighbours = {}
    near = nearest(path.stem, neighbours if pathlike else shipped.names())
    near = near or nearest(path.stem, shipped.names() if pathlike else neighbours)
    near = neighbours.get(near or "", near)
    hint = f"did you mean {shown(near)}?" if near else "`crild presets list` names those that come with crild"
    return f"there is no {kind} {shown(ref, 300)}; {hint}"


def read_layer(path: Path, file: str) -> Layer:
    """Reads one preset file. Raises PresetError when it cannot be read, with its one syntax error when that is why."""
    document, lines = read_document(path, file)
    if not document:
        raise _refused(
            "the preset is empty; `crild presets new NAME --from crild` writes one to begin with", Place(file)
        )
    root = build(document, file, lines)
    problems: list[CrildError] = []
    table = dict(root.table or {})
    extends = _refs(table.pop("extends", None), "extends", "a preset or a list of presets", problems) or ()
    stages = _refs(table.pop("stages", None), "stages", "a list of names of stages", problems)
    if "stage" in table:
        table["stage"] = _by_name(table["stage"], problems)
    return Layer(Node(table, root.place), file, path.parent, extends, stages, tuple(problems))


def read_document(path: Path, file: str, what: str = "preset") -> tuple[dict[str, object], dict[KeyPath, int]]:
    """The TOML document in a file and the line (from 1) of each of its keys; messages call the file a `what`.

    Raises PresetError when it cannot be read, with its one syntax error when that is why.
    """
    text = _decoded(_bytes(path, file, what), file, what)
    return _parsed(text, file, what), _lines(text, file, what)


def _bytes(path: Path, file: str, what: str) -> bytes:
    """The content, when it is a file of a preset's size: anything else is refused unread."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            inside = path / f"{what}.toml"
            hint = f"; it holds {plain(str(Path(file) / inside.name))}" if inside.is_file() else ""
            raise _refused(f"a {what} is a file, and this is a folder{hint}", Place(file))
        if not stat.S_ISREG(status.st_mode):
            raise _refused(f"a {what} is an ordinary file, and this is a device or pipe", Place(file))
        if status.st_size > LARGEST:
            size = f"{status.st_size / 1e6:.0f} MB"
            raise _refused(f"a {what} has a few kilobytes, and this file has {size}: is it the right one?", Place(file))
        with path.open("rb") as stream:
            return stream.read(LARGEST + 1)[: LARGEST + 1]
    except OSError as error:
        raise _refused(f"the {what} cannot be read: {error.strerror or error}", Place(file)) from None


def _decoded(content: bytes, file: str, what: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refused(f"the {what} is UTF-16 text: save it as UTF-8", Place(file, 1))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        raise _refused(f"the {what} is not UTF-8 text ({byte}): save it as UTF-8", Place(file, line)) from None


def _parsed(text: str, file: str, what: str) -> dict[str, object]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise _refused(_syntax(error, text), Place(file, error.lineno)) from None
    except RecursionError:
        raise _refused(f"the {what} nests tables or lists hundreds deep", Place(file)) from None
    except ValueError as error:
        raise _refused(f"the {what} holds a number that cannot be read: {plain(str(error))}", Place(file)) from None


def _lines(text: str, file: str, what: str) -> dict[KeyPath, int]:
    try:
        return key_lines(text)
    except RecursionError:
        raise _refused(f"the {what} nests tables or lists hundreds deep", Place(file)) from None


def _syntax(error: tomli.TOMLDecodeError, text: str) -> str:
    """The parser's message, with what stands there and the usual reasons."""
    for repeat in repeated(text):
        if repeat.again == error.lineno:
            where = "" if repeat.first == repeat.again else f"; the first is on line {repeat.first}"
            return f"{plain(dotted(repeat.path))} is given twice{where} (column {error.colno})"
    line = text.split("\n")[error.lineno - 1].rstrip("\r") if text else ""
    rest = line[error.colno - 1 :].strip()
    message = plain(error.msg[:1].lower() + error.msg[1:])
    sentence = f"not valid TOML at column {error.colno}: {message}"
    if error.msg == "Invalid value" and rest:
        word = rest.split("#")[0].strip()
        if word in ("True", "False"):
            return f"{sentence}; write {word.lower()}"
        if "=" in word:
            return f"{sentence}, in {shown(line.strip())}; perhaps a list above is not closed"
        return f"{sentence} {shown(word, 40)[1:-1]}; text stands in quotes"
    if error.msg == "Invalid value":
        return f"{sentence}; a value belongs after the ="
    return f"{sentence}, in {shown(line.strip())}" if line.strip() else sentence


def _refs(node: Node | None, key: str, right: str, problems: list[CrildError]) -> tuple[tuple[str, Place], ...] | None:
    """The names in `extends` or `stages`, a single one or a list."""
    if node is None:
        return None
    items: Sequence[Node] = node.items if node.items is not None else [node]
    if items and all(isinstance(item.value, str) for item in items):
        return tuple((str(item.value), item.place) for item in items)
    sentence = f"{key} must be {right}, not {shown(node.plain())}"
    problems.append(CrildError(sentence, file=node.place.file, line=node.place.line, key=key))
    return None


def _by_name(node: Node, problems: list[CrildError]) -> Node:
    """A file's array of stages as a table by name; one without a usable name goes by its number, as `#2`."""
    if node.items is None or any(item.table is None for item in node.items):
        sentence = 'stages are written one by one as [[stage]], each with name = "..."'
        problems.append(CrildError(sentence, file=node.place.file, line=node.place.line, key="stage"))
        return Node({}, node.place)
    stages: dict[str, Node] = {}
    for number, item in enumerate(node.items, start=1):
        name = item.get("name")
        label = name.value if name is not None and isinstance(name.value, str) else f"#{number}"
        if label in stages and name is not None:
            first = f" (the first on line {stages[label].place.line})"
            sentence = f"two stages of this file are named {shown(label)}{first}"
            problems.append(
                CrildError(sentence, file=name.place.file, line=name.place.line, key=f"stage.{plain(label)}")
            )
        stages[label] = item
    return Node(stages, node.place)


def _refused(sentence: str, place: Place | None) -> PresetError:
    place = place or Place("")
    return PresetError([CrildError(sentence, file=place.file or None, line=place.line)])
