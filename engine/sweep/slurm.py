"""Submit the runs of a sweep to SLURM: one array of jobs, after another one for what trains the shared teachers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import RunError
from engine.launch.slurm_submit import JobRequest, submit
from engine.launch.slurm_watch import settle
from engine.record.environment import light_environment
from engine.record.run import RunEntry, create_run, discard_run, is_run, read_run
from engine.record.states import IN_PROGRESS
from engine.record.status import Job
from engine.record.teacher_folder import has_teacher
from engine.sweep.plan import Plan, Planned
from engine.sweep.record import (
    SUBMITTED,
    SweepRecord,
    create_folder,
    presets_file,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.sweep.submit import cells_of, existing
from engine.user.consent import NONE, Consent


def slurm_slots(runs: int, own_devices: Sequence[str | None], at_once: int | None) -> tuple[Slot, ...]:
    """The slots of so many runs that are jobs: the presets' device, and as many as may run at a time."""
    number = min(at_once or runs, max(1, runs))
    device = next((device for device in own_devices if device is not None), "auto")
    return tuple(Slot(device, 0) for _ in range(number))


def settle_all(plan: Plan, runs_dir: Path) -> dict[str, RunEntry]:
    """The existing runs of a plan by name, once SLURM was asked about those that wait, as long as it answers."""
    entries: dict[str, RunEntry] = {}
    answers = True
    for run in plan.runs:
        run_dir = runs_dir / run.run
        if not is_run(run_dir):
            continue
        entry = read_run(run_dir)
        waits = (
            entry.status is not None and entry.status.job is not None and entry.state in ("queued", "lost", "preempted")
        )
        if waits and answers:
            answers = settle(run_dir) is not None
            entry = read_run(run_dir)
        entries[run.run] = entry
    return entries


def left(plan: Plan, states: Mapping[str, str], *, retry: bool) -> list[Planned]:
    """The runs of a plan to submit: neither finished nor in progress; failed ones only with `retry`."""
    done = {"finished", "unreadable", *IN_PROGRESS} - {"created"} | (set() if retry else {"failed"})
    return [run for run in plan.runs if states.get(run.run) not in done]


def first_of_teachers(runs: Sequence[Planned], runs_dir: Path) -> list[Planned]:
    """One run for each teacher that several runs share and none has trained yet: the others wait for it."""
    shared: dict[str, list[Planned]] = {}
    for run in runs:
        if run.teacher is not None:
            shared.setdefault(run.teacher, []).append(run)
    return [
        group[0]
        for group in shared.values()
        if len(group) > 1 and not any(has_teacher(runs_dir / run.run) for run in group)
    ]


def submit_to_slurm(
    plan: Plan,
    runs_dir: Path,
    request: JobRequest,
    *,
    at_once: int | None = None,
    retry: bool = False,
    consent: Consent = NONE,
) -> list[Job]:
    """Create the runs of a plan that are left, and submit them; returns their jobs, none where nothing is left.

    At most `at_once` run at a time. Call `reconcile` and `check_request` first. Raises RunError when a process of this
    machine executes the sweep, and as `submit` does: runs that were created for a refused job are removed.
    """
    runs_dir = runs_dir.absolute()
    before = existing(runs_dir, plan.name)
    if before is not None and before.alive():
        raise RunError(f"the sweep {plan.name!r} is already in progress on a machine", kind="sweep-in-progress")
    states = {name: entry.state for name, entry in settle_all(plan, runs_dir).items()}
    todo = left(plan, states, retry=retry)
    if not todo:
        return []
    _write_record(
        plan, runs_dir, before, slurm_slots(len(plan.runs), [run.own_device for run in plan.runs], at_once), retry=retry
    )
    created: list[Path] = []
    try:
        created.extend(_create(plan, run, runs_dir) for run in todo if run.run not in states)
        first = first_of_teachers(todo, runs_dir)
        others = [run for run in todo if run not in first]
        jobs: list[Job] = []
        for group in filter(None, (first, others)):
            folders = [runs_dir / run.run for run in group]
            jobs += submit(folders, request, consent, at_once=at_once, after=jobs)
    except BaseException:
        for run_dir in created:
            if read_run(run_dir).state == "created":
                discard_run(run_dir)
        raise
    return jobs


def _write_record(
    plan: Plan, runs_dir: Path, before: SweepRecord | None, slots: tuple[Slot, ...], *, retry: bool
) -> None:
    file = sweep_file(runs_dir, plan.name)
    documents, cells = cells_of(plan)
    now = time.time()
    create_folder(file.parent)
    write_presets(presets_file(file), documents)
    record = SweepRecord(
        name=plan.name,
        file=str(plan.file),
        created=before.created if before is not None else now,
        axes=plan.axes,
        cells=cells,
        slots=slots,
        retry=retry,
        begun=now,
        state=SUBMITTED,
    )
    write_sweep_record(file, record)


def _create(plan: Plan, run: Planned, runs_dir: Path) -> Path:
    from engine.preset.write import dump

    return create_run(
        runs_dir,
        dump(run.preset),
        name=run.run.removesuffix(f"-s{run.preset.seed}"),
        tags=run.preset.tags,
        environment=light_environment(["crild", "sweep", str(plan.file)]),
        seed=run.preset.seed,
        task=run.preset.task.display_name,
        method=run.cell.get("method", ""),
        preset="+".join(run.refs),
        sweep=plan.name,
        cell=dict(run.cell),
    )
