"""The readers that send runs to trackers (`engine/track`): which are running."""

from __future__ import annotations

from pathlib import Path

from engine.record.lock import file_held
from engine.record.tracking import TRACKERS, tracking_lock


def readers_of(run_dir: Path) -> list[str]:
    """The trackers that readers are sending a run to at present."""
    return [kind for kind in TRACKERS if file_held(tracking_lock(run_dir, kind))]
