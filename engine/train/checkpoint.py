"""Checkpoints: written whole or not at all, verified by size and hash; the last good one is deleted last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import RunError
from engine.record.files import flush, follow_umask, refusal
from engine.record.inventory import checkpoints_of
from engine.record.paths import CHECKPOINTS
from engine.record.removal import OpenFolder

FORMAT = 1
_NAME = re.compile(r"^(?P<index>\d{3})-(?P<stage>[a-z0-9_-]+)-(?P<step>\d{8})$")

Tensors = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: the stage's index in the run (from 0), its name, and the steps completed in it."""

    path: Path
    index: int
    stage: str
    step: int

    @property
    def state(self) -> dict[str, Any]:
        """What is not a tensor: best evaluation so far, layer weights, results of earlier stages."""
        return dict(json.loads((self.path / "state.json").read_text()))

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of one part ("model", "optimiser", "average", "projections"); empty if it has none."""
        file = self.path / f"{part}.safetensors"
        return load_file(file) if file.exists() else {}


def folder(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / CHECKPOINTS


def save(run_dir: Path, *, index: int, stage: str, step: int, tensors: Tensors, state: dict[str, Any]) -> Checkpoint:
    """Write a checkpoint to a temporary folder, flush it to disk, then rename it.

    Raises RunError when it cannot be written; existing checkpoints stay.
    """
    name = f"{index:03d}-{stage}-{step:08d}"
    _write(run_dir, name, tensors, state)
    return Checkpoint(folder(run_dir) / name, index, stage, step)


def save_best(run_dir: Path, *, stage: str, step: int, model: dict[str, Tensor]) -> str:
    """Save the weights of the best evaluation; returns the folder's name, which checkpoints refer to."""
    name = f"best-{stage}-{step:08d}"
    _write(run_dir, name, {"model": model}, {})
    return name


def load_best(run_dir: Path, name: str) -> dict[str, Tensor]:
    """The weights that `save_best` wrote. Raises RunError when they are damaged or missing."""
    path = folder(run_dir) / name
    if not is_whole(path):
        sentence = f"the best weights of this run, checkpoints/{name}, are damaged or missing"
        raise RunError(sentence, kind="best-weights-damaged", file=str(path))
    return load_file(path / "model.safetensors")


def whole_checkpoints(run_dir: Path) -> list[Checkpoint]:
    """All complete, undamaged checkpoints of the run, newest first."""
    return [checkpoint for checkpoint in _named(run_dir) if is_whole(checkpoint.path)]


def newest(run_dir: Path) -> Checkpoint | None:
    """The checkpoint to resume from: the newest undamaged one."""
    return next((checkpoint for checkpoint in _named(run_dir) if is_whole(checkpoint.path)), None)


def rotate(run_dir: Path, *, keep: int, protect: frozenset[str] = frozenset()) -> None:
    """Delete all but the `keep` newest checkpoints, the newest of each stage in `protect`, and the best weights they
    refer to. What is not crild's stays, and so does what the system refuses to delete. Call it with the run's lock."""
    ordered = _named(run_dir)
    needed = ordered[:keep]
    for stage in protect:
        needed += [checkpoint for checkpoint in ordered if checkpoint.stage == stage][:1]
    names = {name for checkpoint in needed for name in (checkpoint.path.name, *_best_names(checkpoint))}
    for saved in checkpoints_of(run_dir):
        if saved.path.name not in names:
            with contextlib.suppress(OSError):
                saved.remove()


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint has the size and hash in its manifest."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            return False
        return all(
            (path / name).stat().st_size == entry["bytes"] and _hash(path / name) == entry["sha256"]
            for name, entry in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _best_names(checkpoint: Checkpoint) -> list[str]:
    try:
        best = checkpoint.state.get("best_weights", {})
    except (OSError, ValueError):
        return []
    return [name for name in best.values() if isinstance(name, str)]


def _named(run_dir: Path) -> list[Checkpoint]:
    """All checkpoints, damaged ones included, newest first."""
    parent = folder(run_dir)
    names = [_NAME.match(path.name) for path in parent.iterdir()] if parent.is_dir() else []
    checkpoints = [
        Checkpoint(parent / match[0], int(match["index"]), match["stage"], int(match["step"]))
        for match in names
        if match
    ]
    return sorted(checkpoints, key=lambda checkpoint: (checkpoint.index, checkpoint.step), reverse=True)


def _write(run_dir: Path, name: str, tensors: Tensors, state: dict[str, Any]) -> None:
    path = folder(run_dir) / name
    try:
        with OpenFolder.at(run_dir, CHECKPOINTS, create=True) as parent, parent.temporary_folder(name) as temporary:
            for part, values in tensors.items():
                if values:
                    file = temporary.path / f"{part}.safetensors"
                    save_file({key: _plain(value) for key, value in values.items()}, file)
            (temporary.path / "state.json").write_text(json.dumps(state))
            written = sorted(temporary.path.iterdir())
            files = {file.name: {"bytes": file.stat().st_size, "sha256": _hash(file)} for file in written}
            (temporary.path / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files}))
            follow_umask(temporary)
            for file in temporary.path.iterdir():
                flush(file)
            temporary.flush()
            parent.put(temporary, name)  # the step may have been repeated after a resume
            parent.flush()
    except (OSError, SafetensorError) as error:
        sentence = (
            f"could not write a checkpoint: {refusal(error)}; earlier checkpoints are intact. "
            "Free some space, then continue with crild resume"
        )
        raise RunError(sentence, kind="checkpoint-not-written", file=str(path)) from error


def _plain(value: Tensor) -> Tensor:
    return value.detach().to("cpu").contiguous().clone() if value.device.type != "cpu" else value.detach().clone()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
