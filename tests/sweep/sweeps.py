"""Sweeps over fake engines: files, processes, and waiting for them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.record.run import list_runs, read_status
from engine.sweep.plan import Plan, plan
from engine.sweep.record import SweepRecord, list_sweeps, read_sweep_record, sweep_file
from engine.sweep.slots import Slot
from engine.sweep.spec import read_sweep
from engine.sweep.submit import reconcile, submit
from tests.conftest import PATIENCE
from tests.launch.fake_engines import clear, wait_for

WORKER = """
import json, sys, time, tomllib
from pathlib import Path
from engine.errors import DataError
from engine.record.files import write_json
from engine.record.session import RunSession
run = Path(sys.argv[-1])
tune = tomllib.loads((run / "preset.toml").read_text())
marks = {word.partition("-")[0]: float(word.partition("-")[2] or 1) for word in tune["tags"]}
with RunSession(run) as session:
    begun = run / "checkpoints" / "step.json"
    first = json.loads(begun.read_text())["step"] if begun.exists() else 0
    session.update(metric_name="accuracy", total=int(marks.get("steps", 3)), done=first)
    teacher = run / "teacher"
    teacher.mkdir(exist_ok=True)
    time.sleep(marks.get("teacher", 0) / 10)
    write_json(teacher / "pointer.json", {"schema": 1})
    if "fail" in marks:
        raise DataError("a label is missing", file="train.tsv", line=7)
    for step in range(first, int(marks.get("steps", 3))):
        with (run / "steps.txt").open("a") as file:
            file.write(f"{step}\\n")
        begun.parent.mkdir(exist_ok=True)
        write_json(begun, {"step": step + 1})
        session.update(done=step + 1, last=0.5 + 0.1 * tune["seed"] + 0.01 * (step + 1))
        time.sleep(marks.get("pause", 0) / 100)
        while step + 1 >= marks.get("hold", 1e9) and session.request.state is None and not (run.parent / "go").exists():
            time.sleep(0.02)
        if session.request.state is not None:
            session.finish(session.request.state, session.request.exit_code)
            sys.exit(session.request.exit_code)
    write_json(run / "results.json", {"schema": 1, "metric": "accuracy",
        "student": {"metrics": {"accuracy": round(0.5 + 0.1 * tune["seed"], 4)}}})
    session.finish("finished", 0)
"""
"""An engine whose preset's tags say what it does: steps-5, pause-10 (hundredths of a second a step), teacher-3, fail,
hold-2 (after that many steps it waits for `let_go`)."""
COMMAND = [sys.executable, "-P", "-c", WORKER]

PRESET = """\
schema = 1
seed = 1
tags = {tags}
[task]
name = "{task}"
[teacher]
model = "scratch"
[teacher.finetune]
epochs = 1.0
seed = {teacher}
[student]
layers = 2
[[stage]]
name = "kd"
objectives = {{ logits = 1.0 }}
"""


def method(folder: Path, name: str, *tags: str, task: str = "toy-entailment", teacher: int = 0) -> str:
    """A preset file whose engine behaves as its tags say."""
    folder.mkdir(exist_ok=True)
    words = "[" + ", ".join(f'"{tag}"' for tag in (name, *tags)) + "]"
    text = PRESET.format(tags=words, task=task, teacher=teacher)
    (folder / f"{name}.toml").write_text(f"{text}temperature = {2.0 + len(list(folder.glob('*.toml')))}\n")
    return f"{name}.toml"


def write(folder: Path, text: str, name: str = "study.toml") -> Path:
    """A sweep file."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def begin(path: Path, runs: Path, slots: int = 2, *, device: str = "cpu", **options: Any) -> tuple[Plan, SweepRecord]:
    """Start, or go on with, the sweep in a file."""
    file = read_sweep(path)
    found = plan(file)
    reconcile(file, found, runs)
    return found, submit(found, runs, [Slot(device, 1)] * slots, command=COMMAND, **options)


def record_of(runs: Path, name: str = "study") -> SweepRecord:
    return read_sweep_record(sweep_file(runs, name))


def over(runs: Path, name: str = "study", seconds: float = PATIENCE) -> str:
    """The state in which a sweep's process ended."""
    assert wait_for(lambda: record_of(runs, name).state != "active", seconds), record_of(runs, name)
    return record_of(runs, name).state


def let_go(runs: Path) -> None:
    """Let engines that hold continue, now and later."""
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "go").touch()


def kill_process(runs: Path, name: str = "study") -> None:
    """kill -9 of the sweep's process."""
    owner = record_of(runs, name).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: owner.state() == "gone")


def kill_engine(run: Path) -> None:
    """kill -9 of the engine of a run."""
    owner = read_status(run).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: owner.state() == "gone")


def clean(runs: Path) -> None:
    """End the sweeps and engines of a folder of runs."""
    for record in list_sweeps(runs):
        if record.owner is not None and record.owner.pid != os.getpid() and record.owner.state() == "alive":
            kill_process(runs, record.name)
    clear(runs)


def study(folder: Path, *tags: str, seeds: str = "[1, 2]", more: str = "") -> Path:
    """Two methods over seeds; the second behaves as the tags say."""
    names = [method(folder, "a"), method(folder, "b", *tags)]
    return write(folder, f"[sweep]\nmethods = {names}\nseeds = {seeds}\n{more}".replace("'", '"'))


def came_to(run: Path, step: int, attempt: int = 1) -> bool:
    """Whether a run comes to a step of an attempt, or a later one."""

    def there() -> bool:
        if not (run / "status.json").exists():
            return False
        status = read_status(run)
        return status.attempt >= attempt and status.done >= step and status.owner is not None

    return wait_for(there)


def states(runs: Path) -> dict[str, str]:
    return {entry.id: entry.state for entry in list_runs(runs)}


def steps(runs: Path, run: str) -> list[int]:
    return [int(line) for line in (runs / run / "steps.txt").read_text().split()]
