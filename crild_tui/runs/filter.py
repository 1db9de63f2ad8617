"""The filter of the list of runs: words, `key:value`, comparisons, and the inverse of each. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from crild_tui.runs.marks import Marks
from engine.preset.text import nearest, plain
from engine.record.run import RunEntry
from engine.record.states import STATES

HELP = "words, key:value, metric:>0.8, age:<2d; ! or - before one turns it round"
_SIGNS = ("pinned", "marked", "hidden")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}
_TERM = re.compile(r'([!-]?)(?:([A-Za-z_]+):)?("[^"]*"?|\S*)\s*')


class Candidate(NamedTuple):
    """A run that is held against a filter: with the marks of the list, at a moment (seconds since 1970)."""

    entry: RunEntry
    marks: Marks
    now: float


Test = Callable[[Candidate], bool]


class FilterError(ValueError):
    """A filter that means nothing; its text is the sentence for the person who typed it."""


@dataclass(frozen=True)
class RunFilter:
    """A filter: every test must hold. Without tests it lets every run through."""

    text: str = ""
    tests: tuple[Test, ...] = ()

    def matches(self, entry: RunEntry, marks: Marks, now: float) -> bool:
        """Whether a run passes at this moment (seconds since 1970)."""
        run = Candidate(entry, marks, now)
        return all(test(run) for test in self.tests)


def parse(text: str) -> RunFilter:
    """The filter that a text means. Raises FilterError for a key, state or figure that cannot be.

    Words must all be found in id, task, method, preset, tags or note; `key:value` looks in one of them (`key:=value`
    takes only the whole); figures take `>`, `>=`, `<`, `<=`, a range `0.7..0.8`, or several by commas. Quotes keep
    spaces and colons together.
    """
    tests: list[Test] = []
    at = 0
    text = text.strip()
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or match.end() == at:  # pragma: no cover - the pattern takes any character
            break
        at = match.end()
        inverse, key, value = match[1], match[2], match[3]
        if value.startswith('"'):
            value = value.strip('"')
        elif key is None and value.startswith(":"):
            raise FilterError("a colon needs a key before it, as in state:failed")
        if not value and not key:
            continue
        test = _word(value) if key is None else _keyed(key, value)
        tests.append(_not(test) if inverse else test)
    return RunFilter(text, tuple(tests))


def _not(test: Test) -> Test:
    return lambda run: not test(run)


def _word(word: str) -> Test:
    wanted = word.casefold()
    return lambda run: wanted in _haystack(run.entry)


def _haystack(entry: RunEntry) -> str:
    status = entry.status
    words = (entry.id, *entry.tags, entry.note)
    if status is not None:
        words = (*words, status.task, status.method, status.preset)
    return "\n".join(words).casefold()


def _keyed(key: str, value: str) -> Test:
    make = _KEYS.get(key.casefold())
    if make is None:
        near = nearest(key, _KEYS)
        hint = f"did you mean {near}:?" if near else f"there are {', '.join(_KEYS)}; a text with a colon goes in quotes"
        raise FilterError(f"there is no key {plain(key)}: {hint}")
    if not value:
        raise FilterError(f"{key}: needs a value, as in {key}:{_EXAMPLES.get(key.casefold(), 'rte')}")
    return make(key.casefold(), value)


def _in_text(texts: Callable[[RunEntry], tuple[str, ...]]) -> Callable[[str, str], Test]:
    def make(key: str, value: str) -> Test:  # noqa: ARG001 - as the others
        whole = value.startswith("=")
        wanted = [word.casefold() for word in value.removeprefix("=").split(",") if word]

        def test(run: Candidate) -> bool:
            found = [text.casefold() for text in texts(run.entry)]
            return any(word == text if whole else word in text for text in found for word in wanted)

        return test

    return make


def term(key: str, value: str) -> str:
    """The term of a filter by which a text key has exactly this value; looser where the filter cannot say it."""
    if '"' in value:
        longest = max(value.split('"'), key=len)
        return f'{key}:"{longest}"' if longest else ""
    exact = "" if "," in value else "="
    quoted = any(letter.isspace() for letter in value)
    return f'{key}:"{exact}{value}"' if quoted else f"{key}:{exact}{value}"


def _state(key: str, value: str) -> Test:  # noqa: ARG001 - as the others
    wanted = set()
    for word in filter(None, value.casefold().split(",")):
        begun = {state for state in STATES if state.startswith(word)}
        if not begun:
            near = nearest(word, STATES)
            raise FilterError(
                f"{plain(word)} is no state: {f'did you mean {near}?' if near else 'try running, finished, failed, stopped or lost'}"
            )
        wanted |= begun
    return lambda run: run.entry.state in wanted


def _sign(key: str, value: str) -> Test:  # noqa: ARG001 - as the others
    begun = [sign for sign in _SIGNS if sign.startswith(value.casefold())]
    if not begun:
        raise FilterError(f"is:{plain(value)} is nothing a run can be: there are {', '.join(_SIGNS)}")
    return lambda run: any(run.entry.id in getattr(run.marks, sign) for sign in begun)


def _figure(
    figure: Callable[[Candidate], float | None], read: Callable[[str], float | None]
) -> Callable[[str, str], Test]:
    def make(key: str, value: str) -> Test:
        tests = [_compared(key, part, read) for part in value.split(",") if part]

        def test(run: Candidate) -> bool:
            found = figure(run)
            return found is not None and any(each(found) for each in tests)

        return test

    return make


def _compared(key: str, text: str, read: Callable[[str], float | None]) -> Callable[[float], bool]:
    """A test of one figure: `>0.8`, `0.7..0.8`, `0.8` (as many digits as were typed count)."""

    def number(written: str) -> float:
        found = read(written)
        if found is None:
            raise FilterError(f"{key}: {plain(written)!r} is no figure, write it as {key}:{_EXAMPLES[key]}")
        return found

    first, dots, last = text.partition("..")
    if dots and first and last:
        low, high = number(first), number(last)
        return lambda found: low <= found <= high
    match = re.fullmatch(r"(>=|<=|>|<|=?)(.*)", text)
    assert match is not None
    limit = number(match[2])
    half = _half_of_last_digit(match[2])
    return {
        ">": lambda found: found > limit,
        "<": lambda found: found < limit,
        ">=": lambda found: found >= limit,
        "<=": lambda found: found <= limit,
    }.get(match[1], lambda found: abs(found - limit) <= half)


def _half_of_last_digit(written: str) -> float:
    """Half a unit of the last digit after the point, so that `metric:0.67` finds 0.6679's neighbours as shown."""
    digits = written.partition(".")[2].rstrip("%")
    return 0.5 * 10 ** -len(digits) if digits.isdigit() else 0.0


