"""Words for messages: the nearest known word, lists, and text from outside made safe to show."""

from __future__ import annotations

from collections.abc import Iterable


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
    r"""The text with everything escaped that could control a terminal or break a line: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def json_escaped(text: str) -> str:
    """JSON text with JSON's escapes for what could control a terminal: C1 controls, bidirectional marks, line separators."""
    import json

    unsafe = [character for character in set(text) if not character.isprintable() and character not in "\n\t\r"]
    if not unsafe:
        return text
    return text.translate({ord(character): json.dumps(character)[1:-1] for character in unsafe})


def printable(text: str) -> str:
    """`text` made safe to show, with its line breaks."""
    return "\n".join(plain(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """`text` made safe to show on one line: line breaks and tabs become spaces."""
    return text if text.isprintable() else plain(text.replace("\n", " ").replace("\t", " "))


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, with an ellipsis where it is cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown(value: object, limit: int = 60) -> str:
    """A value of a preset as a message quotes it: TOML's way, safe to print, cut to about `limit` characters."""
    import datetime

    from engine.preset.toml_text import inline

    if isinstance(value, str):
        return f'"{cut(plain(value), limit)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table" if value else "an empty table"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value.isoformat()}"
    if isinstance(value, list | tuple):
        try:
            return cut(plain(inline(value)), limit)
        except RecursionError:
            return "a list that nests too deep"
    return cut(plain(str(value)), limit)


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(words: Iterable[str], last: str = "or", most: int | None = None) -> str:
    """`a, b or c`; of more than `most` words only the first, and how many more there are: `a, b or 2 more`."""
    several = list(words)
    if most is not None and len(several) > most:
        several[most:] = [f"{len(several) - most} more"]
    return several[0] if len(several) == 1 else f"{', '.join(several[:-1])} {last} {several[-1]}" if several else ""
