"""A field of the form of the Launch mode on one line, which is also its editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

from crild_tui.launch_form.checks import FieldView
from crild_tui.launch_form.fields import UNUSED, Field
from crild_tui.text import shorten, shorten_name
from crild_tui.widgets.text_view import wrapped
from engine.preset.text import one_line, printable

LABEL = 22
"""Cells of a field's name, with the mark before it."""
CHANGED = "*"
"""Marks a field that differs from the preset."""
_LEAST_VALUE = 10  # cells that a value keeps where the form is narrow


class Editor(Input):
    """The text of a field while it is edited. Enter, Tab, Up and Down keep it, Escape restores the old one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "leave(True)", "Keep", key_display="enter"),
        Binding("escape", "leave(False)", "Cancel", key_display="esc"),
        Binding("down,tab", "leave(True, 1)", "Keep, next field", show=False),
        Binding("up,shift+tab", "leave(True, -1)", "Keep, field before", show=False),
    ]

    def action_leave(self, keep: bool, step: int = 0) -> None:
        """End the editing."""
        line = self.parent
        if isinstance(line, FieldLine):  # a held key may come again after the editor was removed
            line.end(keep=keep, step=step)


class FieldLine(Widget):
    """A field: its mark, name and value on one line, and what is wrong with it below."""

    DEFAULT_CSS = """
    FieldLine {
        height: 1; background: $background; color: $foreground;
        &.-current { background: $primary 25%; }
        &:hover { background: $primary 15%; }
        & > Editor { height: 1; border: none; padding: 0; background: $surface; }
        & > .fieldline--error { color: $error; }
        & > .fieldline--dim { color: $foreground 60%; }
        & > .fieldline--changed { color: $accent; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"fieldline--error", "fieldline--dim", "fieldline--changed"}

    @dataclass
    class Changed(Message):
        """The text of a field changed, perhaps in the middle of a word."""

        key: str
        text: str | None
        """None: as the preset has it."""

    @dataclass
    class Words(Message):
        """List the allowed values of a field."""

        line: FieldLine

    @dataclass
    class Move(Message):
        """Move the focus to another field."""

        line: FieldLine
        step: int

    def __init__(self, view: FieldView) -> None:
        super().__init__()
        self.view = view
        self.current = False
        """Whether the form's cursor is on it, and the form has the focus."""
        self._before: str | None = None  # the change that editing began with
        self._sent: str | None = None  # the text that was reported last; None while nothing is edited

    @property
    def field(self) -> Field:
        """What the line shows."""
        return self.view.field

    @property
    def editing(self) -> bool:
        """Whether it is being edited."""
        return self._sent is not None

    def show(self, view: FieldView) -> None:
        """Show another state of the same field."""
        if view != self.view:
            if view.field.key != self.field.key:
                self._remove_editor()
            self.view = view
            self._fit()
            self.refresh()

    def render(self) -> RenderResult:
        """The line, and the sentences below it."""
        view, text = self.view, Text(no_wrap=True, overflow="ellipsis", end="")
        name = Style(bold=view.changed, reverse=self.current)
        width = self._label_width()
        text.append(f"{CHANGED if view.changed else ' '} ", self.get_component_rich_style("fieldline--changed"))
        text.append(view.field.label[: width - 3], name)
        text.append(" " * max(width - text.cell_len, 1))
        dim = self.get_component_rich_style("fieldline--dim", partial=True)
        if view.off:
            text.append("(off)", dim)
        elif view.text.strip():
            look = self.get_component_rich_style("fieldline--changed", partial=True) if view.changed else Style()
            more = " ▾" if view.field.closed else ""
            value, room = one_line(view.text), self._room(text.cell_len + len(more))
            text.append(shorten_name(value, room) if "/" in value else shorten(value, room), look)
            text.append(more, dim)
        elif view.hint:
            text.append(shorten(f"({printable(view.hint)})", self._room(text.cell_len)), dim)
        if view.unused and text.cell_len + 6 < self.size.width:
            text.append(shorten(f"  {UNUSED}", self._room(text.cell_len)), dim)
        for line in self._problems():
            text.append("\n")
            text.append(line, self.get_component_rich_style("fieldline--error", partial=True))
        return text

    def _room(self, used: int) -> int:
        """Cells that are left of the line; what does not fit is cut here, since Textual would move it to a hidden line."""
        return max(self.size.width - used, 1) if self.size.width else LABEL * 4

    def _label_width(self) -> int:
        return max(min(LABEL, self.size.width - _LEAST_VALUE), 8)

    def _problems(self) -> list[str]:
        """The problems of the field, wrapped to the width."""
        width = max(self.size.width, 20) - 4
        return [
            f"{'    ' if start else '  ! '}{text[start:end].rstrip()}"
            for text in map(printable, self.view.faults)
            for start, end in wrapped(text, width)
        ]

    def _fit(self) -> None:
        self.styles.height = 1 + len(self._problems())
        if self.current:
            self.call_after_refresh(self.scroll_visible, animate=False)

    def on_resize(self) -> None:
        """Wrap the problems again."""
        self._fit()
        for editor in self.query(Editor):
            editor.styles.margin = (0, 0, 0, self._label_width())

    def set_current(self, current: bool) -> None:
        """Highlight the line that keys act on."""
        if current != self.current:
            self.current = current
            self.set_class(current, "-current")
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Edit the field, or list its allowed values if there are only some."""
        if not self.editing:
            event.stop()
            self._report(self.Move(self, 0))
            self.edit()

    # -- editing

    def edit(self) -> None:
        """Edit the field; if only some words are allowed, list them."""
        if self.view.off:
            self.app.bell()
        elif self.field.closed:
            self.list_words()
        elif not self.editing:
            self._before = self.view.text if self.view.changed else None
            self._sent = self.view.text
            words = self.field.words
            editor = Editor(self.view.text, compact=True, suggester=SuggestFromList(words) if words else None)
            editor.styles.margin = (0, 0, 0, self._label_width())
            self.mount(editor)
            editor.focus()

    def list_words(self) -> None:
        """List the allowed words; edit the field if there are none."""
        if self.view.off:
            self.app.bell()
        elif self.field.words:
            self._report(self.Words(self))
        else:
            self.edit()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.editing:
            self._send(event.value)

    @on(Input.Blurred)
    def _left(self, event: Input.Blurred) -> None:
        event.stop()
        self._close(event.value)

    def _report(self, message: Message) -> None:
        """Report to the form: a message that the form itself caused would not bubble past it from here."""
        if isinstance(self.parent, Widget):  # the form may have been composed again in the meantime
            self.parent.post_message(message)

    def _send(self, text: str) -> None:
        if text != self._sent:
            self._sent = text
            self._report(self.Changed(self.field.key, text))

    def end(self, *, keep: bool, step: int = 0) -> None:
        """Stop editing; keep the text or restore the old one."""
        editor = self.query_one(Editor)
        if not keep and self.editing:
            self._sent = None
            self._report(self.Changed(self.field.key, self._before))
        self._report(self.Move(self, step))
        self._close(editor.value)

    def _remove_editor(self) -> None:
        """Remove the editor: the line shows another field now."""
        self._sent = None
        for editor in self.query(Editor):
            editor.remove()

    def _close(self, text: str) -> None:
        """Remove the editor and report its text, since its last message may still be on its way."""
        if self.editing:
            self._send(text)
        self._remove_editor()
