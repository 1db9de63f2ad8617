"""What keys do to the selected run: stop, kill, resume, annotate and trash it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from textual.app import App

from crild_tui.runs import actions
from crild_tui.runs.annotations import note_in_field, write_note, write_tags
from crild_tui.runs.states import Hints, KeyNames, check_possible, key_hints
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.host import Host
from engine.errors import CrildError, UsageError
from engine.preset.text import one_line, plain
from engine.record.paths import TRASH
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS, Action


class ActionScreen(Protocol):
    """A screen with a run that keys act on. Their bindings have ids that begin with `MODE`."""

    MODE: ClassVar[str]

    @property
    def app(self) -> App[Any]:
        """The application, which shows questions."""

    @property
    def host(self) -> Host:
        """The application, which acts."""

    @property
    def selected(self) -> RunEntry | None:
        """The run that keys act on."""

    def keys(self) -> KeyNames:
        """The name of each key, by the id of its binding."""

    def later(self, callback: Callable[[], object]) -> None:
        """Call back in the application's thread."""


class RunActions:
    """Acts on the run that a screen has selected, or explains why an action isn't available.

    What destroys something asks first. `stop_changed` is called when `stop_requested` changes; `last_stage` names the
    stage that is proposed for extending a finished run.
    """

    def __init__(
        self,
        screen: ActionScreen,
        *,
        stop_changed: Callable[[], object] = lambda: None,
        last_stage: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._screen = screen
        self._stop_changed, self._last_stage = stop_changed, last_stage
        self.stop_requested: Path | None = None
        """The run whose engine was just asked to stop and has not answered."""

    @property
    def _host(self) -> Host:
        return self._screen.host

    def do(self, action: str) -> None:
        """Do what the key binding of the screen names."""
        {
            "stop": self.stop, "kill": self.kill, "resume": self.resume,
            "note": self.note, "tags": self.tags, "trash": self.trash,
        }[action]()  # fmt: skip

    def seen(self, entries: Iterable[RunEntry]) -> None:
        """Take the present states of runs: an engine that has answered is no longer waited for."""
        entry = next((entry for entry in entries if entry.path == self.stop_requested), None)
        if entry is not None and entry.state not in IN_PROGRESS - {"stopping"}:
            self._set_stop_requested(entry.path, False)

    def _set_stop_requested(self, run_dir: Path, requested: bool) -> None:
        if requested or self.stop_requested == run_dir:
            self.stop_requested = run_dir if requested else None
            self._stop_changed()

    def _tell(self, sentence: str) -> None:
        self._host.tell(sentence, "warning")

    def _run(self) -> RunEntry | None:
        """The run to act on; None, with a sentence, if there is none or nothing may be changed."""
        entry = self._screen.selected
        if entry is None:
            self._tell("there is no run here to act on")
        elif self._host.refuse_readonly():
            return None
        return entry

    @property
    def _hints(self) -> Hints:
        """How the screen's keys act on a run."""
        return key_hints(self._screen.keys(), self._screen.MODE)

    def _run_for(self, action: Action) -> RunEntry | None:
        """The run to act on; None, with a sentence, if its state doesn't allow the action or there is no run."""
        entry = self._run()
        if entry is None:
            return None
        try:
            check_possible(entry, action, self._hints)
        except UsageError as error:
            self._tell(error.sentence)
            return None
        return entry

    def _confirm(self, question: str, yes: str, no: str, action: Callable[[], str]) -> None:
        def answered(sure: bool | None) -> None:
            if sure:
                self._host.act(action)

        self._screen.app.push_screen(Confirm(question, yes, no), answered)

    def _ask(self, question: Ask, action: Callable[[str], str]) -> None:
        def answered(text: str | None) -> None:
            if text is not None:
                self._host.act(lambda: action(text))

        self._screen.app.push_screen(question, answered)

    # -- its engine

    def stop(self) -> None:
        """Ask the engine to write a checkpoint and end."""
        entry = self._run_for("stop")
        if entry is None:
            return
        if self.stop_requested == entry.path or entry.state == "stopping":
            self._tell(f"{plain(entry.id)} is already stopping; {self._hints.kill} to end it at once")
            return
        run_dir = entry.path
        self._set_stop_requested(run_dir, True)

        def stop() -> str:
            try:
                return actions.stop(run_dir)
            except CrildError:
                self._screen.later(lambda: self._set_stop_requested(run_dir, False))
                raise

        self._host.act(stop)

    def kill(self) -> None:
        """End the engine at once, after a question."""
        entry = self._run_for("kill")
        if entry is not None:
            question = (
                f"Kill {plain(entry.id)}? Its engine ends at once, and the steps since its last checkpoint are lost."
            )
            self._confirm(question, "Kill", "Leave it", lambda: actions.kill(entry.path))

    def resume(self) -> None:
        """Resume the run from its last checkpoint; ask what extends a finished one."""
        selected = self._screen.selected
        extends = selected is not None and selected.state == "finished"
        entry = self._run_for("extend" if extends else "resume")
        if entry is not None and extends:
            self._extend(entry)
        elif entry is not None:
            self._host.act(lambda: actions.resume(entry.path))

    def _extend(self, entry: RunEntry) -> None:
        stage = plain(self._last_stage() or "kd")

        def answered(text: str | None) -> None:
            if text is not None and text.strip():
                changes = tuple(text.split())
                self._host.act(lambda: actions.resume(entry.path, changes))

        question = f"{plain(entry.id)} is finished. What to train for longer? For example stage.{stage}.epochs=8"
        self._screen.app.push_screen(Ask(question, f"stage.{stage}.epochs=", "stage.kd.epochs=8"), answered)

    # -- its directory

    def note(self) -> None:
        """Write a note on the run."""
        entry = self._run()
        if entry is not None:
            question = f"Note on {one_line(entry.id)}"
            ask = Ask(question, note_in_field(entry.note), "an empty one removes it")
            self._ask(ask, lambda text: write_note(entry, text))

    def tags(self) -> None:
        """Change the tags of the run."""
        entry = self._run()
        if entry is not None:
            question = f"Tags of {one_line(entry.id)}, with spaces between them"
            ask = Ask(question, one_line(" ".join(entry.tags)), "words")
            self._ask(ask, lambda text: write_tags(entry, text))

    def trash(self) -> None:
        """Move the run to the trash folder, after a question; never one that is running."""
        entry = self._run_for("delete")
        if entry is not None:
            question = f"Move {one_line(entry.id)} to the folder {TRASH} next to it?"
            self._confirm(question, "Move", "No", lambda: actions.trash(entry.path))
