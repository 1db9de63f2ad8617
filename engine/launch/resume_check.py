"""Which settings may change when a run is resumed: duration and logging, but not what a step computes.

A checkpoint holds the preset that it was made with. On resuming, the run's present preset is compared with it, so that an
edited preset neither breaks the run nor mixes two settings in its results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.preset.retired_keys import is_retired
from engine.record.checkpoints import Checkpoints
from engine.report.compare import ABSENT, flat

CHANGEABLE = re.compile(
    r"stage\.[^.]+\.(epochs|steps|evaluate|patience|keep_best)"
    r"|train\.(epochs|evaluate|evaluate_precision|evaluate_train|log_every|checkpoint_every|checkpoint_minutes|keep_checkpoints|keep_for_extending|save_teacher_cache|gradient_checkpointing|device|processes)"
    r"|notify\.command|description|tags|project|task\.(title|thresholds)"
)
"""Keys, as in `--set`, that may differ from those of the checkpoint."""

Problem = tuple[str, str]
"""The key at fault, and the sentence."""
Length = tuple[str, float]
"""("epochs" or "steps", how many)."""


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands: the stage of its newest checkpoint, and what that checkpoint knows."""

    stage: str
    step: int
    total: int
    finished: Mapping[str, tuple[int, int]]
    """Finished stages: the steps that each took, and its planned steps."""
    document: Mapping[str, Any]
    """The preset that the checkpoint was made with."""

    @staticmethod
    def of(stage: str, step: int, state: Mapping[str, Any]) -> RunProgress | None:
        """From a checkpoint's state; None for a state that does not hold its preset."""
        document: Any = state.get("preset")
        finished: Any = state.get("finished")
        try:
            done = {name: (int(one["steps"]), int(one.get("total", one["steps"]))) for name, one in finished.items()}
            complete = all(isinstance(one["name"], str) for one in document["stage"]) and document["train"]["epochs"]
            total = int(state.get("total", step))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None
        return RunProgress(stage, step, total, done, document) if complete else None


def run_progress(run_dir: Path) -> RunProgress | None:
    """Where a run stands by the checkpoint that it would resume from, verified; None when it has none.

    Raises RunError when its checkpoints cannot be read.
    """
    checkpoints = Checkpoints(run_dir)
    newest = checkpoints.newest()
    return None if newest is None else RunProgress.of(newest.stage, newest.step, checkpoints.state(newest))


def incompatible_changes(progress: RunProgress, document: Mapping[str, Any]) -> list[Problem]:
    """The changes in a preset (as plain data) that a run at this point cannot take."""
    old, new = _flat(progress.document), _flat(document)
    if old["stages"] != new["stages"]:
        return [("stage", _incompatible("the list of stages", old["stages"], new["stages"]))]
    pairs = {key: (old.get(key, ABSENT), new.get(key, ABSENT)) for key in dict.fromkeys((*old, *new))}
    problems = [
        (key, _incompatible(key, was, now))
        for key, (was, now) in pairs.items()
        if was != now and not CHANGEABLE.fullmatch(key) and not _moved(was, now) and not is_retired(key, was)
    ]
    return problems or list(_length_problems(progress, document))


def _moved(was: object, now: object) -> bool:
    """Whether both are paths with the same name in different folders: data and models may have moved."""
    if not (isinstance(was, str) and isinstance(now, str) and was.startswith("/") and now.startswith("/")):
        return False
    return Path(was).name == Path(now).name


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flat(json.loads(json.dumps(document))))  # so that tuples equal lists


def _incompatible(key: str, old: object, new: object) -> str:
    was, now = ("not set" if value is ABSENT else json.dumps(value, ensure_ascii=False) for value in (old, new))
    return (
        f"{key} was {was} when this run started and is {now} now, which does not fit what it has computed so far. "
        "Restore the old value, or start a new run from this preset with crild run"
    )


def _length_problems(progress: RunProgress, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Finished stages that later stages build on keep their length; no stage becomes shorter than what it has done."""
    before = {stage["name"]: _length(stage, progress.document) for stage in progress.document["stage"]}
    names = list(before)
    reached = {*progress.finished, progress.stage}
    for index, stage in enumerate(document["stage"]):
        name = stage["name"]
        old, new = before[name], _length(stage, document)
        if old == new or name not in reached:
            continue
        key = f"stage.{name}.{new[0]}" if new[0] in stage else f"train.{new[0]}"
        done, total = progress.finished.get(name, (progress.step, progress.total))
        if any(later in reached for later in names[index + 1 :]):
            sentence = (
                f"stage {name} of this run ended after {done} steps and later stages build on it, so its length cannot "
                "change: only the last stage can be extended. Start a new run for the other setting"
            )
            yield key, sentence
        elif (steps := _steps(old, new, total)) is not None and steps < done:
            sentence = (
                f"stage {name} of this run has done {done} steps, and {new[0]} = {new[1]:g} would be {steps}: a stage can be "
                "extended, not shortened"
            )
            yield key, sentence


def _length(stage: Mapping[str, Any], document: Mapping[str, Any]) -> Length:
    if stage.get("steps") is not None:
        return "steps", float(stage["steps"])
    own = stage.get("epochs")
    return "epochs", float(document["train"]["epochs"] if own is None else own)


def _steps(old: Length, new: Length, total: int) -> int | None:
    """Steps of a stage with its new length; None where only its data can tell."""
    if new[0] == "steps":
        return int(new[1])
    return None if old[0] == "steps" else max(1, round(total * new[1] / old[1]))
