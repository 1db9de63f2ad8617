"""What `crild sweep` and `crild search` share: where the runs of their background process take place, and how it is followed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from engine.record.status import SLURM

if TYPE_CHECKING:
    from crild_tui.cli.sweep_follow import Follower
    from engine.launch.slurm_submit import JobRequest
    from engine.sweep.record import SweepRecord
    from engine.sweep.slots import Slot


class Named(Protocol):
    """A sweep or search file that was read."""

    @property
    def name(self) -> str:
        """Its name."""


def file_path(file: str) -> Path:
    """The path of a sweep or search file that the user names."""
    from engine.record.paths import user_path

    return user_path(file, "a sweep or search file") if file.startswith("~") else Path(file)


def name_of(file: str, name: str | None, read: Callable[[Path], Named]) -> str:
    """The name of a sweep or search that is stopped or shown: `name`, that of the file, or the word itself."""
    path = file_path(file)
    return name or (read(path).name if path.is_file() else file)


def words_of(devices: str | None) -> tuple[str, ...]:
    """The devices that `--devices` lists."""
    return tuple(word.strip() for word in (devices or "").split(",") if word.strip())


def check_places(
    jobs: JobRequest | None,
    *,
    devices: str | None,
    ray: str | None,
    gpus_per_run: float | None,
    fail_fast: bool = False,
) -> None:
    """Raise UsageError for options that say in two ways where runs take place."""
    from engine.errors import UsageError

    others = {"--devices": devices, "--ray": ray, "--gpus-per-run": gpus_per_run, "--fail-fast": fail_fast or None}
    other = next((option for option, value in others.items() if value is not None), None)
    if jobs is not None and other is not None:
        raise UsageError(f"{other} cannot be used with --slurm", kind="option-without-slurm")
    if ray is not None and words_of(devices):
        raise UsageError(
            "--devices names devices of this machine: with --ray use --gpus-per-run", kind="devices-with-ray"
        )
    if ray is None and gpus_per_run is not None:
        raise UsageError("--gpus-per-run is for runs on a Ray cluster: add --ray", kind="gpus-per-run-without-ray")


def choose_slots(
    runs: int,
    own_devices: Sequence[str | None],
    own_threads: Sequence[int | None],
    runs_dir: Path,
    record: SweepRecord | None,
    *,
    slots: int | None,
    devices: str | None,
    ray: str | None,
    gpus_per_run: float | None,
    quiet: bool,
) -> tuple[Slot, ...]:
    """The slots of so many runs on this machine or a Ray cluster; says which of its nodes cannot be used.

    `own_devices` and `own_threads` are what presets ask for; slots of an earlier `record` in the same place stay. Raises
    UsageError and RunError.
    """
    from engine.sweep.cluster import look_at, ray_slots
    from engine.sweep.record import SUBMITTED
    from engine.sweep.slots import slots_for

    before: tuple[Slot, ...] = ()
    if record is not None and record.slurm is None and record.state != SUBMITTED:
        before = record.slots if (record.ray is None) == (ray is None) else ()
    if ray is None:
        return slots_for(runs, own_devices, own_threads, slots=slots, on=words_of(devices), before=before)
    if ray != "local":
        terminal.say(f"asking the Ray cluster at {ray} for its nodes", quiet=quiet)
    cluster = look_at(ray, runs_dir)
    for sentence in cluster.problems():
        terminal.say(f"warning: {sentence}")
    return ray_slots(cluster, runs, own_devices, own_threads, gpus=gpus_per_run, slots=slots, before=before)


def say_already_running(record: SweepRecord, options: Mapping[str, object], *, quiet: bool) -> None:
    """Say which options of the command change nothing about what is running."""
    from engine.preset.text import listed

    given = [name for name, value in options.items() if value]
    if given:
        take = "takes" if len(given) == 1 else "take"
        terminal.say(
            f"the {record.command} is already running: {listed(given, 'and')} {take} effect when it is started again",
            quiet=quiet,
        )


def say_running(record: SweepRecord, runs_dir: Path, *, already: bool, quiet: bool) -> None:
    """Say what is running, where, and what Ctrl-C does."""
    count = f"{formatting.plural(len(record.cells), 'run')}, " if record.search is None else ""
    terminal.say(
        f"{record.command} {record.name} is {'already running' if already else 'running'} in {runs_dir}: "
        f"{count}{slots_text(record.slots, ray=record.ray, jobs=record.scheduler)}",
        "Press Ctrl-C to stop its runs with checkpoints; closing the terminal leaves them running.",
        quiet=quiet,
    )


def slots_text(slots: Sequence[Slot], *, ray: str | None, jobs: str | None) -> str:
    """How many runs take place at a time, and where: on a Ray cluster, as jobs of a scheduler, or on devices."""
    if jobs is not None:
        return f"{len(slots):,} at a time as {'jobs of SLURM' if jobs == SLURM else 'local jobs'}"
    if ray is not None:
        return f"{len(slots):,} at a time on Ray ({ray})"
    devices = dict.fromkeys(slot.device for slot in slots)
    return f"{len(slots):,} at a time on {', '.join(devices)}"


def print_started(record: SweepRecord, *, quiet: bool, as_json: bool) -> None:
    """Print the name of what was started with --detach."""
    if as_json:
        terminal.show_json({record.command: record.name, "runs": [cell.run for cell in record.cells]})
        return
    terminal.sentence(record.name)
    terminal.say(
        "to watch it, repeat the command without --detach, or press m in the dashboard's Runs; to stop it, add --stop",
        quiet=quiet,
    )


def follow(follower: Follower, table: Callable[[SweepRecord], int]) -> int:
    """Follow to the end and print the `table`; returns the exit code, the table's unless the user or a signal stopped it."""
    from crild_tui.cli.follow.outcome import INTERRUPTED, TERMINATED

    last = follower.go()
    code = table(last)
    controls = follower.controls
    terminal.announce(f"crild: {last.command} {last.name} {last.state}", attention=not controls.asked)
    if controls.count(signal.SIGINT):
        return INTERRUPTED
    if controls.asked or (last.state == "stopped" and last.waiting is None):
        return TERMINATED
    return code
