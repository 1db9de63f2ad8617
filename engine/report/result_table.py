"""Tables of results as plain data, which every format is written from: report, comparison of runs, sweep matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.report.majority import MARK as MAJORITY_MARK

Mark = Literal["", "best", "tied", "above", "below", "highest"]
"""A figure is significantly better than all others of its column; not significantly different from the reference (the
highest of the column, or the method that was named); significantly above or below it; or merely the highest, untested."""
SIGNS: Mapping[Mark, str] = {"best": "▲", "tied": "≈", "above": "▲", "below": "▼", "highest": "", "": ""}
"""Written next to a figure: ▲ and ▼ are significant. ★ means the highest one, untested; only screens draw it."""


@dataclass(frozen=True)
class Column:
    """A column after the first. One with `words` is aligned left, one of figures right; one that `wraps` holds long texts.

    Values of a column of scores are shares of 1 and shown in per cent; others are counts and the like.
    """

    heading: str
    words: bool = False
    wraps: bool = False
    scores: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell: `text` as shown (`81.37 ± 0.42`, or a word), `value` the number behind it (None for words).

    `detail` is a difference written after it (`+0.35 (-0.62 to +1.31)`), `hint` what a tooltip adds. Text with a value and
    details are made by crild; other text may come from outside, and each writer escapes it.
    """

    text: str = ""
    value: float | None = None
    mark: Mark = ""
    detail: str = ""
    hint: str = ""
    below_majority: bool = False
    """Whether the model is at or below the majority guess."""

    @property
    def sign(self) -> str:
        """What is written next to the figure: the sign of its mark, and that of the majority guess."""
        return SIGNS[self.mark] + (MAJORITY_MARK if self.below_majority else "")


@dataclass(frozen=True)
class Row:
    """A row: its name, in brackets the setting that tells it apart, and a cell for each column.

    kind: "result"; "mean" of the results above; "other" for what results are compared with (teacher, majority guess).
    run: index of the run among those that are compared; None for rows that aren't about one run.
    """

    name: str
    cells: tuple[Cell, ...]
    kind: Literal["result", "mean", "other"] = "result"
    setting: str = ""
    run: int | None = None

    @property
    def label(self) -> str:
        """Name and setting."""
        return f"{self.name} ({self.setting})" if self.setting else self.name


@dataclass(frozen=True)
class Section:
    """Rows on equal terms: one task, or one data setting, which the heading names where a table has several."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ResultTable:
    """A table of results.

    `name` is short (a tab, a heading), `title` says what the figures are, `row_heading` what rows are; `reference` is what
    tied, above and below refer to. `records` are the same figures one fact a column and in full precision, for CSV and
    other formats that are read by programs; a tuple holds several facts, to be written with blanks between them.
    """

    row_heading: str
    columns: tuple[Column, ...] = ()
    sections: tuple[Section, ...] = ()
    name: str = ""
    title: str = ""
    notes: tuple[str, ...] = ()
    reference: str = "the highest"
    records: tuple[Mapping[str, str | float | tuple[str, ...] | None], ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)

    def filled(self, section: Section) -> list[int]:
        """Indices of the columns in which a section has anything."""
        return [n for n in range(len(self.columns)) if any(row.cells[n].text for row in section.rows)]


@dataclass(frozen=True)
class ResultDocument:
    """What a format is written from: tables, notes about all of them, and `data`, which JSON holds."""

    tables: tuple[ResultTable, ...]
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def appendix(self) -> tuple[ResultTable, ...]:
        """Tables that follow the notes in formats for readers; computed only when asked for."""
        return ()
