"""A dialog with the probe of a run: overfitting, distance to the teacher, noise on the weights."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.binding import Binding, BindingType

from crild_tui.runs import formatting
from crild_tui.runs.tables import probe_parts
from crild_tui.screens.reading_dialog import ReadingDialog, drawn
from engine.errors import RunError
from engine.preset.text import plain
from engine.record.probe import Probe, is_stale, read_probe


class ProbeScreen(ReadingDialog):
    """Shows a run's probe.json; b closes it too."""

    WHAT = "probe"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("b", "dismiss", "Close", show=False)]

    def content(self, run_dir: Path) -> RenderableType:
        """The probe, or a sentence in its place."""
        return probe_content(run_dir)


def probe_content(run_dir: Path) -> RenderableType:
    """The probe of a run, or a sentence that explains how to create it or why it cannot be read."""
    command = formatting.command("probe", run_dir)
    try:
        probe = read_probe(run_dir)
        if probe is None:
            return Text(plain(f"there is no probe of {run_dir.name} yet: {command} creates it"))
        stale = is_stale(probe, run_dir)
    except RunError as error:
        return Text(plain(f"{error}; run `{command}` to create it again"))
    return _drawn(probe, f"the run has a newer student: run `{command}` to probe that one" if stale else None)


def _drawn(probe: Probe, warning: str | None) -> Group:
    heading, *parts = probe_parts(probe)
    assert isinstance(heading, str)
    lines: list[RenderableType] = [Text(plain(heading), "bold")]
    if warning is not None:
        lines.append(Text(plain(warning), "bold yellow"))
    return drawn(parts, *lines)
