"""What Live's keys do to the run that is shown, besides watching it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.screens.run_actions import ActingScreen
from engine.record.paths import PRESET
from engine.record.run import RunEntry


class RunScreen(ActingScreen):
    """A mode that shows one run: keys that stop, kill and resume it, and copy where it lies.

    Subclasses say which run it is in `run_dir` and `snapshot`, and draw when `asked` changes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "Stop", id="live.stop", tooltip="Ask the engine for a checkpoint and its end"),
        Binding(
            "K", "kill", "Kill", id="live.kill", tooltip="End the engine at once, without a checkpoint", show=False
        ),
        Binding("r", "resume", "Resume", id="live.resume", tooltip="Go on from the last checkpoint"),
        Binding("o", "folder", "Copy the path of the run's folder", id="live.folder", show=False),
        Binding("c", "command", "Copy the command to repeat the run", id="live.command", show=False),
    ]

    @property
    def run_dir(self) -> Path | None:
        """The run that is shown."""
        return None

    @property
    def snapshot(self) -> RunSnapshot | None:
        """What is known of it."""
        return None

    @property
    def selected(self) -> RunEntry | None:
        """The run that is shown, as it was last seen."""
        return None if self.snapshot is None else self.snapshot.entry

    def last_stage(self) -> str:
        """The last stage of the student."""
        names = self.snapshot.summary.names if self.snapshot is not None else ()
        stages = [name for name in names if name not in ("teacher", "baseline")]
        return stages[-1] if stages else super().last_stage()

    def action_folder(self) -> None:
        """Copy the path of the run's folder."""
        if self.run_dir is None:
            self.crild.tell("there is no run here", "warning")
        else:
            self.crild.copy(str(self.run_dir))

    def action_command(self) -> None:
        """Copy the command line that repeats the run."""
        if self.run_dir is None:
            self.crild.tell("there is no run here", "warning")
        else:
            self.crild.copy(f"crild run {shlex.quote(str(self.run_dir / PRESET))}")
