"""What may still be changed of a run that was begun: how long and how watched it is, not what it computes at a step.

A checkpoint carries the preset that it was made under. Whoever resumes holds the run's present preset against it, so
that a preset that was edited by hand neither breaks the run nor makes its results those of two settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.record.files import read_json
from engine.record.paths import CHECKPOINTS
from engine.report.compare import ABSENT, flat

CHANGEABLE = re.compile(
    r"stage\.[^.]+\.(epochs|steps|evaluate|patience|keep_best)"
    r"|train\.(epochs|evaluate|evaluate_train|log_every|checkpoint_every|checkpoint_minutes|keep_checkpoints|save_teacher_cache|device)"
    r"|notify\.command|description|tags"
)
"""Keys, as `--set` writes them, that can differ from those of the checkpoint."""
_CHECKPOINT = re.compile(r"(\d{3})-([a-z0-9_-]+)-(\d{8})")

Problem = tuple[str, str]
"""The key to blame, and the sentence."""
Length = tuple[str, float]
"""("epochs" or "steps", how many)."""


@dataclass(frozen=True)
class Begun:
    """Where a run stands: its newest checkpoint's stage, and what that checkpoint knows."""

    stage: str
    step: int
    total: int
    finished: Mapping[str, tuple[int, int]]
    """Stages that are over: the steps they took, and of how many."""
    document: Mapping[str, Any]
    """The preset that the checkpoint was made under."""

    @staticmethod
    def of(stage: str, step: int, state: Mapping[str, Any]) -> Begun | None:
        """From a checkpoint's state; None for a state that does not say under which preset it was made."""
        document: Any = state.get("preset")
        finished: Any = state.get("finished")
        try:
            done = {name: (int(one["steps"]), int(one.get("total", one["steps"]))) for name, one in finished.items()}
            complete = all(isinstance(one["name"], str) for one in document["stage"]) and document["train"]["epochs"]
            total = int(state.get("total", step))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return Begun(stage, step, total, done, document) if complete else None


def begun(run_dir: Path) -> Begun | None:
    """Where a run stands by its newest checkpoint; None when it has none that can be read."""
    folder = run_dir / CHECKPOINTS
    names = (
        [match for path in folder.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))] if folder.is_dir() else []
    )
    for match in sorted(names, key=lambda found: (int(found[1]), int(found[3])), reverse=True):
        state = read_json(folder / match[0] / "state.json")
        if state is not None:
            return Begun.of(match[2], int(match[3]), state)
    return None


def unfit_changes(there: Begun, document: Mapping[str, Any]) -> list[Problem]:
    """What a preset (as plain data) says otherwise than the one that a run was begun with, and may not."""
    old, new = _flat(there.document), _flat(document)
    if old["stages"] != new["stages"]:
        return [("stage", _unfit("the list of stages", old["stages"], new["stages"]))]
    pairs = {key: (old.get(key, ABSENT), new.get(key, ABSENT)) for key in dict.fromkeys((*old, *new))}
    problems = [
        (key, _unfit(key, was, now))
        for key, (was, now) in pairs.items()
        if was != now and not CHANGEABLE.fullmatch(key) and not _moved(was, now)
    ]
    return problems or list(_lengths(there, document))


def _moved(was: object, now: object) -> bool:
    """Whether both are paths of one name in different folders: data and models may lie elsewhere by now."""
    if not (isinstance(was, str) and isinstance(now, str) and was.startswith("/") and now.startswith("/")):
        return False
    return Path(was).name == Path(now).name


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flat(json.loads(json.dumps(document))))  # tuples and lists are the same thing here


def _unfit(key: str, old: object, new: object) -> str:
    was, now = ("left open" if value is ABSENT else json.dumps(value, ensure_ascii=False) for value in (old, new))
    return (
        f"{key} was {was} when this run was begun, and is {now} now: what was computed so far would no longer fit. "
        "Put it back, or start a new run from this preset with crild run"
    )


def _lengths(there: Begun, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Stages that are over keep their length where others build on them; none becomes shorter than what is done."""
    before = {stage["name"]: _length(stage, there.document) for stage in there.document["stage"]}
    names = list(before)
    reached = {*there.finished, there.stage}
    for at, stage in enumerate(document["stage"]):
        name = stage["name"]
        old, new = before[name], _length(stage, document)
        if old == new or name not in reached:
            continue
        key = f"stage.{name}.{new[0]}" if new[0] in stage else f"train.{new[0]}"
        done, total = _done(there, name)
        if any(later in reached for later in names[at + 1 :]):
            yield (
                key,
                (
                    f"stage {name} of this run ended after {done} steps and later stages build on it, so its length cannot "
                    "change: only the last stage can be extended. Start a new run for the other setting"
                ),
            )
        elif (wanted := _wanted(old, new, total)) is not None and wanted < done:
            yield (
                key,
                (
                    f"stage {name} of this run has done {done} steps, and {new[0]} = {new[1]:g} would be {wanted}: "
                    "a stage can be extended, not shortened"
                ),
            )


def _length(stage: Mapping[str, Any], document: Mapping[str, Any]) -> Length:
    if stage.get("steps") is not None:
        return "steps", float(stage["steps"])
    own = stage.get("epochs")
    return "epochs", float(document["train"]["epochs"] if own is None else own)


def _done(there: Begun, name: str) -> tuple[int, int]:
    """Steps that a stage has done, and of how many."""
    return there.finished.get(name, (there.step, there.total))


def _wanted(old: Length, new: Length, total: int) -> int | None:
    """Steps of a stage with its new length; None where that cannot be told without its data."""
    if new[0] == "steps":
        return int(new[1])
    return None if old[0] == "steps" else max(1, round(total * new[1] / old[1]))
