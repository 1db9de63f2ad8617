"""Stop, kill and resume a run from a screen that shows or selects one; explains why an action isn't possible."""

from __future__ import annotations

from pathlib import Path

from crild_tui.runs import actions
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import Hints, check_possible, key_hints
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from engine.errors import CrildError, UsageError
from engine.preset.text import plain
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS, Action


class ActingScreen(ModeScreen):
    """A mode with a run that keys act on. Subclasses bind the keys, under ids that begin with `MODE`.

    What destroys something asks first; a dashboard that is read only says so before it asks.
    """

    asked: Path | None = None
    """The run whose engine was just asked to stop and has not responded yet."""

    @property
    def selected(self) -> RunEntry | None:
        """The run that keys act on."""
        return None

    def runs_seen(self, snapshot: RunsSnapshot) -> None:
        """Forget that an engine was asked to stop once its run has another state."""
        super().runs_seen(snapshot)
        entry = next((entry for entry in snapshot.entries if entry.path == self.asked), None)
        if entry is not None and entry.state not in IN_PROGRESS - {"stopping"}:
            self._set_asked(entry.path, False)

    def asked_changed(self) -> None:
        """Draw `asked`, where it is drawn."""

    def last_stage(self) -> str:
        """The stage that a finished run is most likely to train for longer."""
        return "kd"

    @property
    def hints(self) -> Hints:
        """How this screen's keys act on a run."""
        return key_hints(self.keys(), self.MODE)

    def may_act(self) -> RunEntry | None:
        """The run to act on; None, after saying why, where there is none or the dashboard is read only."""
        entry = self.selected
        if entry is None:
            self.crild.tell("there is no run here to act on", "warning")
            return None
        if self.crild.readonly:
            self.crild.act(str)  # it says why not
            return None
        return entry

    def can(self, entry: RunEntry, action: Action) -> bool:
        """Whether an action is possible in the state of a run; shows why not."""
        try:
            check_possible(entry, action, self.hints)
        except UsageError as error:
            self.crild.tell(error.sentence, "warning")
            return False
        return True

    def action_stop(self) -> None:
        """Ask the engine of the run for a checkpoint and its end."""
        entry = self.may_act()
        if entry is None or not self.can(entry, "stop"):
            return
        if self.asked == entry.path or entry.state == "stopping":
            kill = self.hints.kill
            self.crild.tell(f"{plain(entry.id)} is already stopping; {kill} to end it at once", "warning")
            return
        run_dir = entry.path
        self._set_asked(run_dir, True)

        def stop() -> str:
            try:
                return actions.stop(run_dir)
            except CrildError:
                self.later(lambda: self._set_asked(run_dir, False))
                raise

        self.crild.act(stop)

    def _set_asked(self, run_dir: Path, asked: bool) -> None:
        if asked or self.asked == run_dir:
            self.asked = run_dir if asked else None
            self.asked_changed()

    def action_kill(self) -> None:
        """End the engine of the run at once, after a question."""
        entry = self.may_act()
        if entry is None or not self.can(entry, "kill"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.crild.act(lambda: actions.kill(entry.path))

        question = f"Kill {plain(entry.id)}? Its engine ends at once, and the steps since its last checkpoint are lost."
        self.app.push_screen(Confirm(question, yes="Kill", no="Leave it"), answered)

    def action_resume(self) -> None:
        """Resume the run; of a finished one, ask first what to train for longer."""
        entry = self.may_act()
        if entry is None:
            return
        if entry.state == "finished":
            self._lengthen(entry)
        elif self.can(entry, "resume"):
            self.crild.act(lambda: actions.resume(entry.path))

    def _lengthen(self, entry: RunEntry) -> None:
        stage = plain(self.last_stage())

        def answered(text: str | None) -> None:
            if text is not None and text.strip():
                changes = tuple(text.split())
                self.crild.act(lambda: actions.resume(entry.path, changes))

        question = f"{plain(entry.id)} is finished. What to train for longer? For example stage.{stage}.epochs=8"
        self.app.push_screen(Ask(question, f"stage.{stage}.epochs=", "stage.kd.epochs=8"), answered)
