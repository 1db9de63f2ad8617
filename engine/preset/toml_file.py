"""Read a TOML file of the user's: its document, the line of each key, and one plain sentence when it cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomli

from engine.errors import CrildError, PresetError
from engine.preset.regular_file import NotRegularError, OversizedError, read_regular
from engine.preset.text import plain, shown
from engine.preset.toml_lines import KeyPath, key_lines, repeated
from engine.preset.tree import dotted

LARGEST = 1_000_000
"""Bytes that a file may have: a thousand times an ordinary preset."""
DEEPEST = 64
"""Levels of tables and lists that a document may have; crild's own have six."""
_DEEP_KEY = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*)""" f"{{{DEEPEST}}}")


class ParseError(ValueError):
    """A TOML text that is beyond what crild reads: `str()` says what it has, as in "a number beyond 64 bits"."""

    def __init__(self, fault: str, *, kind: str, path: KeyPath = ()):
        super().__init__(fault)
        self.kind = kind
        self.path = path


def parse(text: str) -> dict[str, Any]:
    """The document in a TOML text.

    Raises tomli.TOMLDecodeError for invalid TOML, and ParseError for numbers that do not fit into 64 bits, which TOML does
    not allow and messages cannot show, and for tables or lists nested deeper than `DEEPEST`; both are ValueErrors.
    """
    deep = ParseError(f"tables or lists nested more than {DEEPEST} levels deep", kind="nested-too-deep")
    if _DEEP_KEY.search(text):  # the parser takes quadratic time for such a key
        raise deep
    try:
        document = tomli.loads(text)
    except RecursionError:
        raise deep from None
    except tomli.TOMLDecodeError:
        raise
    except ValueError:  # a decimal number of thousands of digits
        raise ParseError("a number beyond 64 bits", kind="invalid-number") from None
    waiting: list[tuple[KeyPath, object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > DEEPEST:
            raise deep
        if isinstance(value, dict):
            waiting += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), item) for index, item in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ParseError(f"a number beyond 64 bits as {dotted(path)}", kind="invalid-number", path=path)
    return document


def unreadable(sentence: str, *, kind: str, file: str | None = None, line: int | None = None) -> PresetError:
    """The error for a file that cannot be read at all, which is its only problem."""
    return PresetError([CrildError(sentence, kind=kind, file=file, line=line)])


def read_plain(path: Path) -> dict[str, Any]:
    """The document in a TOML file that crild wrote. Raises OSError, and ValueError for text that is not TOML."""
    return parse(read_regular(path, LARGEST).decode())


def read_document(path: Path, file: str, what: str = "preset") -> tuple[dict[str, object], dict[KeyPath, int]]:
    """The TOML document in a file and the line (from 1) of each of its keys; messages call the file a `what`.

    Raises PresetError when it cannot be read, with its one syntax error if that is why.
    """
    text = _decoded(content_of(path, file, what), file, what)
    try:
        return parse(text), key_lines(text)
    except tomli.TOMLDecodeError as error:
        sentence, kind = _syntax(error, text)
        raise unreadable(sentence, kind=kind, file=file, line=error.lineno) from None
    except ParseError as error:
        line = key_lines(text).get(error.path) if error.path else None
        raise unreadable(f"the {what} has {plain(str(error))}", kind=error.kind, file=file, line=line) from None


def content_of(path: Path, file: str, what: str = "preset") -> bytes:
    """The bytes of a regular file of a sensible size; anything else is refused unread. Raises PresetError."""
    try:
        return read_regular(path, LARGEST)
    except IsADirectoryError:
        inside = path / f"{what}.toml"
        hint = f"; did you mean {plain(str(Path(file) / inside.name))}?" if inside.is_file() else ""
        sentence = f"a {what} is a file, but this is a folder{hint}"
        raise unreadable(sentence, kind="folder-not-file", file=file) from None
    except NotRegularError:
        sentence = f"a {what} is a regular file, but this is a device or pipe"
        raise unreadable(sentence, kind="not-regular-file", file=file) from None
    except OversizedError as error:
        size = f"{error.size / 1e6:.0f} MB"
        sentence = f"a {what} has a few kilobytes, but this file has {size}: is it the right one?"
        raise unreadable(sentence, kind="file-too-large", file=file) from None
    except OSError as error:
        sentence = f"the {what} cannot be read: {error.strerror or error}"
        raise unreadable(sentence, kind="unreadable-file", file=file) from None


def _decoded(content: bytes, file: str, what: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise unreadable(f"the {what} is UTF-16 text: save it as UTF-8", kind="utf16-text", file=file, line=1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        sentence = f"the {what} is not UTF-8 text ({byte}): save it as UTF-8"
        raise unreadable(sentence, kind="not-utf8", file=file, line=line) from None


def _syntax(error: tomli.TOMLDecodeError, text: str) -> tuple[str, str]:
    """The parser's message with what is at that position and the usual reason for it; and its kind."""
    for repeat in repeated(text):
        if repeat.again == error.lineno:
            first = "" if repeat.first == repeat.again else f"; the first is on line {repeat.first}"
            return f"{plain(dotted(repeat.path))} is set twice{first} (column {error.colno})", "repeated-key"
    line = text.split("\n")[error.lineno - 1].rstrip("\r") if text else ""
    rest = line[error.colno - 1 :].strip()
    sentence = f"not valid TOML at column {error.colno}: {plain(error.msg[:1].lower() + error.msg[1:])}"
    if error.msg != "Invalid value":
        sentence += f", in {shown(line.strip())}" if line.strip() else ""
    elif not rest:
        sentence += "; a value belongs after the ="
    else:
        word = rest.split("#")[0].strip()
        if word in ("True", "False"):
            sentence += f"; write {word.lower()}"
        elif "=" in word:
            sentence += f", in {shown(line.strip())}; perhaps a list above is not closed"
        else:
            sentence += f" {shown(word, 40)[1:-1]}; put text in quotes"
    return sentence, "invalid-toml"
