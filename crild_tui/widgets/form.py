"""The form of the Launch mode: a line for each field, edited in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from crild_tui.launching.examine import FieldView
from crild_tui.launching.fields import Field
from crild_tui.wording import printable

LABEL = 22
"""Cells of a field's name, with the mark before it."""
CHANGED = "*"
"""Stands before a field that differs from the preset."""
_LEAST_VALUE = 10  # cells that a value keeps where the form is narrow


class Editor(Input):
    """The text of a field while it is edited. Enter, Tab, Up and Down keep it, Escape brings the old one back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "leave(True)", "Keep", key_display="enter"),
        Binding("escape", "leave(False)", "Give up", key_display="esc"),
        Binding("down,tab", "leave(True, 1)", "Keep, next field", show=False),
        Binding("up,shift+tab", "leave(True, -1)", "Keep, field before", show=False),
    ]

    def action_leave(self, keep: bool, step: int = 0) -> None:
        """End the editing."""
        line = self.parent
        assert isinstance(line, FieldLine)
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

    class Changed(Message):
        """The text of a field changed, maybe in the middle of a word."""

        def __init__(self, key: str, text: str | None) -> None:
            super().__init__()
            self.key, self.text = key, text
            """None: as the preset has it."""

    class Words(Message):
        """What can stand in a field should be listed."""

        def __init__(self, line: FieldLine) -> None:
            super().__init__()
            self.line = line

    class Move(Message):
        """Another field should have the focus."""

        def __init__(self, line: FieldLine, step: int) -> None:
            super().__init__()
            self.line, self.step = line, step

    def __init__(self, view: FieldView) -> None:
        super().__init__()
        self.view = view
        self.current = False
        """Whether the form's cursor is on it, and the form has the focus."""
        self._before: str | None = None  # the change that editing began with
        self._sent: str | None = None  # what was told last; None while nothing is edited

    @property
    def field(self) -> Field:
        """What the line shows."""
        return self.view.field

    @property
    def editing(self) -> bool:
        """Whether its text is being typed."""
        return self._sent is not None

    def show(self, view: FieldView) -> None:
        """Show another state of the same field."""
        if view != self.view:
            if view.field.key != self.field.key:
                self._close_unkept()
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
            text.append(printable(view.text).replace("\n", " "), look)
            if view.field.closed:
                text.append(" ▾", dim)
        else:
            text.append(f"({printable(view.hint)})" if view.hint else "", dim)
        for line in self._told():
            text.append("\n")
            text.append(line, self.get_component_rich_style("fieldline--error", partial=True))
        return text

    def _label_width(self) -> int:
        return max(min(LABEL, self.size.width - _LEAST_VALUE), 8)

    def _told(self) -> list[str]:
        """What is wrong, wrapped to the width."""
        lines = []
        for sentence in self.view.faults:
            rest = f"  ! {printable(sentence)}"
            while rest:
                taken = fitting(rest, max(self.size.width, 20))
                lines.append(taken)
                rest = f"    {rest[len(taken) :].lstrip()}" if rest[len(taken) :].strip() else ""
        return lines

    def _fit(self) -> None:
        self.styles.height = 1 + len(self._told())

    def on_resize(self) -> None:
        """The sentences wrap differently."""
        self._fit()
        for editor in self.query(Editor):
            editor.styles.margin = (0, 0, 0, self._label_width())

    def set_current(self, current: bool) -> None:
        """Look as the line that keys act on, or as the others."""
        if current != self.current:
            self.current = current
            self.set_class(current, "-current")
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click edits, or lists the words of a closed field."""
        if not self.editing:
            event.stop()
            self._report(self.Move(self, 0))
            self.edit()

    # -- editing

    def edit(self) -> None:
        """Type in the field; where only some words are right, list them."""
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
        """List the words that can stand here; type where there are none."""
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
        """Tell the form: a message that the form itself caused would not rise above it from here."""
        assert isinstance(self.parent, Widget)
        self.parent.post_message(message)

    def _send(self, text: str) -> None:
        if text != self._sent:
            self._sent = text
            self._report(self.Changed(self.field.key, text))

    def end(self, *, keep: bool, step: int = 0) -> None:
        """End the editing; keep what was typed, or bring back what was there."""
        editor = self.query_one(Editor)
        if not keep and self.editing:
            self._sent = None
            self._report(self.Changed(self.field.key, self._before))
        self._report(self.Move(self, step))
        self._close(editor.value)

    def _close_unkept(self) -> None:
        """Take the editor away: its field is not here any more."""
        self._sent = None
        for editor in self.query(Editor):
            editor.remove()

    def _close(self, text: str) -> None:
        """Take the editor away; what it told last may still be on its way, so its text is told here."""
        if self.editing:
            self._send(text)
        self._close_unkept()


def typed_early(line: Input, character: str) -> None:
    """Put a character into a line that has not the focus yet; the first replaces what is there, as a selection."""
    line.value = character if line.select_on_focus else line.value + character
    line.select_on_focus = False
    line.cursor_position = len(line.value)


def fitting(text: str, width: int) -> str:
    """The beginning of a text that fits into so many cells, cut at a space where there is one."""
    if cell_len(text) <= width:
        return text
    end = len(text)
    while cell_len(text[:end]) > width:
        end -= 1
    space = text.rfind(" ", width // 2, end + 1)
    return text[: space if space > 0 else max(end, 1)]


class Title(Static):
    """The name of a table, above its fields."""

    def __init__(self, name: str) -> None:
        super().__init__(Text(f"── {name}"))
        self._name_shown = name

    def show(self, name: str) -> None:
        """Show another name."""
        if name != self._name_shown:
            self._name_shown = name
            self.update(Text(f"── {name}"))


class Form(VerticalScroll, can_focus=True):
    """All fields, under the names of their tables, with a cursor.

    The form has the focus and not its lines: a focus that moves costs tens of milliseconds each time.
    """

    DEFAULT_CSS = """
    Form { background: $background; padding: 0 1 0 0; scrollbar-size-vertical: 1;
        & > Title { height: 1; color: $primary; text-style: bold; }
        &.-empty > Title { color: $foreground 60%; text-style: none; padding: 1 2; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Edit", key_display="enter", id="launch.edit"),
        Binding("space", "words", "List what can be there", show=False, id="launch.words"),
        Binding("down,j", "move(1)", "Next field", show=False, id="launch.next_field"),
        Binding("up,k", "move(-1)", "Field before", show=False, id="launch.previous_field"),
        Binding("pagedown", "move(10)", "Ten fields on", show=False, id="launch.fields_down"),
        Binding("pageup", "move(-10)", "Ten fields back", show=False, id="launch.fields_up"),
        Binding("home", "move(-1000)", "First field", show=False, id="launch.first_field"),
        Binding("end", "move(1000)", "Last field", show=False, id="launch.last_field"),
    ]

    class Pointed(Message):
        """The cursor is on a field."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._key: str | None = None  # of the field under the cursor
        self._at = 0  # its place, for when the field is gone

    @property
    def lines(self) -> list[FieldLine]:
        """The lines from top to bottom."""
        return list(self.query_children(FieldLine))

    def line(self, key: str) -> FieldLine | None:
        """The line of a field."""
        return next((line for line in self.lines if line.field.key == key), None)

    @property
    def pointed(self) -> FieldLine | None:
        """The line under the cursor, whether the form has the focus or not."""
        lines = self.lines
        found = self.line(self._key) if self._key is not None else None
        return found or (lines[min(self._at, len(lines) - 1)] if lines else None)

    @property
    def focused_line(self) -> FieldLine | None:
        """The line that keys act on; None while the form has not the focus."""
        return self.pointed if self.has_focus or self.has_focus_within else None

    async def show(self, views: Sequence[FieldView], nothing: str = "") -> None:
        """Show these fields; `nothing` is said where there are none. The focus stays on its field."""
        rows: list[str | FieldView] = []
        group = None
        for view in views:
            if view.field.group != group:
                group = view.field.group
                rows.append(group)
            rows.append(view)
        rows = rows or [nothing]
        self.set_class(not views, "-empty")
        await self._fill(rows)
        if self.focused_line is not None and self._key != self.focused_line.field.key:
            self.go(self.focused_line)
        self._mark()

    async def _fill(self, rows: Sequence[str | FieldView]) -> None:
        """Show the rows in the widgets that are there, as far as they are of the right kind, and make the others."""
        same = 0
        for widget, row in zip(self.children, rows, strict=False):
            if isinstance(widget, FieldLine) and isinstance(row, FieldView):
                widget.show(row)
            elif not isinstance(widget, Title) or not isinstance(row, str):
                break
            else:
                widget.show(row)
            same += 1
        with self.app.batch_update():
            if len(self.children) > same:
                await self.remove_children(self.children[same:])
            if len(rows) > same:
                await self.mount_all(Title(row) if isinstance(row, str) else FieldLine(row) for row in rows[same:])

    def _mark(self) -> None:
        """Show where the cursor is."""
        there = self.focused_line
        for line in self.lines:
            line.set_current(line is there)

    def on_focus(self) -> None:
        """Tell which field the cursor is on."""
        if (line := self.pointed) is not None:
            self.go(line)

    def on_descendant_blur(self) -> None:
        """Nothing is typed any more."""
        self._mark()

    def on_blur(self) -> None:
        """The cursor rests."""
        self.call_after_refresh(self._mark)  # unless a field's editor has the focus then

    async def on_key(self, event: events.Key) -> None:
        """Keys in the order in which they come: over a slow line they arrive together, also those that are typed.

        Textual would look for what a key means only when it has bubbled up, and Enter opens an editor in between.
        """
        line = self.pointed
        if line is None or not self.has_focus:
            return
        if not line.editing:
            active = self.screen.active_bindings.get(event.key)
            ours = active is not None and active.node in (self, self.screen)
            if active is not None and ours and await self.app.run_action(active.binding.action, active.node):
                event.stop()
        elif event.key == "enter":
            event.stop()
            line.end(keep=True)
        elif event.is_printable and event.character:
            event.stop()  # else it would be a command
            typed_early(line.query_one(Editor), event.character)

    def go(self, line: FieldLine, step: int = 0) -> None:
        """Put the cursor on a line, or some lines from it."""
        lines = self.lines
        if line not in lines:
            return
        self._at = min(max(lines.index(line) + step, 0), len(lines) - 1)
        there = lines[self._at]
        self._key = there.field.key
        self.scroll_to_widget(there, animate=False)
        if self._at == 0:
            self.scroll_home(animate=False)  # the name of the first group too
        self._mark()
        self.post_message(self.Pointed(there.field))

    @on(FieldLine.Move)
    def _moved(self, event: FieldLine.Move) -> None:
        event.stop()
        self.go(event.line, event.step)
        if not event.line.editing:
            self.focus(scroll_visible=False)

    def action_move(self, step: int) -> None:
        """Put the cursor on another field."""
        if (there := self.pointed) is not None:
            self.go(there, step)

    def action_edit(self) -> None:
        """Edit the field under the cursor."""
        if (there := self.pointed) is not None:
            there.edit()

    def action_words(self) -> None:
        """List the words that can stand in the field under the cursor."""
        if (there := self.pointed) is not None:
            there.list_words()
