"""Words for messages: the nearest known word, and text from outside made safe to print."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from engine.preset.toml_text import inline


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a misspelling of; None when nothing comes close."""
    from difflib import get_close_matches  # only when something is already wrong

    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    folded = word.casefold()[:100]  # difflib takes quadratic time
    found = get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    if found:
        return by_folded[found[0]]
    if len(folded) >= 3:
        starts = [known for known in by_folded if known.startswith(folded) or folded.startswith(known)]
        if len(starts) == 1:
            return by_folded[starts[0]]
    return None


def plain(text: str) -> str:
    r"""The text with everything escaped that could steer a terminal or break a line: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def shown(value: object, limit: int = 60) -> str:
    """A value of a preset as a message quotes it: TOML's way, safe to print, cut to about `limit` characters."""
    if isinstance(value, str):
        return f'"{_cut(plain(value), limit)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table" if value else "an empty table"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value.isoformat()}"
    if isinstance(value, list | tuple):
        return _cut(plain(inline(value)), limit)
    return _cut(plain(str(value)), limit)


def listed(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    several = list(words)
    return several[0] if len(several) == 1 else f"{', '.join(several[:-1])} {last} {several[-1]}" if several else ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
