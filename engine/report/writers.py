"""Formats of result tables: Markdown, CSV, LaTeX, JSON, HTML, Excel and PDF. Text from outside is escaped for each.

A new format is one function over a `ResultDocument` and one entry in `FORMATS`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from engine.errors import UsageError
from engine.preset.text import listed, nearest, one_line, shown
from engine.record.files import json_text
from engine.report.majority import MARK as MAJORITY_MARK
from engine.report.result_table import Cell, ResultDocument, ResultTable, Row, Section

_FORMULA = tuple("=+-@\t\r＝＋－＠")
"""Beginnings of a cell that a spreadsheet would compute."""
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "±": r"$\pm$", "≈": r"$\approx$", "▲": r"$\uparrow$", "▼": r"$\downarrow$", MAJORITY_MARK: r"$^\dagger$",
    "−": r"$-$", "×": r"$\times$", "λ": r"$\lambda$", "…": r"\ldots{}", "→": r"$\rightarrow$",
}  # fmt: skip
_COMMENT = {
    "%": "per cent", "\\": "/", "±": "+-", "≈": "~", "▲": "^", "▼": "v", MAJORITY_MARK: "dagger:", "−": "-",
    "×": "x", "λ": "lambda", "…": "...", "→": "->",
}  # fmt: skip
PAGE = 40
"""Lines of a table of the appendix that fit on a page of LaTeX."""
FLOATS = 12
"""Tables of the appendix between two page breaks: LaTeX fails where too many wait for a page."""
_ARROWS = {"above": r" $\uparrow$", "below": r" $\downarrow$", "tied": r" $\approx$"}


# -- Markdown


def markdown(document: ResultDocument) -> str:
    """Tables as Markdown that can also be read as it is: the best figures are bold."""
    parts = []
    for table in (*document.tables, *document.appendix()):
        parts += [f"**{markdown_text(table.title)}**\n"] if table.title else []
        parts.append(_markdown_table(table))
        notes = [*table.notes, *(document.notes if table is document.tables[-1] else ())]
        parts += ["".join(f"- {markdown_text(line)}\n" for line in notes)] if notes else []
    return "\n".join(parts)


def _markdown_table(table: ResultTable) -> str:
    lines = [[markdown_text(heading) for heading in (table.row_heading, *(column.heading for column in table.columns))]]
    for section in table.sections:
        if section.heading:
            lines.append([f"**{markdown_text(section.heading)}**", *("" for _ in table.columns)])
        lines += [[_markdown_name(row), *map(_markdown_cell, row.cells)] for row in section.rows]
    wraps = [False, *(column.wraps for column in table.columns)]
    widths = [
        max(4, *map(len, column[:1] if long else column))
        for column, long in zip(zip(*lines, strict=True), wraps, strict=True)
    ]
    left = [True, *(column.words for column in table.columns)]
    rule = ["-" * width if side else "-" * (width - 1) + ":" for width, side in zip(widths, left, strict=True)]
    padded = (
        (text.ljust(width) if side else text.rjust(width) for text, width, side in zip(line, widths, left, strict=True))
        for line in (lines[0], rule, *lines[1:])
    )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in padded)


def _markdown_name(row: Row) -> str:
    name = markdown_text(row.label)
    return f"**{name}**" if row.kind == "mean" else name


def _markdown_cell(cell: Cell) -> str:
    text = cell.text if cell.value is not None else markdown_text(cell.text)
    text = f"**{text}**" if cell.mark in ("best", "highest") else text
    return " ".join(part for part in (text, cell.detail, cell.sign) if part)


def markdown_text(text: str) -> str:
    """Outside text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&])", r"\\\1", one_line(text))


# -- LaTeX


def latex(document: ResultDocument) -> str:
    """Tables as LaTeX floats with caption and label, with the lines of booktabs: the best figures are bold, tied ones
    underlined. What crild itself writes is ASCII; notes are comments."""
    lines = [r"% needs \usepackage{booktabs}"]
    labels: list[str] = []
    for table in document.tables:
        lines += _latex_float(table, labels)
    lines += [f"% {_comment(line)}" for line in document.notes]
    parts = [part for table in document.appendix() for part in _pages(table)]
    for number, part in enumerate(parts):
        lines += [r"\clearpage"] if number % FLOATS == 0 else []
        lines += _latex_float(part, labels)
    return "\n".join(lines) + "\n"


