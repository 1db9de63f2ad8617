"""Stopping, killing and resuming a run from a screen that shows or selects one. What makes no sense is said."""

from __future__ import annotations

from pathlib import Path

from crild_tui.runs import actions
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from engine.errors import CrildError
from engine.preset.text import plain
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS


class ActingScreen(ModeScreen):
    """A mode with a run that keys act on. Subclasses bind the keys, under ids that begin with `MODE`.

    What destroys something asks first; where nothing may be changed, that is said before anything is asked.
    """

    asked: Path | None = None
    """The run whose engine was just asked to stop and has not answered."""

    @property
    def selected(self) -> RunEntry | None:
        """The run that keys act on."""
        return None

    def runs_seen(self, snapshot: RunsSnapshot) -> None:
        """An engine that has answered is no longer asked."""
        super().runs_seen(snapshot)
        entry = next((entry for entry in snapshot.entries if entry.path == self.asked), None)
        if entry is not None and entry.state not in IN_PROGRESS - {"stopping"}:
            self._set_asked(entry.path, False)

    def asked_changed(self) -> None:
        """Draw `asked`, where it is drawn."""

    def last_stage(self) -> str:
        """The stage that a finished run is made longer by, as a first proposal."""
        return "kd"

    def key_of(self, action: str) -> str:
        """How the key of one of this screen's actions is called just now."""
        return self.keys()[f"{self.MODE}.{action}"]

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

    def may_act(self) -> RunEntry | None:
        """The run to act on; None, with a sentence, where there is none or nothing may be changed."""
        entry = self.selected
        if entry is None:
            self.crild.tell("there is no run here to act on", "warning")
            return None
        if self.crild.readonly:
            self.crild.act(str)  # it says why not
            return None
        return entry

    def _refuse(self, entry: RunEntry, verb: str) -> bool:
        """Say why a run cannot be stopped or killed, if it cannot."""
        if entry.state in IN_PROGRESS:
            return False
        why = f"{plain(entry.id)} is {entry.state}: there is nothing to {verb}"
        if entry.state in ("lost", "stopped", "preempted", "failed"):
            why += f"; {self.key_of('resume')} resumes it"
        self.crild.tell(why, "warning")
        return True

    def action_stop(self) -> None:
        """Ask the engine of the run for a checkpoint and its end."""
        entry = self.may_act()
        if entry is None or self._refuse(entry, "stop"):
            return
        if self.asked == entry.path or entry.state == "stopping":
            self.crild.tell(f"{plain(entry.id)} was asked to stop already; {self.key_of('kill')} kills it", "warning")
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
        if entry is None or self._refuse(entry, "kill"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.crild.act(lambda: actions.kill(entry.path))

        question = f"Kill {plain(entry.id)}? Its engine ends at once, and the steps since its last checkpoint are lost."
        self.app.push_screen(Confirm(question, yes="Kill", no="Leave it"), answered)

    def action_resume(self) -> None:
        """Go on with the run; a finished one asks what makes it longer."""
        entry = self.may_act()
        if entry is None:
            return
        if entry.state == "finished":
            self._lengthen(entry)
        elif entry.state in IN_PROGRESS:
            self.crild.tell(f"{plain(entry.id)} is {entry.state}: there is nothing to resume", "warning")
        else:
            self.crild.act(lambda: actions.resume(entry.path))

    def _lengthen(self, entry: RunEntry) -> None:
        stage = plain(self.last_stage())

        def answered(text: str | None) -> None:
            if text is not None and text.strip():
                changes = tuple(text.split())
                self.crild.act(lambda: actions.resume(entry.path, changes))

        question = f"{plain(entry.id)} is finished. What makes it longer? As in stage.{stage}.epochs=8"
        self.app.push_screen(Ask(question, f"stage.{stage}.epochs=", "stage.kd.epochs=8"), answered)
