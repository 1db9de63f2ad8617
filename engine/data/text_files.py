"""Find and read text files; what is wrong with one is reported with its line. Imports no torch: preflight asks too."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from engine.data.compressed import decompressed
from engine.data.spool import Content, spooled
from engine.errors import DataError
from engine.preset.paths import not_a_file
from engine.preset.regular_file import open_regular
from engine.preset.source_names import TEXT_ENDINGS
from engine.preset.text import nearest, plain
from engine.record.files import cause

MAX_TEXT = 1_000_000
"""Characters in one sentence at most. Nobody's sentence is longer: such a text is a file read the wrong way."""

HEAD = 1_000_000
"""Bytes of a file that checks before a run read."""
BLOCK = 1 << 18
"""Bytes of a file that `text_blocks` reads at once."""
LONGEST_LINE = 64 * BLOCK
"""Bytes of a line at most in `text_blocks`."""
_MOST_HEADS = 100  # text files of a corpus whose heads are checked
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Readable(Protocol):
    """An open file, as far as `text_blocks` uses it."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer at the end of the file."""


def read_content(path: Path) -> Content:
    """The bytes of a UTF-8 file, decompressed: a copy that no other program changes.

    Raises DataError when there is no such file, when it cannot be read, is empty, or begins with bytes that are not UTF-8
    text; `content_blocks` finds those that follow.
    """
    with opened(path) as file:
        content = spooled(decompressed(file, path)).content()
    if not any(text.strip() for _, text in content_blocks(content, path)):
        raise DataError("the file is empty", kind="empty-file", file=str(path))
    return content


def content_blocks(content: Content, path: Path) -> Iterator[tuple[int, str]]:
    """UTF-8 bytes in blocks of whole lines with their ends, each with the number of its first line.

    `path` is what errors call them. Lines end with LF or CRLF, or with CR alone, where there is no LF at all. Raises
    DataError for bytes that are not UTF-8 text.
    """
    ending = b"\n" if content.find(b"\n") >= 0 else b"\r"
    start, number = 0, 1
    while start < len(content):
        end = content.rfind(ending, start, start + BLOCK) + 1
        if len(content) - start <= BLOCK:
            end = len(content)
        elif not end:
            end = (content.find(ending, start + BLOCK) + 1) or len(content)
        raw = bytes(content[start:end])
        yield number, _decoded(raw, path, number)
        start, number = end, number + max(raw.count(ending), 1)


