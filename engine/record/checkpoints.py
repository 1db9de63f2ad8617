"""The checkpoints of a run on disk: their names, whether they are whole, and which of them a run resumes from. No torch.

A checkpoint is whole when every file has the size and hash in its manifest, and so has everything that resuming from it
reads: the best weights of its stage, and, for a checkpoint of the baseline, the student's last checkpoint.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.errors import RunError
from engine.preset.regular_file import NotRegularError, OversizedError, read_regular
from engine.record import manifest
from engine.record.files import LARGEST, cause
from engine.record.paths import CHECKPOINTS

FORMAT = 1
MANIFEST = "manifest.json"
STATE = "state.json"
BASELINE = "baseline"
"""The stage that trains another student; it needs the last stage's checkpoint for the results only."""
_NAME = re.compile(r"(?P<index>\d{3})-(?P<stage>[a-z0-9_-]+)-(?P<step>\d{8})")
_NOT_ITS_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: the stage's index in the run (from 0), its name, and the steps completed in it."""

    path: Path
    index: int
    stage: str
    step: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.name

    @property
    def order(self) -> tuple[int, int]:
        """What sorts the checkpoints of a run from old to new."""
        return self.index, self.step

    @property
    def state(self) -> dict[str, Any]:
        """What is not a tensor: best evaluation so far, layer weights, results of earlier stages."""
        return dict(json.loads(read_regular(self.path / STATE)))

    def in_run(self, run_dir: Path) -> Checkpoint:
        """The same checkpoint where its run is now."""
        return replace(self, path=checkpoints_folder(run_dir) / self.name)


@dataclass(frozen=True)
class Flaw:
    """Why a checkpoint cannot be used: the folder at fault, and what is wrong with it, as a clause.

    "obsolete" is a baseline that was trained for as long as the student before the student was trained for longer.
    """

    name: str
    reason: str
    kind: Literal["damaged", "unreadable", "obsolete"] = "damaged"


