"""The lines above the panels of a run, and the side column on a wide screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from crild_tui.monitor.snapshots import EngineMessage, RunSnapshot
from crild_tui.widgets.messages_pane import message_lines
from crild_tui.widgets.progress import phase_row, stage_line, stage_rows, stages_of
from crild_tui.widgets.run_details import facts_line, facts_rows, losses, origin, pace, scores, title_line
from crild_tui.widgets.standing import standing_line
from crild_tui.widgets.text_view import TextView, wrapped
from engine.preset.text import plain
from engine.record.states import ACTIVE

WIDE, HIGH = 150, 32
"""Columns and rows from which there is room for a side column."""
LOW = 18
"""Rows below which there are as few lines above the panels as possible."""
MOST_ALARMS = 3
ROWS = 2
"""The most rows of one alarm."""


def head_lines(
    snapshot: RunSnapshot,
    width: int,
    now: float,
    *,
    asked: bool = False,
    low: bool = False,
    wide: bool = False,
    hint: str = "",
) -> list[Content]:
    """The lines above the panels: run and state, origin, stages, what takes long, the student's standing (or the figures
    there are while it has none), then one for each alarm.

    `hint` stands behind the stages where there is room.
    """
    title = title_line(snapshot, width, now, asked=asked)
    stages = stage_line(stages_of(snapshot.summary), width, running=snapshot.entry.state in ACTIVE)
    place = standing_line(snapshot.summary, width)
    phase = [] if snapshot.summary.phase is None else [phase_row(snapshot.summary.phase, width, now)]
    if hint and stages.cell_length + len(hint) + 3 <= width:
        stages = Content.assemble(stages, "   ", (hint, "$foreground-muted"))
    if low:
        lines = [title, *(phase or [stages])]
    elif wide:
        standing = [] if place is None else [place]
        hints = Content.styled(hint, "$foreground-muted")
        lines = [title, facts_line(origin(snapshot), width), *standing, hints, *phase]
    else:
        facts = facts_line([*origin(snapshot), *pace(snapshot)], width)
        lines = [title, facts, stages, *phase, place or facts_line(scores(snapshot), width)]
    alarms = alarm_lines(snapshot, width, 1 if low else ROWS)
    return [line for line in lines if line.plain.strip()] + (alarms[:1] if low else alarms)


def alarm_lines(snapshot: RunSnapshot, width: int, most: int = ROWS) -> list[Content]:
    """A line for each present alarm, except for what the notice of the state says already."""
    state = snapshot.entry.state
    alarms = [a for a in snapshot.alarms if state != "unreadable" and a.kind != "silence"]
    lines = []
    for alarm in alarms[:MOST_ALARMS]:
        style = "$error bold reverse" if alarm.level == "error" else "$warning bold reverse"
        text = f" ! {' '.join(plain(alarm.text).split())} "
        rows = [text[start:end] for start, end in wrapped(text, width)]
        if len(rows) > most:
            rows = [*rows[: most - 1], text[sum(map(len, rows[: most - 1])) :]]
        lines += [Content.styled(row, style).truncate(max(1, width), ellipsis=True) for row in rows]
    return lines


class Lines(Static):
    """Draws lines if they have changed; the screen is laid out again only if their number has."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: list[Content] = []

    def show(self, lines: list[Content]) -> None:
        """Show these lines."""
        before, self.lines = self.lines, lines
        if len(lines) != len(before):
            self.styles.height = len(lines)
        elif all(line.is_same(old) for line, old in zip(lines, before, strict=True)):
            return
        self.update(Content("\n").join(lines), layout=False)


class RunHead(Lines):
    """Draws the lines above the panels."""

    DEFAULT_CSS = "RunHead { height: auto; padding: 0 1; background: $surface; }"

    def __init__(self) -> None:
        super().__init__(id="head")

    def on_click(self) -> None:
        """Open the command palette."""
        self.app.action_command_palette()


class SideColumn(Vertical):
    """The column at the side: progress, figures, messages."""

    DEFAULT_CSS = """
    SideColumn {
        width: 50; display: none; border-left: solid $panel; padding: 0 1;
        Static { height: auto; margin-bottom: 1; }
        TextView { height: 1fr; }
        .title { text-style: bold; margin: 0; color: $foreground-muted; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._messages: tuple[EngineMessage, ...] | None = None

    def compose(self) -> ComposeResult:
        """Progress, figures, messages."""
        for name, title in (("stages", "Progress"), ("scores", "Dev metric"), ("pace", "Training")):
            for widget in (Static(title, classes="title", id=f"{name}-title"), Lines(id=name)):
                widget.display = False
                yield widget
        yield Static("Messages", classes="title")
        yield TextView(id="side-messages")

    def show(self, snapshot: RunSnapshot, now: float) -> None:
        """Draw a snapshot."""
        width = max(10, self.content_region.width or 46)
        rows = {
            "stages": stage_rows(stages_of(snapshot.summary), width, running=snapshot.entry.state in ACTIVE),
            "scores": facts_rows(scores(snapshot), width),
            "pace": facts_rows([*losses(snapshot), *pace(snapshot)], width),
        }
        for name, lines in rows.items():
            for widget in (self.query_one(f"#{name}-title"), shown := self.query_one(f"#{name}", Lines)):
                widget.display = bool(lines)
            shown.show(lines)
        if snapshot.messages != self._messages:
            self._messages = snapshot.messages
            self.query_one("#side-messages", TextView).show(message_lines(snapshot.messages, now))
