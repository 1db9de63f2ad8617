"""Reading text files so that whatever is wrong with one is said with its line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import DataError
from engine.preset.paths import not_a_file
from engine.preset.text import plain
from engine.record.files import cause

MAX_TEXT = 1_000_000
"""Characters in one sentence at most. Nobody's sentence is longer: such a text is a file read the wrong way."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without its byte order mark; line ends and control characters stay as they are.

    Raises DataError when there is no such file, when it cannot be read, is empty, or holds bytes that are not UTF-8 text.
    """
    _only_file(path)
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise _unreadable(path, fault) from None
    text = _decoded(raw, path, 1)
    if not text.strip():
        raise DataError("the file is empty", file=str(path))
    return text


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file of any size, one after the other, with their numbers and without their ends (LF or CRLF).

    Raises DataError as `read_text` does (an empty file gives no lines), and for a line longer than `MAX_TEXT` bytes.
    """
    _only_file(path)
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_TEXT + 1):
                number += 1
                if len(raw) > MAX_TEXT:
                    sentence = f"this line is longer than {MAX_TEXT:,} bytes; a corpus has one paragraph on each line"
                    raise DataError(sentence, file=str(path), line=number)
                yield number, _decoded(raw, path, number).removesuffix("\n").removesuffix("\r")
    except OSError as fault:
        raise _unreadable(path, fault) from None


def _only_file(path: Path) -> None:
    if (odd := not_a_file(path)) is not None:
        raise DataError(odd, file=str(path))


def _unreadable(path: Path, fault: OSError) -> DataError:
    if isinstance(fault, FileNotFoundError):
        return DataError("there is no such file", file=str(path))
    if isinstance(fault, IsADirectoryError):
        return DataError("this is a folder, where a file is needed", file=str(path))
    return DataError(f"the file cannot be read: {cause(fault)}", file=str(path))


def _decoded(raw: bytes, path: Path, first: int) -> str:
    """Bytes that begin at line `first` of a file as text; the byte order mark, if the file has one, is left out."""
    if first == 1 and raw.startswith(_UTF16):
        raise DataError("the file is UTF-16 text; save it as UTF-8", file=str(path))
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + first
        raise DataError("a NUL byte stands here: this is not a text file, or a damaged one", file=str(path), line=line)
    try:
        return raw.decode("utf-8-sig" if first == 1 else "utf-8")
    except UnicodeDecodeError as fault:
        at = fault.start + (len(codecs.BOM_UTF8) if first == 1 and raw.startswith(codecs.BOM_UTF8) else 0)
        line = raw.count(b"\n", 0, at) + first
        sentence = f"byte 0x{fault.object[fault.start]:02x} is not UTF-8 text; save the file as UTF-8"
        raise DataError(sentence, file=str(path), line=line) from None


def split_lines(text: str) -> list[str]:
    """The lines of a text, ended by LF or CRLF (or by CR alone, where a file has nothing else); the last end is optional.

    Unlike `str.splitlines`, other control characters end no line: some stand inside the official GLUE sentences.
    """
    ending = "\r" if "\n" not in text else "\n"
    lines = text.split(ending)
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text and ending == "\n" else lines


def check_text(text: str, path: str, line: int | None) -> None:
    """Raises DataError for a text that no tokenizer could take."""
    if len(text) > MAX_TEXT:
        sentence = f"a text of {len(text):,} characters stands here; the longest that is taken has {MAX_TEXT:,}"
        raise DataError(sentence, file=path, line=line)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError("the text holds half of a surrogate pair, which is no character", file=path, line=line)


def shown(value: object, longest: int = 40) -> str:
    """A value from a file as it may stand in a sentence: in quotes, on one line, without control characters, short."""
    text = str(value)
    return f'"{plain(text[:longest])}{"…" if len(text) > longest else ""}"'


def listed(values: Sequence[object], longest: int = 12) -> str:
    """Values from a file as a list within a sentence; a long list is cut and counted."""
    words = [shown(value) for value in values[:longest]]
    if len(values) > longest:
        words.append(f"{len(values) - longest:,} more")
    return ", ".join(words)
