"""Dialogs that ask a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from engine.preset.text import listed, plain
from engine.user.own_code import OwnCodeError

T = TypeVar("T")


def ask(app: App[Any], dialog: ModalScreen[T | None], then: Callable[[T], object]) -> None:
    """Show a dialog; `then` gets its answer, unless the user left it without one."""

    def answered(answer: T | None) -> None:
        if answer is not None:
            then(answer)

    app.push_screen(dialog, answered)


def confirm(app: App[Any], dialog: Confirm, then: Callable[[], object]) -> None:
    """Show a question; `then` is called if the answer is yes."""

    def answered(sure: bool | None) -> None:
        if sure:
            then()

    app.push_screen(dialog, answered)


def code_question(error: Exception) -> Confirm | None:
    """The question to ask when a run was refused only because its models' own code needs the user's consent."""
    problems = getattr(error, "problems", (error,))
    models = [problem for problem in problems if isinstance(problem, OwnCodeError)]
    if len(models) < len(problems) or any(problem.kind != "model-code-not-trusted" for problem in models):
        return None
    names = listed([plain(f"{problem.model} ({problem.files})") for problem in models], "and")
    question = (
        f"{names} comes with its own Python code, which can do all that you can. It is not part of the preset. Run it this "
        "time, because you trust its author?"
    )
    return Confirm(question, "Run its code", "Don't")


class Confirm(ModalScreen[bool]):
    """A yes-or-no question; No has the focus, and Escape means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right", "app.focus_next", "Other button", show=False),
    ]

    def __init__(self, question: str, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            with Horizontal():
                yield Button(f"{self._yes} (y)", id="yes", variant="error")
                yield Button(f"{self._no} (n)", id="no")

    def on_mount(self) -> None:
        """Focus No, so that a careless Enter does nothing, and clear notifications that would cover the question."""
        self.app.clear_notifications()
        self.query_one("#no").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, value: bool) -> None:
        """Answer by key."""
        self.dismiss(value)


class Ask(ModalScreen[str | None]):
    """Asks for a line of text; None if the user presses Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._question, self._value, self._placeholder = question, value, placeholder

    def compose(self) -> ComposeResult:
        """The question and a field."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            yield Input(self._value, placeholder=self._placeholder, select_on_focus=False)
            yield Static(Text("Enter takes it, Escape leaves everything as it is"), classes="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
