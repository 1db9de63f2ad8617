"""Format figures for reading: the same in every locale, and short enough for 80 columns."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from engine.preset import text
from engine.report import units

if TYPE_CHECKING:
    from engine.record.phases import Phase
    from engine.record.status import Status

NONE = "-"
"""Shown where a figure is not known."""


def metric(value: float | None) -> str:
    """A metric as everywhere: times 100, with two digits after the point."""
    return NONE if value is None else units.metric(value)


def difference(value: float | None) -> str:
    """A difference of metrics with its sign, times 100 as metrics are."""
    return NONE if value is None else units.difference(value)


def loss(value: float | None) -> str:
    """A loss with four significant digits, whatever its size."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3e}"


def number(value: float | None) -> str:
    """A learning rate, a weight or a norm, with three significant digits."""
    return NONE if value is None else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share of 1 as whole per cent, rounded down: 100 only when it is complete."""
    if share is None or not math.isfinite(share):
        return NONE
    value = share * 100
    return f"{math.floor(value) if value < 100 else value:.0f} %"


def duration(seconds: float | None) -> str:
    """Seconds as `0.4 s`, `12 s`, `1:02`, `3:04:05` or `2 d 3:04`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if not hours:
        return f"{minute}:{second:02d}"
    days, hour = divmod(hours, 24)
    return f"{days} d {hour}:{minute:02d}" if days else f"{hours}:{minute:02d}:{second:02d}"


def took(status: Status | None) -> str | None:
    """How long a run took from start to end, loading and evaluation included; of several attempts the last one.

    None where the status has no times.
    """
    if status is None or status.started is None:
        return None
    until = status.ended or status.heartbeat
    if until is None:
        return None
    refused = status.state == "finished" and status.error is not None  # the times are those of an earlier attempt
    attempt = f", attempt {status.attempt} alone" if status.attempt > 1 and not refused else ""
    return f"{duration(max(0.0, until - status.started))}{attempt}"


def age(seconds: float | None) -> str:
    """How long ago, in at most four characters: `now`, `12s`, `5m`, `3h`, `2d`, `7w`, `3y`."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return "now"
    for unit, length in (("y", 31_557_600), ("w", 14 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // (604_800 if unit == 'w' else length))}{unit}"
    return f"{int(seconds)}s"


def size(count: float | None) -> str:
    """Bytes as `512 B`, `7.6 MB`, `1.2 GB` (powers of 1,000)."""
    return NONE if count is None else units.size(count)


def amount(count: float | None) -> str:
    """A count as `950`, `1.9 M`, `110 M`."""
    return NONE if count is None else units.amount(count)


def milliseconds(value: float | None) -> str:
    """A latency, with a digit after the point below 100 and two below 10."""
    return NONE if value is None else units.milliseconds(value)


def rate(value: float | None) -> str:
    """A rate per second, without the unit."""
    return NONE if value is None else units.rate(value)


def phase_facts(phase: Phase, room: int | None = None, now: float | None = None) -> str:
    """How far a phase is: `12,288 of 400,000 rows  3 %  ETA 1:34  4,096 rows/s`; its duration if that is all.

    Of more than `room` characters, the last facts are left out. `now` is in seconds since 1970; when left out, the
    duration is that of the last report.
    """
    facts = []
    if phase.total is not None:
        facts.append(f"{phase.done:,} of {phase.total:,} {phase.unit}".rstrip())
        facts.append(percent(phase.share))
    elif phase.done:
        facts.append(f"{phase.done:,} {phase.unit}".rstrip())
    facts.append(duration(phase.lasted(now)) if phase.left is None else f"ETA {duration(phase.left)}")
    if phase.rate is not None and phase.unit:
        facts.append(f"{rate(phase.rate)} {phase.unit}/s")
    while room is not None and len(facts) > 1 and len("  ".join(facts)) > room:
        facts.pop()
    return "  ".join(facts)


def phase_line(phase: Phase, now: float | None = None) -> str:
    """What takes long and how far it is, in one line; not yet safe to show. `now` as in `phase_facts`."""
    return f"{phase.name}  {phase_facts(phase, now=now)}"


def in_shell(command: str, runs_dir: Path) -> str:
    """A command for this runs folder, which is named only if it is not the default."""
    from engine.record.paths import runs_dir as default

    return command if runs_dir.absolute() == default() else f"{command} --runs-dir {shlex.quote(str(runs_dir))}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return text.plural(count, one, many)


def command(verb: str, run_dir: Path) -> str:
    """A command line for a run: with its id if it is in the default runs folder, else with its path."""
    from engine.record.paths import runs_dir

    here = run_dir.parent.absolute() == runs_dir(None)
    return f"crild {verb} {shlex.quote(run_dir.name if here else str(run_dir))}"
