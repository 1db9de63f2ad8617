"""What the evaluations of a run say after each tenth of its training, so that trials of any length can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.preset.names import HEAD_OBJECTIVES
from engine.preset.schema import Preset
from engine.record.events import Event, EventTail
from engine.search.study import TENTHS

KINDS = ("stage_started", "step", "evaluation", "stage_finished")


class Judge:
    """Follows the run of a trial while it trains."""

    def __init__(self, run_dir: Path, preset: Preset, metric: str | None) -> None:
        """`metric` is what counts; the task's first where it is None."""
        self._tail = EventTail(run_dir, KINDS)
        self._generation = 0
        self._course = Course(judged_stage(preset), metric)

    def values(self) -> list[tuple[int, float]]:
        """Each tenth that the run has passed, with its latest metric by then."""
        events = self._tail.poll()
        if self._tail.generation != self._generation:
            self._generation = self._tail.generation
            self._course = Course(self._course.stage, self._course.metric)
        for event in events:
            self._course.add(event)
        return self._course.values()


def judged_stage(preset: Preset) -> str | None:
    """The last stage that trains the classifier; None where none does, and nothing can be judged."""
    names = [stage.name for stage in preset.stage if HEAD_OBJECTIVES & stage.terms().keys()]
    return names[-1] if names else None


class Course:
    """The evaluations of one stage by the step at which they took place. Tenths are those of all the student's training, with the
    stages before: a student that has imitated layers for most of its time is not compared with one that has hardly started.
    Which tenths have passed follows from the events alone, whenever they are read."""

    def __init__(self, stage: str | None, metric: str | None) -> None:
        self.stage, self.metric = stage, metric
        self._steps: dict[str, int] = {}  # of the student's stages up to this one
        self._seen: dict[int, float] = {}
        self._passed = -1
        self._finished = False

    def add(self, event: Event) -> None:
        """Take note of an event."""
        stage, steps = event.get("stage"), event.get("steps")
        is_counted = stage == self.stage or (event.get("role") == "student" and self.stage not in self._steps)
        if event.get("kind") == "stage_started" and is_counted:
            self._steps[str(stage)] = steps if isinstance(steps, int) else 0
        if self.stage is None or stage != self.stage:
            return
        step = event.get("step")
        step = step if isinstance(step, int) else 0
        match event.get("kind"):
            case "evaluation" if event.get("model") == "student" and event.get("primary"):
                metrics = event.get("metrics")
                if isinstance(metrics, Mapping) and metrics:
                    value = metrics.get(self.metric or next(iter(metrics)))
                    if isinstance(value, int | float):
                        self._seen[step] = float(value)
                        self._passed = max(self._passed, step)
            case "step":
                self._passed = max(self._passed, step - 1)  # an evaluation at the same step comes after it
            case "stage_finished":
                self._finished = True

    def values(self) -> list[tuple[int, float]]:
        """Each tenth that has passed, with the latest value by then."""
        found = []
        total = sum(self._steps.values())
        before = total - self._steps.get(self.stage or "", 0)
        for tenth in range(1, TENTHS + 1):
            end = tenth * total / TENTHS - before
            known = [step for step in self._seen if step <= end]
            if known and (self._finished or self._passed >= end):
                found.append((tenth, self._seen[max(known)]))
        return found
