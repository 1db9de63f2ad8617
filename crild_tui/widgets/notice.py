"""What a run's state asks of the person: why it failed, what it waits for, what to press."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.text import Text
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import formatting
from engine.preset.text import plain
from engine.record.states import IN_PROGRESS
from engine.record.status import Fault
from engine.sweep.record import SweepRecord

LOADING = "the engine loads its libraries"
READING = "the engine reads data and models"
DOTS = ("·  ", "·· ", "···", " ··", "  ·", "   ")
"""A moving sign that also moves in ASCII."""
SUGGESTIONS = 12
"""Lines of an error that are shown; the rest is in the log."""


@dataclass(frozen=True)
class Notice:
    """A box: `level` is info, warning or error; `title` one line, then sentences, then what to press."""

    level: str
    title: str
    sentences: tuple[str, ...] = ()
    hint: str = ""
    moves: bool = False
    """Whether something goes on, so that a sign moves."""

    @property
    def in_a_line(self) -> bool:
        """Whether it is short, and no error."""
        return self.level != "error" and not any(self.sentences)


Keys = Mapping[str, str]
"""How the keys are called just now, by the ids of their bindings."""


def notice_of(snapshot: RunSnapshot, keys: Keys, waits: str = "") -> Notice | None:
    """What has to be said of a run in its state; None while its panels say enough. `waits` says what a queue does."""
    status, state = snapshot.entry.status, snapshot.entry.state
    resume, log, kill = keys["live.resume"], keys["live.messages"], keys["live.kill"]
    if state == "unreadable":
        found = tuple(alarm.text for alarm in snapshot.alarms) or (snapshot.entry.problem or "",)
        return Notice("error", "this run cannot be read", found, f"{log} what it printed")
    if state == "queued":
        return Notice("info", waits or "waits in the queue", hint=f"{keys['live.stop']} takes it out", moves=True)
    if state == "created" or (state in ("running", "stopping") and _loads(snapshot)):
        title = LOADING if state == "created" or not snapshot.summary.names else READING
        newest = tuple(said.text for said in snapshot.messages[-1:])
        return Notice("info", f"{title}...", newest, f"{log} messages and log", moves=True)
    if state == "failed":
        fault = (status.error if status else None) or Fault("run", "the engine left no sentence that says why")
        whence = "from its last checkpoint" if snapshot.summary.stages else "from the beginning"
        again = f"{resume} resumes it {whence} once that is mended · "
        return Notice(
            "error",
            "failed",
            error_lines(fault),
            f"{again}{log} messages and log · {keys['live.command']} the command that repeats it",
        )
    if state == "lost":
        return Notice(
            "error",
            "lost: its engine is gone without a word",
            ("It was killed, or its machine was restarted or ran out of memory.",),
            f"{resume} resumes it from its last checkpoint · {log} messages and log",
        )
    if state == "stalled":
        return Notice(
            "warning",
            "stalled: the engine lives but has said nothing for a minute",
            (),
            f"wait, or look at {log} messages and log · {kill} kills it, {resume} then goes on",
        )
    if state in ("stopped", "preempted"):
        where = "" if state == "stopped" else " to make room for another"
        return Notice("warning", f"{state}{where}", (), f"{resume} goes on from its last checkpoint")
    return None


def _loads(snapshot: RunSnapshot) -> bool:
    return snapshot.summary.stage is None


def fills(snapshot: RunSnapshot) -> bool:
    """Whether the notice has the room of the panels: there is nothing that they could show."""
    return not len(snapshot.curves.steps) and not snapshot.curves.evaluations


def error_lines(fault: Fault) -> tuple[str, ...]:
    """An error's sentences, then where it is."""
    lines = fault.sentence.splitlines() or ["no reason was given"]
    if len(lines) > SUGGESTIONS:
        lines = [
            *lines[:SUGGESTIONS],
            f"and {formatting.plural(len(fault.sentence.splitlines()) - SUGGESTIONS, 'line')} more",
        ]
    place = []
    if fault.file:
        place.append(fault.file if fault.line is None else f"{fault.file}, line {fault.line}")
    if fault.key:
        place.append(f"key {fault.key}")
    return (*lines, f"in {', '.join(place)}") if place else tuple(lines)


