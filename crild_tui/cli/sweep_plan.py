"""`crild sweep --plan`: the runs, what they share, where they run, how long they take; starts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.preflight.disk import DiskEstimate
    from engine.sweep.estimate import Duration
    from engine.sweep.plan import Plan, Planned
    from engine.sweep.slots import Slot


def show_plan(
    plan: Plan,
    runs_dir: Path,
    slots: Sequence[Slot],
    states: Mapping[str, str],
    *,
    ray: str | None = None,
    as_json: bool,
) -> None:
    """Print a plan; `states` are those of the runs that exist, by id. `ray` is the cluster that the slots are on."""
    from engine.preflight.hub import hub_problem
    from engine.record.run import list_runs
    from engine.sweep.estimate import duration, measured

    left = [run for run in plan.runs if states.get(run.run) != "finished"]
    known = measured(list_runs(runs_dir), plan.name)
    time_left = duration([run.cell for run in left], known, len(slots))
    missing = hub_problem(run.preset for run in left)
    if as_json:
        terminal.show_json(
            {**document(plan, runs_dir, slots, states, time_left), "ray": ray, "missing": [missing] if missing else []}
        )
        return
    product = " x ".join(_counted(len(values), name) for name, values in plan.axes.items())
    terminal.sentence(f"{plan.name}: {formatting.plural(len(plan.runs), 'run')} of {product}, in {runs_dir}")
    terminal.sentence()
    rows = [[name, str(len(values)), ", ".join(values)] for name, values in plan.axes.items()]
    terminal.show(terminal.table([("axis", "left"), ("values", "right"), ("", "left")], rows))
    terminal.sentence()
    for line in facts(plan, slots, states, time_left, ray):
        terminal.sentence(line)
    if missing:
        terminal.sentence(f"missing:  {missing}")
    terminal.sentence("nothing was started (--plan)")


def facts(
    plan: Plan, slots: Sequence[Slot], states: Mapping[str, str], time_left: Duration, ray: str | None = None
) -> list[str]:
    """What is shared, where runs run, which exist already, how long it takes: in sentences."""
    from engine.preflight.disk import disk_estimate

    lines = []
    teachers = plan.teachers
    if teachers:
        shared = formatting.plural(sum(map(len, teachers.values())), "run")
        lines.append(
            f"teachers: {formatting.plural(len(teachers), 'fine-tuned teacher')} for {shared}, each trained once"
        )
        for runs in teachers.values():
            one = runs[0].preset
            lines.append(
                f"          {one.teacher.model} on {_shared(plan, runs)}: {formatting.plural(len(runs), 'run')}"
            )
    where = "" if ray is None else f", of Ray ({ray})"
    lines.append(f"slots:    {', '.join(_slots(slots))}{where}")
    if states:
        counts = Counter(states.values())
        listed = ", ".join(f"{count} {state}" for state, count in counts.items())
        lines.append(f"existing: {listed}; {len(plan.runs) - counts['finished']} of {len(plan.runs)} left to do")
    lines.append(f"time:     {_time(time_left)}")
    disk = disk_estimate(run.preset for run in plan.runs if states.get(run.run) != "finished")
    lines += [f"disk:     {sentence}" for sentence in _disk(disk, len(slots))]
    return lines


def _disk(need: DiskEstimate, slots: int) -> Iterator[str]:
    """What the runs that are left take, as far as their teachers' files tell."""
    if need.checkpoints:
        kept = (
            f", and {formatting.size(need.kept_checkpoints)} of checkpoints that stay" if need.kept_checkpoints else ""
        )
        each = formatting.size(need.checkpoints)
        yield (
            f"about {formatting.size(need.students)} for the students{kept}; up to {each} of checkpoints in each of "
            f"{formatting.plural(slots, 'slot')} while a run trains (estimated from the teachers' files)"
        )
    if need.unknown:
        yield f"unknown for {formatting.plural(need.unknown, 'run')}: no files of the teacher on this machine yet"


def _counted(count: int, axis: str) -> str:
    """A number of values; names of the user's own axes stay as they are."""
    return formatting.plural(count, axis) if axis in ("method", "task", "seed") else f"{count} {axis}"


def _shared(plan: Plan, runs: Sequence[Planned]) -> str:
    """The task, and what else of the grid these runs have in common."""
    common = [
        f"{axis} {runs[0].cell[axis]}"
        for axis, values in plan.axes.items()
        if axis not in ("method", "task", "seed") and len(values) > 1 and len({run.cell[axis] for run in runs}) == 1
    ]
    return ", ".join([runs[0].cell["task"], *common])


def _slots(slots: Sequence[Slot]) -> list[str]:
    kinds = Counter(slots)
    return [
        f"{count} on {_device(slot)}, {formatting.plural(slot.threads, 'CPU thread')} each"
        for slot, count in kinds.items()
    ]


def _device(slot: Slot) -> str:
    if not slot.gpus:
        return slot.device
    return f"{slot.gpus:g} of a GPU" if slot.gpus < 1.0 else formatting.plural(int(slot.gpus), "GPU")


def _time(left: Duration) -> str:
    if not left.known and not left.unknown:
        return "nothing left to do"
    if not left.known:
        return (
            "unknown: no run of these methods and tasks has finished here yet; `crild run METHOD TASK --dry-run` measures "
            "a few steps of one"
        )
    about = f"about {formatting.duration(left.seconds)} going by the runs measured so far"
    return about if not left.unknown else f"{about}, and unknown for {formatting.plural(left.unknown, 'run')} more"


def document(
    plan: Plan, runs_dir: Path, slots: Sequence[Slot], states: Mapping[str, str], left: Duration
) -> dict[str, Any]:
    """The JSON of a plan."""
    return {
        "sweep": plan.name,
        "file": str(plan.file),
        "runs_dir": str(runs_dir),
        "axes": {name: list(values) for name, values in plan.axes.items()},
        "runs": [
            {"run": run.run, "cell": dict(run.cell), "teacher": run.teacher, "state": states.get(run.run, "left")}
            for run in plan.runs
        ],
        "teachers": [
            {"teacher": word, "model": runs[0].preset.teacher.model, "task": runs[0].cell["task"], "runs": len(runs)}
            for word, runs in plan.teachers.items()
        ],
        "slots": [asdict(slot) for slot in slots],
        "seconds": left.seconds if left.known else None,
        "unknown": left.unknown,
    }
