"""Show how a run or a sweep goes: a display that redraws itself on a screen, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from crild_tui.cli import terminal
from crild_tui.cli.follow import event_messages
from crild_tui.runs import formatting
from crild_tui.runs.states import LOADING, STARTING, WAITING
from crild_tui.runs.summary import RunSummary
from crild_tui.text import bar
from engine.preset.text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from engine.record.phases import Phase

Clock = Callable[[], float]
Moment = TypeVar("Moment")
Moment_contra = TypeVar("Moment_contra", contravariant=True)
TITLE_EVERY = 5.0
"""Seconds between two titles of the terminal window."""
STYLES: dict[event_messages.Level, str] = {"info": "", "warning": "yellow", "error": "bold red"}


def marked(level: event_messages.Level, line: str) -> str:
    """A sentence with its level before it, unless that is "info"."""
    return line if level == "info" else f"{level}: {line}"


@dataclass(frozen=True)
class View(Generic[Moment]):
    """What a display shows of a moment of a run or a sweep.

    `line` is its progress in one line, None where there is none yet, printed every `line_every` seconds where there is
    no screen. `draw` gives the lines on a screen; its last argument is the seconds since the display opened.
    """

    line: Callable[[Moment], str | None]
    line_every: float
    title: Callable[[Moment], str | None]
    draw: Callable[[Moment, Console, float], list[Text]]


class Display(Protocol[Moment_contra]):
    """Shows the user how a run or a sweep goes."""

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence that stays."""

    def update(self, moment: Moment_contra) -> None:
        """Show the present moment."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@dataclass(frozen=True)
class Silence:
    """Prints nothing (`--quiet`), or only `errors`."""

    errors: bool = False

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print an error, where errors are wanted."""
        terminal.say(marked(level, line), quiet=not self.errors or level != "error")

    def update(self, moment: object) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to undo."""


class Lines(Generic[Moment]):
    """Plain lines on stderr with the time since the start: sentences as they come, progress every few seconds."""

    def __init__(self, view: View[Moment], clock: Clock = time.monotonic):
        self._view, self._clock = view, clock
        self._start = self._last = clock()
        self._printed: str | None = None

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence."""
        terminal.say(f"[{formatting.duration(self._clock() - self._start)}] {marked(level, line)}")

    def update(self, moment: Moment) -> None:
        """Print a line of progress when one is due and something moved."""
        if self._clock() - self._last < self._view.line_every:
            return
        line = self._view.line(moment)
        if line is not None and line != self._printed:
            self._last, self._printed = self._clock(), line
            self.message("info", line)

    def close(self) -> None:
        """Nothing to undo."""