def _pages(table: ResultTable) -> Iterator[ResultTable]:
    """A table in parts that fit on a page each; no section is divided."""
    parts: list[list[Section]] = []
    lines = PAGE
    for section in table.sections:
        needed = len(section.rows) + 1
        if lines + needed > PAGE:
            parts.append([])
            lines = 0
        parts[-1].append(section)
        lines += needed
    for number, sections in enumerate(parts, 1):
        title = table.title if len(parts) == 1 else f"{table.title} ({number} of {len(parts)})"
        yield replace(table, sections=tuple(sections), title=title, notes=table.notes if number == 1 else ())


def _latex_float(table: ResultTable, labels: list[str]) -> list[str]:
    """A table with its notes; its label, unlike those before it, is added to `labels`."""
    base = re.sub(r"[^a-z0-9]+", "-", table.name.casefold()).strip("-") or "results"
    label = next(
        name for name in (base, *(f"{base}-{number}" for number in range(2, len(labels) + 3))) if name not in labels
    )
    labels.append(label)
    return [*_latex_table(table, f"tab:crild-{label}"), *(f"% {_comment(line)}" for line in table.notes)]


def _latex_table(table: ResultTable, label: str) -> list[str]:
    headings = [table.row_heading, *(column.heading for column in table.columns)]
    sides = "".join(r"p{.75\linewidth}" if column.wraps else "l" if column.words else "r" for column in table.columns)
    lines = [
        r"\begin{table}[tb]", r"\centering", rf"\caption{{{_caption(table)}}}", rf"\label{{{label}}}",
        *_latex_size(table), rf"\begin{{tabular}}{{l{sides}}}", r"\toprule", _latex_line([latex_text(text) for text in headings]),
    ]  # fmt: skip
    for section in table.sections:
        lines.append(r"\midrule")
        if section.heading:
            lines.append(rf"\multicolumn{{{len(headings)}}}{{l}}{{\textit{{{latex_text(section.heading)}}}}} \\")
        for before, row in zip((None, *section.rows), section.rows, strict=False):
            if before is not None and row.kind == "other" != before.kind:
                lines.append(r"\addlinespace")
            name = latex_text(row.label)
            lines.append(
                _latex_line([rf"\textit{{{name}}}" if row.kind == "mean" else name, *map(_latex_cell, row.cells)])
            )
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _latex_size(table: ResultTable) -> list[str]:
    """Smaller type for a table that is wider than a page of LaTeX's article class: 345 pt, about 5 for each character and
    12 between columns."""
    if any(column.wraps for column in table.columns):
        return []
    columns = [
        [table.row_heading, *(row.label for row in table.rows)],
        *(
            [column.heading, *(row.cells[at].text + row.cells[at].detail for row in table.rows)]
            for at, column in enumerate(table.columns)
        ),
    ]
    characters = sum(max(map(len, column)) for column in columns)
    return [r"\footnotesize\setlength{\tabcolsep}{3pt}"] if 5 * characters + 12 * len(columns) > 345 else []


def _caption(table: ResultTable) -> str:
    """What the figures are, and what the marks in this table mean."""
    cells = [cell for row in table.rows for cell in row.cells]
    title = table.title or table.name or "Results"
    marks = {cell.mark for cell in cells}
    meanings = [f"{title[0].upper()}{title[1:]}"]
    if any(cell.detail for cell in cells):
        meanings.append(f"Differences are from {table.reference}; arrows: significant")
    elif "best" in marks or "tied" in marks:
        meanings += ["Bold: significantly better than all others"] if "best" in marks else []
        meanings += [f"Underlined: not significantly different from {table.reference}"] if "tied" in marks else []
    elif "highest" in marks:
        meanings.append("Bold: the highest")
    if any(cell.below_majority for cell in cells):
        meanings.append(f"{MAJORITY_MARK}: at or below the majority guess")
    return " ".join(f"{latex_text(meaning)}." for meaning in meanings)


