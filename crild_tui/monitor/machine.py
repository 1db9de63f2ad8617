"""Watches the machine."""

from __future__ import annotations

import math
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from crild_tui.monitor.snapshots import Gpu, MachineSnapshot

EVERY = 2.0
"""Seconds between two looks."""
AGAIN = 30.0
"""Seconds after which a missing or failing nvidia-smi is tried again."""
PATIENCE = 5.0
"""Seconds that nvidia-smi may take: a driver in trouble answers late or never."""
FIELDS = "index,name,utilization.gpu,memory.used,memory.total"


class MachineWatcher:
    """A thread that reads load and memory, and NVIDIA GPUs where there are any. What cannot be read is left out."""

    def __init__(self, tell: Callable[[MachineSnapshot], object], *, every: float = EVERY) -> None:
        self._tell, self._every = tell, every
        self._not_before = 0.0
        self._last: MachineSnapshot | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        seen = look(first=True)
        self._show(seen)  # at once; nvidia-smi takes a while
        self._show(replace(seen, gpus=self._gpus()))
        while not self._end.wait(self._every):
            self._show(replace(look(), gpus=self._gpus()))

    def _show(self, seen: MachineSnapshot) -> None:
        if seen != self._last and not self._end.is_set():
            self._last = seen
            self._tell(seen)

    def _gpus(self) -> tuple[Gpu, ...]:
        now = time.monotonic()
        if now < self._not_before:
            return ()
        found = gpus()
        if found is None:
            self._not_before = now + AGAIN
        return found or ()


def look(*, first: bool = False) -> MachineSnapshot:
    """Load since the last look (the `first` one knows none) and memory."""
    import psutil

    try:
        load = psutil.cpu_percent() / 100
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, psutil.Error):  # a system that hides its figures
        return MachineSnapshot()
    return MachineSnapshot(None if first else load, int(memory.total - memory.available), int(memory.total))


def gpus() -> tuple[Gpu, ...] | None:
    """The NVIDIA GPUs as `nvidia-smi` reports them; None where it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read_gpus(done.stdout.decode(errors="replace"))


def read_gpus(text: str) -> tuple[Gpu, ...]:
    """The GPUs in the lines that `nvidia-smi` prints; a line that is none is passed over, a figure `[N/A]` unknown."""
    found = []
    for line in text.splitlines():
        index, *name, load, used, total = (
            [part.strip() for part in line.split(",")] if line.count(",") >= 4 else [""] * 5
        )
        if not index.isdecimal():
            continue
        share = _number(load)
        found.append(
            Gpu(
                int(index),
                ", ".join(name),
                None if share is None else min(1.0, share / 100),
                round((_number(used) or 0) * 2**20),
                round((_number(total) or 0) * 2**20),
            )
        )
    return tuple(found)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e15 else None
