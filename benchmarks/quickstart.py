"""How long the quickstart takes, and what it shows for each seed.

    python benchmarks/quickstart.py [--seeds 10] [--set KEY=VALUE]... [--json]

The first seed trains the teacher, the others take it from the cache. Seconds are on the clock and of the processors, of the
command and of its engine, both read from /proc ten times a second; where the machine has other work, the processors'
are those to compare. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import source_tree  # noqa: F401 - before the product's packages
from sweep import SAMPLE, Usage

from engine.record.run import list_runs

SHARE = 0.9
"""Of the teacher's margin over the majority guess, at least this much is to be left."""
POINTS = 3.0
"""By so many points the student is to be better than labels alone."""


def run(folder: Path, seed: int, settings: list[str]) -> dict[str, Any]:
    """Run the quickstart once; its figures, in percent and in seconds."""
    command = [
        sys.executable,
        "-m",
        "crild",
        "run",
        "quickstart",
        "--runs-dir",
        str(folder / "runs"),
        "--name",
        "quick",
    ]
    command += [word for text in (f"seed={seed}", *settings) for word in ("--set", text)]
    environment = os.environ | {"CRILD_CACHE_DIR": str(folder / "cache")}
    usage, began = Usage(), time.monotonic()
    with (folder / f"{seed}.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while process.poll() is None:
            entries = [entry for entry in list_runs(folder / "runs") if entry.state in ("running", "stopping")]
            usage.sample(
                {process.pid} | {entry.status.owner.pid for entry in entries if entry.status and entry.status.owner}
            )
            time.sleep(SAMPLE)
    if process.returncode:
        sys.exit((folder / f"{seed}.log").read_text())
    found = json.loads((folder / "runs" / f"quick-s{seed}" / "results.json").read_text())
    metric = found["metric"]
    student, labels = found["student"]["metrics"][metric], found["baseline"]["metrics"][metric]
    return {
        "seed": seed,
        "teacher": 100 * found["teacher"]["metrics"][metric],
        "student": 100 * student,
        "kept": 100 * found["kept_margin"],
        "labels": 100 * labels,
        "difference": 100 * (student - labels),
        "seconds": time.monotonic() - began,
        "processor": usage.ran,
    }


def main() -> int:
    """Measure and print; the exit code is 1 when a seed does not show what it is to show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 1 on")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="crild-quickstart-") as folder:
        for seed in range(1, given.seeds + 1):
            rows.append(run(Path(folder), seed, given.settings))
            if not given.json:
                print(" | ".join(f"{key} {value:.1f}" if key != "seed" else f"seed {value}" for key, value in rows[-1].items()),
                      flush=True)  # fmt: skip
    short = [row["seed"] for row in rows if row["difference"] < POINTS or row["kept"] < 100 * SHARE]
    if given.json:
        print(json.dumps(rows, indent=2))
    elif short:
        print(
            f"too little for seeds {short}: {POINTS:g} points more than labels alone and {SHARE:.0%} of the margin are wanted"
        )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
