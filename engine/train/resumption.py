"""Where a run continues: the checkpoints that it uses, and what it says about those that it passes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.preset.text import listed
from engine.record.checkpoints import BASELINE, Checkpoint, Checkpoints, Flaw
from engine.record.events import read_events
from engine.train.settings import StageSettings

MOST_NAMED = 3
"""Checkpoints that a sentence names."""

Position = tuple[str, int]
"""A stage, and the steps done in it."""


@dataclass(frozen=True)
class Resumption:
    """Where an attempt starts, and from which checkpoints."""

    stages: tuple[str, ...]
    start: Checkpoint | None
    """The newest that can be used; None if the run starts from nothing."""
    newest: Mapping[str, Checkpoint]
    """The newest of each stage, up to `start`."""
    finished: Mapping[str, dict[str, Any]]
    """Results of the stages before that of `start`."""
    whole: frozenset[str]
    """Names of all that can be used."""
    passed_over: tuple[tuple[Checkpoint, Flaw], ...] = ()
    """Those newer than `start`, newest first."""
    extended: bool = False
    """Whether the baseline starts again because the student is trained for longer."""

    @property
    def unreadable(self) -> frozenset[str]:
        """Names of the folders that could not be read, and of the checkpoints that refer to them."""
        found = [(one.name, flaw.name) for one, flaw in self.passed_over if flaw.kind == "unreadable"]
        return frozenset(name for names in found for name in names)

    def repeated(self, written: Iterable[Position]) -> int:
        """How many steps this attempt does again although a checkpoint of them was `written`.

        The teacher's are left out once it has finished: it is in the cache.
        """
        return sum(self._lost(written).values())

    def warning(self, written: Sequence[Position]) -> str | None:
        """A sentence about checkpoints that were `written` and can't be used; None if the newest of them can."""
        lost = self._lost(written)
        if not lost:
            return None
        causes = [
            f"checkpoint {checkpoint.name} cannot be used ({_reason(checkpoint, flaw)})"
            for checkpoint, flaw in self.passed_over
            if flaw.kind != "obsolete"
        ]
        if not causes:
            stage, step = max(self._reached(written).items(), key=lambda item: self.stages.index(item[0]))
            causes = [f"the checkpoint of stage {stage} at step {step} is gone"]
        if len(causes) > MOST_NAMED:
            causes = [*causes[:MOST_NAMED], f"{len(causes) - MOST_NAMED} older ones neither"]
        steps = sum(lost.values())
        count = f"{steps} {'step is' if steps == 1 else 'steps are'} repeated"
        if self.start is None:
            return f"{listed(causes, 'and')}; no whole checkpoint is left: the run starts again at step 0, and {count}"
        return f"{listed(causes, 'and')}; resuming from stage {self.start.stage} at step {self.start.step}: {count}"

    def _reached(self, written: Iterable[Position]) -> dict[str, int]:
        """The last step of each stage of which there is, or was, a checkpoint."""
        named = [(one.stage, one.step) for one, flaw in self.passed_over if flaw.kind != "obsolete"]
        reached: dict[str, int] = {}
        for stage, step in (*written, *named):
            if stage in self.stages and not (self.extended and stage == BASELINE):
                reached[stage] = max(step, reached.get(stage, 0))
        return reached

    def _lost(self, written: Iterable[Position]) -> dict[str, int]:
        """By stage, the steps after `start` that were in a checkpoint."""
        reached = self._reached(written)
        first = self.stages.index(self.start.stage) if self.start else 0
        done = {self.start.stage: self.start.step} if self.start else {}
        lost = {
            stage: step - done.get(stage, 0) for stage, step in reached.items() if self.stages.index(stage) >= first
        }
        later = {stage: steps for stage, steps in lost.items() if stage != "teacher"}
        return {stage: steps for stage, steps in (later or lost).items() if steps > 0}


def resumption(checkpoints: Checkpoints, stages: Sequence[StageSettings], totals: Sequence[int]) -> Resumption:
    """Choose the checkpoints to continue from, for a run of these stages with these numbers of steps.

    A baseline of another length was trained beside a shorter student: it starts again.
    """
    names = tuple(stage.name for stage in stages)
    total_of = dict(zip(names, totals, strict=True))
    whole = checkpoints.whole()
    known = [one for one in whole if one.stage in names]
    fitting = [one for one in known if one.stage != BASELINE or checkpoints.state(one)["total"] == total_of[BASELINE]]
    start = fitting[0] if fitting else None
    newest: dict[str, Checkpoint] = {}
    for one in fitting:
        newest.setdefault(one.stage, one)
    before = names[: names.index(start.stage)] if start else ()
    finished = checkpoints.state(start)["finished"] if start else {}
    passed_over = tuple(checkpoints.passed_over())
    return Resumption(
        stages=names,
        start=start,
        newest=newest,
        finished={name: finished[name] for name in before if name in finished},
        whole=frozenset(one.name for one in fitting),
        passed_over=passed_over,
        extended=len(fitting) < len(known) or any(flaw.kind == "obsolete" for _, flaw in passed_over),
    )


def written_checkpoints(run_dir: Path) -> list[Position]:
    """The checkpoints that earlier attempts reported, without those that a later attempt superseded."""
    events = read_events(run_dir, {"checkpoint"})
    positions = ((event.get("stage"), event.get("step")) for event in events)
    return [(stage, step) for stage, step in positions if isinstance(stage, str) and isinstance(step, int)]


def _reason(checkpoint: Checkpoint, flaw: Flaw) -> str:
    return flaw.reason if flaw.name == checkpoint.name else f"{flaw.name}: {flaw.reason}"
