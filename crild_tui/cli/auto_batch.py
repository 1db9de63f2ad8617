"""`crild run --auto-batch`: have an engine process measure batch sizes, and train with the one that it chose."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.dry_run import asked
from crild_tui.runs import formatting
from crild_tui.runs.create import RunRequest, consent_of
from engine.errors import UsageError
from engine.preset.text import listed

if TYPE_CHECKING:
    from engine.launch.rank import Rank
    from engine.preset.load import Loaded

KEY = "train.batch_size"
WHY = {
    "no gain": "larger ones are no faster",
    "memory": "the device has no memory for the next larger one",
    "rows": "the task has no rows for the next larger one",
    "limit": "larger ones are not tried",
}


def with_batch_size(request: RunRequest, loaded: Loaded, *, rank: Rank | None, quiet: bool) -> RunRequest:
    """The request with the batch size that was chosen, so that the run's preset holds a number and repeats as any other.

    Raises UsageError where a measurement on this machine, with one process, says nothing about the run; and the engine's
    errors.
    """
    _check(request, loaded, rank)
    terminal.say("timing batches of several sizes; loading the engine's libraries takes a few seconds", quiet=quiet)
    found = asked("batch", loaded, consent_of(request, [loaded]), quiet=quiet)
    tried = [_row(one) for one in found["tried"]]
    columns = [("batch", "right"), ("examples/s", "right"), ("memory", "right")]
    if not quiet:
        terminal.console(sys.stderr).print(terminal.table(columns, tried))
    terminal.say(_sentence(found), quiet=quiet)
    return replace(request, settings=(*request.settings, f"{KEY}={int(found['batch_size'])}"))


def _check(request: RunRequest, loaded: Loaded, rank: Rank | None) -> None:
    train = loaded.preset.train
    if request.elsewhere:
        reason = "the run is for another machine"
    elif rank is not None or train.processes > 1 or "," in train.device:
        reason = "the run has several processes, which share each batch"
    elif any(item.partition("=")[0].strip() == KEY for item in request.settings):
        reason = f"--set gives {KEY}, too"
    else:
        return
    raise UsageError(f"--auto-batch measures one process on this machine, but {reason}", kind="auto-batch", key=KEY)


def _sentence(found: Mapping[str, Any]) -> str:
    size = found["batch_size"]
    ended = WHY.get(str(found["ended"]), "") if size == found["tried"][-1]["batch_size"] else WHY["no gain"]
    rate = f"the learning rate stays {found['learning_rate']:g}; a larger batch usually takes a higher one"
    stages = listed([str(name) for name in found["stages"]], "and")
    return f"{KEY} = {size} (stages {stages}): {ended}. {rate.capitalize()}"


def _row(tried: Mapping[str, Any]) -> list[str]:
    return [
        f"{tried['batch_size']:,}",
        formatting.rate(tried["examples_per_second"]),
        formatting.size(tried["memory_bytes"]),
    ]
