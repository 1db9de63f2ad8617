"""The matrix of a sweep over the whole screen, methods by tasks: means over seeds, distance to the teacher, failures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Static

from crild_tui.messages import SweepChanged
from crild_tui.monitor.sweep import SweepWatcher
from crild_tui.runs import actions, formatting, sweeps
from crild_tui.runs.sweeps import SweepSnapshot
from crild_tui.screens.dialogs import Confirm, confirm
from crild_tui.screens.host import Host
from crild_tui.text import shorten_name
from crild_tui.widgets.dialog import Dialog
from engine.preset.text import one_line
from engine.record.states import FAULTY, STARTED
from engine.sweep.matrix import MatrixCell
from engine.sweep.record import CellRecord

HIGH = 30
"""Lines from which each run of a cell has a line."""
LOW, NARROW = 16, 60
"""Lines and columns below which there is room for little more than the matrix."""
FRAME, PADDING = 4, 2
"""Cells of the frame around the matrix, and of the space around the text of each of its cells."""
TEACHER, MAJORITY = "teacher", "majority guess"
"""The rows below the methods."""
MOST_FAULTS = 20
"""The most failed runs whose reasons are shown."""


@dataclass(frozen=True)
class Chosen:
    """Runs of a sweep that the user chose: to show in Runs, by a filter, or in Compare."""

    filter: str = ""
    compare: tuple[Path, ...] = ()


class SweepScreen(Dialog[Chosen | None]):
    """The live matrix of one sweep. Its lower border shows its keys."""

    DEFAULT_CSS = """
    SweepScreen {
        align: center middle;
        #box {
            width: 100%; height: 100%;
            padding: 0 1; border: round $primary; background: $surface;
        }
        #standing, #counts { height: auto; max-height: 2; }
        #standing { text-style: bold; }
        #counts, #legend { color: $foreground-muted; }
        #legend { height: auto; max-height: 2; }
        #table { height: auto; max-height: 65%; min-height: 3; background: $surface; margin: 1 0; scrollbar-size: 1 1; }
        #table > .datatable--fixed { background: $surface; }
        #table:focus { background-tint: $foreground 0%; }
        #below { height: 1fr; scrollbar-size: 1 1; border-top: solid $panel; }
        #about { height: auto; }
        &.-low #box { padding: 0; }
        &.-low #legend, &.-low #counts { display: none; }
        &.-low #standing { max-height: 1; }
        &.-low #table { height: 1fr; max-height: 100%; margin: 0; }
        &.-low #below { height: auto; max-height: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,m", "dismiss", "Close", id="sweep.close"),
        Binding("c", "compare", "Compare the runs of this cell", id="sweep.compare"),
        Binding("s", "stop", "Stop the sweep", id="sweep.stop"),
        Binding("j", "move(1)", "Row down", id="sweep.down", show=False),
        Binding("k", "move(-1)", "Row up", id="sweep.up", show=False),
        Binding("question_mark", "app.help", "Keys", id="sweep.help", show=False),
    ]

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host, self._sweep = host, name
        self.seen = SweepSnapshot(name)
        self._watcher = SweepWatcher(host.runs_dir, name, lambda seen: self.post_message(SweepChanged(seen)))
        self._grid: tuple[tuple[str, ...], tuple[str, ...], int] = ((), (), 0)
        self._widths: tuple[int, ...] = ()
        self._texts_of_cells: list[list[Text]] = []
        self._texts: dict[str, Text] = {}

    @property
    def table(self) -> DataTable[Text]:
        """The matrix."""
        return self.query_one("#table", DataTable)

    def compose(self) -> ComposeResult:
        """A summary, the matrix, and details of the cell under the cursor."""
        with Vertical(id="box") as box:
            box.border_title = Text(one_line(f"sweep {self._sweep}")).markup
            box.border_subtitle = self._legend()
            yield Static(Text("reading the sweep..."), id="standing")
            yield Static(id="counts")
            yield Static(id="legend")
            yield DataTable(id="table", cursor_type="cell", fixed_columns=1, zebra_stripes=False)
            with VerticalScroll(id="below", can_focus=False):
                yield Static(id="about")

    def on_mount(self) -> None:
        """Start watching."""
        self.table.focus()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
        self._watcher.start()

    def on_unmount(self) -> None:
        """Let the watcher end."""
        self._watcher.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the dialog to the screen."""
        self.set_class(event.size.height < LOW, "-low")
        self.query_one("#box").border_subtitle = self._legend(short=event.size.width < NARROW)
        self._draw()

    def _legend(self, *, short: bool = False) -> str:
        """What the keys do, or the keys alone."""
        keys = self._host.keys
        named = {"enter": "runs"} | {keys[f"sweep.{action}"]: action for action in ("compare", "stop", "close")}
        return " ".join(named) if short else ", ".join(f"{key} {action}" for key, action in named.items())

    # -- drawing

    @on(SweepChanged)
    def _sweep_changed(self, message: SweepChanged) -> None:
        self.seen = message.snapshot
        self._draw()

    def _draw(self) -> None:
        """Redraw what has changed."""
        seen, theme = self.seen, self.app.current_theme
        if not self.query("#about") or (seen.found is None and seen.problem is None):
            return
        if seen.problem is not None:
            self._put("standing", Text(one_line(seen.problem), Style(color=theme.error)))
        else:
            short = f", {sweeps.short_counts(seen)}" if self.has_class("-low") else ""
            self._put("standing", Text(one_line(f"{sweeps.standing(seen)}{short}")))
        if seen.found is not None:
            metrics = one_line(sweeps.metrics_of(seen.found))
            figures = f"{metrics} on dev: mean ± standard deviation" if metrics else "no run has finished yet"
            self._put("counts", Text(sweeps.counts(seen.found)))
            distance = "; then the distance to the teacher" if self._distances(seen) else ""
            self._put("legend", Text(f"{figures}; finished/all runs, share done{distance}"))
            self._draw_table(seen)
        self._describe()

    def _put(self, name: str, text: Text) -> None:
        if self._texts.get(name) != text:
            self._texts[name] = text
            self.query_one(f"#{name}", Static).update(text)

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
        self._put("about", Text("\n").join(lines))

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

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.table.move_cursor(row=self.table.cursor_row + rows, animate=False)

    def action_stop(self) -> None:
        """Stop the sweep, after a question."""
        if self._host.refuse_readonly():
            return
        found = self.seen.found
        if found is None or not (found.alive or any(found.states.get(state) for state in STARTED)):
            self._host.tell(f"no run of {one_line(self._sweep)} is running: there is nothing to stop", "warning")
            return
        question = f"Stop {one_line(self._sweep)}? Its runs write checkpoints; run `crild sweep` to continue it."
        stop = partial(actions.stop_sweep, self._host.runs_dir, self._sweep)
        confirm(self.app, Confirm(question, "Stop"), lambda: self._host.act(stop))


def _widths(columns: list[list[Text]]) -> tuple[int, ...]:
    """The cells of the widest text of each column."""
    return tuple(max(cell_len(text.plain) for text in column) for column in columns)
