"""Events as points of curves for trackers: names, steps and times. Pure functions of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.record.json_values import mapping, number, word

Event = Mapping[str, Any]

KINDS = frozenset({"run_started", "step", "evaluation"})
"""The kinds of events that curves are made of."""
_NO_CURVE = frozenset({"v", "t", "step", "ranks", "candidates", "chosen"})
"""Fields of a step event that are numbers or hold them, and are no curves."""
_WITHOUT_PLACE = frozenset({"loss", "label_loss"})


@dataclass(frozen=True)
class Point:
    """The values of some curves at one step of a stage, by name: `ild/loss`, `kd/dev/accuracy`.

    `number` counts the points of a run from 0, in their order; `time` is in seconds since 1970.
    """

    number: int
    stage: str
    step: int
    time: float
    values: Mapping[str, float]


class Curves:
    """Turns events, in their order, into points."""

    def __init__(self) -> None:
        self._count = 0
        self._teacher: dict[str, float] = {}

    def add(self, events: Iterable[Event]) -> list[Point]:
        """The points of further events."""
        points = []
        for event in events:
            stage, step, time = word(event.get("stage")), event.get("step"), number(event.get("t"))
            if event.get("kind") == "evaluation" and event.get("model") == "teacher":
                self._teacher |= {f"{event.get('split')}/{k}": v for k, v in _numbers(event.get("metrics"))}
            if stage is None or not isinstance(step, int) or isinstance(step, bool) or time is None:
                continue
            values = {f"{stage}/{name}": value for name, value in self._values(event)}
            if values:
                points.append(Point(self._count, stage, step, time, values))
                self._count += 1
        return points

    def _values(self, event: Event) -> Iterator[tuple[str, float]]:
        if event.get("kind") == "step":
            yield from ((name, value) for name, value in _numbers(event) if name not in _NO_CURVE)
            yield from ((f"terms/{name}", value) for name, value in _numbers(event.get("terms")))
        elif event.get("kind") == "evaluation":
            split, model = word(event.get("split")) or "dev", word(event.get("model"))
            place = f"{split}/self-teacher" if model == "self-teacher" else split
            yield from ((f"{place}/{name}", value) for name, value in _numbers(event.get("metrics")))
            yield from ((f"{place}/{name}", value) for name, value in _numbers(event) if name in _WITHOUT_PLACE)
            yield from ((f"{place}/terms/{name}", value) for name, value in _numbers(event.get("terms")))
            if model == "student":  # the line that a student is compared with
                for name, _ in _numbers(event.get("metrics")):
                    if (line := self._teacher.get(f"{split}/{name}")) is not None:
                        yield f"{split}/teacher/{name}", line


def _numbers(table: object) -> Iterator[tuple[str, float]]:
    """The finite numbers of a table, by name."""
    for name, value in mapping(table).items():
        if (figure := number(value)) is not None:
            yield name, figure


def last_steps(points: Iterable[Point]) -> dict[str, int]:
    """The last step of each curve among points."""
    last: dict[str, int] = {}
    for point in points:
        for name in point.values:
            last[name] = max(last.get(name, 0), point.step)
    return last


def without(points: Sequence[Point], sent: Mapping[str, int]) -> list[Point]:
    """The points without what lies at or before the last step of its curve in `sent`.

    So a step that a resumed run trains again is not sent twice: it has the same values.
    """
    rest = []
    for point in points:
        values = {name: value for name, value in point.values.items() if point.step > sent.get(name, -1)}
        if values:
            rest.append(Point(point.number, point.stage, point.step, point.time, values))
    return rest
