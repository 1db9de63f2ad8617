"""Write checkpoints whole or not at all, load their tensors, and delete the ones that nothing needs any more.

`engine.record.checkpoints` verifies them and finds the one to resume from.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import RunError
from engine.models.tensor_files import load_tensors
from engine.record.checkpoints import FORMAT, MANIFEST, STATE, Checkpoint, checkpoints_folder, flaw, named_checkpoints
from engine.record.files import cause, flush, follow_umask, refusal
from engine.record.inventory import checkpoints_of
from engine.record.manifest import manifest_of
from engine.record.paths import CHECKPOINTS
from engine.record.removal import OpenFolder

Tensors = dict[str, dict[str, Tensor]]


def tensors(checkpoint: Checkpoint, part: str) -> dict[str, Tensor]:
    """The tensors of one part ("model", "optimiser", "average", "projections"); empty if it has none."""
    file = checkpoint.path / f"{part}.safetensors"
    return _load(file) if file.exists() else {}


def save(run_dir: Path, *, index: int, stage: str, step: int, parts: Tensors, state: dict[str, Any]) -> Checkpoint:
    """Write a checkpoint to a temporary folder, flush it to disk, then rename it.

    Raises RunError when it cannot be written; existing checkpoints stay.
    """
    name = f"{index:03d}-{stage}-{step:08d}"
    _write(run_dir, name, parts, state)
    return Checkpoint(checkpoints_folder(run_dir) / name, index, stage, step)


def save_best(run_dir: Path, *, stage: str, step: int, model: dict[str, Tensor]) -> str:
    """Save the weights of the best evaluation; returns the folder's name, which checkpoints refer to."""
    name = f"best-{stage}-{step:08d}"
    _write(run_dir, name, {"model": model}, {})
    return name


def load_best(run_dir: Path, name: str) -> dict[str, Tensor]:
    """The weights that `save_best` wrote. Raises RunError when they are damaged, missing or cannot be read."""
    path = checkpoints_folder(run_dir) / name
    found = flaw(path)
    if found is not None:
        sentence = (
            f"the best weights of this run, checkpoints/{name}, cannot be used ({found.reason}); "
            "crild resume goes back to a checkpoint before them"
        )
        raise RunError(sentence, kind="best-weights-damaged", file=str(path))
    return _load(path / "model.safetensors")


def _load(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that was verified. Raises RunError when the system does not let it be read now."""
    try:
        return load_tensors(file)
    except OSError as error:
        sentence = f"a checkpoint cannot be read: {cause(error)}. Fix that, then run crild resume"
        raise RunError(sentence, kind="cannot-read-checkpoint", file=str(file)) from error


def rotate(
    run_dir: Path,
    *,
    whole: Collection[str],
    keep: int,
    protect: Collection[str] = (),
    unreadable: Collection[str] = (),
) -> None:
    """Delete all but the `keep` newest checkpoints, the newest of each stage in `protect`, and the best weights they
    refer to. What is not crild's stays, and so does what the system refuses to delete. Call it with the run's lock.

    `whole` names the checkpoints of this attempt: the whole ones that it started with, and those it wrote. Only they
    count. The others on disk are damaged, or an earlier attempt got further before they were passed over. `unreadable` ones
    stay: they may be good.
    """
    ordered = [checkpoint for checkpoint in named_checkpoints(run_dir) if checkpoint.name in whole]
    needed = ordered[:keep]
    for stage in protect:
        needed += [checkpoint for checkpoint in ordered if checkpoint.stage == stage][:1]
    names = {name for checkpoint in needed for name in (checkpoint.name, *_best_names(checkpoint))} | {*unreadable}
    for saved in checkpoints_of(run_dir):
        if saved.path.name not in names:
            with contextlib.suppress(OSError):
                saved.remove()


def _best_names(checkpoint: Checkpoint) -> list[str]:
    try:
        best = checkpoint.state.get("best_weights", {})
    except (OSError, ValueError):
        return []
    return [name for name in best.values() if isinstance(name, str)]


def _write(run_dir: Path, name: str, parts: Tensors, state: dict[str, Any]) -> None:
    path = checkpoints_folder(run_dir) / name
    try:
        with OpenFolder.at(run_dir, CHECKPOINTS, create=True) as parent, parent.temporary_folder(name) as temporary:
            for part, values in parts.items():
                if values:
                    file = temporary.path / f"{part}.safetensors"
                    save_file({key: _plain(value) for key, value in values.items()}, file)
            (temporary.path / STATE).write_text(json.dumps(state))
            files = manifest_of(temporary.path.iterdir())
            (temporary.path / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}))
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
