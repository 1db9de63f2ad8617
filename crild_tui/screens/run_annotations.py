"""Annotating the selected run and taking it away: note, tags, trash."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from crild_tui.runs import actions, listing
from crild_tui.runs.annotations import note_in_field, write_note, write_tags
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.run_actions import ActingScreen
from engine.record.paths import TRASH


class KeepingScreen(ActingScreen):
    """A screen that keeps runs in order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "note", "Write a note", id="runs.note", show=False),
        Binding("t", "tags", "Change tags", id="runs.tags", show=False),
        Binding("s", "stop", "Stop with a checkpoint", id="runs.stop", show=False),
        Binding("K", "kill", "Kill at once", id="runs.kill", show=False),
        Binding("r", "resume", "Resume", id="runs.resume", show=False),
        Binding("d", "trash", "Move to the trash", id="runs.trash", show=False),
    ]

    def action_trash(self) -> None:
        """Move the selected run to the trash folder, after asking; never one in progress."""
        entry = self.may_act()
        if entry is None or not self.can(entry, "delete"):
            return

        def answered(sure: bool | None) -> None:
            if sure:
                self.crild.act(lambda: actions.trash(entry.path))

        question = f"Move {listing.one_line(entry.id)} to the folder {TRASH} beside it?"
        self.app.push_screen(Confirm(question, "Move"), answered)

    def action_note(self) -> None:
        """Write a note on the selected run."""
        entry = self.may_act()
        if entry is None:
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_note(entry, text))

        question = f"Note on {listing.one_line(entry.id)}"
        self.app.push_screen(Ask(question, note_in_field(entry.note), "an empty one removes it"), answered)

    def action_tags(self) -> None:
        """Change the tags of the selected run."""
        entry = self.may_act()
        if entry is None:
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_tags(entry, text))

        question = f"Tags of {listing.one_line(entry.id)}, with spaces between them"
        self.app.push_screen(Ask(question, listing.one_line(" ".join(entry.tags)), "words"), answered)
