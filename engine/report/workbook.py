"""Write result tables as an Excel workbook: figures are numbers, text is text and never a formula."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.preset.text import one_line
from engine.report.result_table import Cell, ResultDocument, ResultTable, Row

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

LONGEST = 32_767
"""Characters of a cell."""
WIDEST = 80
"""Characters of a column of long texts."""
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\']")


def workbook(document: ResultDocument) -> bytes:
    """The workbook: a sheet for each table, one with every record in full, one with the notes.

    Scores are in per cent, with the deviation in a column of its own; records hold shares of 1.

    Raises UsageError where XlsxWriter is not installed.
    """
    try:
        import xlsxwriter
    except ModuleNotFoundError as error:
        sentence = "Excel files need XlsxWriter: `pip install xlsxwriter`, or write .csv"
        raise UsageError(sentence, kind="missing-xlsxwriter", key="--format") from error
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    looks = _Looks(*(book.add_format(look) for look in _LOOKS))
    names: list[str] = []
    appendix = document.appendix()
    for table in (*document.tables, *appendix):
        _write_table(book.add_worksheet(_sheet_name(table.name or "Results", names)), table, looks)
    records = [record for table in document.tables for record in table.records]
    if records:
        _write_records(book.add_worksheet(_sheet_name("Data", names)), records, looks)
    notes = [*dict.fromkeys(note for table in (*document.tables, *appendix) for note in table.notes), *document.notes]
    if notes:
        sheet = book.add_worksheet(_sheet_name("Notes", names))
        sheet.set_column(0, 0, 120)
        for line, note in enumerate(notes):
            sheet.write_string(line, 0, _text(note), looks.wrapped)
    book.close()
    return out.getvalue()


_LOOKS: tuple[dict[str, Any], ...] = (
    {"bold": True, "bottom": 1}, {"num_format": "0.00"}, {"num_format": "0.00", "bold": True}, {"num_format": "#,##0.###"},
    {"text_wrap": True, "valign": "top"}, {"italic": True},
)  # fmt: skip


class _Looks:
    """The formats of cells."""

    def __init__(self, *formats: Format) -> None:
        self.heading, self.score, self.best, self.number, self.wrapped, self.section = formats


def _sheet_name(wanted: str, names: list[str]) -> str:
    """A name that Excel takes, which no other sheet has."""
    base = _NOT_IN_NAMES.sub(" ", one_line(wanted)).strip()[:28] or "Results"
    taken = {name.casefold() for name in names}
    name = next(
        name for name in (base, *(f"{base} {number}" for number in range(2, 1000))) if name.casefold() not in taken
    )
    names.append(name)
    return name


def _write_table(sheet: Worksheet, table: ResultTable, looks: _Looks) -> None:
    columns = list(_columns(table))
    sheet.write_row(0, 0, [_text(table.row_heading), *(_text(heading) for heading, _, _ in columns)], looks.heading)
    widths = [len(table.row_heading), *(len(heading) for heading, _, _ in columns)]
    line = 1
    for section in table.sections:
        if section.heading:
            sheet.write_string(line, 0, _text(section.heading), looks.section)
            line += 1
        for row in section.rows:
            _write_row(sheet, line, row, columns, table, looks)
            widths[0] = max(widths[0], len(row.label))
            for place, (_, index, part) in enumerate(columns, 1):
                shown = "" if part == "deviation" else row.cells[index].text
                widths[place] = max(widths[place], min(len(shown), WIDEST))
            line += 1
    for place, width in enumerate(widths):
        sheet.set_column(place, place, width + 2)
    sheet.freeze_panes(1, 1)


def _columns(table: ResultTable) -> Iterator[tuple[str, int, str]]:
    """The columns of a sheet: heading, index of the table's column, and what of a cell stands there."""
    for index, column in enumerate(table.columns):
        cells = [row.cells[index] for row in table.rows]
        yield column.heading, index, "figure"
        if any(" ± " in cell.text for cell in cells if cell.value is not None):
            yield f"± {column.heading}", index, "deviation"
        if any(cell.detail for cell in cells):
            yield f"{column.heading}, difference from {table.reference}", index, "detail"
        if any(cell.sign for cell in cells):
            yield f"{column.heading}, mark", index, "mark"


def _write_row(
    sheet: Worksheet, line: int, row: Row, columns: Sequence[tuple[str, int, str]], table: ResultTable, looks: _Looks
) -> None:
    sheet.write_string(line, 0, _text(row.label))
    for place, (_, index, part) in enumerate(columns, 1):
        cell, column = row.cells[index], table.columns[index]
        deviation = cell.text.partition(" ± ")[2]
        if part == "figure" and cell.value is not None:
            look = (
                looks.number if not column.scores else looks.best if cell.mark in ("best", "highest") else looks.score
            )
            sheet.write_number(line, place, cell.value * 100 if column.scores else cell.value, look)
        elif part == "deviation" and cell.value is not None and deviation:
            sheet.write_number(line, place, float(deviation), looks.score)
        elif part == "figure" and cell.text.isdecimal() and not column.words:  # a number of seeds
            sheet.write_number(line, place, int(cell.text), looks.number)
        elif text := _part(cell, part):
            sheet.write_string(line, place, _text(text), looks.wrapped if column.wraps else None)


def _part(cell: Cell, part: str) -> str:
    return {"figure": cell.text, "deviation": "", "detail": cell.detail, "mark": cell.sign}[part]


def _write_records(
    sheet: Worksheet, records: Sequence[Mapping[str, str | float | tuple[str, ...] | None]], looks: _Looks
) -> None:
    names = list(dict.fromkeys(name for record in records for name in record))
    sheet.write_row(0, 0, [_text(name) for name in names], looks.heading)
    for line, record in enumerate(records, 1):
        for place, name in enumerate(names):
            value = record.get(name)
            if isinstance(value, str | tuple):
                sheet.write_string(line, place, _text(value if isinstance(value, str) else " ".join(value)))
            elif value is not None:
                sheet.write_number(line, place, value)
    sheet.freeze_panes(1, 0)


def _text(text: str) -> str:
    return one_line(text)[:LONGEST]
