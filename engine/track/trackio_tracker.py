"""Runs in trackio: on this machine, or in a Space of the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import RunError
from engine.record.paths import user_path
from engine.record.tracking import Tracking
from engine.track.curves import Point
from engine.track.facts import Outcome, RunFacts
from engine.track.tracker import accelerate_trackers
from engine.user.settings import Track


def make(facts: RunFacts, settings: Track) -> Trackio:
    """The tracker of a run."""
    return Trackio(facts, settings.trackio_space, settings.trackio_folder)


class Trackio:
    """A run of a trackio project. Its times are those of sending: trackio takes no others."""

    def __init__(self, facts: RunFacts, space: str | None, folder: str | None) -> None:
        self._facts, self._space, self._folder = facts, space, folder
        self.remote = self.where = ""
        self._tracker: Any = None

    def open(self, before: Tracking) -> Mapping[str, int]:
        """On this machine, its database says what it holds; for a Space, the record counts."""
        if self._folder is not None:
            os.environ["TRACKIO_DIR"] = str(user_path(self._folder, "track.trackio_folder"))
        from trackio import utils

        self.remote = before.remote or self._new_name()
        remote = self._space or os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        self.where = f"https://huggingface.co/spaces/{self._space}" if self._space else str(remote or utils.TRACKIO_DIR)
        arrived = before.sent if remote else self._last_steps()
        self._tracker = accelerate_trackers().TrackioTracker(
            self._facts.project, name=self.remote, resume="allow", space_id=self._space, private=True,
            config=dict(self._facts.config), embed=False, auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        self._tracker.start()
        return arrived

    def _new_name(self) -> str:
        """The run's name, unless another run of the project has it."""
        from trackio.sqlite_storage import SQLiteStorage

        name = self._facts.name
        config = SQLiteStorage.get_run_config(self._facts.project, name)
        return name if config is None or config.get("crild_id") == self._facts.id else f"{name}-{self._facts.id[:6]}"

    def _last_steps(self) -> dict[str, int]:
        from trackio.sqlite_storage import SQLiteStorage

        last: dict[str, int] = {}
        for row in SQLiteStorage.get_logs(self._facts.project, self.remote):
            for name in row.keys() - {"step", "timestamp"}:
                last[name] = max(last.get(name, 0), int(row["step"]))
        return last

    def send(self, points: Sequence[Point]) -> None:
        """All values of a point at once."""
        for point in points:
            self._tracker.log(dict(point.values), step=point.step)

    def finish(self, outcome: Outcome) -> None:
        """The table as Markdown, results as values, the student as an artifact."""
        import trackio

        if outcome.figures:
            self._tracker.log(dict(outcome.figures), step=0)
        if outcome.table:
            self._tracker.log({"results": trackio.Markdown(outcome.table)}, step=0)
        if outcome.student is not None:
            artifact = trackio.Artifact(f"{self.remote}-student", type="model")
            artifact.add_dir(str(outcome.student))
            self._tracker.tracker.log_artifact(artifact)

    def close(self) -> None:
        """Wait until it is stored. Raises RunError where it only keeps data back: trackio itself never fails."""
        if self._tracker is None:
            return
        self._tracker.finish()
        from trackio.sqlite_storage import SQLiteStorage

        if SQLiteStorage.has_pending_data(self._facts.project):
            sentence = (
                f"{self.where} took not all of it: trackio keeps the rest, and sends it when the next run is sent there"
            )
            raise RunError(sentence, kind="trackio-kept-back")
