"""Write result tables, notes and charts as a PDF, drawn by matplotlib. Load it only where one is written."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from engine.preset.text import plain
from engine.report.figures import FAINT, INK, drawing, report_charts
from engine.report.report_document import ReportDocument
from engine.report.result_table import ResultDocument, ResultTable, Row, Section

SHORT, LONG = 8.27, 11.69
"""Sides of A4 in inches."""
MARGIN = 0.6
LARGE, BODY, SMALL = 13.0, 8.5, 7.5
"""Sizes of headings, tables and notes in points."""
GAP = 0.16
"""Inches between columns."""
LEADING = 1.45
"""Height of a line, in sizes of its letters."""
NARROWEST = 2.0
"""Inches of a column of long texts at least."""
_EMBEDDED: Any = {"pdf.fonttype": 42}
"""Letters as TrueType, which journals take; all pages of a file must agree."""


def pdf(document: ResultDocument) -> bytes:
    """The pages: tables with their notes, the appendix, then each chart of a report on a page of its own."""
    out = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}  # the same runs give the same file
    with drawing(), mpl.rc_context(_EMBEDDED), PdfPages(out, metadata=nothing) as pages:
        sheet = _Sheet(pages)
        for table in document.tables:
            sheet.table(table)
        sheet.notes(document.notes)
        for table in document.appendix():
            sheet.table(table)
        sheet.close()
        for chart in report_charts(document.report) if isinstance(document, ReportDocument) else ():
            figure = chart.figure
            width = figure.get_figwidth()
            figure.set_figheight(figure.get_figheight() + 0.5)
            figure.suptitle(textwrap.fill(plain(chart.caption), int(width * 14)), fontsize=SMALL)
            with mpl.rc_context(_EMBEDDED):  # charts come in a context of their own
                pages.savefig(figure)
    return out.getvalue()


class _Sheet:
    """Writes lines from top to bottom, on as many pages as they take."""

    def __init__(self, pages: PdfPages) -> None:
        self._pages = pages
        self._figure: Figure | None = None
        self._width, self._height = SHORT, LONG
        self._y = 0.0

    def close(self) -> None:
        """Write the last page."""
        if self._figure is not None:
            self._pages.savefig(self._figure)  # type: ignore[no-untyped-call]
            self._figure = None

    def _need(self, inches: float) -> bool:
        """Start a page where this one has no room for so much; whether it did."""
        if self._figure is not None and self._y - inches >= MARGIN:
            return False
        self.close()
        self._figure = Figure(figsize=(self._width, self._height))
        FigureCanvasAgg(self._figure)
        self._y = self._height - MARGIN
        return True

    def _put(self, x: float, text: str, size: float, *, right: bool = False, look: str = "") -> None:
        assert self._figure is not None
        self._figure.text(
            x / self._width, self._y / self._height, text, fontsize=size, color=FAINT if look == "faint" else INK,
            ha="right" if right else "left", va="top", fontweight="bold" if look == "bold" else "normal",
            fontstyle="italic" if look == "italic" else "normal",
        )  # fmt: skip

    def _rule(self, left: float, right: float, width: float) -> None:
        assert self._figure is not None
        y = (self._y + 0.03) / self._height
        self._figure.add_artist(Line2D([left / self._width, right / self._width], [y, y], color=INK, linewidth=width))

    def _line(self, size: float) -> None:
        self._y -= size * LEADING / 72

    def paragraph(self, text: str, size: float, look: str = "") -> None:
        """A text in lines as wide as the page."""
        for line in _wrapped(plain(text), size, self._width - 2 * MARGIN):
            self._need(size * LEADING / 72)
            self._put(MARGIN, line, size, look=look)
            self._line(size)

    def notes(self, notes: Sequence[str]) -> None:
        """Small paragraphs."""
        for note in notes:
            self.paragraph(note, SMALL, "faint")

    def table(self, table: ResultTable) -> None:
        """A table with its name, title and notes; one that is wide on pages of the other side, or in smaller letters."""
        natural = max((_natural(table, section) for section in table.sections), default=0.0)
        landscape = natural > SHORT - 2 * MARGIN and not any(column.wraps for column in table.columns)
        sides = (LONG, SHORT) if landscape else (SHORT, LONG)
        if sides != (self._width, self._height):
            self.close()
            self._width, self._height = sides
        self._need(1.5)
        if table.name:
            self.paragraph(table.name, LARGE, "bold")
        if table.title:
            self.paragraph(f"{table.title}.", SMALL, "faint")
        for section in table.sections:
            self._section(table, section)
        self._line(SMALL)
        self.notes(table.notes)
        self._line(BODY)

    def _section(self, table: ResultTable, section: Section) -> None:
        room = self._width - 2 * MARGIN
        columns = table.filled(section)
        size, widths = _fitted(table, section, columns, room)
        edges = [MARGIN]
        for width in widths:
            edges.append(edges[-1] + width + GAP)
        heading = [table.row_heading, *(table.columns[n].heading for n in columns)]
        right = [False, *(not table.columns[n].words for n in columns)]

        def line(texts: Sequence[str], looks: Sequence[str]) -> None:
            for place, (text, look) in enumerate(zip(texts, looks, strict=True)):
                x = edges[place] + widths[place] if right[place] else edges[place]
                self._put(x, text, size, right=right[place], look=look)
            self._line(size)

        def top() -> None:
            self._rule(MARGIN, edges[-1] - GAP, 0.8)
            line([plain(text) for text in heading], ["bold"] * len(heading))
            self._rule(MARGIN, edges[-1] - GAP, 0.5)

        self._line(size / 2)
        self._need(5 * size * LEADING / 72)
        if section.heading:
            self.paragraph(section.heading, size, "italic")
        top()
        for row in section.rows:
            looks = [
                "italic" if row.kind == "mean" else "",
                *("bold" if row.cells[n].mark in ("best", "highest") else "" for n in columns),
            ]
            for texts in _lines(row, columns, size, widths):
                if self._need(size * LEADING / 72):
                    top()
                line(texts, looks)
        self._rule(MARGIN, edges[-1] - GAP, 0.8)


def _texts(row: Row, columns: Sequence[int]) -> list[str]:
    """The texts of a row, each figure with its signs."""
    cells = [row.cells[n] for n in columns]
    return [plain(row.label), *(plain(" ".join(filter(None, (c.text, c.detail, c.sign)))) for c in cells)]


def _lines(row: Row, columns: Sequence[int], size: float, widths: Sequence[float]) -> Iterator[list[str]]:
    """A row in lines: long texts are wrapped in their columns."""
    wrapped = [_wrapped(text, size, width) for text, width in zip(_texts(row, columns), widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        yield [lines[number] if number < len(lines) else "" for lines in wrapped]


def _natural(table: ResultTable, section: Section, size: float = BODY) -> float:
    columns = table.filled(section)
    return sum(_widths(table, section, columns, size)) + GAP * len(columns)


def _widths(table: ResultTable, section: Section, columns: Sequence[int], size: float) -> list[float]:
    heading = [plain(table.row_heading), *(plain(table.columns[n].heading) for n in columns)]
    return [
        max(_inches(text, size, bold=True) for text in texts)
        for texts in zip(heading, *(_texts(row, columns) for row in section.rows), strict=True)
    ]


def _fitted(table: ResultTable, section: Section, columns: Sequence[int], room: float) -> tuple[float, list[float]]:
    """The size of the letters and the widths of the columns, so that they fit: long texts give way first."""
    widths = _widths(table, section, columns, BODY)
    gaps = GAP * (len(widths) - 1)
    long = [place for place, n in enumerate(columns, 1) if table.columns[n].wraps]
    if long and sum(widths) + gaps > room:
        rest = sum(width for place, width in enumerate(widths) if place not in long)
        for place in long:
            widths[place] = max(NARROWEST, (room - gaps - rest) / len(long))
    scale = min(1.0, (room - gaps) / sum(widths))
    return BODY * scale, [width * scale for width in widths]


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """A text in lines of at most so many inches; a word that is longer alone is cut."""
    if _inches(text, size) <= width + 0.01:
        return [text]
    lines = [""]
    for word in text.split(" "):
        rest = word
        while rest:
            candidate = f"{lines[-1]} {rest}".lstrip()
            if _inches(candidate, size) <= width:
                lines[-1] = candidate
                break
            if lines[-1]:
                lines.append("")
                continue
            fits = max(1, int(len(rest) * width / _inches(rest, size)))
            lines[-1], rest = rest[:fits], rest[fits:]
            lines += [""] if rest else []
    return lines


@lru_cache(4096)
def _inches(text: str, size: float, bold: bool = False) -> float:
    width, _, _ = _renderer().get_text_width_height_descent(text, _font(size, bold), ismath=False)
    return float(width) / 100


@lru_cache(64)
def _font(size: float, bold: bool) -> FontProperties:
    return FontProperties(size=size, weight="bold" if bold else "normal")


@lru_cache(1)
def _renderer() -> Any:
    return FigureCanvasAgg(Figure(dpi=100)).get_renderer()  # type: ignore[no-untyped-call]
