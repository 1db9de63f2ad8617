"""Runs in W&B, online or offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.record.json_values import mapping
from engine.record.paths import user_path
from engine.record.tracking import Tracking
from engine.track.curves import Point
from engine.track.facts import Outcome, RunFacts
from engine.track.tracker import accelerate_trackers, beside_runs
from engine.user.settings import Track

INIT_WITHIN, FINISH_WITHIN = 60.0, 120.0
"""Seconds that W&B may take to start a run, and to upload what is left at its end."""


def make(facts: RunFacts, settings: Track) -> WandB:
    """The tracker of a run."""
    return WandB(facts, settings)


class WandB:
    """A run of W&B. Its own step is the number of the point; each stage has an axis `STAGE/step`."""

    def __init__(self, facts: RunFacts, settings: Track) -> None:
        self._facts, self._settings = facts, settings
        self.remote, self.where = facts.id, ""
        self._tracker: Any = None
        self._stages: set[str] = set()

    def open(self, before: Tracking) -> Mapping[str, int]:
        """Online, W&B knows how many points it has; offline, its files say it, else what arrived before the last close."""
        import wandb

        chosen = self._settings.wandb_folder or os.environ.get("WANDB_DIR")
        folder = user_path(chosen, "track.wandb_folder") if chosen else beside_runs(self._facts)
        self._tracker = accelerate_trackers().WandBTracker(
            self._facts.project, id=self._facts.id, name=self._facts.name, tags=list(self._facts.tags),
            notes=self._facts.note or None, entity=self._settings.wandb_entity, mode=self._settings.wandb_mode,
            dir=str(folder), resume="allow",
            settings=wandb.Settings(
                # W&B learns nothing of the machine, the program and its folder: they are not the run's.
                host="crild", x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
                disable_git=True, disable_code=True, console="off", silent=True, init_timeout=INIT_WITHIN,
                finish_timeout=FINISH_WITHIN, finish_timeout_raises=True,
            ),
        )  # fmt: skip
        self._tracker.start()
        run = self._tracker.tracker
        self.where = f"{folder / 'wandb'} (offline: wandb sync uploads it)" if run.offline else run.url or ""
        self._tracker.store_init_configuration(dict(self._facts.config))
        if not run.offline:
            self._first = int(run.starting_step)
            return {}
        self._first = 0
        return _offline_steps(folder / "wandb", self._facts.id) or before.confirmed

    def send(self, points: Sequence[Point]) -> None:
        """A row for each point, at the time of its event; a row that W&B has is not sent again."""
        run = self._tracker.tracker
        for point in points:
            if point.stage not in self._stages:
                self._stages.add(point.stage)
                run.define_metric(f"{point.stage}/step", hidden=True)
                run.define_metric(f"{point.stage}/*", step_metric=f"{point.stage}/step")
            if point.number >= self._first:
                row = {**point.values, f"{point.stage}/step": point.step, "_timestamp": point.time}
                self._tracker.log(row, step=point.number)

    def finish(self, outcome: Outcome) -> None:
        """Results and table in the summary, the student as an artifact, the state as an exit code."""
        import wandb

        run = self._tracker.tracker
        run.summary.update(dict(outcome.figures) | {"state": outcome.state})
        if outcome.table:
            run.notes = f"{self._facts.note}\n\n{outcome.table}".strip()
        if outcome.student is not None:
            artifact = wandb.Artifact(f"{self._facts.name}-student", type="model")
            artifact.add_dir(str(outcome.student))
            run.log_artifact(artifact)
        tracker, self._tracker = self._tracker, None
        tracker.tracker.finish(exit_code=int(outcome.failed))  # Accelerate's finish knows no failed run

    def close(self) -> None:
        """Wait until all is uploaded or on disk; raises TimeoutError where W&B cannot be reached."""
        if self._tracker is not None:
            self._tracker.finish()


def _offline_steps(folder: Path, run: str) -> dict[str, int]:
    """The last step of each curve in W&B's files of a run, as W&B itself reads them; empty where there are none."""
    last: dict[str, int] = {}
    for file in sorted(folder.glob(f"offline-run-*-{run}/run-{run}.wandb")):
        words = [sys.executable, "-P", "-m", "wandb", "beta", "leet", "inspect", "--json", str(file)]
        output = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=300).stdout
        for line in output.splitlines():
            for name, step in _steps(line):
                last[name] = max(last.get(name, 0), step)
    return last


def _steps(line: bytes) -> list[tuple[str, int]]:
    """The curves of a row of history with their step; none for any other record."""
    try:
        row = mapping(mapping(mapping(json.loads(line)).get("history")).get("item"))
    except ValueError:
        return []
    names = [name for name in row if "/" in name and not name.startswith("_")]
    steps = {name.removesuffix("/step"): row[name] for name in names if name.endswith("/step")}
    return [
        (name, int(step)) for name in names
        if isinstance(step := steps.get(name.partition("/")[0]), int | float)
    ]  # fmt: skip
