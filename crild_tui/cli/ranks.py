"""`crild run` and `crild resume` started by torchrun or srun, once for each process that shares the run's steps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.launch.rank import Rank


def share_run(*, processes: int | None = None, runs: int = 1, quiet: bool) -> Rank | None:
    """Let this process take its part, if others were started with it: rank 0 starts the engine and gets its rank back.

    Any other rank becomes a process that takes part in the engine's steps: this function does not return there. Returns
    None if this process was started alone. Raises UsageError for another number of `processes`, and for several `runs`.
    """
    from engine.launch.rank import rank_of
    from engine.launch.start import engine_environment, process_command

    rank = rank_of()
    if rank is None:
        return None
    if processes not in (None, rank.world):
        sentence = (
            f"--processes {processes}: {rank.started_by} has started {rank.world} processes; leave the option out"
        )
        raise UsageError(sentence, kind="processes-of-launcher")
    if runs > 1:
        sentence = (
            f"{rank.started_by} has started {rank.world} processes for one run, and these are {runs} runs: start one for "
            "each, or use crild sweep without it"
        )
        raise UsageError(sentence, kind="several-runs-of-launcher")
    if rank.number:
        words = process_command("worker", "follow")
        os.execve(words[0], words, {**engine_environment(), **rank.environment()})  # noqa: S606
    terminal.say(f"{rank.world} processes share each step; {rank.started_by} has started them", quiet=quiet)
    return rank


def refuse_ranks(command: str) -> None:
    """Raise UsageError if torchrun or srun has started this command several times."""
    from engine.launch.rank import rank_of

    if (rank := rank_of()) is not None:
        sentence = f"{rank.started_by} has started {rank.world} processes, and {command} is one: start it without"
        raise UsageError(sentence, kind="command-of-one-process")