def content_lines(content: Content, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of UTF-8 bytes with their numbers, without their ends. Raises DataError as `content_blocks` does."""
    number = 0
    for _, block in content_blocks(content, path):
        for line in split_lines(block):
            number += 1
            yield number, line


def read_head(path: Path) -> str:
    """The whole lines in the first `HEAD` bytes of a UTF-8 file, decompressed; "" where its first line is longer.

    Raises DataError as `read_content` does, for what these lines show.
    """
    return read_beginning(path)[0]


def read_beginning(path: Path) -> tuple[str, bool]:
    """As `read_head`, and whether this is the whole file."""
    raw = _content(path, HEAD + 1)
    is_whole = len(raw) <= HEAD
    text = _decoded(raw if is_whole else raw[: raw.rfind(b"\n") + 1], path, 1)
    if not text.strip() and is_whole:
        raise DataError("the file is empty", kind="empty-file", file=str(path))
    return text, is_whole


def _content(path: Path, most: int = -1) -> bytes:
    with opened(path) as file:
        return decompressed(file, path).read(most)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading bytes. Raises DataError when it is no file or cannot be read."""
    if (problem := not_a_file(path)) is not None:
        raise DataError(problem, kind="not-regular-file", file=str(path))
    try:
        with open_regular(path) as file:
            yield file
    except OSError as fault:
        raise _unreadable(path, fault) from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file of any size, one after the other, with their numbers and without their ends (LF or CRLF).

    Raises DataError as `read_content` does (an empty file gives no lines), and for a line longer than `MAX_TEXT` bytes.
    """
    with opened(path) as packed:
        file, number = decompressed(packed, path), 0
        while raw := file.readline(MAX_TEXT + 1):
            number += 1
            if len(raw) > MAX_TEXT:
                sentence = f"this line is longer than {MAX_TEXT:,} bytes; a corpus has one paragraph on each line"
                raise DataError(sentence, kind="line-too-long", file=str(path), line=number)
            yield number, _decoded(raw, path, number).removesuffix("\n").removesuffix("\r")


def text_blocks(file: Readable, path: Path) -> Iterator[tuple[int, str]]:
    """A UTF-8 file of any size in blocks of whole lines with their ends, each with the number of its first line.

    `path` is what errors call the file. Raises DataError for bytes that are not UTF-8 text, and for a line longer than
    `LONGEST_LINE` bytes.
    """
    first, rest = 1, b""
    while raw := file.read(BLOCK):
        raw = rest + raw
        end = raw.rfind(b"\n") + 1 or raw.rfind(b"\r", 0, -1) + 1
        rest = raw[end:]
        if len(rest) > LONGEST_LINE:
            sentence = f"this line is longer than {LONGEST_LINE:,} bytes: is this a text file?"
            raise DataError(sentence, kind="line-too-long", file=str(path), line=first + raw.count(b"\n", 0, end))
        if end:
            yield first, _decoded(raw[:end], path, first)
            first += raw.count(b"\n", 0, end)
    if rest:
        yield first, _decoded(rest, path, first)


def corpus_files(path: Path, most: int | None = None) -> list[Path]:
    """A corpus file itself, or every text file of a folder and its folders in the order of their names.

    With `most`, so many of them in any order. Raises DataError when there are none.
    """
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        next(path.iterdir(), None)  # the search below passes over folders that it may not read
    except FileNotFoundError:
        raise DataError("there is no such file or folder", kind="no-such-file", file=str(path), key="corpus") from None
    except OSError as fault:
        sentence = f"the corpus cannot be read: {cause(fault)}"
        raise DataError(sentence, kind="unreadable-file", file=str(path), key="corpus") from None
    found = (file for file in path.rglob("*") if file.suffix.lower() in ("", *TEXT_ENDINGS) and _is_visible_file(file))
    files = sorted(found) if most is None else list(islice(found, most))
    if not files:
        others = [file.name for file in sorted(filter(_is_visible_file, path.rglob("*")))]
        holds = f"; it holds {listed(others)}" if others else ""
        sentence = f"the folder holds no text file ({', '.join(TEXT_ENDINGS)}){holds}"
        raise DataError(sentence, kind="no-text-files", file=str(path), key="corpus")
    return files


def check_corpus(path: Path) -> None:
    """Check that a corpus has text, from the heads of at most 100 of its files. Raises DataError for what they show."""
    files = corpus_files(path, _MOST_HEADS)
    with_text = sum(_has_text(file) for file in files)
    if not with_text and len(files) < _MOST_HEADS:
        what = "the file is" if files == [path] else "every text file of this folder is"
        sentence = f"{what} empty: a corpus has a paragraph of text on each line"
        raise DataError(sentence, kind="empty-corpus", file=str(path), key="corpus")


def _has_text(path: Path) -> bool:
    try:
        return bool(read_head(path)) or any(text_lines(path))  # which refuses a line that is longer than the head
    except DataError as error:
        if error.kind == "empty-file":
            return False
        raise


def _is_visible_file(file: Path) -> bool:
    return not file.name.startswith(".") and file.is_file()


def _unreadable(path: Path, fault: OSError) -> DataError:
    if isinstance(fault, FileNotFoundError):
        if path.is_symlink():
            sentence = f"this is a link to {plain(str(path.readlink()))}, which does not exist"
            return DataError(sentence, kind="dangling-link", file=str(path))
        try:
            names = [item.name for item in path.parent.iterdir()]
        except OSError:  # no such folder, or one that may not be listed
            names = []
        near = nearest(path.name, names)
        hint = f"; did you mean {plain(near)}?" if near else ""
        return DataError(f"there is no such file{hint}", kind="no-such-file", file=str(path))
    if isinstance(fault, IsADirectoryError):
        return DataError("this is a folder, where a file is expected", kind="folder-not-file", file=str(path))
    return DataError(f"the file cannot be read: {cause(fault)}", kind="unreadable-file", file=str(path))


def _decoded(raw: bytes, path: Path, first: int) -> str:
    """Bytes that begin at line `first` of a file as text; the byte order mark, if the file has one, is left out."""
    if first == 1 and raw.startswith(_UTF16):
        raise DataError("the file is UTF-16 text; save it as UTF-8", kind="utf16-text", file=str(path))
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + first
        sentence = "there is a NUL byte on this line: this is not a text file, or a damaged one"
        raise DataError(sentence, kind="nul-byte", file=str(path), line=line)
    try:
        return raw.decode("utf-8-sig" if first == 1 else "utf-8")
    except UnicodeDecodeError as fault:
        at = fault.start + (len(codecs.BOM_UTF8) if first == 1 and raw.startswith(codecs.BOM_UTF8) else 0)
        line = raw.count(b"\n", 0, at) + first
        sentence = f"byte 0x{fault.object[fault.start]:02x} is not UTF-8 text; save the file as UTF-8"
        raise DataError(sentence, kind="not-utf8", file=str(path), line=line) from None


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
        sentence = f"this text has {len(text):,} characters; the limit is {MAX_TEXT:,}"
        raise DataError(sentence, kind="text-too-long", file=path, line=line)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        sentence = "the text holds half of a surrogate pair, which is not a character"
        raise DataError(sentence, kind="half-surrogate-pair", file=path, line=line)


def repeated_header(path: str, line: int | None) -> DataError:
    """The error for a row that repeats the column names."""
    sentence = "this row repeats the column names: files were joined with their headers; remove it"
    return DataError(sentence, kind="repeated-header", file=path, line=line)


def shown(value: object, longest: int = 40) -> str:
    """A value from a file as messages quote it: on one line, without control characters, short."""
    text = str(value)
    return f'"{plain(text[:longest])}{"…" if len(text) > longest else ""}"'


def listed(values: Sequence[object], longest: int = 12) -> str:
    """Values from a file as a list within a sentence; a long list is cut and counted."""
    words = [shown(value) for value in values[:longest]]
    if len(values) > longest:
        words.append(f"{len(values) - longest:,} more")
    return ", ".join(words)
