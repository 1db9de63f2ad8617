"""How long a report over many runs takes.

    python benchmarks/report.py [--runs 500] [--examples 408] [--repeats 3] [--page] [--folder FOLDER]

Writes finished runs as the engine leaves them (status, complete preset, results, predictions on so many dev examples,
events, environment): methods × tasks × 5 seeds. Then calls `crild report` over them in fresh processes, and says the
median of its wall time (and of its processor time) beside its limit; the exit code is 1 when the limit is not kept. --page measures the HTML page
with its pictures too, which has no limit. With --folder the files stay there and are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import source_tree  # noqa: F401 - before the product's packages

from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.events import EventWriter
from engine.record.files import write_json
from engine.record.paths import events_file
from engine.record.run import create_run, update_status

LIMIT = 5.0
"""Seconds that the table of 500 runs may take."""
TASKS = ("mrpc", "rte", "sst2", "cola")
SEEDS = 5
STEPS = 1000


def write_runs(folder: Path, runs: int, examples: int) -> None:
    """So many finished runs; methods differ a little, seeds too."""
    draw = random.Random(0)
    ease = [draw.random() for _ in range(examples)]
    labels = [draw.randrange(2) for _ in range(examples)]
    presets = {task: load_preset(["crild", task]).preset for task in TASKS}
    for number in range(runs):
        seed = number % SEEDS + 1
        task = TASKS[number // SEEDS % len(TASKS)]
        method = f"method-{number // SEEDS // len(TASKS) + 1}"
        metric = "matthews" if task == "cola" else "accuracy"
        quality = 0.75 + 0.004 * (number // SEEDS // len(TASKS)) + draw.gauss(0, 0.01)
        said = [g if 0.6 * e + 0.4 * draw.random() < quality else 1 - g for g, e in zip(labels, ease, strict=True)]
        text = dump(presets[task].model_copy(update={"seed": seed}))
        run_dir = create_run(folder, text, name=f"{task}-{method}", seed=seed, task=task, method=method, preset=method)
        _write_record(run_dir, task, metric, labels, said)
        update_status(run_dir, state="finished", created=1.7e9 + number)


def _write_record(run_dir: Path, task: str, metric: str, labels: list[int], said: list[int]) -> None:
    right = sum(g == s for g, s in zip(labels, said, strict=True)) / len(labels)
    figures = {metric: right if metric == "accuracy" else _matthews(labels, said)}
    results: dict[str, Any] = {
        "schema": 1, "run": run_dir.name, "task": task, "metric": metric, "split": "dev",
        "majority": dict.fromkeys(figures, 0.0), "teacher": {"metrics": dict.fromkeys(figures, 0.9)},
        "student": {"metrics": figures, "layers": 6}, "baseline": None,
    }  # fmt: skip
    write_json(run_dir / "results.json", results, durable=False)
    classes = ("0", "1")
    rows = (
        {
            "id": f"dev-{n}",
            "label": classes[g],
            "prediction": classes[s],
            "probabilities": {"0": 1.0 - s, "1": float(s)},
        }
        for n, (g, s) in enumerate(zip(labels, said, strict=True))
    )
    (run_dir / "predictions").mkdir()
    (run_dir / "predictions/student.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    events = EventWriter(events_file(run_dir, 1), 1)
    events.write("stage_started", stage="kd", role="student", step=0, steps=STEPS)
    for step in range(10, STEPS + 1, 10):
        events.write("step", stage="kd", step=step, loss=2 / step, consistency=0.1, learning_rate=1e-5)
        if step % 200 == 0:
            events.write(
                "evaluation", stage="kd", step=step, model="student", split="dev", primary=True, metrics=figures
            )
    events.close()


def _matthews(labels: list[int], said: list[int]) -> float:
    pairs = list(zip(labels, said, strict=True))
    tp, tn, fp, fn = (sum(pair == kind for pair in pairs) for kind in ((1, 1), (0, 0), (0, 1), (1, 0)))
    below = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    return float((tp * tn - fp * fn) / below) if below else 0.0


def seconds(folder: Path, *options: str) -> tuple[float, float]:
    """Wall time and processor time of one `crild report` in a process of its own."""
    code = "import sys; from crild_tui.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "report", "--runs-dir", str(folder), *options]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def _medians(folder: Path, repeats: int, *options: str) -> tuple[float, float]:
    measured = [seconds(folder, *options) for _ in range(repeats)]
    return statistics.median(wall for wall, _ in measured), statistics.median(used for _, used in measured)


def main() -> int:
    """Write the runs, measure, print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--examples", type=int, default=408)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crild-report-") as made:
        folder = options.folder or Path(made) / "runs"
        if not folder.is_dir() or not any(folder.iterdir()):
            write_runs(folder, options.runs, options.examples)
        count = sum(1 for path in folder.iterdir() if path.is_dir())
        table, used = _medians(folder, options.repeats)
        kept = table <= LIMIT
        verdict = "kept" if kept else "NOT KEPT"
        print(f"table over {count} runs      {table:6.2f} s ({used:.2f} s of a core)   limit {LIMIT:g} s   {verdict}")
        if options.page:
            page, used = _medians(folder, options.repeats, "--format", "html")
            print(f"HTML page over {count} runs  {page:6.2f} s ({used:.2f} s of a core)")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
