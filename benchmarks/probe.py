"""What probing a run costs beside training it.

    python benchmarks/probe.py [--presets quickstart] [--set KEY=VALUE]... [--repeats 3] [--json]

Trains one run (the quickstart without its baseline, unless other presets are named; a teacher in the cache is taken from
there), then probes it with `crild probe --again`. Says both by the engine's own clock, loading of libraries and models
left out on both sides, and by the clock on the wall with everything. The limit is 10 % of the former.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import source_tree  # noqa: F401 - before the product's packages

LIMIT = 0.10
"""Of the seconds of training."""
CRILD = (sys.executable, "-c", "import sys; from crild_tui.cli import main; sys.exit(main())")


def timed(*words: str) -> tuple[float, str]:
    """Wall seconds and standard output of a command."""
    began = time.perf_counter()
    done = subprocess.run([*CRILD, *words], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - began, done.stdout


def measure(presets: list[str], settings: list[str], repeats: int, folder: str) -> dict[str, Any]:
    """Train once and probe so many times; medians of the probes."""
    options = [word for setting in ("baseline.enabled=false", *settings) for word in ("--set", setting)]
    trained, _ = timed("run", *presets, *options, "--name", "probed", "--quiet", "--runs-dir", folder)
    walls, inner, training = [], [], 0.0
    for _ in range(repeats):
        wall, said = timed("probe", "probed", "--again", "--json", "--runs-dir", folder)
        found = json.loads(said)["runs"][0]["probe"]
        walls.append(wall)
        inner.append(found["seconds"])
        training = found["run_seconds"]
    probe, wall = statistics.median(inner), statistics.median(walls)
    return {
        "training": round(training, 2),
        "probe": round(probe, 2),
        "share": round(probe / training, 4),
        "training_wall": round(trained, 2),
        "probe_wall": round(wall, 2),
        "share_wall": round(wall / trained, 4),
    }


def main() -> int:
    """Measure and print; the exit code is 1 when the limit is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", default="quickstart", help="merged in this order, with commas")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crild-probe-") as folder:
        found = measure(given.presets.split(","), given.settings, given.repeats, folder)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"training {found['training']} s, probe {found['probe']} s: {found['share']:.1%} (limit {LIMIT:.0%})")
        print(f"everything: {found['training_wall']} s, {found['probe_wall']} s: {found['share_wall']:.1%}")
    return 0 if found["share"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
