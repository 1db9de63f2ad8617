"""A table of final metrics as Markdown, CSV and LaTeX. Text from outside is escaped for each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence

from engine.preset.text import one_line
from engine.report.sheet import Figure, Row, Sheet

_FORMULA = tuple("=+-@\t\r＝＋－＠")
"""Beginnings of a cell that a spreadsheet would compute."""
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
}  # fmt: skip


def markdown(sheet: Sheet) -> str:
    """The table as Markdown that can also be read as it is: the best figures are bold."""
    states = _has_states(sheet)
    lines = [["run", "seed", *(["state"] if states else []), *map(markdown_text, sheet.metrics)]]
    for row in sheet.rows:
        name = markdown_text(row.name)
        first = name if row.kind in ("run", "model") else f"**{name}**"
        state = [markdown_text(row.state)] if states else []
        lines.append([first, _seed(row), *state, *(_cell(row, metric, _md_figure) for metric in sheet.metrics)])
    widths = [max(4, *map(len, column)) for column in zip(*lines, strict=True)]
    left = (0, 2) if states else (0,)
    rule = ["-" * width if place in left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "".join(f"| {' | '.join(padded(cells, widths, left))} |\n" for cells in (lines[0], rule, *lines[1:]))


def padded(cells: Sequence[str], widths: Sequence[int], left: Sequence[int]) -> list[str]:
    """The cells of a row, as wide as their columns; those of the places `left` begin at the left."""
    sized = enumerate(zip(cells, widths, strict=True))
    return [cell.ljust(width) if place in left else cell.rjust(width) for place, (cell, width) in sized]


def _has_states(sheet: Sheet) -> bool:
    """Whether any run has not finished; where all have, the column would say nothing."""
    return any(row.state for row in sheet.rows)


def markdown_text(text: str) -> str:
    """Outside text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&])", r"\\\1", one_line(text))


def _md_figure(figure: Figure) -> str:
    text = _figure(figure, " ± ")
    return f"**{text}**" if figure.best else text


def latex(sheet: Sheet) -> str:
    """The table as a LaTeX `tabular` with the lines of the booktabs package: the best figures are bold."""
    states = _has_states(sheet)
    heads = ["run", "seed", *(["state"] if states else []), *map(latex_text, sheet.metrics)]
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{lr{'l' * states}{'r' * len(sheet.metrics)}}}",
        r"\toprule",
        latex_line(heads),
        r"\midrule",
    ]
    for place, row in enumerate(sheet.rows):
        if row.kind == "task":
            lines += [*([r"\midrule"] if place else []), latex_line([rf"\textit{{{latex_text(row.name)}}}"])]
            continue
        name = latex_text(row.name)
        first = rf"\textit{{{name}}}" if row.kind == "mean" else name
        cells = [first, _seed(row), *([latex_text(row.state)] if states else [])]
        lines.append(latex_line([*cells, *(_cell(row, metric, _tex_figure) for metric in sheet.metrics)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def latex_line(cells: list[str]) -> str:
    """A row of a `tabular`."""
    first = cells[0]
    guarded = "{}" + first if first.startswith(("[", "*")) else first  # else read as an option of the line break before
    return f"{' & '.join([guarded, *cells[1:]])} \\\\"


def latex_text(text: str) -> str:
    """Outside text as LaTeX that shows it as it is."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def _tex_figure(figure: Figure) -> str:
    text = _figure(figure, r" $\pm$ ")
    return rf"\textbf{{{text}}}" if figure.best else text


def comma_separated(sheet: Sheet) -> str:
    """The table as CSV for a spreadsheet: each metric with its deviation and its number of runs, in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [part for name in sheet.metrics for part in (name, f"{name} deviation", f"{name} runs")]
    writer.writerow([csv_text(head) for head in ("kind", "task", "run", "seed", "state", *columns)])
    for row in sheet.rows:
        if row.kind == "task":  # each row names its task
            continue
        figures = [part for name in sheet.metrics for part in _csv_figure(row.figures.get(name))]
        writer.writerow([row.kind, csv_text(row.task), csv_text(row.name), _seed(row), csv_text(row.state), *figures])
    return out.getvalue()


def csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    cell = one_line(text)
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) else cell


def _csv_figure(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return "", "", ""
    return repr(figure.value), "" if figure.deviation is None else repr(figure.deviation), str(figure.count)


def _cell(row: Row, metric: str, write: Callable[[Figure], str]) -> str:
    figure = row.figures.get(metric)
    return "" if figure is None else write(figure)


def _figure(figure: Figure, between: str) -> str:
    deviation = "" if figure.deviation is None else f"{between}{figure.deviation:.4f}"
    return f"{figure.value:.4f}{deviation}"


def _seed(row: Row) -> str:
    return "" if row.seed is None else str(row.seed)


FORMATS: Mapping[str, tuple[str, Callable[[Sheet], str]]] = {
    "Markdown": ("md", markdown),
    "CSV": ("csv", comma_separated),
    "LaTeX": ("tex", latex),
}
"""Formats by name: how a file's name ends, and the function that writes it."""
