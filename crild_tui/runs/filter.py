"""The filter of the list of runs: words, `key:value`, comparisons, and the negation of each. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import UsageError
from engine.preset.text import nearest, plain
from engine.record.states import STATES

if TYPE_CHECKING:
    from crild_tui.runs.marks import Marks
    from engine.record.run import RunEntry

HELP = "words, key:value, metric:>80 (or >0.8), age:<2d; ! or - negates one"
MARKS = ("pinned", "marked", "hidden")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}
_TERM = re.compile(r'([!-]?)(?:([A-Za-z_]+):)?("[^"]*"?|\S*)\s*')


class Candidate(NamedTuple):
    """A run to test: with the user's marks, at a moment (seconds since 1970)."""

    entry: RunEntry
    marks: Marks
    now: float


Test = Callable[[Candidate], bool]


class FilterError(UsageError):
    """A filter that cannot be understood."""


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
    """The filter that a text means. Raises FilterError for an unknown key or state and for an invalid number.

    Words must all be found in id, task, method, preset, tags or note; `key:value` searches one of them (`key:=value`
    must match the whole); `is:` takes a state or a mark; numbers take `>`, `>=`, `<`, `<=`, a range `70..80`, or
    several separated by commas. A metric is written as it is shown (`80`) or as records have it: a number from -1 to 1
    is a share, unless it ends in `%`. Quotes keep spaces and colons together.
    """
    tests: list[Test] = []
    end = 0
    text = text.strip()
    while end < len(text):
        match = _TERM.match(text, end)
        if match is None or match.end() == end:  # pragma: no cover - the pattern takes any character
            break
        end = match.end()
        negated, key, value = match[1], match[2], match[3]
        if value.startswith('"'):
            value = value.strip('"')
        elif key is None and value.startswith(":"):
            raise FilterError("a colon needs a key before it, as in state:failed", kind="filter-without-key")
        if not value and not key:
            continue
        test = _word(value) if key is None else _keyed(key, value)
        tests.append(_not(test) if negated else test)
    return RunFilter(text, tuple(tests))


def exactly(key: str, value: str) -> str:
    """A filter for text keys that have exactly this value; looser where the filter language cannot say it."""
    if '"' in value:
        longest = max(value.split('"'), key=len)
        return f'{key}:"{longest}"' if longest else ""
    exact = "" if "," in value else "="
    quoted = any(letter.isspace() for letter in value)
    return f'{key}:"{exact}{value}"' if quoted else f"{key}:{exact}{value}"


def _not(test: Test) -> Test:
    return lambda run: not test(run)


def _word(word: str) -> Test:
    folded = word.casefold()
    return lambda run: folded in _searched(run.entry)


def _searched(entry: RunEntry) -> str:
    """The text in which words are searched."""
    status = entry.status
    words = (entry.id, *entry.tags, entry.note)
    if status is not None:
        words = (*words, status.task, status.method, status.preset)
    return "\n".join(words).casefold()


def _keyed(key: str, value: str) -> Test:
    make = _KEYS.get(key.casefold())
    if make is None:
        near = nearest(key, _KEYS)
        hint = f"did you mean {near}:?" if near else f"choose one of {', '.join(_KEYS)}, or quote text with a colon"
        raise FilterError(f"unknown filter {plain(key)}:{plain(value)}; {hint}", kind="unknown-filter-key")
    if not value:
        example = _EXAMPLES.get(key.casefold(), "rte")
        raise FilterError(f"{key}: needs a value, as in {key}:{example}", kind="filter-without-value")
    return make(key.casefold(), value)


def _in_text(texts: Callable[[RunEntry], tuple[str, ...]]) -> Callable[[str, str], Test]:
    def make(key: str, value: str) -> Test:  # noqa: ARG001 - every key's function has the same signature
        whole = value.startswith("=")
        words = [word.casefold() for word in value.removeprefix("=").split(",") if word]

        def test(run: Candidate) -> bool:
            folded = [text.casefold() for text in texts(run.entry)]
            return any(word == text if whole else word in text for text in folded for word in words)

        return test

    return make


def _state(key: str, value: str) -> Test:  # noqa: ARG001 - every key's function has the same signature
    chosen = set()
    for word in filter(None, value.casefold().split(",")):
        matching = {state for state in STATES if state.startswith(word)}
        if not matching:
            near = nearest(word, STATES)
            hint = f"did you mean {near}?" if near else f"choose one of {', '.join(STATES)}"
            raise FilterError(f"unknown state {plain(word)}; {hint}", kind="unknown-state")
        chosen |= matching
    return lambda run: run.entry.state in chosen


