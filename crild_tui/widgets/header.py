"""The first line of every mode: the modes, how many runs there are, and the machine."""

from __future__ import annotations

from collections import Counter

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs import formatting
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import KeyNames
from engine.launch.gpu import Gpu
from engine.record.states import ACTIVE

MODES = ("launch", "live", "runs", "compare")


class Header(Widget):
    """Mode tabs at the left, runs and machine at the right; what does not fit is left out, the machine first."""

    DEFAULT_CSS = "Header { dock: top; height: 1; background: $panel; color: $foreground; }"

    runs: reactive[RunsSnapshot | None] = reactive(None)
    machine: reactive[MachineSnapshot] = reactive(MachineSnapshot())

    def __init__(self, mode: str, keys: KeyNames) -> None:
        super().__init__()
        self._mode, self._keys = mode, keys
        self._tabs: list[tuple[int, int, str]] = []

    def render(self) -> RenderResult:
        """The line, for the present width."""
        width = self.size.width
        line, self._tabs = Text(" crild ", style="bold", no_wrap=True), []
        if getattr(self.app, "readonly", False):
            line.append("read only ", Style(bold=True, italic=True))
        for mode in MODES:
            start, here = line.cell_len, mode == self._mode
            tab = f"{self._keys[f'mode.{mode}']} {mode.title()}"
            line.append(f"[{tab}]" if here else f" {tab} ", Style(bold=here, reverse=here))
            self._tabs.append((start, line.cell_len, mode))
        runs, room = running(self.runs), width - line.cell_len - 1
        forms = (f"{runs}   {machine_words(self.machine)}", f"{runs}  {machine_words(self.machine, short=True)}", runs)
        form = next((form for form in forms if len(form) <= room), None)
        if form is not None:
            line.append(" " * max(room - len(form), 1) + form)
        return line

    def on_click(self, event: events.Click) -> None:
        """A tab was clicked."""
        for start, end, mode in self._tabs:
            if start <= event.x < end:
                self.app.call_later(self.app.run_action, f"app.mode('{mode}')")


def running(snapshot: RunsSnapshot | None) -> str:
    """How many runs are running and queued."""
    if snapshot is None:
        return ""
    states = Counter(entry.state for entry in snapshot.entries)
    active, queued = sum(states[state] for state in ACTIVE), states["queued"]
    return (f"{active} running" if active else "idle") + (f", {queued} queued" if queued else "")


def machine_words(machine: MachineSnapshot, *, short: bool = False) -> str:
    """Load and memory of the GPU, or of the CPU where there is none."""
    if machine.gpus:
        return "  ".join(_gpu_words(gpu, short=short) for gpu in machine.gpus[:2])
    cpu = f"cpu {formatting.percent(machine.cpu)}"
    if short or not machine.memory_total:
        return cpu
    return f"{cpu}  mem {formatting.size(machine.memory_used)} of {formatting.size(machine.memory_total)}"


def _gpu_words(gpu: Gpu, *, short: bool) -> str:
    load = f"gpu{gpu.index} {formatting.percent(gpu.load)}"
    return load if short else f"{load} {formatting.size(gpu.memory_used)} of {formatting.size(gpu.memory_total)}"
