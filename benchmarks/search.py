"""What a search itself takes: processor time of its process beside that of its runs, on an embedded task.

python benchmarks/search.py [--trials 8] [--slots 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
import source_tree  # noqa: F401 - before the product's packages

from engine.record.run import list_runs
from engine.search.declaration import read_search
from engine.search.plan import plan_search
from engine.search.submit import submit_search
from engine.search.trials import read_trials
from engine.sweep.record import sweep_file
from engine.sweep.slots import Slot
from engine.sweep.submit import existing

SAMPLE = 0.2
"""Seconds between two looks at the processes."""
FILE = """[search]
methods = ["quickstart"]
set = ["baseline.enabled=false"]
trials = {trials}
confirm = 1
[search.space]
"train.learning_rate" = {{ low = 1e-4, high = 1e-2, log = true }}
"stage.kd.temperature" = {{ low = 1.0, high = 8.0 }}
"stage.ild.layer_map" = ["last", "uniform", "emd"]
"""


def seconds_of(pid: int) -> float:
    """Processor seconds of a process so far; 0 if it is gone."""
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(used.user + used.system)


def measure(folder: Path, trials: int, slots: int) -> dict[str, object]:
    """Run the search in `folder` and measure it."""
    path = folder / "toy.toml"
    path.write_text(FILE.format(trials=trials))
    os.environ["CRILD_CACHE_DIR"] = str(folder / "cache")
    runs_dir = folder / "runs"
    began = time.time()
    record = submit_search(plan_search(read_search(path)), runs_dir, [Slot("cpu", 1)] * slots)
    own, engines = 0.0, dict[int, float]()
    while record.state == "active":
        own = max(own, seconds_of(record.owner.pid) if record.owner is not None else 0.0)
        for entry in list_runs(runs_dir):
            if entry.status is not None and entry.status.owner is not None and entry.state == "running":
                pid = entry.status.owner.pid
                engines[pid] = max(engines.get(pid, 0.0), seconds_of(pid))
        time.sleep(SAMPLE)
        record = existing(runs_dir, record.name) or record
    found = read_trials(sweep_file(runs_dir, record.name))
    theirs = sum(engines.values())
    return {
        "state": record.state,
        "trials": {} if found is None else found.counts(),
        "slots": slots,
        "seconds": round(time.time() - began, 1),
        "search_processor_seconds": round(own, 2),
        "runs_processor_seconds": round(theirs, 1),
        "share": round(own / max(theirs, 1e-9), 4),
    }


def main() -> int:
    """Measure and print; the exit code is 1 when the search did not end by itself."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crild-search-") as temporary:
        found = measure(Path(temporary), given.trials, given.slots)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        share = f"{100 * float(str(found['share'])):.2f} %"
        print(f"the search took {found['search_processor_seconds']} s of processor time, {share} of that of its runs")
        print(", ".join(f"{name} {value}" for name, value in found.items()))
    return 0 if found["state"] == "ended" else 1


if __name__ == "__main__":
    sys.exit(main())
