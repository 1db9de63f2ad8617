"""Runs, results and settings as HTML for notebooks: bare tables, which the notebook's own style dresses."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.preset.text import one_line
from engine.record.secrets import without_secrets

if TYPE_CHECKING:
    from engine.preset.load import Loaded
    from engine.preset.tree import Node
    from engine.record.run import RunEntry
    from engine.report.closing_table import ClosingTable
    from engine.report.result_table import Cell, ResultTable, Row

MOST_ROWS = 60
"""Rows of a list of runs that a notebook shows; the first ones, and how many more there are."""

LONG = 60
"""Characters of a cell that is not broken."""
MOST_CHARACTERS = 100
"""Of the value of a setting."""


def text_html(text: str, tag: str = "p") -> str:
    """A paragraph of outside text."""
    return f"<{tag}>{_escaped(text)}</{tag}>"


def table_html(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = (), bold: Collection[int] = ()
) -> str:
    """A table of outside text; `right` are the columns of figures, `bold` the rows that stand out (both from 0)."""
    lines = [list(row) for row in rows]
    styles = [
        _style(right=number in right, wraps=any(len(row[number]) > LONG for row in lines))
        for number in range(len(headings))
    ]
    cells = ([text_html(text, "b" if n in bold else "span") for text in row] for n, row in enumerate(lines))
    return _table(headings, styles, cells)


def _style(*, right: bool, wraps: bool) -> str:
    return f"text-align:{'right' if right else 'left'}{'' if wraps else ';white-space:nowrap'}"


def _table(headings: Sequence[str], styles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already, with the style of each column."""

    def line(tag: str, cells: Iterable[str]) -> str:
        inside = (f'<{tag} style="{style}">{cell}</{tag}>' for style, cell in zip(styles, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    head, body = line("th", map(_escaped, headings)), "".join(line("td", cells) for cells in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return html.escape(one_line(without_secrets(text)), quote=True)


def list_html(lines: Iterable[str]) -> str:
    """Notes, a line each; nothing for none."""
    items = "".join(text_html(line, "li") for line in lines)
    return f"<ul>{items}</ul>" if items else ""


# -- runs


def runs_html(entries: Sequence[RunEntry], now: float) -> str:
    """A list of runs, with the columns in which any run has something."""
    from crild_tui.runs.formatting import plural
    from crild_tui.runs.listing import BY_NAME, COLUMNS, whole_widths

    if not entries:
        return text_html("no runs")
    table = [{column.name: column.text(entry, now) for column in COLUMNS} for entry in entries[:MOST_ROWS]]
    names = list(whole_widths(table, None))
    right = [number for number, name in enumerate(names) if BY_NAME[name].right]
    rest = len(entries) - MOST_ROWS
    more = text_html(f"and {plural(rest, 'more run')}", "p") if rest > 0 else ""
    return table_html(names, ([row[name] for name in names] for row in table), right=right) + more


def run_html(entry: RunEntry, now: float) -> str:
    """A run: its state and what can be done, and the models of its results where it has any."""
    from crild_tui.runs.states import command_hints, describe, label_of
    from crild_tui.runs.tables import read_closing
    from engine.errors import CrildError

    about = text_html(f"{entry.id}: {label_of(entry.state)}")
    if entry.state == "finished":
        try:
            return about + closing_html(read_closing(entry.path))
        except CrildError as error:
            return about + text_html(error.sentence)
    return about + text_html(str(describe(entry, command_hints(entry.path), now)))


def closing_html(closing: ClosingTable) -> str:
    """Teacher, student and baselines of a finished run, with what was measured, then the sentences."""
    from crild_tui.runs.tables import model_rows
    from engine.report.majority import LEGEND

    headings, rows = model_rows(closing)
    legend = [LEGEND] if any(row.below_majority for row in closing.models) else []
    bold = [n for n, row in enumerate(closing.models) if row.name.startswith("student")]
    table = table_html(headings, rows, right=range(1, len(headings)), bold=bold)
    return table + list_html([*legend, *closing.statements])


# -- results


def result_html(table: ResultTable) -> str:
    """A table of results: title, a table for each section, notes. The best figures are bold."""
    parts = [text_html(table.title)] if table.title else []
    for section in table.sections:
        columns = table.filled(section)
        headings = [table.row_heading, *(table.columns[n].heading for n in columns)]
        long = any(len(row.label) > LONG for row in section.rows)
        sides = [_style(right=not table.columns[n].words, wraps=table.columns[n].wraps) for n in columns]
        styles = [_style(right=False, wraps=long), *sides]
        parts += [text_html(section.heading)] if section.heading else []
        parts.append(
            _table(headings, styles, ([_name(row), *(_cell(row.cells[n]) for n in columns)] for row in section.rows))
        )
    return "".join([*parts, list_html(table.notes)])


def _name(row: Row) -> str:
    return text_html(row.label, {"mean": "b", "other": "i"}.get(row.kind, "span"))


def _cell(cell: Cell) -> str:
    text = text_html(cell.text, "b" if cell.mark in ("best", "highest") else "span")
    return " ".join(part for part in (text, _escaped(cell.detail), _escaped(cell.sign)) if part)


# -- presets


def preset_html(loaded: Loaded, base: Path) -> str:
    """What a preset sets, with where it was set; what is left at its default is not shown.

    `base` is the folder that it was loaded in.
    """
    from engine.preset.text import cut
    from engine.preset.toml_text import inline
    from engine.report.compare import flat

    rows = []
    for key, value in flat(loaded.document):
        if key not in ("schema", "description"):
            rows.append((key, cut(inline(value), MOST_CHARACTERS), _source(loaded.node(key), base)))
    about = loaded.document.get("description")
    summary = f"<summary>{len(rows)} settings that are not left at their defaults</summary>"
    table = table_html(("setting", "value", "set in"), rows)
    return f"{text_html(about) if isinstance(about, str) else ''}<details open>{summary}{table}</details>"


def _source(node: Node, base: Path) -> str:
    """Where a setting was set: a preset that comes with crild by its name, a file with its line, or the settings given."""
    from engine.preset.shipped import folder

    file = node.file or ""
    if file.startswith("--set "):
        return "settings"
    path = base / file
    name = path.stem if path.parent == folder() else file
    return f"{name}:{node.line}" if node.line else name
