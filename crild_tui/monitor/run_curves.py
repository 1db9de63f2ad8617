"""Read the curves of a run once, for what doesn't follow it as it grows."""

from __future__ import annotations

from pathlib import Path

from crild_tui.monitor.curve_builder import CurveBuilder
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.run import LONG, SLICE
from engine.record.event_sample import events_size, sample_events
from engine.record.events import EventTail


def read_curves(run_dir: Path) -> Curves:
    """The curves of a run as they are now; of a long run a sample. What cannot be read is left out. Reads files: call it
    in a thread."""
    builder = CurveBuilder()
    if events_size(run_dir) > LONG:
        for piece in sample_events(run_dir):
            builder.add(piece)
        return builder.curves(complete=False)
    tail = EventTail(run_dir)
    while True:
        events = tail.poll(SLICE)
        builder.add(events)
        if len(events) < SLICE:
            return builder.curves(complete=True)
