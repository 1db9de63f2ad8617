"""Save a draft as a preset file: keeps comments, overwrites nothing unasked, and writes only what loads to the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Item, Table

from crild_tui.launch_form.data_preset import relative
from crild_tui.launch_form.draft import Draft, overrides, seeds_text
from crild_tui.launch_form.editor_schema import provide, with_schema
from engine.errors import CrildError, UsageError
from engine.preset.load import load_preset
from engine.preset.overrides import read_overrides
from engine.preset.preset_file import locate, read_layer
from engine.preset.regular_file import read_regular
from engine.preset.schema import Preset, Task
from engine.preset.shipped import path_of
from engine.preset.source_names import is_table
from engine.preset.text import plain
from engine.preset.toml_file import LARGEST
from engine.preset.toml_text import inline
from engine.preset.tree import Node
from engine.record.files import cause
from engine.record.own_paths import refuse_own_path
from engine.sweep.seeds import parse_seeds

_WHOLE = ("mixup", "consistency", "select", "objectives", "data")  # tables of a stage that a file replaces as wholes


def save(draft: Draft, here: Path, target: Path, *, overwrite: bool = False) -> Path:
    """Write the chosen presets with the draft's changes as one preset file; returns its path.

    A single preset is copied with its comments and then changed. Several become a file that extends them, and so does
    one whose copy would mean something else, because its paths are relative to its folder. The file is written under
    a temporary name, loaded and compared before it is renamed. Raises UsageError when the target exists (unless
    `overwrite`), cannot be written, is a file of a run, or cannot express the draft; PresetError when the draft itself is wrong.
    """
    base = load_preset(draft.refs, base=here)
    items = [item for _, item in overrides(draft, base.preset)]
    seeds = parse_seeds(seeds_text(draft))
    if len(seeds) == 1 and seeds[0] != base.preset.seed:
        items.append(f"seed={seeds[0]}")
    wanted = load_preset(draft.refs, items, base=here).preset
    target = here / target
    refuse_own_path(target)
    texts = [_extending(draft, items, base.preset, wanted, here, target)]
    if len(draft.refs) == 1:
        with suppress(CrildError, OSError, ValueError):  # ValueError: tomlkit's, for what it cannot take apart
            texts.insert(0, _copied(draft.refs[0], items, base.preset, wanted, here))
    try:
        if any(_write(with_schema(text, target), target, wanted, overwrite=overwrite) for text in texts):
            provide(target)
            return target
    except OSError as error:
        sentence = f"{plain(str(target))} cannot be written: {cause(error)}"
        raise UsageError(sentence, kind="unwritable-file") from None
    sentence = f"{plain(target.name)} cannot express these choices: copy a preset with `crild presets new` and edit it"
    raise UsageError(sentence, kind="draft-not-expressible")


def _write(text: str, target: Path, wanted: Preset, *, overwrite: bool) -> bool:
    """Write the text to the target if it loads to the wanted preset; returns whether it does."""
    temporary = target.with_name(f".crild-{os.getpid()}-{os.urandom(6).hex()}.toml")
    file = temporary.open("x", encoding="utf-8", newline="\n")  # a new one: the folder is the user's
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            if _without_description(load_preset([str(temporary)]).preset) != _without_description(wanted):
                return False
        except CrildError:
            return False
        _rename(temporary, target, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _rename(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename, without a moment in which an existing file of that name could be lost."""
    if not overwrite:
        try:
            os.link(temporary, target)
        except OSError:  # the file exists, or the file system has no links
            if os.path.lexists(target):
                sentence = f"{plain(str(target))} exists already and is left unchanged: choose another name"
                raise UsageError(sentence, kind="file-exists") from None
        else:
            return
    temporary.replace(target)


def _without_description(preset: Preset) -> Preset:
    return preset.model_copy(update={"description": ""})


def _copied(ref: str, items: Sequence[str], base: Preset, wanted: Preset, here: Path) -> str:
    source = locate(ref, here)
    read_layer(source, ref)  # refuses files that are not presets, and large ones
    document = tomlkit.parse(read_regular(source, LARGEST).decode("utf-8-sig").replace("\r\n", "\n"))
    _apply(document, items, base, wanted, here)
    return tomlkit.dumps(document)


