"""The pane below the panels: the engine's messages, the end of its log, and a search over both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from crild_tui.monitor.log import LogTail
from crild_tui.monitor.snapshots import EngineMessage
from crild_tui.runs.states import KeyNames
from crild_tui.widgets.text_view import TextLine, TextView
from engine.preset.text import plain

MARKS = {"warning": "! ", "error": "✗ "}


def message_lines(messages: Sequence[EngineMessage], now: float) -> list[TextLine]:
    """Messages with their time: of the day, and of an earlier day its date; without messages a line that says so."""
    lines = []
    today = time.strftime("%Y-%m-%d", time.localtime(now))
    for each in messages:
        try:
            moment = time.localtime(each.time)
        except (ValueError, OverflowError, OSError):  # a time that no clock ever showed
            moment = time.localtime(0)
        day = time.strftime("%Y-%m-%d", moment)
        clock = time.strftime("%H:%M:%S" if day == today else "%m-%d %H:%M", moment)
        text = " ".join(map(plain, each.text.split("\n")))
        lines.append(TextLine(f"{MARKS.get(each.level, '')}{text}", each.level, f"{clock} "))
    return lines or [TextLine("no messages from the engine yet")]


def without_messages(lines: Sequence[str], messages: Sequence[EngineMessage]) -> tuple[list[TextLine], bool]:
    """The lines of a log, without those that repeat a message of the list; and whether any were left out."""
    repeated = {f"{each.level}: {plain(each.text)}" for each in messages}
    left = [TextLine(line) for line in lines if line not in repeated]
    return left, len(left) < len(lines)


class SearchBar(Horizontal):
    """One row with what is searched and how often it was found. `keys` go from match to match and end the search."""

    DEFAULT_CSS = """
    SearchBar {
        height: 1; display: none; background: $panel;
        #slash { width: 2; color: $accent; text-style: bold; }
        Input { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
        Input:focus { border: none; }
        #found { width: auto; padding: 0 1; }
    }
    """

    def __init__(self, keys: KeyNames) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """`/words   3/17`."""
        following, before, end = (self._keys[f"live.{action}"] for action in ("next", "previous_match", "back"))
        yield Static("/ ", id="slash")
        yield Input(placeholder=f"search; Enter, then {following} and {before}; {end} ends", id="search", compact=True)
        yield Static("", id="found")


class LogPane(Vertical):
    """Messages above, log below. With the class `-log-only` the messages stand elsewhere."""

    DEFAULT_CSS = """
    LogPane {
        display: none; height: 1fr;
        TextView { border-top: solid $panel; border-title-color: $foreground; }
        TextView:focus { border-top: solid $primary; }
        #messages { height: auto; max-height: 40%; }
        #log { height: 1fr; min-height: 3; }
        &.-log-only #messages { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "Messages or log", id="log.other", show=False, priority=False),
    ]

    def __init__(self, keys: KeyNames) -> None:
        super().__init__(id="pane")
        self._keys = keys
        self._shown: tuple[EngineMessage, ...] = ()
        self._tail: LogTail | None = None
        self._generation = -1
        self.words = ""
        """What is searched; "" for nothing."""
        self.typing = False
        """Whether what is typed belongs to the search."""
        self._title = "Log"

    def compose(self) -> ComposeResult:
        """Messages, log, search."""
        messages, log = TextView(id="messages"), TextView(id="log")
        messages.border_title, log.border_title = "Messages", "Log"
        yield messages
        yield log
        yield SearchBar(self._keys)

    @property
    def messages(self) -> TextView:
        """The upper view."""
        return self.query_one("#messages", TextView)

    @property
    def log_view(self) -> TextView:
        """The lower view."""
        return self.query_one("#log", TextView)

    @property
    def search_line(self) -> Input:
        """The line to type in what is searched."""
        return self.query_one("#search", Input)

    # -- what is shown

    def show_messages(self, messages: tuple[EngineMessage, ...], now: float) -> None:
        """Show the messages of a run."""
        if messages == self._shown:
            return
        self._shown = messages
        self.messages.show(message_lines(messages, now))
        self.messages.border_title = f"Messages ({len(messages)})" if messages else "Messages"
        if self._tail is not None:
            self.show_log(self._tail)
        self._count()

    def show_log(self, tail: LogTail) -> None:
        """Show the end of a log."""
        self._tail = tail
        lines, repeated = without_messages(tail.lines, self._shown)
        none = [TextLine(plain(tail.problem or "no output from the engine yet"))]
        self.log_view.show(lines or none, tail.first, unrelated=tail.generation != self._generation)
        self._generation = tail.generation
        name = "Log" if tail.attempt is None else f"log.{tail.attempt}.txt"
        self._title = f"{name}{', its end' if tail.cut else ''}{', without the messages' if repeated else ''}"
        self._follow()
        self._count()

    def forget(self) -> None:
        """Another run is shown."""
        self._shown, self._tail, self._generation = (), None, -1
        for view in (self.messages, self.log_view):
            view.show((), unrelated=True)

    @on(TextView.Moved)
    def _follow(self) -> None:
        self.log_view.border_title = self._title + ("" if self.log_view.following else " - End follows it again")

    # -- search

    def ask(self) -> None:
        """Open the search."""
        self.query_one(SearchBar).display = True
        self.search_line.select_on_focus = self.typing = True
        self.search_line.focus()

    @on(Input.Blurred, "#search")
    def _search_left(self) -> None:
        self.typing = False

    def end_search(self) -> None:
        """Close the search and forget its words."""
        self.words, self.typing = "", False
        self.search_line.value = ""
        self.query_one(SearchBar).display = False
        for view in (self.messages, self.log_view):
            view.search("")
        self.log_view.focus()

    @property
    def searching(self) -> bool:
        """Whether the search is open."""
        return bool(self.query_one(SearchBar).display)

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.words = event.value
        matching = [view for view in self._views() if view.search(self.words)]
        if matching:
            matching[-1].choose(matching[-1].nearest())
        self._count()

    @on(Input.Submitted, "#search")
    def _searched(self, event: Input.Submitted) -> None:
        event.stop()
        self.typing = False
        if self.words:
            self.log_view.focus()
        else:
            self.end_search()

    def step(self, by: int) -> None:
        """To the next match, or the one before; after the last comes the first."""
        views = self._views()
        matches = [(view, match) for view in views for match in range(view.matches)]
        if not matches:
            return
        start = -1 if by > 0 else 0
        current = next((n for n, (view, match) in enumerate(matches) if view.current == match), start)
        chosen, match = matches[(current + by) % len(matches)]
        for view in views:
            view.choose(match if view is chosen else None)
        self._count()

    def _views(self) -> list[TextView]:
        return [view for view in (self.messages, self.log_view) if view.display]

    def _count(self) -> None:
        before = total = 0
        for view in self._views():
            before = total + view.current + 1 if view.current is not None else before
            total += view.matches
        words = "1 match" if total == 1 else f"{before}/{total}" if total else "not found"
        self.query_one("#found", Static).update(words if self.words else "")

    def action_other(self) -> None:
        """To the other of the two views."""
        views = self._views()
        if len(views) == 2:
            (views[1] if views[0].has_focus else views[0]).focus()
