"""Whether a change made crild slower: two commits side by side, in turn, in one run.

    python benchmarks/before_after.py BEFORE [AFTER] [--rounds 7] [--runs 1000] [--step]

BEFORE and AFTER are commits; without AFTER it is the working tree. Both sides work on the same files with this interpreter:
`crild --help`, `crild runs`, the dashboard's first paint over as many runs, and a key in Live on a run of 100,000 events.
Prints for each the median seconds of both sides, and the median, least and largest of the ratios after / before, round by
round. --step also compares training steps: each side's benchmarks/step.py, as its ratio to the plain loop in that file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from commits import REPOSITORY, checkout
from dashboard import write_long_run, write_many_runs
from terminal import Terminal, crild

EVENTS = 100_000
PRESSES = 12


class Side:
    """One commit's code, over runs folders that both sides share."""

    def __init__(self, tree: Path, folder: Path, runs: int):
        self.tree, self.folder, self.runs = tree, folder, runs

    def environment(self, runs_dir: str) -> dict[str, str]:
        """What its processes are given: its code before the installed one, and nobody's settings."""
        return {
            "PYTHONPATH": str(self.tree),
            "CRILD_RUNS_DIR": str(self.folder / runs_dir),
            "CRILD_CONFIG": str(self.folder / "none"),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }

    def _command(self, *arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            crild(*arguments), cwd=self.folder, env={**os.environ, **self.environment("many")}, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - began

    def help(self) -> float:
        """Seconds of `crild --help`."""
        return self._command("--help")

    def list_runs(self) -> float:
        """Seconds of `crild runs`."""
        return self._command("runs")

    def first_paint(self) -> float:
        """Seconds from the start of the dashboard to the list of all runs."""
        with Terminal(crild(), 80, 24, self.folder, **self.environment("many")) as terminal:
            return terminal.until(f"{self.runs:,} runs")

    def key(self) -> float:
        """Median seconds from a key in Live to the changed axis."""
        with Terminal(crild(), 80, 24, self.folder, **self.environment("long")) as terminal:
            terminal.until("1 run")
            terminal.read(0.5)
            terminal.press("2")
            terminal.until("total")
            terminal.read(2.0)
            times = []
            axes = cycle(("epoch", "time", "step"))
            for _ in range(PRESSES):
                terminal.press("x")
                times.append(terminal.until(next(axes), 10))
                terminal.read(0.05)
            return statistics.median(times)

    def step(self) -> float:
        """Seconds of a training step, as a share of those of the plain loop."""
        command = [sys.executable, "benchmarks/step.py", "--json", "--blocks", "3"]
        environment = {**os.environ, "PYTHONPATH": str(self.tree)}
        done = subprocess.run(command, cwd=self.tree, env=environment, check=True, capture_output=True, text=True)
        return 1 / float(json.loads(done.stdout)["ratio"]["median"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--step", action="store_true")
    options = parser.parse_args()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_many_runs(folder / "many", options.runs)
        write_long_run(folder / "long", EVENTS)
        before = Side(checkout(options.before, folder / "before"), folder, options.runs)
        after = Side(checkout(options.after, folder / "after") if options.after else REPOSITORY, folder, options.runs)
        measures: dict[str, Callable[[Side], float]] = {
            "crild --help": Side.help,
            f"crild runs, {options.runs:,} runs": Side.list_runs,
            "dashboard, first paint": Side.first_paint,
            "dashboard, a key in Live": Side.key,
        }
        if options.step:
            measures["training step / plain loop"] = Side.step
        for title, measure in measures.items():
            measure(before), measure(after)
            rounds = [(measure(before), measure(after)) for _ in range(options.rounds)]
            ratios = sorted(new / old for old, new in rounds)
            old, new = (statistics.median(times) for times in zip(*rounds, strict=True))
            print(f"{title:32} before {old:7.3f}  after {new:7.3f}  ratio {statistics.median(ratios):5.2f} "
                  f"({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
