"""Result tables drawn for the terminal, and as a text file."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from engine.preset.text import plain
from engine.report.majority import ASCII_MARK, MARK

if TYPE_CHECKING:
    from rich.table import Table

    from engine.report.result_table import Cell, ResultDocument, ResultTable, Section

_ASCII_SIGNS = {"≈": "~", "▲": "^", "▼": "v", MARK: ASCII_MARK}


def show_document(document: ResultDocument) -> None:
    """Print titles, tables and notes on stdout."""
    console = terminal.console(sys.stdout)
    for part in _parts(document, console.width):
        console.print(part)


def show_table(table: ResultTable) -> None:
    """Print a table on stdout."""
    console = terminal.console(sys.stdout)
    for part in draw_table(table, console.width):
        console.print(part)


def show_notes(table: ResultTable) -> None:
    """Print the notes of a table, a line each."""
    for note in table.notes:
        terminal.sentence(_note(note))


def plain_text(document: ResultDocument) -> str:
    """What the terminal shows, as text."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=terminal.PIPE_WIDTH, markup=False, emoji=False, highlight=False)
    for part in _parts(document, terminal.PIPE_WIDTH):
        console.print(part)
    return out.getvalue()


def _parts(document: ResultDocument, width: int) -> Iterator[Table | str]:
    for number, table in enumerate(document.tables):
        if number:
            yield ""
        if table.title:
            yield plain(table.title)
            yield ""
        yield from draw_table(table, width)
        if table.notes:
            yield ""
        yield from map(_note, table.notes)
    yield from map(_note, document.notes)


def _note(text: str) -> str:
    return _ascii(plain(text)) if terminal.ascii_only() else plain(text)


def draw_table(table: ResultTable, width: int) -> Iterator[Table | str]:
    """The sections of a table: heading, then a table, or several with some of the columns each where all are too wide."""
    for number, section in enumerate(table.sections):
        if number:
            yield ""
        if section.heading:
            yield plain(section.heading)
        yield from _section(table, section, width)


def _section(table: ResultTable, section: Section, width: int) -> Iterator[Table]:
    from rich.cells import cell_len

    labels = [plain(row.label) for row in section.rows]
    first = min(max(map(cell_len, [*labels, table.row_heading])), max(20, width // 3))
    texts = {n: _column([row.cells[n] for row in section.rows]) for n in table.filled(section)}
    repeated = [n for n in texts if all(row.cells[n].value is None for row in section.rows)]  # seeds, states
    if len(repeated) == len(texts):
        repeated = []  # no figures yet
    sizes = {n: max(map(cell_len, [*cells, plain(table.columns[n].heading)])) + 2 for n, cells in texts.items()}
    room = width - first - sum(sizes[n] for n in repeated) - 2
    parts, used = [list(repeated)], 0
    for n in (n for n in texts if n not in repeated):
        if used and used + sizes[n] > room:
            parts.append(list(repeated))
            used = 0
        parts[-1].append(n)
        used += sizes[n]
    for columns in parts:
        headings = [(table.columns[n].heading, "left" if table.columns[n].words else "right") for n in columns]
        rows = ([label, *(texts[n][index] for n in columns)] for index, label in enumerate(labels))
        yield terminal.table([(table.row_heading, "left"), *headings], rows)


def _column(cells: Sequence[Cell]) -> list[str]:
    """The texts of a column; where one has a sign, the others have a blank in its place."""
    room = max((len(cell.sign) for cell in cells), default=0)
    texts = []
    for cell in cells:
        text = "  ".join(part for part in (cell.text, cell.detail) if part)
        texts.append(f"{text} {cell.sign:{room}}" if room and text else text)
    return [_ascii(text) for text in texts] if terminal.ascii_only() else texts


def _ascii(text: str) -> str:
    return "".join(_ASCII_SIGNS.get(character, character) for character in text.replace("±", "+-"))
