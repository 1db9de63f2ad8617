"""`crild presets new`: a new preset file, as a copy of another preset."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.errors import CrildError, UsageError


def new_preset(name: str, origin: str) -> Path:
    """Copy a shipped preset or a preset file, comments and all, to `name`; returns the new file.

    Raises UsageError when the file exists or cannot be written, or when the copy would mean something else because the
    original names paths relative to its own folder; PresetError when the original cannot be read.
    """
    from engine.preset.shipped import copy_preset, path_of

    target = Path(name).expanduser()
    if path_of(target.name.removesuffix(".toml")) is not None and target.parent == Path():
        sentence = f"{target.name} is the name of a shipped preset, which would take precedence: choose another name"
        raise UsageError(sentence, kind="shipped-preset-name")
    if path_of(origin) is not None:
        return copy_preset(origin, target)
    return _copy_file(origin, target if target.suffix == ".toml" else target.with_name(f"{target.name}.toml"))


def _copy_file(origin: str, target: Path) -> Path:
    from engine.preset.preset_file import locate

    source = locate(origin, Path.cwd())
    try:
        text = source.read_bytes()
        if not _means_the_same(source, text, target.parent):
            beside = Path(origin).parent / target.name
            sentence = (
                f"{origin} names files relative to its own folder, so a copy in another folder would mean other files: "
                f"copy it next to the original (crild presets new {beside} --from {origin}), or extend it in a new file"
            )
            raise UsageError(sentence, kind="relative-paths")
        with target.open("xb") as file:
            file.write(text)
    except FileExistsError:
        sentence = f"{target} exists already and is left unchanged: choose another name"
        raise UsageError(sentence, kind="file-exists") from None
    except OSError as error:
        sentence = f"{target} cannot be written: {error.strerror or error}"
        raise UsageError(sentence, kind="unwritable-file") from None
    return target


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
