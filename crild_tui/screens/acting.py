"""What can be done to the run that is selected on a screen: stop, kill, resume, trash, note, tags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from crild_tui import acts, listing
from crild_tui.annotating import note_in_field, write_note, write_tags
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from engine.record.paths import TRASH
from engine.record.run import RunEntry

WORKING = ("running", "stopping", "stalled", "queued")
"""States in which a run is not moved away."""


class ActingScreen(ModeScreen):
    """A screen with a selected run. What destroys something asks first; nothing is asked where nothing may change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "note", "Write a note", id="runs.note", show=False),
        Binding("t", "tags", "Change tags", id="runs.tags", show=False),
        Binding("s", "stop", "Stop with a checkpoint", id="runs.stop", show=False),
        Binding("K", "kill", "Kill at once", id="runs.kill", show=False),
        Binding("r", "resume", "Resume", id="runs.resume", show=False),
        Binding("d", "trash", "Move to the trash", id="runs.trash", show=False),
    ]

    @property
    def selected(self) -> RunEntry | None:
        """The run that keys act on."""
        return None

    def action_stop(self) -> None:
        """Ask the engine of the selected run for a checkpoint and its end."""
        if (entry := self.selected) is not None:
            self.crild.act(lambda: acts.stop(entry.path))

    def action_resume(self) -> None:
        """Go on with the selected run."""
        if (entry := self.selected) is not None:
            self.crild.act(lambda: acts.resume(entry.path))

    def action_kill(self) -> None:
        """End the engine of the selected run at once, after asking."""
        self._sure("Kill {}? What it did since its last checkpoint is lost.", "Kill", acts.kill)

    def action_trash(self) -> None:
        """Move the selected run to the trash folder, after asking; never one that works."""
        entry = self.selected
        if entry is not None and entry.state in WORKING:
            self.crild.tell(f"{entry.id} is {entry.state}: stop it first", "warning")
            return
        self._sure(f"Move {{}} to the folder {TRASH} beside it?", "Move", acts.trash)

    def _sure(self, question: str, yes: str, act: Callable[[Path], str]) -> None:
        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(sure: bool | None) -> None:
            if sure:
                self.crild.act(lambda: act(entry.path))

        self.app.push_screen(Confirm(question.format(listing.one_line(entry.id)), yes), answered)

    def _only_reads(self) -> bool:
        """Whether nothing may be changed, said before anything is asked."""
        if self.crild.readonly:
            self.crild.act(str)
        return self.crild.readonly

    def action_note(self) -> None:
        """Write a note on the selected run."""
        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_note(entry, text))

        question = f"Note on {listing.one_line(entry.id)}"
        self.app.push_screen(Ask(question, note_in_field(entry.note), "an empty one removes it"), answered)

    def action_tags(self) -> None:
        """Change the tags of the selected run."""
        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_tags(entry, text))

        question = f"Tags of {listing.one_line(entry.id)}, with spaces between them"
        self.app.push_screen(Ask(question, listing.one_line(" ".join(entry.tags)), "words"), answered)
