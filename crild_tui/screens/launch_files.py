"""The Launch mode's dealings with preset files: the user's editor, and saving."""

from __future__ import annotations

import os
from pathlib import Path

from textual.app import SuspendNotSupported

from crild_tui.launch_form.catalog import Entry, ref_of
from crild_tui.launch_form.checks import Examined
from crild_tui.launch_form.draft import Draft, choose
from crild_tui.launch_form.editor import editor, run_editor
from crild_tui.launch_form.fields import NAME, SEEDS
from crild_tui.launch_form.save_preset import save, target_of
from crild_tui.runs.create import name_of
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.widgets.choice_list import PresetList
from engine.errors import CrildError, UsageError
from engine.preset.shipped import path_of
from engine.preset.text import printable
from engine.record.files import cause


def current_folder() -> Path:
    """The folder that presets are looked for in; where it is gone, its name."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or "/")


class PresetFiles(ModeScreen):
    """`e` and `w`. What is chosen is in `draft`."""

    here: Path
    draft: Draft
    examined: Examined
    entries: list[Entry]

    def change(self, draft: Draft, *, at_once: bool = True) -> None:
        """Take another draft."""
        raise NotImplementedError

    def look(self, since: object = None, edited: str | None = None) -> object:
        """Read the files again and check the draft."""
        raise NotImplementedError

    # -- the editor

    def action_editor(self) -> None:
        """Open a preset in the user's editor: the one under the cursor of the list, else the chosen one.

        One that comes with crild is copied first.
        """
        if self.crild.readonly:
            self.crild.act(str)  # says so
            return
        try:
            editor()  # before anything is copied
        except CrildError as error:
            self.crild.tell(str(error), "error")
            return
        presets = self.query_one(PresetList)
        pointed = presets.pointed if presets.options.has_focus else None
        ref = pointed.ref if pointed is not None else self.draft.main
        if ref is None:
            self.crild.tell("choose a preset first")
        elif path_of(ref) is None:
            self._edit(ref)
        else:
            self._ask_for_copy(ref)

    def _ask_for_copy(self, ref: str) -> None:
        question = f"{ref} comes with crild and stays as it is. Copy it, to edit the copy, as"

        def copy(name: str | None) -> None:
            if name is None:
                return
            made: list[Path] = []

            def work() -> str:
                from crild_tui.launch_form.copy_preset import new_preset

                try:
                    made.append(new_preset(str(target_of(name)), ref))
                except OSError as error:
                    raise UsageError(f"{ref} cannot be copied: {cause(error)}") from error
                return f"{made[0]} is a copy of {ref}"

            self.crild.act(work, lambda: self._edit_copy(ref, made[0]))

        self.app.push_screen(Ask(question, f"./my-{ref}.toml"), copy)

    def _edit_copy(self, origin: str, path: Path) -> None:
        """Put the copy in the place of its original, and edit it."""
        ref = ref_of(path, self.here)
        draft = self.draft
        if draft.task == origin:
            self.change(Draft(draft.main, ref, draft.parts, draft.edits))
        elif draft.main == origin:
            self.change(Draft(ref, draft.task, draft.parts, draft.edits))
        self.query_one(PresetList).point(ref)
        self._edit(ref)

    def _edit(self, ref: str) -> None:
        """Give the terminal to the editor; then load what became of the file."""
        try:
            command = editor()
            with self.app.suspend():
                said = run_editor(command, self.here / ref)
        except CrildError as error:
            self.crild.tell(str(error), "error")
            return
        except SuspendNotSupported:
            self.crild.tell("this terminal cannot be handed to an editor: edit the file elsewhere", "error")
            return
        if said is not None:
            self.crild.tell(said, "warning")
        if ref not in self.draft.refs:
            entry = next((entry for entry in self.entries if entry.ref == ref), None)
            self.change(choose(self.draft, entry) if entry is not None else Draft(main=ref, edits=self.draft.edits))
        self.look(edited=printable(ref))

    # -- saving

    def action_save(self) -> None:
        """Save what is chosen and changed as a preset of the user's own."""
        if self.crild.readonly:
            self.crild.act(str)
            return
        stem = "-".join(name_of(ref) for ref in self.draft.refs)
        name = f"./my-{stem}.toml" if len(self.draft.refs) == 1 else f"./{stem}.toml"
        self.app.push_screen(Ask("Save what is chosen, with its changes, as", name), self._save_as)

    def _save_as(self, name: str | None) -> None:
        if name is None:
            return
        try:
            target = target_of(name)
        except CrildError as error:
            self.crild.tell(str(error), "error")
            return
        if not os.path.lexists(target):
            self._save(target, overwrite=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(target, overwrite=True)

        self.app.push_screen(Confirm(f"{printable(str(target))} is there already. Replace it?", "Replace"), answered)

    def _save(self, target: Path, *, overwrite: bool) -> None:
        draft = self.draft
        made: list[Path] = []

        def work() -> str:
            try:
                made.append(save(draft, self.here, target, overwrite=overwrite))
            except OSError as error:
                raise UsageError(f"nothing was saved: {cause(error)}") from error
            return f"saved as {made[0]}"

        def then() -> None:
            # The changes are in the file now; several seeds and a name are of the run, not of a preset.
            several = not draft.edits.get(SEEDS, "").strip().isdigit()
            kept = {key: text for key, text in draft.edits.items() if key == NAME or (key == SEEDS and several)}
            ref = ref_of(made[0], self.here)
            self.query_one(PresetList).point(ref)
            if draft is self.draft:
                self.change(Draft(main=ref, edits=kept))
            self.look()

        self.crild.act(work, then)
