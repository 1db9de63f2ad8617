"""How busy a sweep keeps the cores, from its first run to its last.

    python benchmarks/sweep.py [--methods finetune,kd,...] [--seeds 3] [--epochs 2] [--slots N] [--keep FOLDER] [--json]

Methods x seeds of the quickstart's size (its task, teacher and student; every stage as long as the quickstart's ILD
stage), on the CPU, all sharing one teacher that is fine-tuned once. The CPU time of every engine and of the sweep's own
process is read from /proc ten times a second; busy is its sum over (cores x time from the first start to the last end).
On a machine with other work the kernel's count of time spent waiting for a core is added as "wanted": what would have
been busy without the others. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from engine.preset.load import load_preset
from engine.record.run import list_runs
from engine.sweep.plan import plan
from engine.sweep.slots import cores, slots_for
from engine.sweep.spec import read_sweep
from engine.sweep.submit import existing, submit

METHODS = "finetune,kd,mixkd,pkd,tinybert,minilm,minilmv2,bert-emd,crild"
SAMPLE = 0.1
"""Seconds between two looks at /proc."""
SIZE = """\
schema = 1
[task]
name = "toy-entailment"
max_length = 48
[teacher]
model = "scratch"
[teacher.architecture]
layers = 4
hidden_size = 96
heads = 4
dropout = 0.0
[teacher.finetune]
seed = 2
epochs = 6
batch_size = 64
learning_rate = 6e-4
warmup = 0.2
[student]
layers = 2
init = "scratch"
[train]
device = "cpu"
batch_size = 64
learning_rate = 1e-3
[baseline]
enabled = false
"""


class Usage:
    """Seconds that processes ran, and waited for a core, by thread; those of ended threads are kept."""

    def __init__(self) -> None:
        self._ran: dict[tuple[int, int], float] = {}
        self._waited: dict[tuple[int, int], float] = {}

    def sample(self, pids: set[int]) -> None:
        """Look at these processes."""
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").glob("*"):
                try:
                    ran, waited, _ = (task / "schedstat").read_text().split()
                except (OSError, ValueError):
                    continue  # it has ended
                key = (pid, int(task.name))
                self._ran[key], self._waited[key] = int(ran) / 1e9, int(waited) / 1e9

    @property
    def ran(self) -> float:
        """Seconds on a core."""
        return sum(self._ran.values())

    @property
    def waited(self) -> float:
        """Seconds ready to run, while others had the cores."""
        return sum(self._waited.values())


def sweep_text(folder: Path, methods: list[str], seeds: int, epochs: float) -> str:
    """The sweep file: every stage of every method is so many epochs long."""
    lines = [
        "[sweep]",
        'name = "bench"',
        f"methods = {json.dumps(methods)}",
        f'seeds = "1-{seeds}"',
        'preset = "size.toml"',
    ]
    for name in methods:
        stages = load_preset([name, str(folder / "size.toml")]).preset.stage
        lengths = json.dumps([f"stage.{stage.name}.epochs={epochs}" for stage in stages])
        lines += ["[[sweep.when]]", f'match = {{ method = "{name}" }}', f"set = {lengths}"]
    return "\n".join(lines) + "\n"


def measure(folder: Path, methods: list[str], seeds: int, epochs: float, slots: int | None) -> dict[str, object]:
    """Run the sweep in `folder` and measure it."""
    (folder / "size.toml").write_text(SIZE)
    (folder / "bench.toml").write_text(sweep_text(folder, methods, seeds, epochs))
    os.environ["CRILD_CACHE_DIR"] = str(folder / "cache")
    runs_dir = folder / "runs"
    found = plan(read_sweep(folder / "bench.toml"))
    places = slots_for(len(found.runs), ["cpu"], [None], slots=slots)
    usage, began = Usage(), time.time()
    record = submit(found, runs_dir, places)
    while record.state == "active":
        entries = [entry for entry in list_runs(runs_dir) if entry.state in ("running", "stopping")]
        pids = {entry.status.owner.pid for entry in entries if entry.status and entry.status.owner}
        usage.sample(pids | ({record.owner.pid} if record.owner else set()))
        time.sleep(SAMPLE)
        record = existing(runs_dir, "bench") or record
    statuses = [entry.status for entry in list_runs(runs_dir) if entry.status is not None]
    ended = max((status.ended or 0.0 for status in statuses), default=0.0)
    whole = (ended - began) * cores()
    states = [status.state for status in statuses]
    return {
        "runs": len(found.runs),
        "finished": states.count("finished"),
        "slots": len(places),
        "threads": places[0].threads,
        "cores": cores(),
        "seconds": round(ended - began, 1),
        "busy": round(usage.ran / whole, 4),
        "wanted": round(min(1.0, (usage.ran + usage.waited) / whole), 4),
        "load_before": round(LOAD, 2),
    }


LOAD = os.getloadavg()[0]
"""Runnable processes of the machine before anything was started."""


def main() -> int:
    """Measure and print; the exit code is 1 when a run did not finish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=2.0, help="of every stage")
    parser.add_argument("--slots", type=int)
    parser.add_argument("--keep", type=Path, help="a new folder for the runs, which stays")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    methods = [name.strip() for name in given.methods.split(",")]
    with tempfile.TemporaryDirectory(prefix="crild-sweep-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder.absolute(), methods, given.seeds, given.epochs, given.slots)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{found['finished']} of {found['runs']} runs finished in {found['seconds']} s")
        print(f"{found['slots']} slots of {found['threads']} threads on {found['cores']} cores")
        print(f"busy {found['busy']:.1%}, wanted {found['wanted']:.1%} (load before: {found['load_before']})")
    return 0 if found["finished"] == found["runs"] else 1


if __name__ == "__main__":
    sys.exit(main())
