"""How busy a sweep keeps the cores, from its first run to its last.

    python benchmarks/sweep.py [--methods finetune,kd,...] [--seeds 3] [--slots N] [--keep FOLDER] [--json]

Methods x seeds of the study's toy sweep (presets/study/toy.toml: the quickstart's task, teacher, student and length), on
the CPU, all sharing one teacher that is fine-tuned once. The CPU time of every engine, of the sweep's own process and of what it started is
read from /proc ten times a second; busy is its sum over (cores x time from the first start to the last end). On a machine
with other work the kernel's count of time spent waiting for a core is added as "wanted": what would have been busy without
the others. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import source_tree  # noqa: F401 - before the product's packages
import tomlkit

from engine.launch.devices import cores
from engine.preset.shipped import folder as presets
from engine.record.run import list_runs
from engine.sweep.plan import plan
from engine.sweep.slots import slots_for
from engine.sweep.spec import read_sweep
from engine.sweep.submit import existing, submit

METHODS = "finetune,kd,mixkd,pkd,tinybert,minilm,minilmv2,bert-emd,crild"
SAMPLE = 0.1
"""Seconds between two looks at /proc."""


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


def descendants(pid: int) -> set[int]:
    """The processes that a process started, and those that they did."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = {int(word) for word in file.read_text().split()}
        except OSError:
            continue  # it has ended
        found |= children.union(*map(descendants, children))
    return found


def write_sweep(folder: Path, methods: list[str], seeds: int) -> Path:
    """The toy sweep with so many seeds of these methods alone, and the preset it is based on."""
    study = presets() / "study"
    document: Any = tomlkit.parse((study / "toy.toml").read_text())
    table = document["sweep"]
    if unknown := [name for name in methods if name not in table["methods"]]:
        sys.exit(f"not in {study / 'toy.toml'}: {', '.join(unknown)}; there are {', '.join(table['methods'])}")
    table["seeds"] = f"1-{seeds}"
    table["methods"] = {name: table["methods"][name] for name in methods}
    for part in table["when"]:
        named = part["match"]["method"]
        part["match"]["method"] = [m for m in methods if m in ([named] if isinstance(named, str) else named)]
    table["when"] = [part for part in table["when"] if part["match"]["method"]]
    (folder / "toy-base.toml").write_text((study / "toy-base.toml").read_text())
    (folder / "toy.toml").write_text(tomlkit.dumps(document))
    return folder / "toy.toml"


def measure(folder: Path, methods: list[str], seeds: int, slots: int | None) -> dict[str, object]:
    """Run the sweep in `folder` and measure it."""
    file = write_sweep(folder, methods, seeds)
    os.environ["CRILD_CACHE_DIR"] = str(folder / "cache")
    runs_dir = folder / "runs"
    found = plan(read_sweep(file))
    places = slots_for(len(found.runs), ["cpu"], [None], slots=slots)
    usage, began = Usage(), time.time()
    record = submit(found, runs_dir, places)
    while record.state == "active":
        entries = [entry for entry in list_runs(runs_dir) if entry.state in ("running", "stopping")]
        pids = {entry.status.owner.pid for entry in entries if entry.status and entry.status.owner}
        own = set() if record.owner is None else {record.owner.pid, *descendants(record.owner.pid)}
        usage.sample(pids | own)
        time.sleep(SAMPLE)
        record = existing(runs_dir, found.name) or record
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
        "processor_seconds": round(usage.ran, 1),
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
    parser.add_argument("--slots", type=int)
    parser.add_argument("--keep", type=Path, help="a new folder for the runs, which stays")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    methods = [name.strip() for name in given.methods.split(",")]
    with tempfile.TemporaryDirectory(prefix="crild-sweep-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder.absolute(), methods, given.seeds, given.slots)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(
            f"{found['finished']} of {found['runs']} runs finished in {found['seconds']} s, with "
            f"{found['processor_seconds']} s of the processors"
        )
        print(f"{found['slots']} slots of {found['threads']} threads on {found['cores']} cores")
        print(f"busy {found['busy']:.1%}, wanted {found['wanted']:.1%} (load before: {found['load_before']})")
    return 0 if found["finished"] == found["runs"] else 1


if __name__ == "__main__":
    sys.exit(main())
