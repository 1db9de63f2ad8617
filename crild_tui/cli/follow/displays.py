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
from crild_tui.runs.summary import Picture

if TYPE_CHECKING:
    from rich.text import Text

Clock = Callable[[], float]
LINE_EVERY = 5.0
"""Seconds between two lines of progress where there is no screen."""
TITLE_EVERY = 5.0
"""Seconds between two titles of the terminal window."""
MARKS: dict[event_messages.Level, str] = {"info": "", "warning": "warning: ", "error": "error: "}


class Narrator(Protocol):
    """Tells a person how a run goes."""

    def tell(self, level: event_messages.Level, line: str) -> None:
        """Say a sentence that stays."""

    def update(self, picture: Picture) -> None:
        """Show the present moment."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silence:
    """Says nothing (`--quiet`)."""

    def tell(self, level: event_messages.Level, line: str) -> None:
        """Say nothing."""

    def update(self, picture: Picture) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to undo."""


class Lines:
    """Plain lines on stderr with the time since the start: sentences as they come, progress every few seconds."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock = clock
        self._start = self._last = clock()
        self._shown: tuple[str | None, int] | None = None

    def tell(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence."""
        terminal.say(f"[{formatting.duration(self._clock() - self._start)}] {MARKS[level]}{line}")

    def update(self, picture: Picture) -> None:
        """Print a line of progress when one is due and something moved."""
        moment = (picture.stage, picture.step)
        if picture.loss is None or moment == self._shown or self._clock() - self._last < LINE_EVERY:
            return
        self._last, self._shown = self._clock(), moment
        self.tell("info", event_messages.progress(picture))

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

    def tell(self, level: event_messages.Level, line: str) -> None:
        """Print a sentence above the display."""
        from rich.text import Text

        style = {"info": "", "warning": "yellow", "error": "bold red"}[level]
        self._console.print(Text(terminal.safe(MARKS[level] + line), style=style), soft_wrap=True)

    def update(self, picture: Picture) -> None:
        """Redraw, if anything changed that can be seen."""
        from rich.console import Group

        lines = draw(picture, self._console.width, self._clock() - self._start, terminal.ascii_only(sys.stderr))
        seen = [line.plain for line in lines]
        if seen != self._drawn:
            self._drawn = seen
            self._live.update(Group(*lines), refresh=True)
        if self._clock() - self._titled >= TITLE_EVERY and picture.steps:
            self._titled = self._clock()
            terminal.announce(f"crild {formatting.percent(picture.step / picture.steps)} {picture.stage} {self._run}")

    def close(self) -> None:
        """Take the display away; what was said above it stays."""
        from rich.text import Text

        self._live.transient = True
        self._live.update(Text(""), refresh=True)
        self._live.stop()


def draw(picture: Picture, width: int, waited: float, plain: bool) -> list[Text]:
    """The lines of the display, none wider than `width`; `waited` seconds went by, `plain` draws with ASCII alone."""
    from rich.text import Text

    if picture.stage is None or picture.state in ("created", "queued"):
        what = {
            "queued": WAITING,
            "created": STARTING,
        }.get(picture.state, LOADING)
        lines = [Text(f"{what}  {formatting.duration(waited)}", style="dim")]
    else:
        lines = [_bar_line(picture, width, plain), _loss_line(picture)]
        if held := event_messages.metrics(picture):
            lines.append(Text(terminal.safe("   ".join(held))))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if plain else "ellipsis")
    return lines


def _bar_line(picture: Picture, width: int, plain: bool) -> Text:
    from rich.text import Text

    share = min(1.0, picture.step / picture.steps) if picture.steps else 0.0
    head = f"{terminal.safe(event_messages.stage_label(picture))}  "
    notes = [formatting.percent(share) if picture.steps else "", *event_messages.left(picture)]
    if picture.state in ("stopping", "stalled"):
        notes.append(picture.state)
    tail = "  " + "  ".join(note for note in notes if note)
    room = min(50, width - len(head) - len(tail))
    bar = Text("")
    if room >= 5:
        done = round(share * room)
        full, rest = ("#", ".") if plain else ("━", "─")
        bar.append(full * done, style="cyan").append(rest * (room - done), style="dim")
    state = terminal.style_of(picture.state) if picture.state in ("stopping", "stalled") else ""
    return Text().append(head, style="bold").append_text(bar).append(tail, style=state)


def _loss_line(picture: Picture) -> Text:
    from rich.text import Text

    of = f"/{picture.steps}" if picture.steps else ""
    parts = [f"step {picture.step}{of}"]
    if picture.loss is not None:
        parts.append(f"loss {formatting.loss(picture.loss)}")
    parts += event_messages.consistency(picture)
    if picture.rate is not None:
        parts.append(f"{formatting.rate(picture.rate)} examples/s")
    return Text("   ".join(parts))


def narrator(run: str, *, quiet: bool = False) -> Narrator:
    """The one that fits: nobody when `quiet`, the display where stderr is a screen, else plain lines."""
    if quiet:
        return Silence()
    return Screen(run) if terminal.is_screen(sys.stderr) else Lines()
