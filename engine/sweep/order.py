"""Choose the run that a free slot takes next, so that no slot waits for a teacher while another run could start."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.sweep.record import CellRecord


def choose(todo: Sequence[CellRecord], active: Sequence[CellRecord], ready: Collection[str]) -> CellRecord | None:
    """The run of `todo` to start now, or None where it is better to wait.

    `ready` are the teachers in the cache. First comes one run for each teacher that no run is fine-tuning yet, then the
    runs that need no teacher or one that is ready, in order. A run whose teacher another run is fine-tuning would only
    occupy a slot; it is started early where all remaining runs wait for that same teacher, so that it has loaded
    everything else by then.
    """
    in_progress = {cell.teacher for cell in active if cell.teacher is not None} - set(ready)
    for cell in todo:
        if cell.teacher is not None and cell.teacher not in ready and cell.teacher not in in_progress:
            return cell
    for cell in todo:
        if cell.teacher is None or cell.teacher in ready:
            return cell
    return todo[0] if len({cell.teacher for cell in todo}) == 1 and len(in_progress) == 1 else None
