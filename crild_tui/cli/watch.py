"""`crild watch`: a line for each run that is at work, redrawn until the last has ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import filters, run_names
from crild_tui.cli.options import RunsDir
from crild_tui.runs import formatting
from engine.record.states import IN_PROGRESS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from crild_tui.cli.follow.controls import Controls
    from crild_tui.cli.follow.displays import Display, View
    from crild_tui.runs.filter import RunFilter
    from engine.record.run import RunEntry

POLL = 1.0
"""Seconds between two reads of the files."""
BAR = 20
"""Cells of a bar, where there is room."""
GAP = "  "


def watch(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Only these runs: ids or their beginnings, paths, or latest.",
            autocompletion=run_names,
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Only runs that match, as in `crild runs`. Repeatable.",
            autocompletion=filters,
        ),
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Show a line for each run at work, until the last has ended. Ctrl-C leaves; the runs keep going.

    Runs that start meanwhile join in, unless RUNs are named. Each end is reported, and announced as `notify.terminal`
    of your settings says. Where there is no terminal, a line of progress is printed every 30 seconds.

    \b
    crild watch
    crild watch latest && crild show latest
    crild watch --filter 'task:mrpc'

    \b
    Exit codes: 0 all have finished, or you left; 1 one of them has not.
    """
    from crild_tui.cli.follow.controls import Controls
    from crild_tui.runs.filter import parse
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_runs_dir, find_run

    folder = folder_of(runs_dir)
    check_runs_dir(folder)
    named = None if not runs else [find_run(run, folder) for run in runs]
    with Controls((signal.SIGINT, signal.SIGTERM)) as controls:
        raise typer.Exit(Watcher(folder, named, parse(" ".join(where or ())), controls).go())


class Watcher:
    """Watches runs until all have ended or the user leaves.

    `named` are the directories of the runs to watch; None watches those of a folder that are at work and match.
    """

    def __init__(self, folder: Path, named: Sequence[Path] | None, where: RunFilter, controls: Controls) -> None:
        from crild_tui.cli.follow.changes import Changes
        from crild_tui.runs.reader import RunsReader

        self._folder, self._named, self._where, self._controls = folder, named, where, controls
        self._reader = RunsReader(folder)
        self._changes = Changes()
        self._entries: dict[str, RunEntry] = {}
        self._doubted: frozenset[str] = frozenset()
        """Runs that looked lost at the last look, and may have ended in that moment."""
        self._display: Display[Sequence[RunEntry]] | None = None

    def go(self) -> int:
        """Watch to the end; returns the exit code."""
        try:
            while self._poll():
                self._controls.wait(POLL)
                if self._controls.asked:
                    self._close()
                    terminal.say("left; the runs keep going")
                    return 0
        finally:
            self._close()
        if not self._entries:
            terminal.say(f"no run in {self._folder} is at work; start one with: crild run quickstart")
        return 0 if all(entry.state == "finished" for entry in self._entries.values()) else 1

    def _poll(self) -> bool:
        """Read and show what is new; whether a run is still at work."""
        from crild_tui.cli.follow.displays import display

        first = not self._entries
        self._entries = self._settled(self._watched())
        working = [entry for entry in self._entries.values() if entry.state in IN_PROGRESS]
        if first and not working:
            for entry in self._entries.values():
                terminal.say(f"{entry.id}: {entry.state}")
            return False
        if self._display is None:
            self._display = display(watch_view())
        for run, (level, sentence) in self._changes.since_last(self._entries):
            self._display.message(level, sentence)
            if self._entries[run].state not in IN_PROGRESS:
                terminal.announce(f"crild: {sentence}", attention=True)
        self._display.update(working)
        return bool(working)

    def _watched(self) -> dict[str, RunEntry]:
        """The runs that are named; else those seen before that still exist, and those at work that match."""
        import time

        from crild_tui.runs.marks import Marks
        from engine.record.run import read_run

        if self._named is not None:
            return {str(path): read_run(path) for path in self._named}
        try:
            entries = self._reader.read()
        except OSError:  # no such folder, or no more
            entries = ()
        now, none = time.time(), Marks()
        return {
            entry.id: entry
            for entry in reversed(entries)
            if entry.id in self._entries or (entry.state in IN_PROGRESS and self._where.matches(entry, none, now))
        }

    def _settled(self, entries: dict[str, RunEntry]) -> dict[str, RunEntry]:
        """The entries, but as before where a run at work looks lost for the first time: it may just have ended."""
        lost = frozenset(run for run, entry in entries.items() if entry.state == "lost")
        new = {
            run: self._entries[run]
            for run in lost - self._doubted
            if run in self._entries and self._entries[run].state in IN_PROGRESS
        }
        self._doubted = lost
        return {**entries, **new}

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None


