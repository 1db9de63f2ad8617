"""The stages of a run laid end to end: where each begins, in steps, epochs and seconds of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crild_tui.monitor.curves import Border
from crild_tui.monitor.table_builder import Numbers, column, in_order, number
from crild_tui.runs.summary import BASELINE, LARGEST_COUNT, MAX_STAGES
from engine.record.events import ResumePoint

Event = Mapping[str, Any]

LATEST = 1e11
"""Seconds since 1970 that no clock shows."""


@dataclass
class _Stage:
    """What is known of one stage."""

    role: str = ""
    epochs_per_step: float = 0.0
    reached: float = 0.0
    """The last step reported."""
    finished: float | None = None
    """The step at which it ended."""
    offset: tuple[float, float] | None = None
    """Steps and epochs of the stages before it, fixed at first use."""

    @property
    def length(self) -> float:
        return self.reached if self.finished is None else self.finished


class Timeline:
    """Converts positions within stages to positions along the run, and counts the seconds of training."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._stages: dict[str, _Stage] = {}
        self._borders: dict[str, Border] = {}
        self._clock = 0.0
        self._last_moment: float | None = None
        self._head: tuple[str, float] | None = None

    @property
    def borders(self) -> tuple[Border, ...]:
        """Where the stages begin, in order."""
        return tuple(sorted(self._borders.values(), key=lambda border: self._order.index(border.stage)))

    @property
    def head(self) -> tuple[str, float] | None:
        """The current stage and its last step; None if that is unknown."""
        stage, step = self._head or (self._order[0] if self._order else "?", 0.0)
        return (stage, step) if self.knows(stage) else None

    def knows(self, stage: str) -> bool:
        """Whether this can be a stage; one that was not announced is added at the end."""
        if stage not in self._stages:
            if len(self._stages) >= MAX_STAGES:
                return False
            self._stages[stage] = _Stage()
        if stage not in self._order:
            self._order.append(stage)
        return True

    def role(self, stage: str) -> str:
        """teacher, student or baseline; "" if unknown."""
        return self._stages[stage].role or (BASELINE if stage == BASELINE else "")

    def after(self, stage: str) -> list[str]:
        """The stages that follow one."""
        return self._order[self._order.index(stage) + 1 :]

    def offset(self, stage: str) -> tuple[float, float]:
        """Steps and epochs of the stages before one."""
        known = self._stages[stage]
        if known.offset is None:
            before = [self._stages[name] for name in self._order[: self._order.index(stage)] if name in self._stages]
            known.offset = (
                sum(other.length for other in before),
                sum(other.length * other.epochs_per_step for other in before),
            )
        return known.offset

    def epochs(self, stage: str, steps: Numbers) -> Numbers:
        """The epochs, over all stages, at which steps of a stage lie."""
        return self.offset(stage)[1] + steps * self._stages[stage].epochs_per_step

    # -- the seconds of training

    def tick(self, times: Sequence[object]) -> Numbers:
        """The seconds of training at moments, given in order in seconds since 1970 (no time passes at malformed ones)."""
        moments = column(times)
        known = np.flatnonzero((moments >= 0) & (moments < LATEST))
        passed = np.zeros(len(moments))
        if len(known):
            valid = moments[known]
            before = valid[0] if self._last_moment is None else self._last_moment
            passed[known] = np.maximum(np.diff(valid, prepend=before), 0.0)
            self._last_moment = float(valid[-1])
        seconds = self._clock + np.cumsum(passed)
        if len(seconds):
            self._clock = float(seconds[-1])
        return seconds

    # -- changes by events

    def start(self, event: Event, used: Sequence[str]) -> ResumePoint | None:
        """An attempt begins: returns where it resumes, if known, and forgets what came later.

        The event names the stages in order; `used` are those that have curves.
        """
        point, names = ResumePoint.of(event), event.get("stages")
        if isinstance(names, list):
            named = list(dict.fromkeys(name for name in names if isinstance(name, str)))[:MAX_STAGES]
            self._order = named if in_order(used, named) else [*used, *(name for name in named if name not in used)]
            self._borders = {name: border for name, border in self._borders.items() if name in self._order}
        if point is None or not 0 <= point.step < LARGEST_COUNT or not self.knows(point.stage):
            return None
        self._head = (point.stage, point.step)
        known = self._stages[point.stage]
        known.finished, known.reached = None, min(known.reached, point.step)
        for name in self.after(point.stage):
            self._stages.pop(name, None)
            self._borders.pop(name, None)
        return point

    def resume_clock(self, moment: object, seconds: float) -> None:
        """A new attempt begins at `moment`: the clock continues from `seconds`, or from the last border."""
        start = number(moment)
        self._last_moment = start if 0 <= start < LATEST else None
        self._clock = max(seconds, max((border.time for border in self._borders.values()), default=0.0))

    def forget_offsets_after(self, stage: str) -> None:
        """A stage has another length than it seemed to have."""
        for name in self.after(stage):
            if name in self._stages:
                self._stages[name].offset = None

    def begin(self, stage: str, event: Event, *, fresh: bool) -> None:
        """A stage begins, or resumes if it is not `fresh`."""
        known, step = self._stages[stage], number(event.get("step", 0))
        role, steps, epochs = event.get("role"), number(event.get("steps")), number(event.get("epochs"))
        known.role = role if isinstance(role, str) else known.role
        if known.epochs_per_step == 0 and 0 < epochs <= steps:
            known.epochs_per_step = epochs / steps
        if fresh or stage not in self._borders:
            self._mark(stage, self._clock)
        self._head = (stage, step if 0 <= step < LARGEST_COUNT else 0.0)

    def pace(self, stage: str, step: float, epoch: object) -> None:
        """Learn the length of an epoch from one step, if no event has reported it."""
        known = self._stages[stage]
        if known.epochs_per_step == 0 and 0 < number(epoch) <= step:
            known.epochs_per_step = number(epoch) / step

    def reach(self, stage: str, step: float, seconds: float) -> None:
        """A stage has come to `step`; `seconds` is the time of the first new step."""
        known = self._stages[stage]
        known.reached, known.finished = step, None
        if stage not in self._borders:
            self._mark(stage, seconds)
        self._head = (stage, step)

    def finish(self, stage: str, event: Event) -> None:
        """A stage ended."""
        known, step = self._stages[stage], number(event.get("step"))
        known.finished = step if known.reached <= step < LARGEST_COUNT else known.reached

    def _mark(self, stage: str, seconds: float) -> None:
        step, epoch = self.offset(stage)
        self._borders[stage] = Border(stage, step, epoch, seconds)
