"""Searches in this process, over engines that compute nothing: what a run reaches is a function of its preset."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli

from engine.errors import RunError
from engine.launch.background import StopSignals
from engine.launch.slurm_submit import JobRequest
from engine.record.events import EventWriter
from engine.record.files import write_json
from engine.record.run import list_runs, read_status, update_status
from engine.search.declaration import read_search
from engine.search.plan import SearchPlan, plan_search
from engine.search.submit import request_of
from engine.search.supply import SearchSupply
from engine.search.trials import Trials, journal_file, read_trials
from engine.sweep.engines import Engines, outlived
from engine.sweep.execute import Worker
from engine.sweep.record import SweepRecord, create_folder, presets_file, sweep_file, write_presets, write_sweep_record
from engine.sweep.slots import Slot
from engine.sweep.submit import existing

PRESET = """\
schema = 1
seed = 1
[task]
name = "toy-entailment"
[teacher]
model = "scratch"
[teacher.finetune]
epochs = 1.0
[student]
layers = 2
[train]
learning_rate = 1e-3
[[stage]]
name = "kd"
objectives = { logits = 1.0 }
temperature = 2.0
"""
SPACE = """\
"train.learning_rate" = { low = 1e-5, high = 1e-1, log = true }
"stage.kd.temperature" = [1.0, 2.0, 4.0]
"""


class Killed(BaseException):
    """This process has just been killed, as far as the test is concerned."""


def quality(preset: Mapping[str, Any]) -> float:
    """The accuracy of a preset: best at learning rate 0.01 and temperature 4, with a little noise of the seed."""
    rate, stage = preset["train"]["learning_rate"], preset["stage"][0]
    far = abs(math.log10(rate) + 2) / 4
    return round(float(0.9 - 0.3 * far - 0.02 * abs(stage["temperature"] - 4) + 0.001 * (preset["seed"] % 7)), 4)


@dataclass
class InstantEngines:
    """Engines whose runs end when they are looked at again. `what` may say that one fails, hangs, or kills everything."""

    what: Callable[[Path, Mapping[str, Any]], str] = lambda _run, _preset: "finish"
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    dies: bool = False
    """Whether an engine that is asked to stop is killed instead, as far as its run's status tells."""
    _busy: dict[Path, str] = field(default_factory=dict)

    def open(self) -> None:
        return

    def close(self) -> None:
        return

    def reason_to_wait(self, slot: Slot, device: str, *, alone: bool) -> str | None:
        return None

    def start(self, run_dir: Path, slot: Slot) -> None:
        what = self.what(run_dir, tomli.loads((run_dir / "preset.toml").read_text()))
        if what == "kill":
            raise Killed
        if what == "refuse":
            raise RunError("the engine does not start", kind="no-engine")
        self.begin(run_dir, what)

    def begin(self, run_dir: Path, what: str) -> None:
        """What the engine of a run does: it finishes, fails, or hangs."""
        preset = tomli.loads((run_dir / "preset.toml").read_text())
        self.started.append(run_dir.name)
        update_status(run_dir, state="running", started=1.0, attempt=read_status(run_dir).attempt + 1)
        value = quality(preset)
        events = EventWriter(run_dir / "events.1.jsonl", 1)
        events.write("stage_started", stage="kd", step=0, role="student", steps=100)
        for step in (25, 50, 75):
            events.write("step", stage="kd", step=step, loss=1.0)
            metrics = {"accuracy": value * (0.5 + step / 200)}
            events.write(
                "evaluation", stage="kd", step=step, model="student", split="dev", primary=True, metrics=metrics
            )
        if what == "hang":
            self._busy[run_dir] = what
            return
        events.write("stage_finished", stage="kd", step=100, seconds=1.0)
        if what == "fail":
            update_status(run_dir, state="failed", ended=3.0)
            return
        task = preset["task"]
        test = {"test": {"accuracy": value - 0.05}} if task.get("measure_holdout") else {}
        results = {
            "schema": 1, "metric": "accuracy", "test": {"rows": 40}, "majority": {"accuracy": 0.5},
            "student": {"metrics": {"accuracy": value}, "latency_ms": 2.0 * preset["stage"][0]["temperature"], "bytes": 10, **{
                name: dict(figures) for name, figures in test.items()
            }},
        }  # fmt: skip
        write_json(run_dir / "results.json", results)
        update_status(run_dir, state="finished", ended=3.0)

    def has_engine(self, run_dir: Path) -> bool:
        return outlived(run_dir)

    def is_busy(self, run_dir: Path, *, alone: bool) -> bool:
        return run_dir in self._busy

    def stop(self, run_dir: Path) -> None:
        self.stopped.append(run_dir.name)
        if self._busy.pop(run_dir, None) is not None and not self.dies:
            update_status(run_dir, state="stopped", ended=3.0)

    def kill(self, run_dir: Path) -> None:
        self.stop(run_dir)


def search_file(folder: Path, more: str = "trials = 12\n", space: str = SPACE, name: str = "tune.toml") -> Path:
    """A search over the preset `base.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.toml").write_text(PRESET)
    path = folder / name
    methods = "" if "methods" in more else 'methods = ["base.toml"]\n'
    path.write_text(f"[search]\n{methods}{more}[search.space]\n{space}")
    return path


def planned(path: Path, **changes: Any) -> SearchPlan:
    return plan_search(read_search(path, None, changes))


def record_of(runs: Path, name: str = "tune") -> SweepRecord:
    record = existing(runs, name)
    assert record is not None
    return record


def go(
    path: Path,
    runs: Path,
    engines: Engines,
    slots: int = 1,
    slurm: JobRequest | None = None,
    **changes: Any,
) -> Trials:
    """Start or continue a search in this process, as `submit_search` and its process do; its trials in the end."""
    found = planned(path, **changes)
    file = sweep_file(runs, found.file.name)
    before = existing(runs, found.file.name)
    slot = Slot("cpu", 1) if slurm is None else Slot("auto", 0)
    record = SweepRecord(
        name=found.file.name, file=str(path), created=1.0, search=request_of(found),
        axes={"method": (), "task": (), "trial": (), "seed": ()} if before is None else before.axes,
        cells=() if before is None else before.cells,
        slots=(slot,) * slots, slurm=None if slurm is None else asdict(slurm),
    )  # fmt: skip
    create_folder(file.parent)
    if before is None:
        write_presets(presets_file(file), [])
    write_sweep_record(file, record)
    worker = Worker(file, StopSignals(), None, engines=engines)
    worker.supply = SearchSupply(worker)
    assert worker.open(), worker.abort_reason
    worker.survey()
    worker.run_all()
    worker.end()
    found_trials = read_trials(file)
    assert found_trials is not None
    return found_trials


def killed(path: Path, runs: Path, at: int, slots: int = 1) -> None:
    """A search that is killed when it starts its run number `at`."""
    engines = InstantEngines()
    engines.what = lambda _run, _preset: "kill" if len(engines.started) + 1 == at else "finish"
    try:
        go(path, runs, engines, slots)
    except Killed:
        return
    raise AssertionError("it was not killed")


def states(runs: Path) -> dict[str, str]:
    return {entry.id: entry.state for entry in list_runs(runs)}


def table(trials: Trials) -> list[tuple[Any, ...]]:
    """What must be the same however often a search was killed."""
    return [(one.number, one.state, dict(one.values), one.results, one.runs, one.why) for one in trials.trials]


def journal_of(runs: Path, name: str = "tune") -> Path:
    return journal_file(sweep_file(runs, name))
