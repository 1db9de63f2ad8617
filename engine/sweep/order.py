"""Which run a free slot takes next: no slot waits for a teacher while another run could work. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.sweep.record import CellRecord


def choose(todo: Sequence[CellRecord], active: Sequence[CellRecord], ready: Collection[str]) -> CellRecord | None:
    """The run of `todo` to start now, or None where it is better to wait.

    `ready` are the teachers that are in the cache by now. First comes one run for each teacher that nobody makes yet,
    then what needs no teacher or one that is ready, in order. A run whose teacher is just being made by another would
    only hold a slot; it is started early where every run that is left waits for that same teacher, so that it has
    loaded everything else by then.
    """
    making = {cell.teacher for cell in active if cell.teacher is not None} - set(ready)
    for cell in todo:
        if cell.teacher is not None and cell.teacher not in ready and cell.teacher not in making:
            return cell
    for cell in todo:
        if cell.teacher is None or cell.teacher in ready:
            return cell
    return todo[0] if len({cell.teacher for cell in todo}) == 1 and len(making) == 1 else None
