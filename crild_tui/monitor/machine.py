"""Watch the machine: load, memory and GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from crild_tui.monitor.poller import Poller
from crild_tui.monitor.snapshots import MachineSnapshot
from engine.launch.gpu import Gpu, gpus

EVERY = 2.0
"""Seconds between two looks."""
AGAIN = 30.0
"""Seconds after which a missing or failing nvidia-smi is tried again."""
PATIENCE = 5.0
"""Seconds that nvidia-smi may take: a broken driver answers late or never."""


class MachineWatcher(Poller[MachineSnapshot]):
    """Reports load and memory, and NVIDIA GPUs if there are any. What can't be read is left out."""

    def __init__(self, report: Callable[[MachineSnapshot], object], *, every: float = EVERY) -> None:
        super().__init__("machine", report, every)
        self._no_gpus_until = 0.0

    def look(self, fault: str | None) -> None:  # noqa: ARG002 - what can't be read is left out
        """Read the figures and report them; the first time without GPUs at once, as nvidia-smi takes a while."""
        snapshot = load_and_memory(first=self.last is None)
        if self.last is None:
            self.report(snapshot)
        self.report(replace(snapshot, gpus=self._gpus()))

    def _gpus(self) -> tuple[Gpu, ...]:
        now = time.monotonic()
        if now < self._no_gpus_until:
            return ()
        found = gpus(PATIENCE)
        if found is None:
            self._no_gpus_until = now + AGAIN
        return found or ()


def load_and_memory(*, first: bool = False) -> MachineSnapshot:
    """Load since the last call (unknown in the `first`) and memory."""
    import psutil

    try:
        load = psutil.cpu_percent() / 100
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, psutil.Error):  # the system hides its figures
        return MachineSnapshot()
    return MachineSnapshot(None if first else load, int(memory.total - memory.available), int(memory.total))