def _extending(draft: Draft, items: Sequence[str], base: Preset, wanted: Preset, here: Path, target: Path) -> str:
    presets = [ref for ref in draft.refs if not is_table(ref)]
    names = [ref if path_of(ref) is not None else _reach(locate(ref, here), target.parent) for ref in presets]
    document = tomlkit.document()
    document.add(tomlkit.comment(f"{plain(' and '.join(draft.refs))}, with the changes below."))
    document.add("schema", tomlkit.item(1))
    document.add("description", tomlkit.item(wanted.description))
    document.add("extends", tomlkit.item(names[0] if len(names) == 1 else names))
    _apply(document, items, base, wanted, here)
    if len(presets) < len(draft.refs):
        _add_files(document, wanted.task, target.parent)
    return tomlkit.dumps(document)


def _add_files(document: tomlkit.TOMLDocument, task: Task, folder: Path) -> None:
    """Write the task that data files make, beside what the draft changes of it."""
    assert task.files is not None
    if not _is_table(document.get("task")):
        document.add(tomlkit.nl())
        document["task"] = tomlkit.table()
    files = {split: relative(Path(file), folder) for split, file in task.files.splits().items()}
    for key, value in (("name", task.name), ("title", task.title), ("files", files)):
        _set(document["task"], key, value)


def _reach(file: Path, folder: Path) -> str:
    """The file as a preset in another folder names it."""
    relative = os.path.relpath(file, folder)
    return relative if relative.startswith("..") else f"./{relative}"


def _apply(document: tomlkit.TOMLDocument, items: Sequence[str], base: Preset, wanted: Preset, here: Path) -> None:
    """Write each `--set` item into the text."""
    problems: list[CrildError] = []
    layer = read_overrides(items, [stage.name for stage in base.stage], here, problems)
    for key, node in layer.root.entries.items():
        if key != "stage":
            _put(document, key, node)
            continue
        for name, stage in node.entries.items():
            table = _stage(document, name)
            for own, value in stage.entries.items():
                if own in ("epochs", "steps"):
                    table.pop("steps" if own == "epochs" else "epochs", None)  # they displace each other
                if own in _WHOLE and value.is_table and not _is_table(table.get(own)):
                    _set(table, own, _whole(wanted, name, own))
                else:
                    _put(table, own, value)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _whole(wanted: Preset, stage: str, key: str) -> Any:
    found = next(each for each in wanted.stage if each.name == stage)
    return found.model_dump(mode="json", by_alias=True, exclude_none=True)[key]


def _stage(document: tomlkit.TOMLDocument, name: str) -> Table:
    """The table of a stage in the text; added where it is missing, to merge with the inherited one."""
    stages = document.get("stage")
    if not isinstance(stages, AoT):
        stages = tomlkit.aot()
        document.add(tomlkit.nl())
        document.add("stage", stages)
        stages = document["stage"]
        assert isinstance(stages, AoT)
    for table in stages:
        if isinstance(table, Table) and table.get("name") == name:
            return table
    table = tomlkit.table()
    table.add("name", name)
    stages.append(table)
    return table


def _put(table: Any, key: str, node: Node) -> None:
    """Set a key, inside existing tables so that their comments stay."""
    if node.is_table and node.partial:
        if not _is_table(table.get(key)):
            if isinstance(table, tomlkit.TOMLDocument):
                table.add(tomlkit.nl())
            table[key] = tomlkit.table()
        for inner, value in node.entries.items():
            _put(table[key], inner, value)
    else:
        _set(table, key, node.plain())


def _set(table: Any, key: str, value: Any) -> None:
    """Replace a value and keep the comment behind it."""
    old = table.get(key)
    new = _item(value)
    if isinstance(old, Item) and hasattr(new, "trivia") and not isinstance(old, Table):
        new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, old.trivia.comment
    table[key] = new


def _item(value: Any) -> Item:
    return tomlkit.value(inline(value, short=True)) if isinstance(value, dict) else tomlkit.item(value)
