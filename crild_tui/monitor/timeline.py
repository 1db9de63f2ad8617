"""The stages of a run laid end to end: where each begins, by steps, epochs and seconds of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Border
from crild_tui.monitor.number_columns import column, in_order, number
from crild_tui.runs.summary import BASELINE

Event = Mapping[str, Any]
Numbers = NDArray[np.float64]

MOST_STAGES = 100
"""Stages that a run can have; what names one more was not written by crild."""
LATEST = 1e11
"""Seconds since 1970 that no clock shows."""


MOST_STEPS = 2.0**40
"""Steps of a stage; more were not made, and sums of fewer are exact."""


@dataclass
class _Stage:
    """What is known of one stage."""

    role: str = ""
    epochs_per_step: float = 0.0
    reached: float = 0.0
    """The last step that was told."""
    finished: float | None = None
    """The step at which it ended."""
    offset: tuple[float, float] | None = None
    """Steps and epochs of the stages before it, fixed when it was first asked for."""

    @property
    def length(self) -> float:
        return self.reached if self.finished is None else self.finished


class Timeline:
    """Tells places along the whole run from places within its stages, and counts the seconds of work."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._stages: dict[str, _Stage] = {}
        self._borders: dict[str, Border] = {}
        self._clock = 0.0
        self._before: float | None = None
        self._head: tuple[str, float] | None = None

    @property
    def borders(self) -> tuple[Border, ...]:
        """Where the stages begin, in order."""
        return tuple(sorted(self._borders.values(), key=lambda border: self._order.index(border.stage)))

    @property
    def here(self) -> tuple[str, float] | None:
        """The stage that works, and its last step; None when that cannot be told."""
        stage, step = self._head or (self._order[0] if self._order else "?", 0.0)
        return (stage, step) if self.knows(stage) else None

    def knows(self, stage: object) -> bool:
        """Whether this can be a stage; a name that was not announced takes its place at the end."""
        if not isinstance(stage, str):
            return False
        if stage not in self._stages:
            if len(self._stages) >= MOST_STAGES:
                return False
            self._stages[stage] = _Stage()
        if stage not in self._order:
            self._order.append(stage)
        return True

    def role(self, stage: str) -> str:
        """teacher, student or baseline; "" when nothing says so."""
        return self._stages[stage].role or (BASELINE if stage == BASELINE else "")

    def after(self, stage: str) -> list[str]:
        """The stages that follow one."""
        return self._order[self._order.index(stage) + 1 :]

    def offset(self, stage: str) -> tuple[float, float]:
        """Steps and epochs of the stages before one."""
        story = self._stages[stage]
        if story.offset is None:
            before = [self._stages[name] for name in self._order[: self._order.index(stage)] if name in self._stages]
            story.offset = (
                sum(other.length for other in before),
                sum(other.length * other.epochs_per_step for other in before),
            )
        return story.offset

    def epochs(self, stage: str, steps: Numbers) -> Numbers:
        """The epochs, over all stages, at which steps of a stage lie."""
        return self.offset(stage)[1] + steps * self._stages[stage].epochs_per_step

    # -- the seconds of work

    def tick(self, times: Sequence[object]) -> Numbers:
        """The seconds of work at some moments, given in order as seconds since 1970 (anything else: no time passed)."""
        moments = column(times)
        known = np.flatnonzero((moments >= 0) & (moments < LATEST))
        if len(known):
            found = moments[known]
            passed = np.maximum(np.diff(found, prepend=found[0] if self._before is None else self._before), 0.0)
            self._before = float(found[-1])
            added = np.zeros(len(moments))
            added[known] = passed
        else:
            added = np.zeros(len(moments))
        seconds = self._clock + np.cumsum(added)
        if len(seconds):
            self._clock = float(seconds[-1])
        return seconds

    def resume(self, moment: object, seconds: float) -> None:
        """A new attempt begins: the clock goes on from `seconds`, whatever lay between."""
        found = number(moment)
        self._before = found if 0 <= found < LATEST else None
        self._clock = max(seconds, max((border.time for border in self._borders.values()), default=0.0))

    # -- what events tell

    def start(self, event: Event, used: Sequence[str]) -> tuple[str, float] | None:
        """An attempt begins: the stages in order, and the place that it goes on from; `used` are those with curves."""
        names = event.get("stages")
        if not isinstance(names, list):
            return None
        told = list(dict.fromkeys(name for name in names if isinstance(name, str)))[:MOST_STAGES]
        self._order = told if in_order(used, told) else [*used, *(name for name in told if name not in used)]
        self._borders = {name: border for name, border in self._borders.items() if name in self._order}
        stage, step = event.get("stage"), number(event.get("step", 0))
        if stage not in told or not self.knows(stage) or not 0 <= step < MOST_STEPS:
            return None
        self._head = (stage, step)
        return self._head

    def forget_after(self, stage: str, step: float) -> None:
        """Nothing later than a place is known any more."""
        story = self._stages[stage]
        story.finished, story.reached = None, min(story.reached, step)
        for name in self.after(stage):
            self._stages.pop(name, None)
            self._borders.pop(name, None)

    def lay_again(self, stage: str) -> None:
        """What follows a stage begins elsewhere than it seemed."""
        for name in self.after(stage):
            if name in self._stages:
                self._stages[name].offset = None

    def begin(self, event: Event, *, fresh: bool) -> None:
        """A stage begins, or goes on when it is not `fresh`."""
        stage, step = event["stage"], number(event.get("step", 0))
        story = self._stages[stage]
        role, steps, epochs = event.get("role"), number(event.get("steps")), number(event.get("epochs"))
        story.role = role if isinstance(role, str) else story.role
        if story.epochs_per_step == 0 and 0 < epochs <= steps:
            story.epochs_per_step = epochs / steps
        if fresh or stage not in self._borders:
            self._mark(stage, self._clock)
        self._head = (stage, step if 0 <= step < MOST_STEPS else 0.0)

    def pace(self, stage: str, step: object, epoch: object) -> None:
        """Learn how long an epoch is from one place, where nothing has said so."""
        story = self._stages[stage]
        if story.epochs_per_step == 0 and number(step) > 0 and 0 < number(epoch) <= number(step):
            story.epochs_per_step = number(epoch) / number(step)

    def reach(self, stage: str, step: float, seconds: float) -> None:
        """A stage has come to a step; `seconds` is when its first was told that was not known before."""
        story = self._stages[stage]
        story.reached, story.finished = step, None
        if stage not in self._borders:
            self._mark(stage, seconds)
        self._head = (stage, step)

    def finish(self, event: Event) -> None:
        """A stage ended."""
        story, step = self._stages[event["stage"]], number(event.get("step"))
        story.finished = step if story.reached <= step < MOST_STEPS else story.reached

    def _mark(self, stage: str, seconds: float) -> None:
        step, epoch = self.offset(stage)
        self._borders[stage] = Border(stage, step, epoch, seconds)
