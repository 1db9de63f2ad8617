"""Those who tell how a run goes: a display that redraws itself on a screen, plain lines elsewhere, or nobody."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from crild_tui.cli import terminal
from crild_tui.cli.follow import event_messages
from crild_tui.runs import formatting
from crild_tui.runs.states import LOADING, STARTING, WAITING
from crild_tui.runs.summary import RunSummary
from crild_tui.text import bar
from engine.preset.text import plain

if TYPE_CHECKING:
    from rich.text import Text

Clock = Callable[[], float]
LINE_EVERY = 5.0
"""Seconds between two lines of progress where there is no screen."""
TITLE_EVERY = 5.0
"""Seconds between two titles of the terminal window."""
MARKS: dict[event_messages.Level, str] = {"info": "", "warning": "warning: ", "error": "error: "}


class Display(Protocol):
    """Tells a person how a run goes."""

    def message(self, level: event_messages.Level, line: str) -> None:
        """Say a sentence that stays."""

    def update(self, summary: RunSummary) -> None:
        """Show the present moment."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silence:
    """Says nothing (`--quiet`)."""

    def message(self, level: event_messages.Level, line: str) -> None:
        """Say nothing."""

    def update(self, summary: RunSummary) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to undo."""


class Lines:
    """Plain lines on stderr with the time since the start: sentences as they come, progress every few seconds."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock = clock
        self._start = self._last = clock()
        self._shown: tuple[str | None, int] | None = None

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence."""
        terminal.say(f"[{formatting.duration(self._clock() - self._start)}] {MARKS[level]}{line}")

    def update(self, summary: RunSummary) -> None:
        """Print a line of progress when one is due and something moved."""
        moment = (summary.stage, summary.step)
        if summary.loss is None or moment == self._shown or self._clock() - self._last < LINE_EVERY:
            return
        self._last, self._shown = self._clock(), moment
        self.message("info", event_messages.progress(summary))

    def close(self) -> None:
        """Nothing to undo."""


class Screen:
    """Three lines at the bottom of the terminal that redraw themselves, sentences scrolling above them."""

    def __init__(self, run: str, clock: Clock = time.monotonic):
        from rich.live import Live

        self._run = run
        self._clock = clock
        self._start = clock()
        self._titled = float("-inf")
        self._console = terminal.narration()
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._drawn: list[str] = []
        self._live.start()

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence above the display."""
        from rich.text import Text

        style = {"info": "", "warning": "yellow", "error": "bold red"}[level]
        self._console.print(Text(plain(MARKS[level] + line), style=style), soft_wrap=True)

    def update(self, summary: RunSummary) -> None:
        """Redraw, if anything changed that can be seen."""
        from rich.console import Group

        lines = draw(
            summary, self._console.width, self._clock() - self._start, ascii_only=terminal.ascii_only(sys.stderr)
        )
        seen = [line.plain for line in lines]
        if seen != self._drawn:
            self._drawn = seen
            self._live.update(Group(*lines), refresh=True)
        if self._clock() - self._titled >= TITLE_EVERY and summary.steps:
            self._titled = self._clock()
            terminal.announce(f"crild {formatting.percent(summary.step / summary.steps)} {summary.stage} {self._run}")

    def close(self) -> None:
        """Take the display away; what was said above it stays."""
        from rich.text import Text

        self._live.transient = True
        self._live.update(Text(""), refresh=True)
        self._live.stop()


def draw(summary: RunSummary, width: int, waited: float, *, ascii_only: bool) -> list[Text]:
    """The lines of the display, none wider than `width`; `waited` seconds went by, `ascii_only` draws with ASCII alone."""
    from rich.text import Text

    if summary.stage is None or summary.state in ("created", "queued"):
        what = {
            "queued": WAITING,
            "created": STARTING,
        }.get(summary.state, LOADING)
        lines = [Text(f"{what}  {formatting.duration(waited)}", style="dim")]
    else:
        lines = [_bar_line(summary, width, ascii_only), _loss_line(summary)]
        if held := event_messages.metrics(summary):
            lines.append(Text(plain("   ".join(held))))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return lines


def _bar_line(summary: RunSummary, width: int, ascii_only: bool) -> Text:
    from rich.text import Text

    share = min(1.0, summary.step / summary.steps) if summary.steps else 0.0
    head = f"{plain(event_messages.stage_label(summary))}  "
    notes = [formatting.percent(share) if summary.steps else "", *event_messages.left(summary)]
    if summary.state in ("stopping", "stalled"):
        notes.append(summary.state)
    tail = "  " + "  ".join(note for note in notes if note)
    room = min(50, width - len(head) - len(tail))
    full, rest = bar(share, room if room >= 5 else 0, ascii_only=ascii_only)
    state = terminal.style_of(summary.state) if summary.state in ("stopping", "stalled") else ""
    return (
        Text().append(head, style="bold").append(full, style="cyan").append(rest, style="dim").append(tail, style=state)
    )


def _loss_line(summary: RunSummary) -> Text:
    from rich.text import Text

    of = f"/{summary.steps}" if summary.steps else ""
    parts = [f"step {summary.step}{of}"]
    if summary.loss is not None:
        parts.append(f"loss {formatting.loss(summary.loss)}")
    parts += event_messages.consistency(summary)
    if summary.rate is not None:
        parts.append(f"{formatting.rate(summary.rate)} examples/s")
    return Text("   ".join(parts))


def display(run: str, *, quiet: bool = False) -> Display:
    """The one that fits: nobody when `quiet`, the display where stderr is a screen, else plain lines."""
    if quiet:
        return Silence()
    return Screen(run) if terminal.is_screen(sys.stderr) else Lines()