def _plain_number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _share(text: str) -> float | None:
    found = _plain_number(text.removesuffix("%"))
    return None if found is None else found / 100


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdwy])", text.casefold())
    return None if match is None else float(match[1]) * _UNITS[match[2]]


def progress(entry: RunEntry) -> float | None:
    """The share of its steps that a run has done, from 0 to 1; None where that is not known."""
    status = entry.status
    if status is None:
        return None
    if status.state == "finished":
        return 1.0
    return min(max(status.done / status.total, 0.0), 1.0) if status.total > 0 else None


def age(entry: RunEntry, now: float) -> float | None:
    """Seconds since a run was made."""
    return None if entry.status is None else now - entry.status.created


_EXAMPLES = {
    "state": "failed", "seed": "1,2", "metric": ">0.8", "last": ">0.8", "best": ">0.8", "teacher": ">0.8",
    "done": ">50%", "age": "<2d", "is": "pinned", "tag": "good", "method": "crild", "preset": "crild", "sweep": "study",
    "cell": "method=crild",
}  # fmt: skip
_KEYS: dict[str, Callable[[str, str], Test]] = {
    "state": _state,
    "task": _in_text(lambda e: (e.status.task,) if e.status else ()),
    "method": _in_text(lambda e: (e.status.method,) if e.status else ()),
    "preset": _in_text(lambda e: (e.status.preset,) if e.status else ()),
    "sweep": _in_text(lambda e: (e.status.sweep,) if e.status and e.status.sweep else ()),
    "cell": _in_text(lambda e: tuple(f"{axis}={value}" for axis, value in e.status.cell.items()) if e.status else ()),
    "id": _in_text(lambda e: (e.id,)),
    "tag": _in_text(lambda e: e.tags),
    "note": _in_text(lambda e: (e.note,)),
    "seed": _figure(lambda run: float(run.entry.status.seed) if run.entry.status else None, _plain_number),
    "metric": _figure(lambda run: run.entry.status.last if run.entry.status else None, _plain_number),
    "last": _figure(lambda run: run.entry.status.last if run.entry.status else None, _plain_number),
    "best": _figure(lambda run: run.entry.status.best if run.entry.status else None, _plain_number),
    "teacher": _figure(lambda run: run.entry.status.teacher if run.entry.status else None, _plain_number),
    "done": _figure(lambda run: progress(run.entry), _share),
    "age": _figure(lambda run: age(run.entry, run.now), _seconds),
    "is": _sign,
}
