"""Size and hash of every file in a folder: what was written, to compare with what is read later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.preset.regular_file import open_regular

Manifest = dict[str, dict[str, Any]]
"""By file name: `bytes` and `sha256`."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(files: Iterable[Path]) -> Manifest:
    """Size and hash of files of one folder. Raises OSError."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": file_hash(path)} for path in sorted(files)}


def damage(folder: Path, manifest: object) -> str | None:
    """The first file that is missing or not what the manifest says, as a clause; None when all are.

    Raises OSError when a file is there but cannot be read, which proves no damage, and ValueError when the manifest
    itself is broken.
    """
    if not isinstance(manifest, Mapping):
        raise ValueError("not a manifest")  # noqa: TRY004  (of content, not of a caller)
    for name, entry in manifest.items():
        if "/" in name or name in ("", ".", "..") or not isinstance(entry, Mapping):
            raise ValueError(name)
        path = folder / name
        try:
            same = path.stat().st_size == entry.get("bytes") and file_hash(path) == entry.get("sha256")
        except FileNotFoundError:
            return f"{name} is missing"
        if not same:
            return f"{name} is not what was written"
    return None
