"""`crild presets new`: a new preset file, as a copy of another preset."""

from __future__ import annotations

import tempfile
from pathlib import Path

from crild_tui.launch_form.editor_schema import provide, with_schema
from engine.errors import CrildError, UsageError
from engine.preset.shipped import path_of
from engine.preset.text import plain
from engine.record.files import cause
from engine.record.own_paths import refuse_own_path
from engine.record.paths import user_path


def target_of(name: str) -> Path:
    """The file that a typed name means. Raises UsageError for an empty name and that of a shipped preset."""
    text = name.strip()
    path = user_path(text, "a preset") if text.startswith("~") else Path(text)
    if not text or not path.name or text.endswith("/"):
        raise UsageError("give the new preset a name, such as mine or presets/mine.toml", kind="no-preset-name")
    if path.suffix != ".toml":
        path = path.with_name(f"{path.name}.toml")
    if path_of(path.stem) is not None and path.parent == Path():
        sentence = f"{path.name} is the name of a shipped preset, which would take precedence: choose another name"
        raise UsageError(sentence, kind="shipped-preset-name")
    return path


def new_preset(name: str, origin: str) -> Path:
    """Copy a shipped preset or a preset file, comments and all, to `name`; returns the new file.

    Raises UsageError when the file exists or cannot be written, or when the copy would mean something else because the
    original names paths relative to its own folder; PresetError when the original cannot be read.
    """
    from engine.preset.preset_file import locate
    from engine.preset.toml_file import content_of

    target = free_target(name)
    source = locate(origin, Path.cwd())
    try:
        text = content_of(source, plain(origin))
        if path_of(origin) is None and not _means_the_same(source, text, target.parent):
            sibling = Path(origin).parent / target.name
            sentence = (
                f"{origin} names files relative to its own folder, so a copy in another folder would mean other files: "
                f"copy it next to the original (crild presets new {sibling} --from {origin}), or extend it in a new file"
            )
            raise UsageError(sentence, kind="relative-paths")
        write_new(target, _with_schema(text, target))
    except (OSError, ValueError) as error:
        raise _unwritable(target, error) from None
    provide(target)
    return target


def _with_schema(text: bytes, target: Path) -> bytes:
    """The copy, with the schema for editors in its first line; bytes that are no UTF-8 text as they are."""
    try:
        return with_schema(text.decode("utf-8-sig"), target).encode()
    except UnicodeError:
        return text


def free_target(name: str) -> Path:
    """As `target_of`. Raises UsageError also when there is no such folder, or the file is crild's own."""
    target = target_of(name)
    refuse_own_path(target)
    if not target.parent.is_dir():
        sentence = f"{plain(str(target))} cannot be written: there is no folder {plain(str(target.parent))}"
        raise UsageError(sentence, kind="no-such-folder")
    return target


def write_new(target: Path, text: bytes) -> None:
    """Write a file that doesn't exist yet. Raises UsageError when it does, or when it cannot be written."""
    try:
        with target.open("xb") as file:
            file.write(text)
    except FileExistsError:
        sentence = f"{plain(str(target))} exists already and is left unchanged: choose another name"
        raise UsageError(sentence, kind="file-exists") from None
    except (OSError, ValueError) as error:
        raise _unwritable(target, error) from None


def _unwritable(target: Path, error: OSError | ValueError) -> UsageError:
    sentence = f"{plain(str(target))} cannot be written: {cause(error) if isinstance(error, OSError) else error}"
    return UsageError(sentence, kind="unwritable-file")


def _means_the_same(source: Path, text: bytes, folder: Path) -> bool:
    """Whether the copy in another folder would resolve to the same preset; a broken one is copied as it is."""
    from engine.preset.load import load_preset

    if folder.resolve() == source.parent.resolve():
        return True
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".crild-", suffix=".toml") as copy:
        copy.write(text)
        copy.flush()
        try:
            return load_preset([str(source)]).preset == load_preset([copy.name]).preset
        except CrildError:
            return True
