"""Pin a preset's hub models and data to commits, so that its run can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.data.hub import resolve_revision as data_commit
from engine.models.hub import resolve_revision as model_commit
from engine.preset.schema import Corpus, OtherTask, Preset, Stage
from engine.preset.write import dump
from engine.record.files import write_atomic
from engine.record.paths import PRESET


def pinned(preset: Preset) -> Preset:
    """The preset with the current commits of its hub models and data.

    Local models and data, and those already pinned, stay as they are: a preset without others is returned itself.
    """
    commits = {"task": data_commit(preset.task), "teacher": None, "student": None}
    if preset.teacher.model not in ("scratch", None):
        commits["teacher"] = model_commit(preset.teacher.model, preset.teacher.revision)
    if preset.student.init not in ("teacher", "pretrained", "scratch"):
        commits["student"] = model_commit(preset.student.init, preset.student.revision)
    changes: dict[str, Any] = {
        name: getattr(preset, name).model_copy(update={"revision": commit})
        for name, commit in commits.items()
        if commit is not None and commit != getattr(preset, name).revision
    }
    others = {
        name: other.model_copy(update={"revision": commit})
        for name, other in (preset.teacher.others or {}).items()
        if (commit := model_commit(other.model, other.revision)) is not None and commit != other.revision
    }
    if others:
        teacher = changes.get("teacher", preset.teacher)
        changes["teacher"] = teacher.model_copy(update={"others": {**(preset.teacher.others or {}), **others}})
    stages = [_pinned(stage) for stage in preset.stage]
    if stages != preset.stage:
        changes["stage"] = stages
    return preset.model_copy(update=changes) if changes else preset


def record(run_dir: Path, preset: Preset) -> None:
    """Write a preset with its commits to the run's preset.toml. Raises OSError."""
    write_atomic(run_dir / PRESET, dump(preset))


def _pinned(stage: Stage) -> Stage:
    """The stage with the commits of its own hub data and of the model that makes copies, if it has any."""
    augment = stage.augment
    if augment is not None and augment.model is not None and stage.data != "task":
        commit = model_commit(augment.model, augment.revision)
        if commit is not None and commit != augment.revision:
            own = stage.data.model_copy(update={"augment": augment.model_copy(update={"revision": commit})})
            stage = stage.model_copy(update={"data": own})
    return _with_pinned_data(stage)


def _with_pinned_data(stage: Stage) -> Stage:
    if not isinstance(stage.data, Corpus | OtherTask):
        return stage
    of = stage.data.task if isinstance(stage.data, OtherTask) else stage.data
    commit = data_commit(of)
    if commit is None or commit == of.revision:
        return stage
    own = of.model_copy(update={"revision": commit})
    data = stage.data.model_copy(update={"task": own}) if isinstance(stage.data, OtherTask) else own
    return stage.model_copy(update={"data": data})
