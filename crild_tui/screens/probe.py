"""A dialog with the probe of a run: overfitting, distance to the teacher, noise on the weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from crild_tui.runs import formatting
from crild_tui.runs.tables import probe_parts
from crild_tui.widgets.dialog import Dialog
from engine.errors import RunError
from engine.preset.text import plain
from engine.record.probe import Probe, is_stale, read_probe


class ProbeScreen(Dialog[None]):
    """Shows a run's probe.json; starts nothing. Escape, Enter, q and b close it."""

    DEFAULT_CSS = """
    ProbeScreen {
        align: center middle;
        VerticalScroll {
            width: 80; max-width: 100%; height: auto; max-height: 100%;
            scrollbar-size: 1 1; padding: 0 1; border: round $primary; background: $surface;
        }
        Static { width: 100%; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,b", "dismiss", "Close"),
        Binding("j", "down", "Line down", show=False),
        Binding("k", "up", "Line up", show=False),
    ]

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self._run_dir = run_dir

    def compose(self) -> ComposeResult:
        """A box that scrolls."""
        with VerticalScroll() as area:
            area.border_title = Text(plain(f"probe of {self._run_dir.name}")).markup
            area.border_subtitle = "Escape closes"
            yield Static(Text("reading the probe..."), id="probe")

    def on_mount(self) -> None:
        """Read in a thread: a student's weights take a moment."""
        self.query_one(VerticalScroll).focus()
        self._read()

    def action_down(self) -> None:
        """Scroll down by a line."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """Scroll up by a line."""
        self.query_one(VerticalScroll).scroll_up(animate=False)

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        content = probe_content(self._run_dir)
        self.call_later(self._show, content)

    def _show(self, content: RenderableType) -> None:
        for shown in self.query("#probe").results(Static):  # none once the screen is being closed
            shown.update(content)


def probe_content(run_dir: Path) -> RenderableType:
    """The probe of a run, or a sentence that explains how to create it or why it cannot be read."""
    command = formatting.command("probe", run_dir)
    try:
        probe = read_probe(run_dir)
        if probe is None:
            return Text(plain(f"there is no probe of {run_dir.name} yet: {command} creates it"))
        stale = is_stale(probe, run_dir)
    except RunError as error:
        return Text(plain(f"{error}; run `{command}` to create it again"))
    return _drawn(probe, f"the run has a newer student: run `{command}` to probe that one" if stale else None)


def _drawn(probe: Probe, warning: str | None) -> Group:
    heading, *parts = probe_parts(probe)
    assert isinstance(heading, str)
    lines: list[RenderableType] = [Text(plain(heading), "bold")]
    if warning is not None:
        lines.append(Text(plain(warning), "bold yellow"))
    for before, part in pairwise(("", *parts)):
        if not isinstance(part, str) or not isinstance(before, str):
            lines.append(Text())  # around each table
        lines.append(Text(plain(part)) if isinstance(part, str) else part)
    return Group(*lines)
