"""The readers that send runs to trackers (`engine/track`): which are running, and waiting for them."""

from __future__ import annotations

import time
from pathlib import Path

from engine.record.lock import file_held
from engine.record.tracking import TRACKERS, tracking_lock

POLL = 0.2
"""Seconds between two looks at readers that are waited for."""


def readers_of(run_dir: Path) -> list[str]:
    """The trackers that readers are sending a run to at present."""
    return [kind for kind in TRACKERS if file_held(tracking_lock(run_dir, kind))]


def wait_for_readers(run_dir: Path, within: float) -> list[str]:
    """Wait until the readers of a run that has ended have ended, too; returns those that have not in these seconds."""
    until = time.monotonic() + within
    while (left := readers_of(run_dir)) and time.monotonic() < until:
        time.sleep(POLL)
    return left
