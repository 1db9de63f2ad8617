"""What the screens of a sweep and of a search share: they watch it, show its table over the whole screen, and stop it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Static

from crild_tui.runs import actions
from crild_tui.screens.dialogs import Confirm, confirm
from crild_tui.screens.host import Host
from crild_tui.widgets.dialog import Dialog
from engine.preset.text import one_line

LOW, NARROW = 16, 60
"""Lines and columns below which there is room for little more than the table."""


@dataclass(frozen=True)
class Chosen:
    """Runs of a sweep that the user chose: to show in Runs, by a filter, or in Compare."""

    filter: str = ""
    compare: tuple[Path, ...] = ()


class Watcher(Protocol):
    """A thread that reports what it sees."""

    def start(self) -> None:
        """Start watching."""

    def stop(self) -> None:
        """Let it end."""


def bindings(what: str, compare: str) -> list[BindingType]:
    """The keys of a screen of this kind; their ids begin with what it shows."""
    return [
        Binding("escape,q,m", "dismiss", "Close", id=f"{what}.close"),
        Binding("c", "compare", compare, id=f"{what}.compare"),
        Binding("s", "stop", f"Stop the {what}", id=f"{what}.stop"),
        Binding("j", "move(1)", "Row down", id=f"{what}.down", show=False),
        Binding("k", "move(-1)", "Row up", id=f"{what}.up", show=False),
        Binding("question_mark", "app.help", "Keys", id=f"{what}.help", show=False),
    ]


class SweepDialog(Dialog[Chosen | None]):
    """A sweep or search, live. Its lower border shows its keys."""

    WHAT: ClassVar[str]
    """What it shows: "sweep" or "search"."""

    DEFAULT_CSS = """
    SweepDialog {
        align: center middle;
        #box {
            width: 100%; height: 100%;
            padding: 0 1; border: round $primary; background: $surface;
        }
        #standing { height: auto; text-style: bold; }
        #table { background: $surface; scrollbar-size: 1 1; }
        #table:focus { background-tint: $foreground 0%; }
        #below { scrollbar-size: 1 1; border-top: solid $panel; }
        #about { height: auto; }
        &.-low #box { padding: 0; }
        &.-low #standing { max-height: 1; }
        &.-low #below { height: auto; max-height: 2; }
    }
    """

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host, self._watched = host, name
        self._watcher = self.watcher()
        self._texts: dict[str, Text] = {}

    # -- what a sweep and a search have of their own

    def watcher(self) -> Watcher:
        """What watches it, and posts messages to this screen."""
        raise NotImplementedError

    def parts(self) -> list[Widget]:
        """What stands between the first line and the details of what is under the cursor."""
        raise NotImplementedError

    def draw(self) -> None:
        """Redraw what has changed; nothing before anything was seen."""
        raise NotImplementedError

    def why_not_stop(self) -> str | None:
        """Why there is nothing to stop, if there isn't."""
        raise NotImplementedError

    # -- what they share

    @property
    def table(self) -> DataTable[Text]:
        """The matrix of a sweep, the trials of a search."""
        return self.query_one("#table", DataTable)

    def compose(self) -> ComposeResult:
        """A first line, the parts, and details of what is under the cursor."""
        with Vertical(id="box") as box:
            box.border_title = Text(one_line(f"{self.WHAT} {self._watched}")).markup
            box.border_subtitle = self._legend()
            yield Static(Text(f"reading the {self.WHAT}..."), id="standing")
            yield from self.parts()
            with VerticalScroll(id="below", can_focus=False):
                yield Static(id="about")

    def on_mount(self) -> None:
        """Start watching."""
        self.table.focus()
        self.app.theme_changed_signal.subscribe(self, lambda _: self.draw())
        self._watcher.start()

    def on_unmount(self) -> None:
        """Let the watcher end."""
        self._watcher.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the dialog to the screen."""
        self.set_class(event.size.height < LOW, "-low")
        self.query_one("#box").border_subtitle = self._legend(short=event.size.width < NARROW)
        self.draw()

    def _legend(self, *, short: bool = False) -> str:
        """What the keys do, or the keys alone."""
        keys = self._host.keys
        named = {"enter": "runs"} | {keys[f"{self.WHAT}.{action}"]: action for action in ("compare", "stop", "close")}
        return " ".join(named) if short else ", ".join(f"{key} {action}" for key, action in named.items())

    def put(self, name: str, text: Text) -> None:
        """Show a text in the part of this name, unless it is there already."""
        if self._texts.get(name) != text:
            self._texts[name] = text
            self.query_one(f"#{name}", Static).update(text)

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.table.move_cursor(row=self.table.cursor_row + rows, animate=False)

    def action_stop(self) -> None:
        """Stop it, after a question."""
        if self._host.refuse_readonly():
            return
        if (reason := self.why_not_stop()) is not None:
            self._host.tell(f"{reason}: there is nothing to stop", "warning")
            return
        question = (
            f"Stop {one_line(self._watched)}? Its runs write checkpoints; run `crild {self.WHAT}` to continue it."
        )
        stop = partial(actions.stop_sweep, self._host.runs_dir, self._watched)
        confirm(self.app, Confirm(question, "Stop"), lambda: self._host.act(stop))