def _is(key: str, value: str) -> Test:
    word = value.casefold()
    marks = [mark for mark in MARKS if mark.startswith(word)]
    if marks:
        return lambda run: any(run.entry.id in getattr(run.marks, mark) for mark in marks)
    if any(state.startswith(word) for state in STATES):
        return _state(key, value)
    sentence = f"unknown filter is:{plain(value)}; choose one of {', '.join((*MARKS, *STATES))}"
    raise FilterError(sentence, kind="unknown-filter")


@dataclass(frozen=True)
class Unit:
    """How numbers of a key are written: `read` gives what runs are compared with, None for what is no number.

    `worth` is what a 1 is then. `rounded`: whether a whole number finds all that are shown as it.
    """

    read: Callable[[str], float | None]
    worth: float = 1.0
    rounded: bool = False


def _number(
    number_of: Callable[[Candidate], float | None], unit_of: Callable[[str], Unit]
) -> Callable[[str, str], Test]:
    """Tests of a number; `unit_of` is given each comparison as it was typed."""

    def make(key: str, value: str) -> Test:
        comparisons = [_comparison(key, part, unit_of(part)) for part in value.split(",") if part]

        def test(run: Candidate) -> bool:
            number = number_of(run)
            return number is not None and any(holds(number) for holds in comparisons)

        return test

    return make


def _comparison(key: str, text: str, unit: Unit) -> Callable[[float], bool]:
    """A test of one number: `>0.8`, `0.7..0.8`, `0.8` (equal in as many digits as were typed)."""

    def parsed(written: str) -> float:
        number = unit.read(written)
        if number is None:
            sentence = f"{key}: {plain(written)!r} is not a number; write it as in {key}:{_EXAMPLES[key]}"
            raise FilterError(sentence, kind="invalid-filter-number")
        return number

    sign, written = _parts(text)
    if len(written) == 2:
        low, high = map(parsed, written)
        return lambda number: low <= number <= high
    limit = parsed(written[0])
    tolerance = _half_of_last_digit(written[0], unit)
    return {
        ">": lambda number: number > limit,
        "<": lambda number: number < limit,
        ">=": lambda number: number >= limit,
        "<=": lambda number: number <= limit,
    }.get(sign, lambda number: abs(number - limit) <= tolerance)


def _parts(text: str) -> tuple[str, list[str]]:
    """The sign of a comparison, and the number after it; of a range no sign, and both numbers."""
    first, dots, last = text.partition("..")
    if dots and first and last:
        return "", [first, last]
    match = re.fullmatch(r"(>=|<=|>|<|=?)(.*)", text)
    assert match is not None
    return match[1], [match[2]]


def _half_of_last_digit(written: str, unit: Unit) -> float:
    """Half of the last digit that was typed, so that `metric:66.8` and `metric:0.67` also find 0.6679."""
    digits = written.removesuffix("%").partition(".")[2]
    if not digits.isdigit() and not (unit.rounded and digits == ""):
        return 0.0
    return 0.5 * 10.0 ** -len(digits) * unit.worth


def _plain_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _hundredths(text: str) -> float | None:
    """The share that a number is 100 times of, with or without %."""
    number = _plain_number(text.removesuffix("%"))
    return None if number is None else round(number / 100, 15)  # 66.7 is 0.667, not the next number to it


def _unit_of_metric(comparison: str) -> Unit:
    """Shares if all numbers of a comparison are from -1 to 1, else metrics as shown; `0.5%` is half a point."""
    written = _parts(comparison)[1]
    sizes = [abs(_plain_number(each) or 0.0) for each in written]
    return SHOWN if max(sizes) > 1 or any(each.endswith("%") for each in written) else PLAIN


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
    """Seconds since a run was created."""
    return None if entry.status is None else now - entry.status.created


PLAIN = Unit(_plain_number)
PERCENT = Unit(_hundredths, 0.01)
SHOWN = Unit(_hundredths, 0.01, rounded=True)
AGE = Unit(_seconds)
_EXAMPLES = {
    "state": "failed", "seed": "1,2", "metric": ">80", "last": ">80", "best": ">80", "teacher": ">80",
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
    "seed": _number(lambda run: float(run.entry.status.seed) if run.entry.status else None, lambda _: PLAIN),
    "metric": _number(lambda run: run.entry.status.last if run.entry.status else None, _unit_of_metric),
    "last": _number(lambda run: run.entry.status.last if run.entry.status else None, _unit_of_metric),
    "best": _number(lambda run: run.entry.status.best if run.entry.status else None, _unit_of_metric),
    "teacher": _number(lambda run: run.entry.status.teacher if run.entry.status else None, _unit_of_metric),
    "done": _number(lambda run: progress(run.entry), lambda _: PERCENT),
    "age": _number(lambda run: age(run.entry, run.now), lambda _: AGE),
    "is": _is,
}
KEYS = tuple(_KEYS)
"""What a filter can ask for."""