def waiting(record: SweepRecord, run: str, states: Mapping[str, str]) -> str:
    """What a queued run waits for, from the record of its queue and the states of runs by id."""
    ids = [cell.run for cell in record.cells]
    if run not in ids:
        return ""
    ahead = [other for other in ids[: ids.index(run)] if states.get(other) in IN_PROGRESS]
    position = f"{formatting.plural(len(ahead), 'run is', 'runs are')} ahead of it" if ahead else "it is next"
    sentence = f"waits in the queue: {position}"
    running = next((other for other in ahead if states[other] != "queued"), None)
    if running is not None:
        sentence += f"; {running} is running now"
    if record.waiting:
        sentence += f"; the queue waits {record.waiting}"
    return sentence


def drawn(notice: Notice, tick: int = 0) -> Content:
    """The lines of a notice, as text that wraps."""
    sign, style = {"error": ("✗ ", "$error bold"), "warning": ("! ", "$warning bold"), "info": ("", "bold")}[
        notice.level
    ]
    title = f"{sign}{plain(notice.title)}" + (f" {DOTS[tick % len(DOTS)]}" if notice.moves else "")
    lines = [Content.styled(title, style)]
    for at, sentence in enumerate(notice.sentences):
        if sentence:
            lines.append(Content.styled(plain(sentence), "bold" if notice.level == "error" and not at else ""))
    if notice.hint and notice.in_a_line:
        return Content.assemble(lines[0], "  ", (plain(notice.hint), "$foreground-muted"))
    if notice.hint:
        lines.append(Content.styled(plain(notice.hint), "$foreground-muted"))
    return Content("\n").join(lines)


def how_to_start(runs_dir: Path, keys: Keys) -> Group:
    """The page that stands where there is no run."""
    shown = plain(str(runs_dir))
    return Group(
        Text("There is no run to watch yet.", "bold"),
        Text(),
        Text(f"Press {keys['mode.launch']} to choose a preset and start one,"),
        Text("or in a shell:"),
        Text(),
        Text("an embedded example, two minutes:", "dim"),
        Text(f"    {plain(formatting.in_shell('crild run quickstart', runs_dir))}", "bold"),
        Text("a method and a task make a run:", "dim"),
        Text(f"    {plain(formatting.in_shell('crild run crild rte', runs_dir))}", "bold"),
        Text(),
        Text(f"Runs are looked for in {shown}", "dim"),
        Text("(another folder: crild --runs-dir FOLDER)", "dim"),
    )


class NoticeBox(VerticalScroll, can_focus=False):
    """Draws a notice; as large as its text, or all the room with the class `-fills`."""

    DEFAULT_CSS = """
    NoticeBox {
        height: auto; max-height: 50%; padding: 0 1; border: round $primary; display: none;
        Static { width: 100%; height: auto; }
        &.-fills { max-height: 100%; padding: 1 2; border: none; }
        &.-warning { border: round $warning; }
        &.-error { border: heavy $error; }
        &.-line { border: none; background: $surface; }
    }
    """

    def __init__(self) -> None:
        super().__init__(Static(), id="notice")
        self._notice: Notice | None = None
        self._tick = 0

    @property
    def notice(self) -> Notice | None:
        """What is shown."""
        return self._notice

    def show(self, notice: Notice | None, *, fills: bool) -> None:
        """Show a notice, or nothing."""
        self.display = notice is not None
        if notice is not None:
            self.set_class(fills, "-fills")
            self.set_class(notice.in_a_line and not fills, "-line")
        if notice == self._notice:
            return
        self._notice = notice
        if notice is not None:
            for level in ("error", "warning"):
                self.set_class(notice.level == level, f"-{level}")
            self.query_one(Static).update(drawn(notice, self._tick))

    def tick(self) -> None:
        """Move the sign."""
        if self._notice is not None and self._notice.moves:
            self._tick += 1
            self.query_one(Static).update(drawn(self._notice, self._tick), layout=False)
