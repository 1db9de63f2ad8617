"""Output of the command line: results on stdout, progress and messages on stderr, text from outside made safe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from engine.preset.text import json_escaped, plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from engine.errors import CrildError

PIPE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where nothing wraps it."""


def safe_lines(text: str) -> str:
    """`text` made safe to print line by line: line ends and tabs stay, a progress bar's carriage returns begin lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join("\t".join(plain(part) for part in line.split("\t")) for line in lines)


def ascii_only(stream: TextIO | None = None) -> bool:
    """Whether to draw with ASCII alone: CRILD_ASCII is set, or the stream's encoding is not Unicode."""
    if os.environ.get("CRILD_ASCII"):
        return True
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    return not encoding.lower().replace("_", "-").startswith("utf")


def is_screen(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    except ValueError:  # a closed stream
        return False


def console(stream: TextIO) -> Console:
    """A console on `stream` that never reads markup, emoji names or highlights into text."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    named = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() or (named.isdecimal() and int(named)) else PIPE_WIDTH
    return Quiet(file=stream, width=width, markup=False, emoji=False, highlight=False)


def say(*lines: str, quiet: bool = False) -> None:
    """Print sentences on stderr, unless `quiet`. The terminal itself wraps them, so that they can be copied."""
    for line in () if quiet else lines:
        print(plain(line), file=sys.stderr, flush=True)


def error_lines(error: CrildError) -> list[str]:
    """An error's problems, one a line, each with its file and line, safe to print and to keep in a log."""
    from engine.record.secrets import without_secrets

    return [plain(without_secrets(str(problem))) for problem in getattr(error, "problems", (error,))]


def discards_results() -> bool:
    """Whether stdout leads nowhere, as in a service: nobody reads the results, or hints in their place."""
    try:
        return os.fstat(sys.stdout.fileno()).st_rdev == Path(os.devnull).stat().st_rdev
    except (OSError, ValueError):  # no descriptor
        return False


def show(renderable: RenderableType) -> None:
    """Print a table on stdout."""
    console(sys.stdout).print(renderable)


def sentence(line: str = "") -> None:
    """One line on stdout."""
    print(plain(line))


def show_parts(parts: Iterable[str | Table]) -> None:
    """Sentences and tables on stdout, in their order."""
    for part in parts:
        if isinstance(part, str):
            sentence(part)
        else:
            show(part)


def show_json(document: object) -> None:
    """One JSON document on stdout; figures that JSON does not know (NaN, infinity) become null.

    JSON's own escapes stand for what stdout's encoding lacks, and for what could control a terminal.
    """
    from engine.record.files import finite

    print(json_escaped(json.dumps(finite(document), indent=2, ensure_ascii=ascii_only(), allow_nan=False)))


def table(
    columns: Iterable[tuple[str, str]],
    rows: Iterable[Iterable[str | Text]],
    *,
    title: str | None = None,
) -> Table:
    """A table of plain text: `columns` are (heading, "left" | "right")."""
    from crild_tui.runs.tables import text_table

    return text_table(columns, rows, title=title, ascii_only=ascii_only())


def can_ask() -> bool:
    """Whether a user sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool, before: str = "deleting") -> bool:
    """Ask on the terminal `before` something; `yes` skips the question. Raises UsageError if there is no terminal to ask on."""
    from engine.errors import UsageError

    if yes:
        return True
    if not can_ask():
        raise UsageError(f"cannot ask before {before}, as this is not a terminal: add --yes", kind="cannot-ask")
    print(f"{plain(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def announce(title: str, *, attention: bool = False) -> None:
    """Set the terminal's title, and ask for attention as the user's settings say; nothing where there is no terminal."""
    if is_screen(sys.stderr):
        from crild_tui.runs.attention import sequence

        shown = plain(title).replace("\\", "/")
        sys.stderr.write(f"\x1b]2;{shown}\x1b\\" + (sequence(title) if attention else ""))
        sys.stderr.flush()


TONES = {
    "running": ("cyan", "36"),
    "finished": ("green", "32"),
    "warning": ("yellow", "33"),
    "error": ("bold red", "1;31"),
}
"""The colour of each tone of a run's state: as a rich style, and as parameters of a terminal's colour sequence."""


def colours_of(state: str) -> tuple[str, str]:
    """The colour of a run's state, as in `TONES`; empty for a state without one."""
    from crild_tui.runs.states import tone_of

    return TONES.get(tone_of(state) or "", ("", ""))
