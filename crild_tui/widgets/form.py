"""The form of the Launch mode: a line for each field, and a cursor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from crild_tui.launch_form.checks import FieldView
from crild_tui.launch_form.fields import Field
from crild_tui.runs import formatting
from crild_tui.widgets.field_line import Editor, FieldLine
from crild_tui.widgets.type_ahead import typed_early


class Title(Static):
    """A line above fields: the name of their section, or a sentence in place of them."""

    def __init__(self, words: str) -> None:
        super().__init__(Text(words))
        self._words = words

    def show(self, words: str) -> None:
        """Show other words."""
        if words != self._words:
            self._words = words
            self.update(Text(words))


def rows_of(views: Sequence[FieldView], folded: Collection[str], unfold: str) -> list[str | FieldView]:
    """The rows of a form: the name of each section, then its fields; of a folded one how many it has. `unfold` is the key
    that unfolds it."""
    rows: list[str | FieldView] = []
    for group, members in groupby(views, key=lambda view: view.field.group):
        own = list(members)
        if group in folded:
            rows.append(f"▸ {group}: {formatting.plural(len(own), 'setting')} ({unfold})")
        else:
            rows += [f"── {group}", *own]
    return rows


class Form(VerticalScroll, can_focus=True):
    """All fields, under the names of their tables, with a cursor.

    The form has the focus and not its lines: a focus that moves costs tens of milliseconds each time.
    """

    DEFAULT_CSS = """
    Form { background: $background; padding: 0 1 0 0; scrollbar-size-vertical: 1;
        & > Title { height: 1; color: $primary; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-empty > Title { color: $foreground 60%; text-style: none; text-wrap: wrap; padding: 1 2; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Edit", key_display="enter", id="launch.edit"),
        Binding("space", "words", "List the allowed values", show=False, id="launch.words"),
        Binding("down,j", "move(1)", "Next field", show=False, id="launch.next_field"),
        Binding("up,k", "move(-1)", "Field before", show=False, id="launch.previous_field"),
        Binding("pagedown", "move(10)", "Ten fields on", show=False, id="launch.fields_down"),
        Binding("pageup", "move(-10)", "Ten fields back", show=False, id="launch.fields_up"),
        Binding("home", "move(-1000)", "First field", show=False, id="launch.first_field"),
        Binding("end", "move(1000)", "Last field", show=False, id="launch.last_field"),
        Binding("f", "fold", "Fold", tooltip="Fold the section of this field", show=False, id="launch.fold"),
        Binding("F", "fold_all", "Fold others", tooltip="Fold all other sections, or unfold all", id="launch.fold_all"),
    ]

    @dataclass
    class Pointed(Message):
        """The cursor is on a field."""

        field: Field

    def __init__(self, *, unfold_key: str = "F", id: str | None = None) -> None:
        super().__init__(id=id)
        self.unfold_key = unfold_key
        self._key: str | None = None  # of the field under the cursor
        self._index = 0  # of that field, for when it is gone
        self._views: tuple[FieldView, ...] = ()
        self.folded: set[str] = set()
        """The sections of which only the names are shown."""
        self.searching = False
        """Whether what is typed belongs to a search: no key acts on a field then."""

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
        return found or (lines[min(self._index, len(lines) - 1)] if lines else None)

    @property
    def focused_line(self) -> FieldLine | None:
        """The line that keys act on; None while the form does not have the focus."""
        return self.pointed if self.has_focus or self.has_focus_within else None

    async def show(self, views: Sequence[FieldView], nothing: str = "", *, unfolded: bool = False) -> None:
        """Show these fields, or the sentence `nothing` if there are none. The focus stays on its field.

        `unfolded`: those of folded sections too.
        """
        self._views = tuple(views)
        folded = set() if unfolded else self.folded
        rows = rows_of(views, folded, self.unfold_key) or [nothing]
        self.set_class(not views, "-empty")
        await self._fill(rows)
        if self.focused_line is not None and self._key != self.focused_line.field.key:
            self.go(self.focused_line)
        self._mark()

    async def _fill(self, rows: Sequence[str | FieldView]) -> None:
        """Show the rows in the existing widgets where their kind is right, and create the others."""
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
        focused = self.focused_line
        for line in self.lines:
            line.set_current(line is focused)

    def on_focus(self) -> None:
        """Report which field the cursor is on."""
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
        if line is None or not self.has_focus or self.searching:
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
        self._index = min(max(lines.index(line) + step, 0), len(lines) - 1)
        line = lines[self._index]
        self._key = line.field.key
        self.scroll_to_widget(line, animate=False)
        if self._index == 0:
            self.scroll_home(animate=False)  # the name of the first group too
        self._mark()
        self.post_message(self.Pointed(line.field))

    @on(FieldLine.Move)
    def _moved(self, event: FieldLine.Move) -> None:
        event.stop()
        self.go(event.line, event.step)
        if not event.line.editing:
            self.focus(scroll_visible=False)

    def action_move(self, step: int) -> None:
        """Put the cursor on another field."""
        if (line := self.pointed) is not None:
            self.go(line, step)

    async def action_fold(self) -> None:
        """Fold the section of the field under the cursor."""
        if (line := self.pointed) is not None and len({view.field.group for view in self._views} - self.folded) > 1:
            self.folded.add(line.field.group)
            await self._show_folded()

    async def action_fold_all(self) -> None:
        """Fold all sections but that of the field under the cursor; or unfold all, if any is folded."""
        line = self.pointed
        groups = {view.field.group for view in self._views}
        self.folded = set() if self.folded & groups or line is None else groups - {line.field.group}
        await self._show_folded()

    async def _show_folded(self) -> None:
        await self.show(self._views)
        if (line := self.pointed) is not None:
            self.go(line)

    def action_edit(self) -> None:
        """Edit the field under the cursor."""
        if (line := self.pointed) is not None:
            line.edit()

    def action_words(self) -> None:
        """List the allowed values of the field under the cursor."""
        if (line := self.pointed) is not None:
            line.list_words()
