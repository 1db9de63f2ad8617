"""Ticks: a few round values on an axis, with short labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from crild_tui.charts.scale import Scale

_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_LONGEST_WORD = 8


def ticks(scale: Scale, most: int) -> list[float]:
    """At most `most` round values on a scale, in order."""
    if most < 1:
        return []
    return _log_ticks(scale, most) if scale.log else linear_ticks(scale.low, scale.high, most)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`."""
    span = high / 2 - low / 2
    if not span > 0 or not math.isfinite(span):
        return [low] if math.isfinite(low) else []
    rough = span / max(most, 1) * 2
    power = math.floor(math.log10(rough)) if rough > 0 else -300
    for exponent in range(power, power + 3):
        for factor in (1, 2, 5):
            values = _multiples(low, high, factor, exponent)
            if values is not None and len(values) <= most:
                return values or _middle(low, high)
    return _middle(low, high)


def _multiples(low: float, high: float, factor: int, exponent: int) -> list[float] | None:
    try:
        step = float(f"{factor}e{exponent}")
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    except (OverflowError, ZeroDivisionError, ValueError):
        return None
    if last - first > 200:
        return None
    # By division: 3 / 10 is 0.3, while 3 * 0.1 is not.
    return [float(f"{number * factor}e{exponent}") for number in range(first, last + 1)]


def _middle(low: float, high: float) -> list[float]:
    """The roundest value between two."""
    middle = low / 2 + high / 2
    for digits in range(1, 16):
        value = float(f"{middle:.{digits}g}")
        if low <= value <= high:
            return [value]
    return [middle]


def _log_ticks(scale: Scale, most: int) -> list[float]:
    first, last = math.ceil(scale.low - 1e-9), math.floor(scale.high + 1e-9)
    if scale.high - scale.low <= 3 and scale.high < 300 and scale.low > -300:
        fine = [
            value
            for exponent in range(math.floor(scale.low), math.ceil(scale.high) + 1)
            for value in (float(f"{factor}e{exponent}") for factor in (1, 2, 5))
            if scale.low - 1e-9 <= math.log10(value) <= scale.high + 1e-9
        ]
        if 2 <= len(fine) <= most:
            return fine
        if last - first < 1:
            return linear_ticks(10**scale.low, 10**scale.high, most)
    every = max(1, math.ceil((last - first + 1) / most))
    return [
        float(f"1e{exponent}") for exponent in range(first, last + 1) if exponent % every == 0 and abs(exponent) < 300
    ]


def time_ticks(low: float, high: float, most: int) -> list[float]:
    """Round times in seconds: halves and quarters of minutes and hours rather than of hundreds."""
    if high - low < 4 or most < 1:
        return linear_ticks(low, high, most) if most > 0 else []
    span = high - low
    day = 86_400
    steps = (*_TIMES, *(day * days for days in _whole_steps(span / day / most)))
    step = next((step for step in steps if span / step <= most - 0.5), None)
    if step is None:
        return linear_ticks(low, high, most)
    return [float(number * step) for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _whole_steps(rough: float) -> list[int]:
    power = max(math.floor(math.log10(rough)), 0) if rough > 0 else 0
    return [factor * 10**exponent for exponent in range(power, power + 2) for factor in (1, 2, 5)]


def tick_words(values: Sequence[float], *, log: bool = False) -> list[str]:
    """Short labels, all with the same number of decimals: 0.5, 12k, 1e-4."""
    if not values:
        return []
    if log and len(values) > 1:
        words = [short(value) for value in values]
        if len(set(words)) == len(set(values)):
            return words
    size = max(abs(value) for value in values)
    step = min((b - a for a, b in pairwise(values) if b > a), default=0.0)
    words = [_word(value, size, step) for value in values]
    if max(map(len, words)) > _LONGEST_WORD or len(set(words)) < len(set(values)):
        for digits in range(3, 18):  # 17 digits distinguish any two numbers
            words = [f"{value:.{digits}g}".replace("e+", "e") for value in values]
            if len(set(words)) == len(set(values)):
                break
    return words


def _word(value: float, size: float, step: float) -> str:
    if value == 0:
        return "0"
    if size < 1e-3 or size >= 1e15:
        return _scientific(value)
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit and size >= 1e4:
            return f"{value / unit:.{_digits(step / unit or value / unit)}f}{letter}"
    return f"{value:.{_digits(step or value)}f}"


def _digits(step: float) -> int:
    """Decimals that distinguish two multiples of `step`."""
    for digits in range(12):
        if abs(round(step, digits) - step) < step * 1e-6 if step > 0 else True:
            return digits
    return 12


def _scientific(value: float, digits: int = 6) -> str:
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def short(value: float) -> str:
    """A short label for one value: 1e-4, 0.05, 20, 12k, 3M, 1e30."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e9:
        return _scientific(value, 2)
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= unit and size >= 1e4:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def time_words(values: Sequence[float]) -> list[str]:
    """Labels of training time: 0:30, 1:02, 1:02:30; 0.5s below seconds, 3h and 2d if all are whole."""
    if not values:
        return []
    if any(value != math.floor(value) for value in values):
        return [f"{word}s" for word in tick_words(values)]
    for unit, letter in ((86_400, "d"), (3600, "h")):
        if max(values) >= unit and all(value % unit == 0 for value in values):
            return [f"{value / unit:.0f}{letter}" if value else "0" for value in values]
    return [clock(value) for value in values]


def clock(seconds: float) -> str:
    """Seconds as 1:02 or 3:04:05."""
    whole = int(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
