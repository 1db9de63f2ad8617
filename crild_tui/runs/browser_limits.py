"""What a dashboard in a browser may not name: files outside the folder that it was started in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.preset.text import shown
from engine.preset.toml_file import parse

NO_FOREIGN_CODE = (
    "a model comes with its own code, and nobody can agree to that in a browser: use crild run --trust-remote-code on "
    "the machine itself"
)


def refuse_outside(texts: Mapping[str, str]) -> None:
    """Raise UsageError if one of the texts names a path that leads out: they are by the key of a preset that takes them.

    Such paths are absolute, below a home folder, or have `..`; they may be inside TOML lists and tables.
    """
    for key, text in texts.items():
        for value in (text, *_strings(_parsed(text))):
            if _leads_out(value.strip()):
                sentence = f"{shown(value)} is not below the folder of this dashboard, and in a browser it must be"
                raise UsageError(sentence, kind="path-outside-folder", key=key)


def _leads_out(text: str) -> bool:
    return text.startswith(("/", "~", "file:")) or ".." in Path(text).parts


def _parsed(text: str) -> Any:
    try:
        return parse(f"value = {text}")["value"]
    except (ValueError, KeyError):
        return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)
