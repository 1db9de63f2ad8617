"""The code blocks of README and docs, and the crild commands in them.

A comment on the line before a block says how tests treat it: `<!-- not run: REASON -->` for commands that are only checked
against the command line, `<!-- file: NAME -->` for the content of a file that later blocks use.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_COMMENT = re.compile(r"^<!-- (not run|file): (.+) -->$")
_OPERATORS = frozenset("();<>|&")
SHELL = ("sh", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `line` is that of its first line of code."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    """Why its commands are not run, if a comment says so."""
    file: str | None = None
    """The file that it is the content of, if a comment says so."""

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A crild command in a shell block: the words after `crild`, and whether it stands alone, with the file that its output goes to."""

    block: Block
    words: tuple[str, ...]
    alone: bool = True
    output: str | None = None


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number, remark = 0, None
    while number < len(lines):
        line = lines[number]
        number += 1
        if (comment := _COMMENT.match(line)) is not None:
            remark = comment
        elif (fence := _FENCE.match(line)) is not None:
            indent, mark, language = fence.groups()
            start = number
            while number < len(lines) and lines[number].strip() != mark:
                number += 1
            text = "".join(f"{code.removeprefix(indent)}\n" for code in lines[start:number])
            number += 1
            kind, value = (remark[1], remark[2]) if remark else ("", None)
            found.append(
                Block(
                    page, start + 1, language.strip(), text,
                    not_run=value if kind == "not run" else None, file=value if kind == "file" else None,
                )
            )  # fmt: skip
            remark = None
        elif line.strip():
            remark = None
    return found


def shell_text(block: Block) -> str:
    """The commands of a shell block; of a `console` block the lines after `$ `."""
    if block.language != "console":
        return block.text
    return "".join(f"{line[2:]}\n" for line in block.text.splitlines() if line.startswith("$ "))


def commands(block: Block) -> list[Command]:
    """The crild commands of a shell block: continued lines joined, comments, pipes and redirections taken off."""
    if block.language not in SHELL:
        return []
    text = re.sub(r"\\\n", " ", shell_text(block))
    return [command for line in _without_documents(text) for command in _of_line(block, line)]


def commands_in_sentences(page: Path) -> Iterator[tuple[str, ...]]:
    """The words after `crild` of commands with arguments that a page names outside its blocks."""
    text = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for found in re.finditer(r"`crild ([a-z]+\s[^`]+)`", text):
        yield tuple(shlex.split(found[1]))


def _without_documents(text: str) -> Iterator[str]:
    """The lines of a shell text without here-documents."""
    end: str | None = None
    for line in text.splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            continue
        if (start := re.search(r"<<-?\s*['\"]?(\w+)", line)) is not None:
            end = start[1]
        yield line


def _of_line(block: Block, line: str) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    pieces: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= _OPERATORS and not token.startswith((">", "<")):
            pieces.append([])
        else:
            pieces[-1].append(token)
    for piece in pieces:
        words, output = _redirected(piece)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)  # a variable for this command
        if words[:1] == ["crild"]:
            yield Command(block, tuple(words[1:]), len([piece for piece in pieces if piece]) == 1, output)


def _redirected(tokens: list[str]) -> tuple[list[str], str | None]:
    """A command's words without redirections, and the file that its output goes to."""
    words: list[str] = []
    output = None
    rest = iter(tokens)
    for token in rest:
        if set(token) <= {">", "<"}:
            file = next(rest, None)
            output = file if token == ">" else output
        else:
            words.append(token)
    return words, output