def watch_view() -> View[Sequence[RunEntry]]:
    """How runs are shown while they are watched."""
    from crild_tui.cli.follow.displays import View

    def draw(entries: Sequence[RunEntry], console: Console, _waited: float) -> list[Text]:
        ascii_only = terminal.ascii_only(sys.stderr)
        room = max(1, console.height - 2)
        shown = entries if len(entries) <= room else entries[: room - 1]
        texts = lines(shown, console.width, ascii_only=ascii_only)
        return texts if len(shown) == len(entries) else [*texts, _more(len(entries) - len(shown))]

    return View(line=progress, line_every=30.0, title=lambda entries: f"crild {progress(entries)}", draw=draw)


def _more(count: int) -> Text:
    from rich.text import Text

    return Text(f"and {count:,} more", style="dim")


def progress(entries: Sequence[RunEntry]) -> str:
    """All runs in one line: how many are at work, and the share of the steps that each has done."""
    each = ", ".join(f"{entry.id} {_facts(entry)['done']}" for entry in entries[:3])
    more = f", {len(entries) - 3:,} more" if len(entries) > 3 else ""
    return f"{formatting.plural(len(entries), 'run')} at work: {each}{more}" if entries else "no run at work"


def lines(entries: Sequence[RunEntry], width: int, *, ascii_only: bool) -> list[Text]:
    """A line for each run, in columns, none wider than `width` cells: what is least needed gives way."""
    from rich.text import Text

    from crild_tui.cli.follow.displays import shorten
    from crild_tui.runs.filter import progress as share_of
    from crild_tui.text import bar, cells, fit, fit_name

    facts = [_facts(entry) for entry in entries]
    shown = {name: widest for name in FACTS if (widest := max((cells(row[name]) for row in facts), default=0))}
    names = max((cells(entry.id) for entry in entries), default=0)
    for name in LEAST_NEEDED:
        if _total(min(names, LONGEST), shown) > width:
            shown.pop(name, None)
    name_width = max(8, min(names, width - _total(0, shown)))
    room = min(BAR, width - _total(name_width, shown) - len(GAP))
    texts = []
    for entry, row in zip(entries, facts, strict=True):
        text = Text().append(fit_name(entry.id, name_width), style="bold").append(GAP)
        if room >= 5:
            full, rest = bar(share_of(entry) or 0.0, room, ascii_only=ascii_only)
            text.append(full, style="cyan").append(rest, style="dim").append(GAP)
        text.append(GAP.join(fit(row[name], shown[name], right=name == "done") for name in shown).rstrip())
        if entry.state not in ("created", "queued", "running"):
            text.stylize(terminal.colours_of(entry.state)[0], name_width)
        texts.append(text)
    return shorten(texts, width, ascii_only=ascii_only)


FACTS = ("done", "left", "metric", "where", "teacher")
"""What a line says of a run, in its order."""
LEAST_NEEDED = ("teacher", "where", "left", "metric")
"""What gives way on a narrow terminal, in its order."""
LONGEST = 24
"""Cells of a name that these give way to."""


def _total(names: int, widths: Mapping[str, int]) -> int:
    return names + sum(len(GAP) + width for width in widths.values())


def _facts(entry: RunEntry) -> dict[str, str]:
    """What is known of a run, as texts: the share done or why there is none, the time left, its figures, stage and step."""
    from crild_tui.runs.filter import progress as share_of
    from engine.preset.text import plain

    status = entry.status
    if status is None or entry.state in ("created", "queued") or status.stage is None:
        words = {"queued": "queued", "created": "starting"}.get(entry.state, "loading")
        return dict.fromkeys(FACTS, "") | {"done": words}
    state = "" if entry.state == "running" else f"  {entry.state}"
    return {
        "done": formatting.percent(share_of(entry)),
        "left": f"{formatting.duration(status.eta)} left" if status.eta else "",
        "metric": "" if status.last is None else plain(f"{status.metric_name} {formatting.metric(status.last)}"),
        "where": plain(f"{status.stage} {status.step:,}/{status.steps:,}{state}"),
        "teacher": "" if status.teacher is None else f"teacher {formatting.metric(status.teacher)}",
    }
