"""Stop, kill, resume, annotate and trash the selected run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from crild_tui.runs import actions
from crild_tui.runs.annotations import note_in_field, write_note, write_tags
from crild_tui.runs.browser_limits import NO_FOREIGN_CODE
from crild_tui.runs.resume import extension_problem
from crild_tui.runs.states import Hints, check_possible, key_hints
from crild_tui.screens.dialogs import Ask, Confirm, ask, code_question, confirm
from crild_tui.screens.host import Host
from crild_tui.screens.mode_screen import ModeScreen
from engine.errors import CrildError, UsageError
from engine.preset.text import one_line, plain
from engine.record.paths import TRASH
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS, Action, allows

NEEDED: Mapping[str, Action] = {"stop": "stop", "kill": "kill", "resume": "resume", "trash": "delete"}
"""What the state of a run must allow for an action of a key."""


class RunActions:
    """Acts on the run that a screen has selected, or explains why an action isn't available.

    Destructive actions ask first. `selected` is the run that the screen's keys act on; their bindings have ids that begin
    with its `MODE`. `stop_changed` is called when `stop_requested` changes; `last_stage` names the stage that is proposed
    for extending a finished run.
    """

    def __init__(
        self,
        screen: ModeScreen,
        selected: Callable[[], RunEntry | None],
        *,
        stop_changed: Callable[[], object] = lambda: None,
        last_stage: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._screen, self._selected = screen, selected
        self._stop_changed, self._last_stage = stop_changed, last_stage
        self.stop_requested: Path | None = None
        """The run whose engine was asked to stop and has not reacted yet."""

    @property
    def _host(self) -> Host:
        return self._screen.host

    def do(self, action: str) -> None:
        """Run the action that a key binding of the screen names."""
        {
            "stop": self.stop, "kill": self.kill, "resume": self.resume,
            "note": self.note, "tags": self.tags, "trash": self.trash,
        }[action]()  # fmt: skip

    def offers(self, action: str) -> bool:
        """Whether an action, as a key binding of the screen names it, does something to the selected run."""
        entry, needed = self._selected(), NEEDED.get(action)
        if entry is None or (action == "stop" and entry.state == "stopping"):
            return False
        return needed is None or allows(entry.state, needed)

    def seen(self, entries: Iterable[RunEntry]) -> None:
        """Take the current states of runs, to notice when an engine has reacted to a stop request."""
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
        entry = self._selected()
        if entry is None:
            self._tell("there is no run here to act on")
        elif self._host.refuse_readonly():
            return None
        return entry

    @property
    def _hints(self) -> Hints:
        """How the screen's keys act on a run."""
        return key_hints(self._host.keys, self._screen.MODE)

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

    def _ask(self, question: Ask, action: Callable[[str], str]) -> None:
        ask(self._screen.app, question, lambda text: self._host.act(lambda: action(text)))

    def _confirm(self, question: Confirm, action: Callable[[], str]) -> None:
        confirm(self._screen.app, question, lambda: self._host.act(action))

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
            lost = "Its engine ends at once, and the steps since its last checkpoint are lost."
            question = Confirm(f"Kill {plain(entry.id)}? {lost}", "Kill", "Leave it")
            self._confirm(question, lambda: actions.kill(entry.path))

    def resume(self) -> None:
        """Resume the run from its last checkpoint; ask what extends a finished one."""
        selected = self._selected()
        extends = selected is not None and selected.state == "finished"
        entry = self._run_for("extend" if extends else "resume")
        if entry is not None and extends:
            if (problem := extension_problem(entry.path)) is not None:
                self._tell(problem.sentence)
            else:
                self._extend(entry)
        elif entry is not None:
            self._host.act(lambda: self._resume(entry.path))

    def _resume(self, run_dir: Path, changes: Sequence[str] = ()) -> str:
        """Resume a run; where its models come with their own code, a question asks for consent first."""
        try:
            return actions.resume(run_dir, changes)
        except CrildError as error:
            question = code_question(error)
            if question is None:
                raise
            if self._host.served:
                raise UsageError(NO_FOREIGN_CODE, kind="no-consent-in-browser") from error
        self._screen.later(lambda: self._confirm(question, lambda: actions.resume(run_dir, changes, trust=True)))
        return "not resumed yet: a model comes with its own code"

    def _extend(self, entry: RunEntry) -> None:
        stage = plain(self._last_stage() or "kd")

        def extend(text: str) -> None:
            if changes := tuple(text.split()):
                self._host.act(lambda: self._resume(entry.path, changes))

        question = f"{plain(entry.id)} is finished. Which setting to extend? For example stage.{stage}.epochs=8"
        ask(self._screen.app, Ask(question, f"stage.{stage}.epochs=", "stage.kd.epochs=8"), extend)

    # -- its directory

    def note(self) -> None:
        """Write a note on the run."""
        entry = self._run()
        if entry is not None:
            question = Ask(f"Note on {one_line(entry.id)}", note_in_field(entry.note), "an empty one removes it")
            self._ask(question, lambda text: write_note(entry, text))

    def tags(self) -> None:
        """Change the tags of the run."""
        entry = self._run()
        if entry is not None:
            question = f"Tags of {one_line(entry.id)}, separated by spaces"
            self._ask(Ask(question, one_line(" ".join(entry.tags)), "words"), lambda text: write_tags(entry, text))

    def trash(self) -> None:
        """Move the run to the trash folder, after a question; never one that is running."""
        entry = self._run_for("delete")
        if entry is not None:
            question = Confirm(f"Move {one_line(entry.id)} to the folder {TRASH} next to it?", "Move")
            self._confirm(question, lambda: actions.trash(entry.path))
