"""`crild presets new`: a preset of one's own, begun as a copy of another."""

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
        raise UsageError(f"{target.name} is the name of a shipped preset, which would win over yours: choose another")
    if path_of(origin) is not None:
        return copy_preset(origin, target)
    return _copy_file(origin, target if target.suffix == ".toml" else target.with_name(f"{target.name}.toml"))


def _copy_file(origin: str, target: Path) -> Path:
    from engine.preset.preset_file import locate

    source = locate(origin, Path.cwd())
    try:
        text = source.read_bytes()
        if not _means_the_same(source, text, target.parent):
            raise UsageError(
                f"{origin} names files relative to its own folder, so a copy elsewhere would mean others: put it there, "
                f"crild presets new {Path(origin).parent / target.name} --from {origin}, or let a new file extend it"
            )
        with target.open("xb") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{target} is there already; it was left as it is: give another name") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
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
