"""How fast the dashboard is for the person before it: first paint, keys, terminal traffic, memory, quitting.

    python benchmarks/dashboard_screen.py [--runs 1000] [--events 1000000] [--presses 200] [--minutes 5]

Runs `crild` on a pty of 80×24, whose every byte is counted, over folders as benchmarks/dashboard.py writes them; the live
part watches four runs that this process writes, 100 events a second each. Each line is a figure beside its limit; the exit
code is 1 when a limit is not kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path

from dashboard import PRESET, Figure, write_long_run, write_many_runs
from terminal import Terminal, crild

from engine.record.events import EventWriter
from engine.record.owner import Owner
from engine.record.paths import events_file
from engine.record.run import create_run, update_status

COLUMNS, ROWS = 80, 24
EVENTS_A_SECOND = 100
LIVE = 4


class Writers:
    """Threads that write runs as engines would, until they are ended."""

    def __init__(self, runs_dir: Path) -> None:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(runs_dir, seed)) for seed in range(LIVE)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """No more events."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _write(self, runs_dir: Path, seed: int) -> None:
        run_dir = create_run(runs_dir, PRESET, name="live", seed=seed, task="rte", method="crild", environment={})
        writer = EventWriter(events_file(run_dir, 1), 1)
        writer.write("run_started", attempt=1, stages=["ild"], stage="ild", step=0)
        writer.write("stage_started", stage="ild", step=0, steps=1_000_000, epochs=4.0)
        step, due, told = 0, time.monotonic(), 0.0
        while not self._end.is_set():
            step += 1
            loss = 2.5 / (1 + step / 2000) + 0.1 * ((step * 7919) % 997) / 997
            writer.write(
                "step", stage="ild", step=step, epoch=step / 5000, loss=loss, learning_rate=1e-4, gradient_norm=1.0,
                terms={"attention": loss * 0.4, "hidden": loss * 0.6}, consistency=loss / 7, consistency_weight=0.05,
                examples_per_second=3200.0, tokens_per_second=70000.0, memory=670343168,
            )  # fmt: skip
            if step % 500 == 0:
                metrics = {"accuracy": 0.5 + 0.4 * step / (step + 5000)}
                writer.write(
                    "evaluation", stage="ild", step=step, model="student", split="dev", primary=True, metrics=metrics
                )
            if due - told > 2:
                told = due
                update_status(
                    run_dir, state="running", attempt=1, owner=Owner.current(), heartbeat=time.time(), stage="ild",
                    stages=1, step=step, steps=1_000_000, done=step, total=1_000_000, started=time.time(),
                    metric_name="accuracy", last=0.7, best=0.7, teacher=0.8,
                )  # fmt: skip
            due += 1 / EVENTS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))


def open_on(runs_dir: Path, state: Path) -> Terminal:
    """The dashboard over a runs folder, with nobody's settings."""
    environment = {"CRILD_RUNS_DIR": str(runs_dir), "CRILD_CONFIG": str(state / "none"), "XDG_STATE_HOME": str(state)}
    return Terminal(crild(), COLUMNS, ROWS, Path.cwd(), **environment)


def paint(runs_dir: Path, runs: int, state: Path) -> list[Figure]:
    """From the start of the process to the list of all runs."""
    with open_on(runs_dir, state) as terminal:
        first = terminal.until(f"{runs:,} runs")
        terminal.read(1.0)
        terminal.press("q")
        return [
            Figure(f"first paint, {runs:,} runs", first, "s", 1.0),
            Figure("quitting: the process is gone", terminal.wait(), "s", 0.5),
        ]


def long_run(runs_dir: Path, events: int, state: Path) -> list[Figure]:
    """From the key to the curves of a long run."""
    with open_on(runs_dir, state) as terminal:
        terminal.until("1 run")
        terminal.read(0.5)
        terminal.press("2")
        return [Figure(f"{events:,} events: curves after the key", terminal.until("total"), "s", 1.0)]


def live(runs_dir: Path, presses: int, minutes: float, state: Path) -> list[Figure]:
    """Keys, traffic and memory while four runs write."""
    writers = Writers(runs_dir)
    try:
        time.sleep(3)
        with open_on(runs_dir, state) as terminal:
            terminal.until(f"{LIVE} runs")
            for _ in range(LIVE):
                terminal.press(" j")
                terminal.read(0.3)
            terminal.press("c")
            terminal.until("consistency")
            terminal.read(3.0)
            answers = []
            axes = cycle(("epoch", "time", "step"))
            for _ in range(presses):
                terminal.press("x")
                answers.append(1000 * terminal.until(next(axes), 10))
                terminal.read(0.05)
            terminal.press("2")
            terminal.until("total")
            terminal.read(2.0)
            seconds = 20.0
            traffic = terminal.read(seconds) / seconds / 1000
            before = terminal.memory() / 1e6
            terminal.read(60 * minutes)
            after = terminal.memory() / 1e6
            terminal.press("q")
            gone = terminal.wait()
    finally:
        writers.end()
    ordered = sorted(answers)
    return [
        Figure("a key in Compare over 4 live runs, median", statistics.median(answers), "ms"),
        Figure("a key in Compare over 4 live runs, 99th percentile", ordered[int(0.99 * (len(ordered) - 1))], "ms", 50),
        Figure("terminal output, Live with three panels", traffic, "KB/s", 60),
        Figure("memory of the process at first", before, "MB", 200),
        Figure(f"memory of the process {minutes:g} minutes later", after, "MB", 200),
        Figure("quitting a live dashboard", gone, "s", 0.5),
    ]


def main() -> int:
    """Measure and print; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--presses", type=int, default=200)
    options.add_argument("--minutes", type=float, default=5.0)
    chosen = options.parse_args()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)
    figures: list[Figure] = []

    def show(more: list[Figure]) -> None:
        figures.extend(more)
        for figure in more:
            print(figure.line(), flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_many_runs(folder / "many", chosen.runs)
        for _ in range(3):
            show(paint(folder / "many", chosen.runs, folder / "state"))
        write_long_run(folder / "long", chosen.events)
        show(long_run(folder / "long", chosen.events, folder / "state"))
        show(live(folder / "live", chosen.presses, chosen.minutes, folder / "state"))
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
