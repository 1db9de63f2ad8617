"""Damage for inputs: bytes, JSON and TOML with what files hold after accidents, in other programs, and out of malice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

DIGITS = "9" * 4301
"""More digits than Python reads as a decimal number."""
_DIGITS_HERE = "@digits@"
_TEXTS: tuple[str, ...] = (
    "", " ", "nan", "\x9b31m", "\u202eabc\u202c", "\ud800", "\x00", "a" * 10_000, "..", "/", "~nosuchuser", "C:\\x",
    "\u2028", "=1+1", "<b>", "a\nb", "\x1b]0;x\x07", "é" * 300, "🏳️‍🌈", "-1", "1e999", _DIGITS_HERE,
)  # fmt: skip
_BYTES: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\x9b", b"\r", b"\n", b"\xe2\x80\xa8", b"\xed\xa0\x80", b'"', b"'", b"[", b"{", b"}", b"]", b",",
    b":", b"=", b".", b"#", b"1e999", b"-", b"nan", b"null", b"true", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"[" * 3000,
    b'{"a":' * 3000, DIGITS.encode(), b"0x" + b"f" * 5000, b"a." * 900 + b"a=1\n",
)  # fmt: skip


def nasty_value(rng: Random) -> Any:
    """A value of any JSON type that a reader may not expect."""
    deep: Any = []
    for _ in range(rng.choice((3, 90, 900))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    numbers = (
        0,
        -1,
        1,
        2,
        2**31,
        2**53,
        2**63,
        -(2**64),
        10**400,
        1e308,
        -1e308,
        1e-320,
        float("nan"),
        float("inf"),
        0.5,
        -0.0,
    )
    return rng.choice(
        (None, True, False, [], {}, [None], {"": None}, [[]], deep, rng.choice(numbers), rng.choice(numbers),
         rng.choice(_TEXTS), rng.choice(_TEXTS), [rng.choice(_TEXTS)], {rng.choice(_TEXTS): 1}, [1] * 20_000)
    )  # fmt: skip


def mutated_bytes(rng: Random, content: bytes) -> bytes:
    """`content` with a few random changes: cut, flipped, repeated, or with something foreign in it."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        start = rng.randrange(len(changed) + 1)
        end = min(len(changed), start + rng.choice((1, 2, 8, 64, 1024)))
        match rng.randrange(7):
            case 0:
                del changed[start:]
            case 1:
                del changed[start:end]
            case 2 if start < len(changed):
                changed[start] ^= 1 << rng.randrange(8)
            case 3:
                changed[start:start] = rng.choice(_BYTES)
            case 4:
                changed[start:end] = rng.choice(_BYTES)
            case 5:
                changed[start:start] = changed[start:end] * rng.choice((1, 2, 50))
            case _:
                changed[start:end] = bytes(end - start)
    return bytes(changed)


def mutated_json(rng: Random, content: bytes) -> bytes:
    """JSON with values, keys and branches changed; now and then damaged as bytes."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, content)
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _changed(rng, document)
    text = json.dumps(document)
    return text.replace(f'"{_DIGITS_HERE}"', DIGITS).encode()


def _changed(rng: Random, value: Any) -> Any:
    """A copy of a JSON value with one place in it changed."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not keys or rng.random() < 0.1:
        return nasty_value(rng)
    key = rng.choice(keys)
    copy = dict(value) if isinstance(value, dict) else list(value)
    match rng.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[rng.choice(_TEXTS)] = copy.pop(key)
        case 2:
            copy[key] = nasty_value(rng)
        case 3:
            copy[key] = copy[rng.choice(keys)]
        case _:
            copy[key] = _changed(rng, copy[key])
    return copy


def mutated_lines(rng: Random, content: bytes) -> bytes:
    """JSON lines with a line damaged, repeated, moved or dropped."""
    lines = content.splitlines(keepends=True)
    for _ in range(rng.choice((1, 2, 5))):
        if not lines:
            break
        index = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                del lines[index]
            case 1:
                lines[index:index] = [lines[index]] * rng.choice((1, 100))
            case 2:
                lines.insert(rng.randrange(len(lines)), lines.pop(index))
            case 3:
                lines[index] = mutated_bytes(rng, lines[index])
            case _:
                line = lines[index].strip()
                lines[index] = (_valid(rng, line) if line[:1] == b"{" else line) + b"\n"
    return b"".join(lines)


def _valid(rng: Random, line: bytes) -> bytes:
    try:
        return mutated_json(rng, line)
    except ValueError:  # damaged before
        return line


_TOML_VALUES: tuple[str, ...] = (
    "0x" + "f" * 5000, "0b" + "1" * 20_000, DIGITS, "inf", "-inf", "nan", "-0.0", "1e999", "1e308", "-1", "0", "true", "false",
    '""', '"\\u0000"', '"\\u202e"', '"\\u009b"', "[]", "{}", "[" * 900 + "]" * 900, "{a = " * 200 + "1" + "}" * 200, "[1, 'a']",
    "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "'''\n'''", "99999999999999999999", "9223372036854775807", '"crild"',
    "[[1, 2], [3]]", '{ weight = "x" }', '"' + "x" * 50_000 + '"', '["a"' + ', "a"' * 5000 + "]", "'~nosuchuser/x'", "'/dev/zero'",
)  # fmt: skip
_TOML_KEYS: tuple[str, ...] = (
    "a." * 900 + "a", "''", '"\\u202e"', "stage", "task", "extends", "stages", "schema", "name", "x" * 3000, "objectives",
    "a.b.c", "teacher.model", "1", "-", "'a.b'", "mixup", "train",
)  # fmt: skip


def mutated_toml(rng: Random, content: bytes) -> bytes:
    """TOML with values, keys and lines changed; now and then damaged as bytes."""
    if rng.random() < 0.25:
        return mutated_bytes(rng, content)
    lines = content.decode().split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        index = rng.randrange(len(lines))
        line = lines[index]
        change: Callable[[re.Match[str]], str] = lambda match: f"{match[1]} = {rng.choice(_TOML_VALUES)}"  # noqa: E731
        match rng.randrange(7):
            case 0:
                del lines[index]
                lines = lines or [""]
            case 1:
                lines.insert(index, line)
            case 2:
                lines.insert(rng.randrange(len(lines)), lines.pop(index))
            case 3:
                lines[index] = re.sub(r"^\s*[\w.-]+(?=\s*=)", lambda _: rng.choice(_TOML_KEYS), line)
            case 4:
                lines.insert(index, f"{rng.choice(_TOML_KEYS)} = {rng.choice(_TOML_VALUES)}")
            case 5:
                lines.insert(index, f"[{rng.choice(('', '['))}{rng.choice(_TOML_KEYS)}]" + rng.choice(("", "]")))
            case _:
                lines[index] = re.sub(r"(?<![\w.-])([\w.-]{1,200})\s*=\s*[^,}]+", change, line, count=1)
    return "\n".join(lines).encode(errors="replace")
