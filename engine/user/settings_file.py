"""Change settings.toml: one key at a time, comments kept, checked before anything is written, replaced at once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import tomli
import tomlkit
from tomlkit.items import InlineTable

from engine.errors import PresetError, RunError, UsageError
from engine.preset.field_types import Record
from engine.preset.regular_file import read_regular
from engine.preset.schema_keys import plain_types_in, takes_list_in
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_file import LARGEST, parse, read_document
from engine.preset.toml_lines import key_lines
from engine.record.files import cause, replacement, write_all
from engine.user.settings import SECTIONS, settings_files, validated_section
from engine.user.settings_list import dotted_key, is_free_table

Keys = tuple[str, ...]
_CONSENT = "consent"


def path_of(key: str) -> Keys:
    """The keys in `dashboard.theme` or `dashboard.keys."live.stop"`. Raises UsageError for what names no setting.

    In a table whose entries the user names, the quotes may be left out.
    """
    try:
        table = tomli.loads(f"{key} = 0") if "\n" not in key and "=" not in key else {}
    except tomli.TOMLDecodeError:
        table = {}
    path: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        ((name, table),) = table.items()
        path.append(name)
    section = SECTIONS.get(path[0]) if path else None
    if section is None or len(path) < 2:
        raise UsageError(_unknown(key, path), kind="unknown-setting", key=plain(key))
    if path[1] not in section.model_fields:
        known = [f"{path[0]}.{name}" for name in section.model_fields]
        near = nearest(f"{path[0]}.{path[1]}", known)
        hint = f"did you mean {near}?" if near else f"[{path[0]}] has {listed(known, 'and')}"
        raise UsageError(f"there is no setting {shown(key)}; {hint}", kind="unknown-setting", key=plain(key))
    if len(path) > 2 and not is_free_table(section, path[1]):
        sentence = f"{path[0]}.{path[1]} is no table, so it has no {shown(path[2])}"
        raise UsageError(sentence, kind="unknown-setting", key=plain(key))
    return (*path[:2], *([".".join(path[2:])] if len(path) > 2 else []))


def _unknown(key: str, path: list[str]) -> str:
    every = [f"{name}.{field}" for name, section in SECTIONS.items() for field in section.model_fields]
    if path and path[0] in SECTIONS:
        return (
            f"{shown(key)} is a section; its settings are {listed((k for k in every if k.startswith(path[0])), 'and')}"
        )
    homes = [known for known in every if known.split(".")[1] == key]
    near = homes[0] if homes else nearest(key, every)
    hint = f"did you mean {near}?" if near else "`crild config` lists them"
    return f"there is no setting {shown(key)}; {hint}"


def set_value(path: Keys, text: str) -> Path:
    """Write a value, as TOML writes it or as a bare word; returns the file.

    Raises UsageError when the setting cannot be set this way or takes no such value, PresetError with file and line when the
    file as it is, is invalid; RunError when it cannot be written. The file is then unchanged.
    """
    _refuse_consent(path, "set")
    section = SECTIONS[path[0]]
    if len(path) == 2 and is_free_table(section, path[1]):
        sentence = f"{dotted_key(path)} is a table: name an entry, as {dotted_key((*path, 'NAME'))}"
        raise UsageError(sentence, kind="setting-is-a-table", key=dotted_key(path))
    value = value_of(section, path, text)
    _check_value(section, path, value)
    file, before, document = _read()
    _take_over_old(document, path[0])
    wanted = document.unwrap()
    table: Any = document
    plain_table: Any = wanted
    for name in path[:-1]:
        if name not in table:
            table[name] = tomlkit.inline_table() if isinstance(table, InlineTable) else tomlkit.table()
        elif not isinstance(table[name], Mapping):
            validated_section(section, wanted, key_lines(tomlkit.dumps(document)), file)  # raises, and says where
            raise _not_editable(file, f"{dotted_key(path[:-1])} is no table")
        table, plain_table = table[name], plain_table.setdefault(name, {})
    _put(table, path[-1], value)
    plain_table[path[-1]] = value
    _write(file, before, document, wanted, section)
    return file


def unset(path: Keys) -> Path | None:
    """Remove a key, so that its default applies; returns the file, None where no file has the key. Raises as `set_value`."""
    _refuse_consent(path, "unset")
    file, before, document = _read()
    wanted = document.unwrap()
    table: Any = document
    plain_table: Any = wanted
    for name in path[:-1]:
        table, plain_table = table.get(name), plain_table.get(name)
        if not isinstance(table, Mapping):
            return None
    if path[-1] not in table:
        return None
    del table[path[-1]]
    del plain_table[path[-1]]
    _write(file, before, document, wanted, SECTIONS[path[0]])
    return file


def _check_value(section: type[Record], path: Keys, value: Any) -> None:
    """Raise UsageError unless a setting takes a value. The rest of the file does not matter."""
    table = value
    for name in reversed(path):
        table = {name: table}
    try:
        validated_section(section, table, {}, Path())
    except PresetError as error:
        sentence = f"{error.problems[0].sentence}; nothing was written"
        raise UsageError(sentence, kind="invalid-setting", key=dotted_key(path)) from None


def value_of(section: type[Record], path: Keys, text: str) -> Any:
    """The value that a text on the command line means for a setting. Raises UsageError for what TOML cannot hold."""
    if any(not character.isprintable() and character not in "\t\n" for character in text):
        raise UsageError(f"{dotted_key(path)} cannot have control characters", kind="setting-with-control-characters")
    if len(path) > 2:
        types: tuple[type, ...] = get_args(section.model_fields[path[1]].annotation)[1:]
        is_list = False
    else:
        types, is_list = plain_types_in(section, path[1]), takes_list_in(section, path[1])
    written = _as_toml(text)
    if isinstance(written, list) and is_list:
        return written
    if is_list:
        return [word.strip() for word in text.split(",") if word.strip()]
    if str in types:
        quoted = text[:1] in ("'", '"') and isinstance(written, str)
        return written if quoted or type(written) in types else text
    return text if written is None else written


def _as_toml(text: str) -> Any:
    """The value that TOML reads; None where it reads none."""
    try:
        document = parse(f"value = {text}")
    except ValueError:
        return None
    return document["value"] if list(document) == ["value"] else None


def _refuse_consent(path: Keys, verb: str) -> None:
    if path[0] == _CONSENT:
        sentence = (
            f"consent is not {verb} by a command, because it lets a model's own code run: edit it in {settings_file()} yourself, "
            "as the refusal of a model shows"
        )
        raise UsageError(sentence, kind="consent-by-command", key=dotted_key(path))


def settings_file() -> Path:
    """The file that settings are written to. Raises UsageError where there is none, or one of the old form is named."""
    files = settings_files()
    if files.old_first:
        sentence = (
            f"CRILD_CONFIG names {files.old}, a dashboard.toml of crild 0.2: put its keys under [dashboard] first"
        )
        raise UsageError(sentence, kind="settings-of-old-form")
    if files.settings is None:
        sentence = "there is no folder for settings: set HOME, or name a file with CRILD_CONFIG"
        raise UsageError(sentence, kind="no-settings-folder")
    return files.settings


def _read() -> tuple[Path, bytes | None, tomlkit.TOMLDocument]:
    """The settings file, its content, and the document in it. Raises PresetError when it is not valid TOML."""
    file = settings_file()
    if not file.exists():  # nothing, or a link to nothing
        return file, None, tomlkit.document()
    read_document(file, plain(str(file)), "settings file")
    try:
        content = read_regular(file, LARGEST)
        return file, content, tomlkit.parse(content.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise _not_editable(file, str(error)) from None


def _not_editable(file: Path, reason: str) -> RunError:
    sentence = f"cannot be changed by a command, only by hand: {plain(reason)}"
    return RunError(sentence, kind="settings-not-editable", file=plain(str(file)))


def _take_over_old(document: tomlkit.TOMLDocument, name: str) -> None:
    """Copy a dashboard.toml into a new [dashboard], which makes crild ignore that file."""
    old = settings_files().old
    if name != "dashboard" or name in document or old is None or not old.exists():
        return
    written, _ = read_document(old, plain(str(old)), "settings file")
    document[name] = tomlkit.item(written)


def _put(table: Any, key: str, value: Any) -> None:
    """Replace a value and keep the comment behind it."""
    before, item = table.get(key), tomlkit.item(value)
    if hasattr(before, "trivia") and hasattr(item, "trivia"):
        item.trivia.comment_ws, item.trivia.comment = before.trivia.comment_ws, before.trivia.comment
    table[key] = item


def _write(
    file: Path, before: bytes | None, document: tomlkit.TOMLDocument, wanted: Mapping[str, Any], section: type[Record]
) -> None:
    """Check the new text and replace the file; a link stays, and what it leads to is replaced."""
    text = tomlkit.dumps(document)
    try:
        changed = parse(text)
    except ValueError as error:
        raise _not_editable(file, str(error)) from None
    if changed != wanted:
        raise _not_editable(file, "its tables are written in an unusual order")
    validated_section(section, changed, key_lines(text), file)
    target = Path(os.path.realpath(file))
    provide_folder(target)
    refused = (
        errno.ELOOP if target.is_symlink() else 0 if before is None or os.access(target, os.W_OK) else errno.EACCES
    )
    if refused:
        raise _unwritable(target, OSError(refused, os.strerror(refused)))
    try:
        mode = 0o600 if before is None else stat.S_IMODE(target.stat().st_mode)
        with replacement(target) as handle:
            os.fchmod(handle, mode)
            write_all(handle, text.encode())
            if (read_regular(target) if target.exists() else None) != before:
                sentence = "was changed by another program meanwhile, and is left as it is: try again"
                raise RunError(sentence, kind="settings-changed-meanwhile", file=plain(str(target)))
    except OSError as error:
        raise _unwritable(target, error) from error


def provide_folder(file: Path) -> None:
    """Create the folder of a settings file, for the user alone. Raises RunError when it cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(file, error) from error


def _unwritable(file: Path, error: OSError) -> RunError:
    return RunError(f"cannot be written: {cause(error)}", kind="cannot-write-settings", file=plain(str(file)))
