"""Write a value as TOML does, on one line."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def inline(value: object, *, short: bool = False) -> str:
    """A value as TOML on one line: `{ mse = true, weight = 1.0 }`; with `short`, whole numbers have no point: `20`."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace(
                "\x7f", "\\u007f"
            )  # JSON escapes all else that TOML does
        case bool():
            return "true" if value else "false"
        case Mapping():
            entries = ", ".join(f"{key_text(key)} = {inline(item, short=short)}" for key, item in value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case list() | tuple():
            return f"[{', '.join(inline(item, short=short) for item in value)}]"
        case float() if short and value.is_integer() and abs(value) < 1e15:
            return f"{value:.0f}"
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)


def key_text(key: object) -> str:
    """A key as TOML writes it, in quotes where it must be."""
    return str(key) if _BARE_KEY.fullmatch(str(key)) else inline(str(key))
