"""`crild sweep`: many runs from one file."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Quiet, RunsDir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crild_tui.cli.follow.controls import Controls
    from engine.sweep.plan import Plan
    from engine.sweep.record import SweepRecord
    from engine.sweep.slots import Slot


def sweep(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A TOML file with a [sweep] table.", show_default=False)],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show how many runs, what they share, how long they take; start nothing.")
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots", metavar="N", help="Runs at a time. [default: one for each device; on a CPU, for each core]"
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices", metavar="cuda:0,cuda:1", help="Devices to run on. [default: every GPU, else the CPU]"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Another name than the file's, for a separate sweep.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop everything when a run fails.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the sweep; its runs write checkpoints.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start, print the name, and return at once.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Run methods x tasks x seeds x any key, or resume such a sweep.

    Repeat the command to continue: finished runs stay, interrupted ones are resumed. Press Ctrl-C to stop the runs
    with checkpoints, twice to kill them; closing the terminal leaves them running.

    \b
    crild sweep study.toml --plan
    crild sweep study.toml --slots 12 --devices cuda:0
    crild sweep study.toml --stop

    \b
    Exit codes: 0 all finished; 1 a run failed; 2 wrong usage or sweep file; 3 data or
    model cannot be used; 130 interrupted; 143 terminated (checkpoints were written).
    """
    from engine.record.paths import runs_dir as folder_of
    from engine.sweep.spec import read_sweep

    folder = folder_of(runs_dir)
    if stop:
        from crild_tui.cli.stop import stop_sweep

        path = Path(file).expanduser()
        stop_sweep(folder, name or (read_sweep(path).name if path.is_file() else file), quiet=quiet)
        return
    on = tuple(word.strip() for word in (devices or "").split(",") if word.strip())
    raise typer.Exit(
        _sweep(
            Path(file).expanduser(), folder, quiet=quiet, plan_only=plan, slots=slots, on=on, name=name, fail_fast=fail_fast,
            retry=retry, detach=detach, as_json=as_json,
        )
    )  # fmt: skip


def _sweep(
    path: Path,
    runs_dir: Path,
    *,
    quiet: bool,
    plan_only: bool,
    slots: int | None,
    on: Sequence[str],
    name: str | None,
    fail_fast: bool,
    retry: bool,
    detach: bool,
    as_json: bool,
) -> int:
    from engine.sweep.plan import plan as plan_of
    from engine.sweep.slots import slots_for
    from engine.sweep.spec import read_sweep
    from engine.sweep.submit import existing, reconcile

    file = read_sweep(path, name)
    plan = plan_of(file)
    there = {entry.id: entry.state for entry in reconcile(file, plan, runs_dir)}
    skipped = ("finished",) if retry else ("finished", "failed")
    left = [run for run in plan.runs if there.get(run.run) not in skipped]
    record = existing(runs_dir, plan.name)
    places = slots_for(
        len(plan.runs),
        [run.own_device for run in plan.runs],
        [run.own_threads for run in plan.runs],
        slots=slots,
        on=on,
        before=record.slots if record is not None else (),
    )
    if plan_only:
        from crild_tui.cli.sweep_plan import show_plan

        return show_plan(plan, runs_dir, places, there, as_json=as_json)
    alive = record is not None and record.alive()
    if not alive and not left and record is not None:
        terminal.say(_nothing_left(plan, there), quiet=quiet)
        return _table(record, runs_dir, as_json=as_json)
    if alive and (slots is not None or on or fail_fast or retry):
        terminal.say(
            "the sweep is already running: --slots, --devices, --retry and --fail-fast take effect when it is started again",
            quiet=quiet,
        )
    return _work(
        plan, record if alive else None, runs_dir, places,
        quiet=quiet, fail_fast=fail_fast, retry=retry, detach=detach, as_json=as_json,
    )  # fmt: skip


def _nothing_left(plan: Plan, there: dict[str, str]) -> str:
    failed = sum(state == "failed" for state in there.values())
    again = f"; {failed} failed (--retry tries them again)" if failed else ""
    return f"{plan.name}: nothing left to do{again}"


def _work(
    plan: Plan,
    alive: SweepRecord | None,
    runs_dir: Path,
    places: Sequence[Slot],
    *,
    quiet: bool,
    fail_fast: bool,
    retry: bool,
    detach: bool,
    as_json: bool,
) -> int:
    from crild_tui.cli.follow.foreground import foreground
    from crild_tui.runs import formatting
    from engine.errors import UsageError
    from engine.sweep.submit import same, submit

    if alive is not None and not same(alive, plan):
        raise UsageError(
            f"the sweep {plan.name!r} is running with an earlier version of its file: let it end, or stop it with --stop, "
            "then start it again",
            kind="sweep-file-changed",
        )
    with foreground() as controls:
        record = alive or submit(plan, runs_dir, places, fail_fast=fail_fast, retry=retry)
        controls.release()
        if detach:
            if as_json:
                terminal.show_json({"sweep": record.name, "runs": [cell.run for cell in record.cells]})
            else:
                terminal.sentence(record.name)
                terminal.say(
                    "watch it: the same command without --detach, or m in the dashboard's Runs; stop it: with --stop",
                    quiet=quiet,
                )
            return 0
        verb = "is already running" if alive is not None else "is running"
        terminal.say(
            f"sweep {record.name} {verb} in {runs_dir}: {formatting.plural(len(record.cells), 'run')}, {_places(record)}",
            "Press Ctrl-C to stop its runs with checkpoints; closing the terminal leaves them running.",
            quiet=quiet,
        )
        return _follow(record, runs_dir, controls, quiet=quiet, as_json=as_json)


def _places(record: SweepRecord) -> str:
    from crild_tui.runs import formatting

    devices = dict.fromkeys(slot.device for slot in record.slots)
    return f"{formatting.plural(len(record.slots), 'at a time', 'at a time')} on {', '.join(devices)}"


def _follow(record: SweepRecord, runs_dir: Path, controls: Controls, *, quiet: bool, as_json: bool) -> int:
    from crild_tui.cli.follow.outcome import INTERRUPTED, TERMINATED
    from crild_tui.cli.sweep_follow import Follower

    last = Follower(record, runs_dir, controls, quiet=quiet).go()
    code = _table(last, runs_dir, as_json=as_json)
    terminal.announce(f"crild: sweep {last.name} {last.state}", bell=not controls.asked)
    if controls.count(signal.SIGINT):
        return INTERRUPTED
    if controls.asked or (last.state == "stopped" and last.waiting is None):
        return TERMINATED
    return code


def _table(record: SweepRecord, runs_dir: Path, *, as_json: bool) -> int:
    """Print the matrix; returns 1 when a run failed, was lost, or is left, else 0."""
    from crild_tui.cli.sweep_table import document, look, show_matrix

    found = look(record, runs_dir)
    if as_json:
        terminal.show_json(document(found, record))
    else:
        show_matrix(found)
    return 0 if found.states.get("finished", 0) == found.runs else 1
