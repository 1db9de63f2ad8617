"""What can be done to the run that a screen shows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from crild_tui import acts
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.watch.snapshots import RunSnapshot
from crild_tui.widgets.runfacts import ACTIVE
from engine.errors import CrildError
from engine.preset.text import plain
from engine.record.paths import PRESET


class RunScreen(ModeScreen):
    """A mode that shows one run: keys that stop, kill and resume it, and copy where it lies. What makes no sense is said.

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

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        """Whether the engine was just asked to stop and has not answered."""

    @property
    def run_dir(self) -> Path | None:
        """The run that is shown."""
        return None

    @property
    def snapshot(self) -> RunSnapshot | None:
        """What is known of it."""
        return None

    def asked_changed(self) -> None:
        """Draw `asked`."""

    def keys(self) -> dict[str, str]:
        """How the keys are called just now, by the ids of their bindings."""
        names = {"mode.launch": "1"}
        for bindings in self._bindings.key_to_bindings.values():
            names |= {each.id: self.crild.get_key_display(each) for each in bindings if each.id}
        present: dict[str, str] = {}
        for active in self.active_bindings.values():
            if active.binding.id:
                present.setdefault(active.binding.id, self.crild.get_key_display(active.binding))
        return names | present

    # -- acting

    def _may_act(self) -> RunSnapshot | None:
        """The run to act on; None, with a sentence, where there is none or nothing may be changed."""
        if self.snapshot is None:
            self.crild.tell("there is no run here to act on", "warning")
            return None
        if self.crild.readonly:
            self.crild.act(lambda: "")  # it says why not
            return None
        return self.snapshot

    def _refuse(self, snapshot: RunSnapshot, verb: str) -> bool:
        """Say why a run cannot be stopped or killed, if it cannot."""
        state, name = snapshot.entry.state, snapshot.run_dir.name
        if state in ACTIVE:
            return False
        why = f"{name} is {state}: there is nothing to {verb}"
        if state in ("lost", "stopped", "preempted", "failed"):
            why += f"; {self.keys()['live.resume']} resumes it"
        self.crild.tell(why, "warning")
        return True

    def action_stop(self) -> None:
        """Ask for a checkpoint and the end."""
        snapshot = self._may_act()
        if snapshot is None or self._refuse(snapshot, "stop"):
            return
        if self.asked or snapshot.entry.state == "stopping":
            kill = self.keys()["live.kill"]
            self.crild.tell(f"{snapshot.run_dir.name} was asked to stop already; {kill} kills it", "warning")
            return
        run_dir = snapshot.run_dir
        self._set_asked(run_dir, True)

        def stop() -> str:
            try:
                return acts.stop(run_dir)
            except CrildError:
                self.crild.call_from_thread(self._set_asked, run_dir, False)
                raise

        self.crild.act(stop)

    def _set_asked(self, run_dir: Path, asked: bool) -> None:
        if run_dir == self.run_dir:
            self.asked = asked
            self.asked_changed()

    def action_kill(self) -> None:
        """End the engine at once, after a question."""
        snapshot = self._may_act()
        if snapshot is None or self._refuse(snapshot, "kill"):
            return
        run_dir = snapshot.run_dir

        def answered(yes: bool | None) -> None:
            if yes:
                self.crild.act(lambda: acts.kill(run_dir))

        question = (
            f"Kill {plain(run_dir.name)}? Its engine ends at once, and the steps since its last checkpoint are lost."
        )
        self.app.push_screen(Confirm(question, yes="Kill", no="Leave it"), answered)

    def action_resume(self) -> None:
        """Go on; a finished run asks what makes it longer."""
        snapshot = self._may_act()
        if snapshot is None:
            return
        state, run_dir = snapshot.entry.state, snapshot.run_dir
        if state in ACTIVE:
            self.crild.tell(f"{run_dir.name} is {state}: there is nothing to resume", "warning")
        elif state == "finished":
            self._lengthen(snapshot)
        else:
            self.crild.act(lambda: acts.resume(run_dir))

    def _lengthen(self, snapshot: RunSnapshot) -> None:
        run_dir = snapshot.run_dir
        stages = [name for name in snapshot.picture.names if name not in ("teacher", "baseline")]
        stage = stages[-1] if stages else "kd"

        def answered(text: str | None) -> None:
            if text is not None and text.strip():
                changes = tuple(text.split())
                self.crild.act(lambda: acts.resume(run_dir, changes))

        question = f"{plain(run_dir.name)} is finished. What makes it longer? As in stage.{plain(stage)}.epochs=8"
        self.app.push_screen(Ask(question, f"stage.{stage}.epochs=", "stage.kd.epochs=8"), answered)

    def action_folder(self) -> None:
        """Copy the path of the run's folder."""
        if self.run_dir is None:
            self.crild.tell("there is no run here", "warning")
        else:
            self._copy(str(self.run_dir))

    def action_command(self) -> None:
        """Copy the command line that repeats the run."""
        if self.run_dir is None:
            self.crild.tell("there is no run here", "warning")
        else:
            self._copy(f"crild run {shlex.quote(str(self.run_dir / PRESET))}")

    def _copy(self, text: str) -> None:
        self.app.copy_to_clipboard(text)
        self.crild.tell(f"copied: {text}")