def checkpoints_folder(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / CHECKPOINTS


def named_checkpoints(run_dir: Path) -> list[Checkpoint]:
    """All checkpoints by their names, damaged ones included, newest first. Raises RunError if the folder can't be read."""
    folder = checkpoints_folder(run_dir)
    try:
        names = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        sentence = f"the run's checkpoints cannot be read: {cause(error)}"
        raise RunError(sentence, kind="cannot-read-checkpoint", file=str(folder)) from error
    checkpoints = [
        Checkpoint(folder / match[0], int(match["index"]), match["stage"], int(match["step"]))
        for match in names
        if match
    ]
    return sorted(checkpoints, key=lambda checkpoint: checkpoint.order, reverse=True)


def most_bytes(weights: int, keep: int, *, averaged: bool, best: bool, beside: int = 0) -> int:
    """The most that the checkpoints of a stage take, for weights of so many bytes.

    One holds the weights, the optimiser's two moments of them and, if `averaged`, the self-teacher's. There are the `keep`
    newest, one being written, and `beside` of another stage; `best` weights are there twice while they are replaced.
    """
    return (keep + 1 + beside) * weights * (4 if averaged else 3) + (2 * weights if best else 0)


def has_checkpoints(run_dir: Path) -> bool:
    """Whether a run has any checkpoint, by name alone. Raises as `named_checkpoints`."""
    return bool(named_checkpoints(run_dir))


def flaw(path: Path) -> Flaw | None:
    """What is wrong with the files of a checkpoint (or of best weights); None when all are as they were written.

    Raises RunError when they cannot be read for a reason that may pass, such as a missing permission.
    """
    try:
        document = json.loads(read_regular(path / MANIFEST, LARGEST))
        if document["format"] != FORMAT:
            return Flaw(path.name, f"it has format {document['format']!r} of another version of crild", "unreadable")
        reason = manifest.damage(path, document["files"])
        return None if reason is None else Flaw(path.name, reason)
    except OSError as error:
        if isinstance(error, NotRegularError | OversizedError):
            return Flaw(path.name, f"one of its files is not what was written: {cause(error)}")
        if error.errno in _NOT_ITS_FILE:
            return Flaw(path.name, f"{MANIFEST} is missing" if path.is_dir() else "it is missing")
        if error.errno == errno.EIO:  # does not pass: an older checkpoint is better than none
            return Flaw(path.name, f"it cannot be read: {cause(error)}", "unreadable")
        sentence = f"a checkpoint cannot be read: {cause(error)}. Fix that, then run crild resume"
        raise RunError(sentence, kind="cannot-read-checkpoint", file=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Flaw(path.name, f"{MANIFEST} is not what was written")


class Checkpoints:
    """The checkpoints of a run as they are now; each is verified at most once, and only when it is asked for."""

    def __init__(self, run_dir: Path) -> None:
        """List them. Raises RunError when their folder cannot be read."""
        self.folder = checkpoints_folder(run_dir)
        self.named = named_checkpoints(run_dir)
        """By their names alone, newest first."""
        self._flaws: dict[str, Flaw | None] = {}
        self._states: dict[str, Mapping[str, Any]] = {}

    def newest(self) -> Checkpoint | None:
        """The checkpoint to resume from: the newest that is whole with all it refers to. Raises as `flaw`."""
        return next((checkpoint for checkpoint in self.named if self.flaw(checkpoint) is None), None)

    def whole(self) -> list[Checkpoint]:
        """The checkpoint to resume from and the whole ones before it, newest first. Raises as `flaw`."""
        return [checkpoint for checkpoint in self.named if self.flaw(checkpoint) is None]

    def passed_over(self) -> list[tuple[Checkpoint, Flaw]]:
        """The checkpoints that are newer than the one to resume from, with what is wrong with each. Raises as `flaw`."""
        flaws = []
        for checkpoint in self.named:
            found = self.flaw(checkpoint)
            if found is None:
                break
            flaws.append((checkpoint, found))
        return flaws

    def flaw(self, checkpoint: Checkpoint) -> Flaw | None:
        """What is wrong with a checkpoint, or with something it refers to. Raises as `flaw` of this module."""
        own = self._own_flaw(checkpoint.name)
        if own is not None:
            return own
        try:
            return self._flaw_of_references(checkpoint, self.state(checkpoint))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Flaw(checkpoint.name, f"{STATE} does not hold a state that crild writes")

    def state(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """The state of a checkpoint, read once."""
        if checkpoint.name not in self._states:
            self._states[checkpoint.name] = checkpoint.state
        return self._states[checkpoint.name]

    def _own_flaw(self, name: str) -> Flaw | None:
        if name not in self._flaws:
            self._flaws[name] = flaw(self.folder / name)
        return self._flaws[name]

    def _flaw_of_references(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> Flaw | None:
        best = needed_best_weights(state["progress"])
        if best is not None and (found := self._own_flaw(best)) is not None:
            return found
        if checkpoint.stage != BASELINE:
            return None
        name, result = [(name, one) for name, one in state["finished"].items() if one["role"] == "student"][-1]
        last = next((other for other in self.named if other.stage == name), None)
        if last is None:
            return Flaw(f"{checkpoint.index - 1:03d}-{name}-{result['steps']:08d}", "it is missing")
        if last.step > result["steps"]:
            return Flaw(checkpoint.name, f"it was made before stage {name} was trained for longer", "obsolete")
        return self.flaw(last)


def needed_best_weights(progress: Mapping[str, Any]) -> str | None:
    """The folder of best weights that a stage with this progress reads when it resumes or ends; None if it needs none.

    Weights that are best at the checkpoint's own step are in the checkpoint itself.
    """
    name, best = progress["best_weights"], progress["best"]
    return name if name is not None and best is not None and best["step"] != progress["step"] else None