class Screen(Generic[Moment]):
    """A few lines at the bottom of the terminal that redraw themselves, sentences scrolling above them."""

    def __init__(self, view: View[Moment], clock: Clock = time.monotonic):
        from rich.live import Live

        self._view, self._clock = view, clock
        self._start = clock()
        self._titled = float("-inf")
        self._console = terminal.console(sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._drawn: list[str] = []
        self._live.start()

    def message(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence above the display."""
        from rich.text import Text

        self._console.print(Text(plain(marked(level, line)), style=STYLES[level]), soft_wrap=True)

    def update(self, moment: Moment) -> None:
        """Redraw, if anything changed that can be seen."""
        from rich.console import Group

        lines = self._view.draw(moment, self._console, self._clock() - self._start)
        drawn = [line.plain for line in lines]
        if drawn != self._drawn:
            self._drawn = drawn
            self._live.update(Group(*lines), refresh=True)
        if self._clock() - self._titled >= TITLE_EVERY and (title := self._view.title(moment)) is not None:
            self._titled = self._clock()
            terminal.announce(title)

    def close(self) -> None:
        """Remove the display; the sentences above it stay."""
        from rich.text import Text

        self._live.transient = True
        self._live.update(Text(""), refresh=True)
        self._live.stop()


def run_view(run: str) -> View[RunSummary]:
    """How a run is shown while it is followed."""

    def title(summary: RunSummary) -> str | None:
        return f"crild {_share(summary)} {summary.stage} {run}" if summary.steps else None

    def line(summary: RunSummary) -> str | None:
        if summary.phase is not None:
            return formatting.phase_line(summary.phase)
        return None if summary.loss is None else event_messages.progress(summary)

    return View(
        line=line,
        line_every=5.0,
        title=title,
        draw=lambda summary, console, waited: draw(
            summary, console.width, waited, ascii_only=terminal.ascii_only(sys.stderr), now=time.time()
        ),
    )


def phase_view() -> View[Phase]:
    """How a phase of a tool is shown that runs in this terminal."""

    def lines(phase: Phase, console: Console, _: float) -> list[Text]:
        ascii_only = terminal.ascii_only(sys.stderr)
        shown = [] if phase.ended else [phase_text(phase, console.width, ascii_only=ascii_only)]
        return shorten(shown, console.width, ascii_only=ascii_only)

    def line(phase: Phase) -> str | None:
        return phase.name if phase.total is None and not phase.done else formatting.phase_line(phase)  # once for a wait

    return View(line=line, line_every=5.0, title=lambda _: None, draw=lines)


def shorten(lines: list[Text], width: int, *, ascii_only: bool) -> list[Text]:
    """Cut lines that are wider than the terminal, in place."""
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return lines


def draw(summary: RunSummary, width: int, waited: float, *, ascii_only: bool, now: float | None = None) -> list[Text]:
    """The lines for a run, none wider than `width`; `waited` is in seconds, `ascii_only` draws with ASCII alone.

    `now`, in seconds since 1970, lets the seconds of a phase count on after its last report.
    """
    from rich.text import Text

    if summary.stage is None or summary.state in ("created", "queued"):
        phase = {"queued": WAITING, "created": STARTING}.get(summary.state, LOADING)
        lines = [Text(f"{phase}  {formatting.duration(waited)}", style="dim")]
    else:
        lines = [_bar_line(summary, width, ascii_only), _loss_line(summary)]
        if metrics := event_messages.metrics(summary):
            lines.append(Text(plain("   ".join(metrics))))
    if summary.phase is not None:
        lines.append(phase_text(summary.phase, width, ascii_only=ascii_only, now=now))
    return shorten(lines, width, ascii_only=ascii_only)


def phase_text(phase: Phase, width: int, *, ascii_only: bool, now: float | None = None) -> Text:
    """A phase that takes long in one line, with a bar where its total is known and there is room."""
    from rich.text import Text

    head = plain(phase.name)
    tail = "  " + plain(formatting.phase_facts(phase, width - len(head) - 2, now))
    room = min(30, width - len(head) - len(tail) - 2)
    full, rest = bar(phase.share or 0.0, room if phase.share is not None and room >= 5 else 0, ascii_only=ascii_only)
    gap = "  " if full or rest else ""
    return Text().append(head).append(gap).append(full, style="cyan").append(rest, style="dim").append(tail)


def _share(summary: RunSummary) -> str:
    return formatting.percent(min(1.0, summary.step / summary.steps)) if summary.steps else ""


def _bar_line(summary: RunSummary, width: int, ascii_only: bool) -> Text:
    from rich.text import Text

    share = min(1.0, summary.step / summary.steps) if summary.steps else 0.0
    head = f"{plain(event_messages.stage_label(summary))}  "
    notes = [_share(summary), *event_messages.left(summary)]
    if summary.state in ("stopping", "stalled"):
        notes.append(summary.state)
    tail = "  " + "  ".join(note for note in notes if note)
    room = min(50, width - len(head) - len(tail))
    full, rest = bar(share, room if room >= 5 else 0, ascii_only=ascii_only)
    state = terminal.colours_of(summary.state)[0] if summary.state in ("stopping", "stalled") else ""
    return (
        Text().append(head, style="bold").append(full, style="cyan").append(rest, style="dim").append(tail, style=state)
    )


def _loss_line(summary: RunSummary) -> Text:
    from rich.text import Text

    rate = [] if summary.rate is None else [f"{formatting.rate(summary.rate)} examples/s"]
    return Text("   ".join([event_messages.step_label(summary), *event_messages.losses(summary), *rate]))


def display(view: View[Moment]) -> Display[Moment]:
    """The display that fits: below the cell of a notebook, on a screen where stderr is one, else plain lines."""
    from crild_tui.cli.follow.cell_display import Cell, in_notebook

    if in_notebook():
        return Cell(view.draw)
    return Screen(view) if terminal.is_screen(sys.stderr) else Lines(view)
