"""Runs as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.paths import user_path
from engine.record.tracking import Tracking
from engine.track.curves import Point
from engine.track.facts import Outcome, RunFacts
from engine.track.tracker import accelerate_trackers
from engine.user.settings import Track

FOLDER = "tensorboard"
"""The folder in a run directory, unless the user names one for all runs: `tensorboard --logdir runs` finds it."""


def make(facts: RunFacts, settings: Track) -> TensorBoard:
    """The tracker of a run."""
    return TensorBoard(facts, settings.tensorboard_folder)


class TensorBoard:
    """A folder with event files; values are of 32 bits there."""

    def __init__(self, facts: RunFacts, folder: str | None) -> None:
        self._facts, self._folder = facts, folder
        self.remote = self.where = ""
        self._tracker: Any = None

    def open(self, before: Tracking) -> Mapping[str, int]:
        """The files themselves say what they hold, also after a kill."""

        folder = Path(before.remote) if before.remote and self._folder else self._new_folder()
        self.remote = self.where = str(folder)
        arrived = _last_steps(folder)
        self._tracker = accelerate_trackers().TensorBoardTracker(folder.name, folder.parent)
        self._tracker.start()
        if not arrived:
            lines = "\n".join(f"| {key} | {value} |" for key, value in self._facts.config.items())
            self._tracker.log({"preset": f"| setting | value |\n| --- | --- |\n{lines}"}, walltime=self._facts.created)
        return arrived

    def _new_folder(self) -> Path:
        if self._folder is None:
            own = self._facts.run_dir / FOLDER
            if own.is_symlink():
                raise RunError("is a symbolic link, which crild does not follow", kind="tracking-link", file=str(own))
            return own
        parent = user_path(self._folder, "track.tensorboard_folder") / self._facts.project
        own = parent / self._facts.name
        return parent / f"{own.name}-{self._facts.id[:6]}" if own.exists() else own  # of another folder of runs

    def send(self, points: Sequence[Point]) -> None:
        """One scalar for each value, at the time of its event."""
        for point in points:
            self._tracker.log(dict(point.values), step=point.step, walltime=point.time)

    def finish(self, outcome: Outcome) -> None:
        """The table as text, and the settings with the results for the tab HPARAMS."""
        if outcome.again:
            return
        if outcome.table:
            self._tracker.log({"results": outcome.table}, walltime=outcome.ended)
        from torch.utils.tensorboard import summary as torch_summary

        hparams: Any = torch_summary.hparams  # untyped
        # Accelerate's store_init_configuration writes them into a folder of its own, a second run without the curves.
        for summary in hparams(dict(self._facts.config), dict(outcome.figures)):
            self._tracker.tracker.file_writer.add_summary(summary)
        for name, value in outcome.figures.items():
            self._tracker.log({name: value}, step=0, walltime=outcome.ended)

    def close(self) -> None:
        """Flush and close the file."""
        if self._tracker is not None:
            self._tracker.finish()


def _last_steps(folder: Path) -> dict[str, int]:
    """The last step of each scalar in the event files of a folder; a file that a kill cut is read to the cut."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    last: dict[str, int] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    last[value.tag] = max(last.get(value.tag, 0), event.step)
    return last
