"""What a short run spends its time on, from the start of its engine to its results.

    python benchmarks/short_run.py [PRESET...] [--set KEY=VALUE]... [--json]
    python benchmarks/short_run.py --model FOLDER       # CR-ILD of a model in a folder on 1,000 short sentences

By default the quickstart. A run is trained twice in engines of their own: the first trains the teacher, the second takes it
from the cache, as all but one run of a sweep do. For each phase of the engine (`engine/record/phases.py`): seconds on the
clock, and of the processors by all its threads, which don't depend on what else the machine does. "steps" is what no phase
names: optimiser steps and their records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import source_tree  # noqa: F401 - before the product's packages

from engine.launch.start import engine_environment
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record import session
from engine.record.phases import Phases
from engine.record.run import create_run

STEPS = "steps"
GROUPS = {
    "libraries": ("starting", "importing"),
    "teacher on dev": ("evaluating the teacher",),
    "evaluations": ("evaluating", "computing the loss", "measuring the models"),
    "checkpoints": (
        "saving a checkpoint",
        "saving the best",
        "verifying",
        "loading the best",
        "loading the checkpoint",
    ),
    "latency": ("measuring latency",),
    "models saved": ("saving the", "writing", "hashing the models"),
    "models": ("building", "loading", "hashing", "preparing the stage", "computing the teacher"),
    STEPS: (STEPS,),
}
"""Beginnings of phases by group; what begins otherwise is "data and device"."""
OTHER = "data and device"
MODEL = """
schema = 1
[task]
name = "toy-sentiment"
examples = 1000
max_length = 32
[teacher]
model = "{model}"
[teacher.finetune]
epochs = 1
[student]
layers = 3
[train]
epochs = 2
[baseline]
enabled = true
"""


class TimedPhases(Phases):
    """Phases that add up the time of each."""

    spent: ClassVar[dict[str, list[float]]] = {}
    """Seconds on the clock and of the processors, by phase."""
    present: ClassVar[tuple[str, float, float]] = ("starting", time.time(), 0.0)

    @classmethod
    def enter(cls, name: str) -> None:
        """From now on, time is that of the phase `name`."""
        before, wall, own = cls.present
        cls.present = (name, time.time(), time.process_time())
        sums = cls.spent.setdefault(before, [0.0, 0.0])
        sums[0] += cls.present[1] - wall
        sums[1] += cls.present[2] - own

    def __call__(self, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        """See `Phases`."""
        super().__call__(phase, done, total, unit)  # ends the phase before
        self.enter(phase)

    @contextmanager
    def writing(self, phase: str) -> Iterator[None]:
        """See `Phases`."""
        with super().writing(phase):
            self.enter(phase)
            yield

    def close(self) -> None:
        """See `Phases`."""
        self.enter(STEPS)
        super().close()


def be_engine(run_dir: Path, began: float, output: Path) -> int:
    """Train a run in this process, and write what its phases took."""
    TimedPhases.present = ("starting", began, 0.0)
    setattr(session, "Phases", TimedPhases)  # noqa: B010 - it exports no such name
    from engine.worker import main

    code = main(["train", str(run_dir)])
    TimedPhases.enter("end")
    output.write_text(json.dumps(TimedPhases.spent))
    return code


def measure(folder: Path, presets: list[str], settings: list[str], name: str) -> dict[str, list[float]]:
    """Seconds by phase of one run."""
    loaded = load_preset(presets, settings)
    run_dir = create_run(folder / "runs", dump(loaded.preset), name=name, seed=loaded.preset.seed)
    output, log = folder / f"{name}.json", folder / f"{name}.log"
    command = [sys.executable, __file__, "--engine", str(run_dir), str(time.time()), str(output)]
    environment = engine_environment() | {"CRILD_CACHE_DIR": str(folder / "cache")}
    with log.open("w") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(log.read_text())
    found: dict[str, list[float]] = json.loads(output.read_text())
    return found


def group(phase: str) -> str:
    """The group of a phase."""
    return next((name for name, words in GROUPS.items() if phase.startswith(words)), OTHER)


def shares(spent: dict[str, list[float]]) -> dict[str, Any]:
    """Seconds by group, the largest share of the processors first, and by phase."""
    groups: dict[str, list[float]] = {}
    for phase, (wall, own) in spent.items():
        sums = groups.setdefault(group(phase), [0.0, 0.0])
        sums[0], sums[1] = sums[0] + wall, sums[1] + own
    whole = [sum(values) for values in zip(*spent.values(), strict=True)]
    ordered = sorted(groups.items(), key=lambda item: -item[1][1])
    return {
        "seconds": round(whole[0], 2),
        "processor_seconds": round(whole[1], 2),
        "groups": {
            name: {"seconds": round(wall, 2), "processor_seconds": round(own, 2), "share": round(own / whole[1], 4)}
            for name, (wall, own) in ordered
        },
        "phases": {name: [round(value, 3) for value in values] for name, values in spent.items()},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--phases", action="store_true", help="also print each phase")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crild-short-") as temporary:
        folder = Path(temporary)
        os.environ["CRILD_CACHE_DIR"] = str(folder / "cache")
        presets = given.presets or ["quickstart"]
        if given.model is not None:
            (folder / "model.toml").write_text(MODEL.format(model=given.model.resolve()))
            presets = ["crild", str(folder / "model.toml")]
        found = {
            name: shares(measure(folder, presets, given.settings, name))
            for name in ("trains-teacher", "cached-teacher")
        }
    if given.json:
        print(json.dumps(found, indent=2))
        return 0
    for name, figures in found.items():
        print(f"{name}: {figures['seconds']} s on the clock, {figures['processor_seconds']} s of the processors")
        for part, one in figures["groups"].items():
            print(
                f"  {part:16} {one['share']:6.1%} {one['processor_seconds']:8.2f} s of the processors {one['seconds']:8.2f} s"
            )
        if given.phases:
            for part, (wall, own) in figures["phases"].items():
                print(f"    {part:50} {own:8.3f} {wall:8.3f}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        sys.exit(be_engine(Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
    sys.exit(main())
