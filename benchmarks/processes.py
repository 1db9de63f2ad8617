"""How much faster the steps of a run are when several processes share them.

    python benchmarks/processes.py [--processes 2] [--steps 20] [--rounds 2] [--json]

The same short run (an encoder of 6 layers, 384 wide, from random weights; a student of 3) with one process and with
several, each with one thread, in turns. Prints, for each stage, the median of its examples/s with one process, and the
ratio of several to one in each round: evaluations, loading and saving, which one process does alone, are not included.
Needs as many idle cores as processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import source_tree  # noqa: F401 - before the product's packages

PRESET = """
schema = 1
seed = 1
[task]
name = "toy-entailment"
examples = 1000
max_length = 48
[teacher]
model = "scratch"
architecture = {{ layers = 6, hidden_size = 384, heads = 12 }}
finetune = {{ epochs = {epochs}, batch_size = 32, evaluate = 100000 }}
[student]
layers = 3
[train]
threads = 1
batch_size = 32
evaluate = 100000
save_teacher_cache = false
[[stage]]
name = "cr-ild"
steps = {steps}
objectives = {{ attention = 1.0, hidden = 1.0 }}
layer_map = "last"
mixup = {{ alpha = 1.0 }}
consistency = {{ weight = 0.1 }}
[[stage]]
name = "labels"
steps = {steps}
objectives = {{ labels = 1.0 }}
"""


def speeds(folder: Path, processes: int, number: int) -> dict[str, float]:
    """Examples a second of each stage of one run."""
    name = f"p{processes}-{number}"
    command = [sys.executable, "-m", "crild", "run", str(folder / "run.toml"), "--runs-dir", str(folder / "runs"), "-q"]
    command += ["--name", name, "--processes", str(processes)]
    environment = os.environ | {"CRILD_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    results = json.loads((folder / "runs" / f"{name}-s1" / "results.json").read_text())
    return {stage["name"]: float(stage["examples_per_second"]) for stage in results["stages"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crild-processes-") as name:
        folder = Path(name)
        (folder / "run.toml").write_text(PRESET.format(steps=given.steps, epochs=given.steps / 32))
        rounds = [
            {count: speeds(folder, count, number) for count in (1, given.processes)} for number in range(given.rounds)
        ]
    single = {stage: statistics.median(one[1][stage] for one in rounds) for stage in rounds[0][1]}
    ratios = {stage: [round(one[given.processes][stage] / one[1][stage], 3) for one in rounds] for stage in single}
    if given.json:
        print(json.dumps({"examples_per_second": single, "ratios": ratios}))
        return
    for stage, speed in single.items():
        times = ", ".join(f"{ratio:.2f}" for ratio in ratios[stage])
        print(f"{stage:8} one process {speed:.1f} examples/s; {given.processes} processes: {times} times")


if __name__ == "__main__":
    main()
