"""Finds the line of each key of a TOML text: a small scanner next to the parser, which reports no positions."""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass

import tomli

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotes may stand directly before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]+")


@dataclass(frozen=True)
class Repeat:
    """A key or table that is set twice; lines are counted from 1."""

    path: KeyPath
    first: int
    again: int


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) that first sets each key path of a valid TOML text.

    Paths are those of the parsed document: `("stage", 0, "objectives", "logits")`; tables, elements of arrays and
    tables that exist only as part of a dotted key have theirs too. Any newline convention of TOML.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def repeated(text: str) -> list[Repeat]:
    """Keys and tables that are set twice, as far as a text that the parser refused can be scanned."""
    scanner = _Scanner(text)
    with suppress(ValueError, RecursionError):  # keeps what was found up to there
        scanner.document()
    return scanner.repeats


class _Scanner:
    """Reads keys and skips values of valid TOML; for anything else it raises ValueError at some point."""

    def __init__(self, text: str):
        self.text = text
        self.at = 0
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[KeyPath, int] = {}
        self.repeats: list[Repeat] = []
        self.given: set[KeyPath] = set()  # set by a line of their own, not just as part of a longer key
        self.elements: dict[KeyPath, int] = {}  # array of tables -> index of its present element

    def document(self) -> None:
        table: KeyPath = ()
        while self.skip(_BLANK) < len(self.text):
            line = self.line()
            if self.take("[["):
                table = self.table(self.keys(), line, element=True)
                self.expect("]]")
            elif self.take("["):
                table = self.table(self.keys(), line, element=False)
                self.expect("]")
            else:
                self.pair(table)

    def table(self, keys: list[str], line: int, *, element: bool) -> KeyPath:
        path: KeyPath = ()
        for key in keys[:-1]:
            path = (*path, key)
            self.lines.setdefault(path, line)
            if path in self.elements:
                path = (*path, self.elements[path])
        path = (*path, keys[-1])
        self.lines.setdefault(path, line)
        if element:
            self.elements[path] = self.elements.get(path, -1) + 1
            path = (*path, self.elements[path])
            self.lines[path] = line
        else:
            self.give(path, line)
        return path

    def pair(self, table: KeyPath) -> None:
        line = self.line()
        keys = self.keys()
        for length in range(1, len(keys) + 1):
            self.lines.setdefault((*table, *keys[:length]), line)
        path = (*table, *keys)
        self.give(path, line)
        self.expect("=")
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        if self.take("["):
            index = 0
            while not self.take("]"):
                self.lines[*path, index] = self.line()
                self.value((*path, index))
                index += 1
                self.between()
        elif self.take("{"):
            while not self.take("}"):
                self.pair(path)
                self.between()
        elif not self.match(_STRING) and not self.match(_OTHER_VALUE):
            raise ValueError(f"no value at {self.at}")

    def between(self) -> None:
        self.skip(_BLANK)
        self.take(",")
        self.skip(_BLANK)

    def keys(self) -> list[str]:
        keys = []
        while True:
            self.skip(_SPACE)
            if quoted := self.match(_STRING):
                keys.append(str(tomli.loads(f"key = {quoted}")["key"]))
            elif bare := self.match(_BARE_KEY):
                keys.append(bare)
            else:
                raise ValueError(f"no key at {self.at}")
            self.skip(_SPACE)
            if not self.take("."):
                return keys

    def give(self, path: KeyPath, line: int) -> None:
        if path in self.given:
            self.repeats.append(Repeat(path, self.lines[path], line))
        self.given.add(path)

    def line(self) -> int:
        return bisect_right(self.newlines, self.at - 1) + 1

    def skip(self, pattern: re.Pattern[str]) -> int:
        self.match(pattern)
        return self.at

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    def take(self, sign: str) -> bool:
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            if sign in ("[", "{"):
                self.skip(_BLANK)
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise ValueError(f"no {sign} at {self.at}")