def _latex_line(cells: Sequence[str]) -> str:
    first = cells[0]
    guarded = "{}" + first if first.startswith(("[", "*")) else first  # else read as an option of the line break before
    return f"{' & '.join([guarded, *cells[1:]])} \\\\"


def _latex_cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    dagger = r"$^\dagger$" if cell.below_majority else ""
    if cell.detail:
        return f"{text}{dagger} {cell.detail.replace('-', '$-$')}{_ARROWS.get(cell.mark, '')}"
    if cell.mark in ("best", "highest"):
        return rf"\textbf{{{text}}}{dagger}"
    return rf"\underline{{{text}}}{dagger}" if cell.mark == "tied" else f"{text}{dagger}"


def latex_text(text: str) -> str:
    """Outside text as LaTeX that shows it as it is."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def _comment(text: str) -> str:
    """A note as a comment of LaTeX; signs in ASCII, so that no engine stumbles over them."""
    return "".join(_COMMENT.get(character, character) for character in one_line(text))


# -- CSV, JSON, HTML


def comma_separated(document: ResultDocument) -> str:
    """The records of all tables as CSV for a spreadsheet, figures in full precision."""
    records = [record for table in document.tables for record in table.records]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = dict.fromkeys(name for record in records for name in record)
    writer.writerow([csv_text(name) for name in names])
    writer.writerows([_csv_cell(record.get(name)) for name in names] for record in records)
    return out.getvalue()


def _csv_cell(value: str | float | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return csv_text(value) if isinstance(value, str) else "" if value is None else repr(value)


def csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    cell = one_line(text)
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) else cell


def json_document(document: ResultDocument) -> str:
    """Everything as one JSON document. Figures are shares of 1."""
    return json_text(document.data)


def html_page(document: ResultDocument) -> str:
    """One HTML page that needs nothing else."""
    from engine.report.page import page  # draws charts with matplotlib

    return page(document)


def workbook_file(document: ResultDocument) -> bytes:
    """An Excel workbook with a sheet for each table. Raises UsageError where XlsxWriter is not installed."""
    from engine.report.workbook import workbook

    return workbook(document)


def pdf_file(document: ResultDocument) -> bytes:
    """A PDF with tables, notes and the charts of a report."""
    from engine.report.pdf import pdf  # drawn by matplotlib

    return pdf(document)


# -- the registry


@dataclass(frozen=True)
class Format:
    """A format: the name that `--format` takes, its usual name, how its files end, and its writer."""

    name: str
    title: str
    endings: tuple[str, ...]
    write: Callable[[ResultDocument], str | bytes]
    binary: bool = False
    """Whether it is no text: nothing for a terminal."""


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("markdown", "Markdown", (".md", ".markdown"), markdown),
        Format("csv", "CSV", (".csv",), comma_separated),
        Format("json", "JSON", (".json",), json_document),
        Format("latex", "LaTeX", (".tex",), latex),
        Format("html", "HTML", (".html", ".htm"), html_page),
        Format("xlsx", "Excel", (".xlsx",), workbook_file, binary=True),
        Format("pdf", "PDF", (".pdf",), pdf_file, binary=True),
    )
}


def format_named(name: str, formats: Mapping[str, Format] = FORMATS) -> Format:
    """The format of a name. Raises UsageError, with the nearest name, for an unknown one."""
    if name not in formats:
        near = nearest(name, formats)
        hint = f"did you mean {near}?" if near else f"there are {listed(formats, 'and')}"
        raise UsageError(f"there is no format {shown(name)}; {hint}", kind="unknown-format", key="--format")
    return formats[name]


def format_of_file(path: PurePath, default: Format, formats: Mapping[str, Format] = FORMATS) -> Format:
    """The format that a file's ending stands for; `default` for a name without one.

    Raises UsageError, with the endings there are, for an unknown one.
    """
    ending = path.suffix.lower()
    endings = {known: each for each in formats.values() for known in each.endings}
    if ending and ending not in endings:
        sentence = f"no table can be written as {shown(ending)}: name a file that ends in {listed(endings)}"
        raise UsageError(sentence, kind="unknown-file-ending", file=str(path))
    return endings.get(ending, default)
