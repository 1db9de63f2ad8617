"""Edits the presets of the Launch mode in the user's editor, and saves them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from textual.app import App, SuspendNotSupported

from crild_tui.launch_form.catalog import Entry, ref_of
from crild_tui.launch_form.copy_preset import new_preset, target_of
from crild_tui.launch_form.draft import Draft, choose
from crild_tui.launch_form.editor import editor, run_editor
from crild_tui.launch_form.fields import NAME, SEEDS
from crild_tui.launch_form.save_preset import save
from crild_tui.runs.create import name_of
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.host import Host
from crild_tui.widgets.choice_list import PresetList
from engine.errors import CrildError, UsageError
from engine.preset.shipped import path_of
from engine.preset.source_names import is_table, uncompressed_name
from engine.preset.text import printable
from engine.record.files import cause

NO_EDITOR = "no editor opens in a browser: change settings in the form, or edit the file on the machine itself"
NO_REPLACING = "a file of this name exists, and a dashboard in a browser replaces none: choose another name"


def current_folder() -> Path:
    """The folder of the user's presets; its former path if it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or "/")


def _stem(ref: str) -> str:
    """What a preset, or a data file without its endings, adds to the name of a new preset."""
    return Path(uncompressed_name(ref)).stem if is_table(ref) else name_of(ref)


class LaunchForm(Protocol):
    """The screen with the preset that is edited and saved."""

    here: Path
    draft: Draft
    entries: list[Entry]

    @property
    def app(self) -> App[Any]:
        """The application, which shows questions."""

    @property
    def host(self) -> Host:
        """The application, which acts."""

    @property
    def presets(self) -> PresetList:
        """The list of presets."""

    def change(self, draft: Draft, *, at_once: bool = True) -> None:
        """Take another draft."""

    def look(self, since: object = None, edited: str | None = None) -> object:
        """Read the files again and check the draft."""


class PresetFiles:
    """Edits and saves the presets of the Launch mode."""

    def __init__(self, form: LaunchForm) -> None:
        self._form = form

    @property
    def _host(self) -> Host:
        return self._form.host

    # -- the editor

    def edit(self) -> None:
        """Open a preset in the user's editor: the one under the cursor of the list, else the chosen one.

        One that comes with crild is copied first.
        """
        if self._host.refuse_readonly() or self._host.refuse_served(NO_EDITOR):
            return
        try:
            editor()  # before anything is copied
        except CrildError as error:
            self._host.tell(str(error), "error")
            return
        presets = self._form.presets
        pointed = presets.pointed if presets.options.has_focus else None
        ref = pointed.ref if pointed is not None else self._form.draft.main
        if ref is None:
            self._host.tell("choose a preset first")
        elif is_table(ref):
            save = self._host.keys["launch.save"]
            self._host.tell(f"{printable(ref)} holds data; {save} saves a preset for it, which can be edited")
        elif path_of(ref) is None:
            self._edit(ref)
        else:
            self._ask_for_copy(ref)

    def _ask_for_copy(self, ref: str) -> None:
        question = f"{ref} comes with crild and cannot be changed. Copy it, and edit the copy, as"

        def copy(name: str | None) -> None:
            if name is None:
                return
            paths: list[Path] = []

            def work() -> str:
                try:
                    paths.append(new_preset(name, ref))
                except OSError as error:
                    raise UsageError(f"{ref} cannot be copied: {cause(error)}", kind="preset-not-copied") from error
                return f"{paths[0]} is a copy of {ref}"

            self._host.act(work, lambda: self._edit_copy(ref, paths[0]))

        self._form.app.push_screen(Ask(question, f"./my-{ref}.toml"), copy)

    def _edit_copy(self, origin: str, path: Path) -> None:
        """Replace the original by its copy, and edit that."""
        ref = ref_of(path, self._form.here)
        draft = self._form.draft
        if draft.task == origin:
            self._form.change(Draft(draft.main, ref, draft.parts, draft.edits))
        elif draft.main == origin:
            self._form.change(Draft(ref, draft.task, draft.parts, draft.edits))
        self._form.presets.point(ref)
        self._edit(ref)

    def _edit(self, ref: str) -> None:
        """Give the terminal to the editor; then load the file again."""
        form = self._form
        try:
            command = editor()
            with form.app.suspend():
                warning = run_editor(command, form.here / ref)
        except CrildError as error:
            self._host.tell(str(error), "error")
            return
        except SuspendNotSupported:
            self._host.tell("this terminal cannot be handed to an editor: edit the file elsewhere", "error")
            return
        if warning is not None:
            self._host.tell(warning, "warning")
        if ref not in form.draft.refs:
            entry = next((entry for entry in form.entries if entry.ref == ref), None)
            edited = Draft(main=ref, edits=form.draft.edits)
            form.change(edited if entry is None else choose(form.draft, entry))
        form.look(edited=printable(ref))

    # -- saving

    def save(self) -> None:
        """Save the draft as a new preset."""
        if self._host.refuse_readonly():
            return
        stem = "-".join(_stem(ref) for ref in self._form.draft.refs)
        name = f"./my-{stem}.toml" if len(self._form.draft.refs) == 1 else f"./{stem}.toml"
        self._form.app.push_screen(Ask("Save what is chosen, with its changes, as", name), self._save_as)

    def _save_as(self, name: str | None) -> None:
        if name is None:
            return
        try:
            target = target_of(name)
            self._host.check_paths({NAME: str(target)})
        except CrildError as error:
            self._host.tell(str(error), "error")
            return
        if not os.path.lexists(target):
            self._save(target, overwrite=False)
            return
        if self._host.refuse_served(NO_REPLACING):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(target, overwrite=True)

        self._form.app.push_screen(
            Confirm(f"{printable(str(target))} exists already. Replace it?", "Replace"), answered
        )

    def _save(self, target: Path, *, overwrite: bool) -> None:
        draft = self._form.draft
        paths: list[Path] = []

        def work() -> str:
            self._host.check_paths(draft.edits)
            try:
                paths.append(save(draft, self._form.here, target, overwrite=overwrite))
            except OSError as error:
                raise UsageError(f"nothing was saved: {cause(error)}", kind="preset-not-saved") from error
            return f"saved as {paths[0]}"

        def then() -> None:
            # The changes are in the file now; several seeds and a name are of the run, not of a preset.
            several = not draft.edits.get(SEEDS, "").strip().isdigit()
            edits = {key: text for key, text in draft.edits.items() if key == NAME or (key == SEEDS and several)}
            ref = ref_of(paths[0], self._form.here)
            self._form.presets.point(ref)
            if draft is self._form.draft:
                self._form.change(Draft(main=ref, edits=edits))
            self._form.look()

        self._host.act(work, then)
