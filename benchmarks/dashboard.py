"""How fast the dashboard's data side is: a run of a million events, and a folder of a thousand runs.

    python benchmarks/dashboard.py [--events 1000000] [--runs 1000] [--repeats 3] [--only run|runs] [--folder FOLDER]

Writes the files as the engine does (same columns, same bytes a line), then watches them with the dashboard's own
watchers, each measurement in a fresh process. Each line of the output is a figure beside its limit; the exit code is 1
when a limit is not kept. With --folder the files stay there and are used again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import source_tree  # noqa: F401 - before the product's packages

from crild_tui.monitor.run import RunWatcher
from crild_tui.monitor.runs import RunsWatcher
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.snapshot import RunsSnapshot
from engine.record.paths import events_file
from engine.record.run import create_run, update_status

PRESET = 'schema = 1\n[task]\nname = "rte"\n'
STAGES = (("teacher", 0.1), ("ild", 0.6), ("kd", 0.3))
"""Stages and their shares of the steps."""
PATIENCE = 120.0
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class Figure:
    """One measurement: what, how much, in which unit, and the most that is allowed."""

    what: str
    value: float
    unit: str
    limit: float | None = None

    def line(self) -> str:
        """As a person reads it."""
        allowed = "" if self.limit is None else f"  limit {self.limit:g} {self.unit}"
        verdict = "" if self.limit is None else "  kept" if self.kept else "  NOT KEPT"
        shown = f"{self.value:,.0f}" if self.unit == "" else f"{self.value:.2f}"
        return f"{self.what:<52}{shown:>10} {self.unit:<4}{allowed}{verdict}".rstrip()

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; true where there is none."""
        return self.limit is None or self.value <= self.limit


# -- files as the engine writes them


def write_long_run(runs_dir: Path, events: int) -> Path:
    """A finished run with about so many events in its one event file."""
    run_dir = create_run(runs_dir, PRESET, name="long", seed=0, task="rte", method="crild", environment={})
    moment = 1.7e9
    with events_file(run_dir, 1).open("w") as file:

        def write(kind: str, **fields: Any) -> None:
            event = {"v": 1, "t": round(moment, 3), "kind": kind, **fields}
            file.write(json.dumps(event, separators=(",", ":")) + "\n")

        names = [name for name, _ in STAGES]
        write("run_started", attempt=1, stages=names, stage=names[0], step=0, total=events, resumed=False)
        for name, share in STAGES:
            steps = int(events * share)
            write(
                "stage_started", stage=name, role="teacher" if name == "teacher" else "student", step=0, steps=steps,
                epochs=4.0, examples=8 * steps, objectives={"attention": 1.0, "hidden": 1.0},
            )  # fmt: skip
            for step in range(1, steps + 1):
                moment += 0.01
                file.write(_step_line(moment, name, step, steps))
                if step % 1000 == 0:
                    model = "teacher" if name == "teacher" else "student"
                    write(
                        "evaluation", stage=name, step=step, best=False, model=model, split="dev", primary=True,
                        metrics={"accuracy": round(0.5 + 0.4 * step / steps, 4)},
                    )  # fmt: skip
            write("stage_finished", stage=name, step=steps, seconds=0.01 * steps, examples_per_second=3200.0)
        write("run_finished", state="finished", metrics={"accuracy": 0.9})
    return run_dir


def _step_line(moment: float, stage: str, step: int, steps: int) -> str:
    loss = 2.5 / (1 + 10 * step / steps) + 0.1 * ((step * 7919) % 997) / 997
    return (
        f'{{"v":1,"t":{moment:.3f},"kind":"step","stage":"{stage}","step":{step},"epoch":{4 * step / steps:.4f},'
        f'"loss":{loss:.6f},"terms":{{"attention":{loss * 0.4:.7f},"hidden":{loss * 0.6:.7f}}},'
        f'"learning_rate":{1e-3 * (1 - step / steps):.10f},"gradient_norm":{1 + loss:.6f},"examples_per_second":3201.25,'
        f'"tokens_per_second":73496.5,"memory":670343168,"consistency":{loss / 7:.6f},"consistency_weight":{step / steps:.8f}}}\n'
    )


