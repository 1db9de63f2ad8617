"""The JSON Schemas that editors check presets, sweep and search files with: a folder `.crild` next to them, or above.

A file names its schema in its first line, by a relative path, so that a team can commit both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.preset.text import plain
from engine.record.files import cause, write_atomic

FOLDER = ".crild"
FILES = {
    "preset": "preset.schema.json", "sweep": "sweep.schema.json", "search": "search.schema.json",
    "settings": "settings.schema.json",
}  # fmt: skip
"""The file of each kind."""
MARK = "#:schema "
"""How the first line of a TOML file names its schema (Taplo, and the editors that use it)."""
_LARGEST = 4_000_000


def schema_text(kind: str) -> str:
    """A schema as the file holds it."""
    return json.dumps(_makers()[kind](), indent=1, ensure_ascii=False) + "\n"


def _makers() -> dict[str, Callable[[], dict[str, Any]]]:
    from engine.preset.json_schema import json_schema as of_presets
    from engine.search.json_schema import json_schema as of_searches
    from engine.sweep.json_schema import json_schema as of_sweeps
    from engine.user.json_schema import json_schema as of_settings

    return {"preset": of_presets, "sweep": of_sweeps, "search": of_searches, "settings": of_settings}


def schema_of(target: Path, kind: str = "preset") -> Path:
    """The schema for a file: the nearest in a folder `.crild` of its folder or one above, else next to it, to be written.

    Looks no higher than the top of a git checkout or the home folder; outside both, in the file's folder alone.
    """
    folder = target.absolute().parent
    above = [folder, *folder.parents]
    top = next((index for index, each in enumerate(above) if (each / ".git").exists() or each == _home()), 0)
    files = [each / FOLDER / FILES[kind] for each in above[: top + 1]]
    return next((file for file in files if file.is_file()), files[0])


def _home() -> Path | None:
    with suppress(RuntimeError):
        return Path.home()
    return None


def first_line(target: Path, schema: Path) -> str:
    """The line by which a file names its schema."""
    path = os.path.relpath(schema, target.absolute().parent)
    return f"{MARK}{path if path.startswith('..') else './' + path}"


def with_schema(text: str, target: Path) -> str:
    """The text of a preset file with its schema in the first line, in place of one that its origin named."""
    line = first_line(target, schema_of(target))
    if not line.isprintable() or "\n" in line:
        return text
    first, newline, rest = text.partition("\n")
    return f"{line}\n{rest if newline and first.startswith(MARK) else text}"


def provide(target: Path, kind: str = "preset") -> None:
    """Write the schema for a file that was just written, if there is none yet; without one the file is as good."""
    schema = schema_of(target, kind)
    if not schema.exists():
        with suppress(OSError, UsageError):
            write_schema(schema.parent.parent, kind)


def write_schema(folder: Path, kind: str) -> Path:
    """Write the schema of this version of crild into `.crild` of a folder; returns the file. Raises UsageError."""
    path = folder / FOLDER / FILES[kind]
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, schema_text(kind), root=folder)
    except OSError as error:
        sentence = f"{plain(str(path))} cannot be written: {cause(error)}"
        raise UsageError(sentence, kind="unwritable-schema") from None
    return path


def outdated(file: Path) -> Path | None:
    """The schema of crild's in the first line of a preset that differs from this version's; None if all is well."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            line = lines.readline(1000).rstrip()
        path = file.parent / line.removeprefix(MARK)
        known = path.parent.name == FOLDER and path.name == FILES["preset"]
        if not line.startswith(MARK) or not known or not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return None if path.read_text(encoding="utf-8") == schema_text("preset") else path
    except (OSError, ValueError):
        return None
