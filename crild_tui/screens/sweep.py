"""The matrix of a sweep over the whole screen, methods by tasks: means over seeds, distance to the teacher, failures."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.widget import Widget
from textual.widgets import DataTable, Static

from crild_tui.messages import SweepChanged
from crild_tui.monitor.sweep import SweepWatcher
from crild_tui.runs import formatting, sweeps
from crild_tui.runs.sweeps import SweepSnapshot
from crild_tui.screens.host import Host
from crild_tui.screens.sweep_dialog import Chosen, SweepDialog, Watcher, bindings
from crild_tui.text import shorten_name
from engine.preset.text import one_line
from engine.record.states import FAULTY, STARTED
from engine.sweep.matrix import MatrixCell
from engine.sweep.record import CellRecord

HIGH = 30
"""Lines from which each run of a cell has a line."""
FRAME, PADDING = 4, 2
"""Cells of the frame around the matrix, and of the space around the text of each of its cells."""
TEACHER, MAJORITY = "teacher", "majority guess"
"""The rows below the methods."""
MOST_FAULTS = 20
"""The most failed runs whose reasons are shown."""


class SweepScreen(SweepDialog):
    """The live matrix of one sweep."""

    WHAT = "sweep"

    DEFAULT_CSS = """
    SweepScreen {
        #standing, #counts { height: auto; max-height: 2; }
        #counts, #legend { color: $foreground-muted; }
        #legend { height: auto; max-height: 2; }
        #table { height: auto; max-height: 65%; min-height: 3; margin: 1 0; }
        #table > .datatable--fixed { background: $surface; }
        #below { height: 1fr; }
        &.-low #legend, &.-low #counts { display: none; }
        &.-low #table { height: 1fr; max-height: 100%; margin: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("sweep", "Compare the runs of this cell")

    def __init__(self, host: Host, name: str) -> None:
        super().__init__(host, name)
        self.seen = SweepSnapshot(name)
        self._grid: tuple[tuple[str, ...], tuple[str, ...], int] = ((), (), 0)
        self._widths: tuple[int, ...] = ()
        self._texts_of_cells: list[list[Text]] = []

    def watcher(self) -> Watcher:
        """What watches the sweep."""
        return SweepWatcher(self._host.runs_dir, self._watched, lambda seen: self.post_message(SweepChanged(seen)))

    def parts(self) -> list[Widget]:
        """A summary, and the matrix."""
        table: DataTable[Text] = DataTable(id="table", cursor_type="cell", fixed_columns=1, zebra_stripes=False)
        return [Static(id="counts"), Static(id="legend"), table]

    # -- drawing

    @on(SweepChanged)
    def _sweep_changed(self, message: SweepChanged) -> None:
        self.seen = message.snapshot
        self.draw()

    def draw(self) -> None:
        """Redraw what has changed."""
        seen, theme = self.seen, self.app.current_theme
        if not self.query("#about") or (seen.found is None and seen.problem is None):
            return
        if seen.problem is not None:
            self.put("standing", Text(one_line(seen.problem), Style(color=theme.error)))
        else:
            short = f", {sweeps.short_counts(seen)}" if self.has_class("-low") else ""
            self.put("standing", Text(one_line(f"{sweeps.standing(seen)}{short}")))
        if seen.found is not None:
            metrics = one_line(sweeps.metrics_of(seen.found))
            figures = f"{metrics} on dev: mean ± standard deviation" if metrics else "no run has finished yet"
            self.put("counts", Text(sweeps.counts(seen.found)))
            distance = "; then the distance to the teacher" if self._distances(seen) else ""
            self.put("legend", Text(f"{figures}; finished/all runs, share done{distance}"))
            self._draw_table(seen)
        self._describe()

    def _draw_table(self, seen: SweepSnapshot) -> None:
        """Update the cells that changed; lay the table out again where its rows, tasks or widths did.

        The columns have explicit widths: Textual measures them only after it may have drawn a cell, and keeps what was
        cut off.
        """
        found, table = seen.found, self.table
        assert found is not None
        texts = self._columns(seen, distances=self._distances(seen))
        widths = _widths(texts)
        laid_out = (found.rows, found.tasks, max(self.size.width // 3, 12))
        if laid_out == self._grid:
            widths = tuple(map(max, widths, self._widths))  # a width that comes and goes would move the table each time
        if (laid_out, widths) != (self._grid, self._widths):
            was = table.cursor_coordinate
            self._grid, self._widths, self._texts_of_cells = laid_out, widths, texts
            table.clear(columns=True)
            for (label, *_), width in zip(texts, widths, strict=True):
                table.add_column(label, width=width)
            table.add_rows(zip(*(column[1:] for column in texts), strict=True))
            column = min(max(was.column, 1), len(found.tasks))
            table.move_cursor(row=min(was.row, len(found.rows) - 1), column=column, animate=False)
        for column, (now, before) in enumerate(zip(texts, self._texts_of_cells, strict=True)):
            for row, (text, old) in enumerate(zip(now[1:], before[1:], strict=True)):
                if text != old:
                    table.update_cell_at(Coordinate(row, column), text)
        self._texts_of_cells = texts

    def _distances(self, seen: SweepSnapshot) -> bool:
        """Whether cells have room for their distance to the teacher."""
        return sum(width + PADDING for width in _widths(self._columns(seen, distances=True))) <= self.size.width - FRAME

    def _columns(self, seen: SweepSnapshot, *, distances: bool) -> list[list[Text]]:
        """The texts of each column, from its label down; with the distance to the teacher in each cell, or without."""
        found = seen.found
        assert found is not None
        widest = max(self.size.width // 3, 12)
        names = [Text(shorten_name(one_line(method), widest), "bold") for method in found.rows]
        columns = [[Text("method"), *names, *(Text(label, "italic") for label in (TEACHER, MAJORITY))]]
        known = sweeps.references(seen)
        for task in found.tasks:
            compared = known.get(task, sweeps.References())
            entries = (found.entries.get((method, task)) for method in found.rows)
            cells = [self._cell(entry, compared, distance=distances) for entry in entries]
            ends = [Text(sweeps.range_text(each), "italic") for each in (compared.teacher, compared.majority)]
            columns.append([Text(one_line(task)), *cells, *ends])
        return columns

    def _cell(self, entry: MatrixCell | None, compared: sweeps.References, *, distance: bool) -> Text:
        """One cell; its colours only repeat what its words and signs say."""
        if entry is None:
            return Text()
        theme = self.app.current_theme
        faulty, running = (any(entry.states.get(state) for state in states) for states in (FAULTY, STARTED))
        color = theme.error if faulty else theme.success if running else None
        text = Text.assemble(
            sweeps.mean_of(entry), "  ", (sweeps.progress_of(entry), Style(color=color, dim=color is None))
        )
        known = sweeps.distance_of(entry, compared)
        if known is not None:
            value, place = known
            tone = {"near the teacher": theme.success, "between": None, "not above the majority": theme.error}[place]
            text.stylize(Style(color=tone), 0, len(sweeps.mean_of(entry)))
            text.append(f"  {formatting.difference(value)}" if distance else "", Style(color=tone))
        return text

    @on(DataTable.CellHighlighted)
    def _highlighted(self) -> None:
        if self.table.cursor_column == 0 and self._grid[1]:
            self.table.move_cursor(column=1, animate=False)  # the methods' names cannot be chosen
        self._describe()

    def _describe(self) -> None:
        """Describe the cell under the cursor, and why runs failed."""
        seen = self.seen
        if seen.found is None:
            return
        lines = []
        position, cells = self.position
        if position is not None:
            lines.append(Text(one_line(" on ".join(position)), "bold"))
            runs = "   ".join(sweeps.run_line(cell, seen) for cell in cells)
            lines.append(Text(one_line(runs) if cells else "not part of this sweep"))
            if cells and self.size.height >= HIGH:
                lines[1:] = [Text(one_line(sweeps.run_line(cell, seen))) for cell in cells]
        lines += [Text(one_line(note)) for note in seen.found.notes]
        color = Style(color=self.app.current_theme.error)
        faults = list(seen.found.faults.items())
        lines += [Text(one_line(f"✗ {run}: {why}"), color) for run, why in faults[:MOST_FAULTS]]
        if len(faults) > MOST_FAULTS:
            lines.append(Text(f"and {len(faults) - MOST_FAULTS:,} more"))
        if self.has_class("-low") and position is not None:
            lines = [Text.assemble(lines[0], ": ", lines[1]), *lines[2:]]
        self.put("about", Text("\n").join(lines))

    # -- choosing

    @property
    def position(self) -> tuple[tuple[str, str] | None, list[CellRecord]]:
        """Method and task under the cursor, and the runs of that cell."""
        (rows, tasks, _), (row, column) = self._grid, self.table.cursor_coordinate
        if self.seen.record is None or not (0 <= row < len(rows) and 1 <= column <= len(tasks)):
            return None, []
        position = rows[row], tasks[column - 1]
        return position, sweeps.cells_of(self.seen.record, *position)

    def _existing(self) -> list[CellRecord]:
        """The runs under the cursor that exist; with a warning if there are none."""
        _, cells = self.position
        existing = [cell for cell in cells if cell.run in self.seen.entries]
        if not existing:
            self._host.tell("none of its runs exists yet" if cells else "there is no run here", "warning")
        return existing

    @on(DataTable.CellSelected)
    def _selected(self) -> None:
        record = self.seen.record
        if record is not None and (cells := self._existing()):
            self.dismiss(Chosen(filter=sweeps.filter_of(record, cells)))

    def action_compare(self) -> None:
        """Compare the runs of this cell."""
        if cells := self._existing():
            self.dismiss(Chosen(compare=tuple(self._host.runs_dir / cell.run for cell in cells)))

    def why_not_stop(self) -> str | None:
        """Why there is nothing to stop, if there isn't."""
        found = self.seen.found
        is_running = found is not None and (found.alive or any(found.states.get(state) for state in STARTED))
        return None if is_running else f"no run of {one_line(self._watched)} is running"


def _widths(columns: list[list[Text]]) -> tuple[int, ...]:
    """The cells of the widest text of each column."""
    return tuple(max(cell_len(text.plain) for text in column) for column in columns)