def write_many_runs(runs_dir: Path, count: int) -> None:
    """So many finished runs."""
    for seed in range(count):
        run_dir = create_run(runs_dir, PRESET, name="many", seed=seed, task="rte", method="crild", environment={})
        update_status(run_dir, state="finished", metric_name="accuracy", last=0.6, best=0.7, teacher=0.8, total=100)


# -- measuring, each in a process of its own


def watch_long_run(run_dir: Path) -> list[Figure]:
    """Seconds until the first and the complete snapshot, and memory after it."""
    before = _peak()
    times: dict[str, float] = {}
    first, complete = threading.Event(), threading.Event()
    rows: list[int] = []

    def seen(snapshot: RunSnapshot) -> None:
        times.setdefault("first", time.perf_counter())
        first.set()
        if snapshot.curves.complete:
            times.setdefault("complete", time.perf_counter())
            rows.append(len(snapshot.curves.steps))
            complete.set()

    began, used = time.perf_counter(), time.process_time()
    watcher = RunWatcher(run_dir, seen)
    watcher.start()
    longest = _longest_wait(complete)
    used = time.process_time() - used
    watcher.stop()
    if not complete.is_set():
        raise RuntimeError(f"no complete snapshot within {PATIENCE:g} s")
    return [
        Figure("long run: first snapshot (a sample)", times["first"] - began, "s", 1.0),
        Figure("long run: complete snapshot", times["complete"] - began, "s", 10.0),
        Figure("long run: steps in it", rows[0], ""),
        Figure("long run: processor time of this", used, "s"),
        Figure("long run: memory it took", _peak() - before, "MB", 200.0),
        Figure("long run: another thread waited at most", 1000 * longest, "ms", 50.0),
    ]


def _longest_wait(until: threading.Event) -> float:
    """The longest time for which this thread, waking each 5 ms as a screen would for a key, did not get its turn."""
    longest, end = 0.0, time.perf_counter() + PATIENCE
    while not until.is_set() and (began := time.perf_counter()) < end:
        time.sleep(0.005)
        longest = max(longest, time.perf_counter() - began - 0.005)
    return longest


def watch_many_runs(runs_dir: Path) -> list[Figure]:
    """Seconds until the first snapshot of all runs, and what a further look costs."""
    seen: list[tuple[float, RunsSnapshot]] = []
    came = threading.Event()

    def keep(snapshot: RunsSnapshot) -> None:
        seen.append((time.perf_counter(), snapshot))
        came.set()

    began = time.perf_counter()
    watcher = RunsWatcher(runs_dir, keep)
    watcher.start()
    came.wait(PATIENCE)
    used = time.process_time()
    time.sleep(5)
    used = time.process_time() - used
    watcher.stop()
    return [
        Figure(f"{len(seen[0][1].entries):,} runs: first snapshot", seen[0][0] - began, "s", 1.0),
        Figure(f"{len(seen[0][1].entries):,} runs: processor time of each second after it", 1000 * used / 5, "ms"),
    ]


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found / 1e6 if sys.platform == "darwin" else found * 1024 / 1e6


def measured(what: Callable[[Path], list[Figure]], folder: Path, repeats: int) -> list[Figure]:
    """The median of each figure over some fresh processes."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rounds = [pool.apply(what, (folder,)) for _ in range(repeats)]
    return [
        Figure(same[0].what, statistics.median(figure.value for figure in same), same[0].unit, same[0].limit)
        for same in zip(*rounds, strict=True)
    ]


def main() -> int:
    """Measure and print; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=3, help="the median of so many is shown")
    options.add_argument("--only", choices=("run", "runs"))
    options.add_argument("--folder", type=Path, help="where the files are kept; a temporary folder when left out")
    chosen = options.parse_args()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        if chosen.only in (None, "run"):
            long = folder / f"long-{chosen.events}" / "long-s0"
            if not long.exists():
                write_long_run(long.parent, chosen.events)
            figures += measured(watch_long_run, long, chosen.repeats)
        if chosen.only in (None, "runs"):
            many = folder / f"many-{chosen.runs}"
            if not many.exists():
                write_many_runs(many, chosen.runs)
            figures += measured(watch_many_runs, many, chosen.repeats)
        for figure in figures:
            print(figure.line())
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
