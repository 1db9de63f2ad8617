"""Show how a run goes below a cell of a notebook: one output that redraws itself."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from engine.preset.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console
    from rich.text import Text

    from crild_tui.cli.follow.event_messages import Level

Moment = TypeVar("Moment")
WIDTH = 100
"""Cells of a line."""
EVERY = 0.5
"""Seconds between two drawings: each is a message to the browser, and stored with the notebook until the next."""
MOST = 8
"""Sentences that stay; of warnings and errors, all do."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def tell(lines: Iterable[str], *, quiet: bool = False) -> None:
    """Sentences for the user: below the cell of a notebook, which shows stderr as errors, else on stderr."""
    for line in () if quiet else lines:
        print(plain(line), file=sys.stdout if in_notebook() else sys.stderr, flush=True)


class Cell(Generic[Moment]):
    """The latest sentences, and below them the lines of the present moment until `close`."""

    def __init__(self, draw: Callable[[Moment, Console, float], list[Text]]):
        """`draw` gives the lines of a moment, as `View.draw`."""
        from rich.console import Console

        self._draw, self._start, self._shown = draw, time.monotonic(), float("-inf")
        self._console = Console(file=io.StringIO(), width=WIDTH)
        self._sentences: list[tuple[Level, str]] = []
        self._lines: list[str] = []
        self._text = ""
        self._handle: Any = None

    def message(self, level: Level, line: str) -> None:
        """Show a sentence that stays, until many more have come."""
        self._sentences.append((level, plain(line if level == "info" else f"{level}: {line}")))
        latest = [line for line in self._sentences if line[0] == "info"][:-MOST]
        self._sentences = [line for line in self._sentences if line not in latest]
        self._show()

    def update(self, moment: Moment) -> None:
        """Redraw the lines of the moment, if it is time to."""
        if time.monotonic() - self._shown < EVERY:
            return
        self._lines = [text.plain for text in self._draw(moment, self._console, time.monotonic() - self._start)]
        self._show()

    def close(self) -> None:
        """Remove the lines; the sentences stay."""
        self._lines = []
        self._show()

    def _show(self) -> None:
        from IPython.display import display

        text = "\n".join([*(line for _, line in self._sentences), *self._lines])
        if text == self._text:
            return
        self._text, self._shown = text, time.monotonic()
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
