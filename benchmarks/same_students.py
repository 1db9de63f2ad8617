"""Whether a change to the code left every student as it was, byte for byte.

    python benchmarks/same_students.py BEFORE [AFTER] [--quickstart] [--only NAME]

BEFORE and AFTER are commits; without AFTER it is the working tree. Both run in checkouts of their own, with this
interpreter, on the same presets: the tiny run of `tests/train/tiny_run.py` over families, objectives, layer maps, targets
of consistency, data and precisions, each of them stopped and resumed once where it says so, and `quickstart` on request
(some minutes). Prints a line for each configuration with the hash of the student's weights, and exits with 1 when a
student, its predictions or a logged loss differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from commits import REPOSITORY, checkout

QUICK = ("teacher.finetune.epochs=2", "stage.ild.epochs=1", "stage.kd.epochs=1", "baseline.enabled=false")
RELATIONS = "stage.ild.objectives={query = 1.0, key = 1.0, value = 1.0, hidden = 0.5}"
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    # name: the family of the tiny models (bert unless the name begins with another), then `--set` items
    "bert": (),
    "bert-accumulate": (*QUICK, "train.accumulate=4"),
    "bert-bf16": (*QUICK, 'train.precision="bf16"'),
    "bert-uniform": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "bert-emd": (*QUICK, 'stage.ild.layer_map="emd"', "stage.ild.objectives={attention = 1.0, hidden = 1.0}"),
    "bert-emd-mse": (*QUICK, 'stage.ild.layer_map="emd"', "stage.ild.objectives={attention = {weight = 1.0, mse = true}}"),
    "bert-relations": (*QUICK, RELATIONS),
    "bert-cls": (*QUICK, "stage.ild.objectives={cls = 1.0, embedding = 1.0}", "stage.ild.consistency=false"),
    "bert-narrow": (
        *QUICK, "student.init=scratch", "student.hidden_size=16",
        "stage.ild.objectives={hidden = 1.0, attention = 1.0, embedding = 0.5}",
    ),
    "bert-no-mixup": (*QUICK, "stage.ild.mixup=false"),
    "bert-target-student": (*QUICK, "stage.ild.mixup=false", "stage.ild.consistency.target=student"),
    "bert-mixed-labels": (*QUICK, "stage.kd.mixup={alpha = 1.0}", "stage.ild.consistency.target=student"),
    "bert-released-padding": (*QUICK, 'stage.ild.padding="released"'),
    "bert-other-data": (*QUICK, "stage.kd.data={task = {name = 'toy-sentiment', examples = 24}}",
                        "stage.kd.objectives={logits = 1.0}"),
    "bert-few-noisy": (*QUICK, "task.examples=40", "task.label_noise=0.2"),
    "distilbert": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "roberta": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "electra": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "albert": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "modernbert": (*QUICK, 'stage.ild.layer_map="uniform"'),
    "mpnet": (*QUICK, RELATIONS),
    "deberta-v2": (*QUICK, RELATIONS),
}  # fmt: skip
STOPPED = ("bert", "modernbert")
"""Configurations that are also stopped in the middle and resumed."""
MAKE = "import sys; from pathlib import Path; from tests.train.tiny_run import materials; "
MAKE += "folder = Path(sys.argv[1]); (folder / 'tiny.toml').write_text(materials(folder, family=sys.argv[2]))"
MAIN = "import sys; from crild_tui.cli import main; sys.exit(main())"


def family_of(name: str) -> str:
    """The family of a configuration."""
    return name if not name.startswith("bert") else "bert"


def run_python(tree: Path, cache: Path, code: str, *arguments: str) -> None:
    """Run code in a checkout. Raises CalledProcessError after printing what it wrote."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "CRILD_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(  # noqa: PLW1510 - the output is printed first
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=cache.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
        done.check_returncode()


def crild(tree: Path, work: Path, *arguments: str) -> None:
    """Run the command line of a checkout, with a cache of its own."""
    run_python(tree, work / "cache", MAIN, *arguments)


def made_by(tree: Path, work: Path, preset: str, name: str, settings: tuple[str, ...], *, stop: bool) -> Path:
    """The run directory of a configuration, finished by the code of `tree`; with `stop` in two attempts."""
    sets = [word for item in settings for word in ("--set", item)]
    runs = ["--runs-dir", str(work / "runs")]
    run_dir = work / "runs" / f"{name}-s{1 if preset == 'quickstart' else 7}"
    if stop:
        shorter = [*sets, "--set", "stage.kd.epochs=1"]
        crild(tree, work, "run", preset, *shorter, "--quiet", "--name", name, *runs)
        crild(tree, work, "resume", str(run_dir), "--set", "stage.kd.epochs=3", "--quiet", *runs)
    else:
        crild(tree, work, "run", preset, *sets, "--quiet", "--name", name, *runs)
    return run_dir


def fingerprint(run_dir: Path) -> dict[str, Any]:
    """What must be equal: hash of the weights, predictions, and every logged loss and figure of the curves."""
    weights = hashlib.sha256((run_dir / "student" / "model.safetensors").read_bytes()).hexdigest()
    predictions = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((run_dir / "predictions").iterdir())
    }
    return {"weights": weights, "predictions": predictions, "curves": list(_curves(run_dir))}


def _curves(run_dir: Path) -> Iterator[Mapping[str, Any]]:
    names = ("kind", "stage", "step", "loss", "terms", "consistency", "metrics", "model", "split")
    for path in sorted(run_dir.glob("events.*.jsonl")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["kind"] in ("step", "evaluation"):
                yield {name: event[name] for name in names if name in event}


def main() -> int:
    """Run every configuration in both checkouts and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--quickstart", action="store_true")
    parser.add_argument("--only", help="the configurations whose name contains this")
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {
            "before": checkout(options.before, folder / "before"),
            "after": checkout(options.after, folder / "after") if options.after else REPOSITORY,
        }
        works = {side: folder / f"work-{side}" for side in trees}
        for work in works.values():
            (work / "cache").mkdir(parents=True)
        presets: dict[str, str] = {}
        for family in dict.fromkeys(map(family_of, CONFIGURATIONS)):
            (folder / family).mkdir()
            run_python(trees["before"], works["before"] / "cache", MAKE, str(folder / family), family)
            presets[family] = str(folder / family / "tiny.toml")
        jobs = [(f"{config}", presets[family_of(config)], sets, False) for config, sets in CONFIGURATIONS.items()]
        jobs += [(f"{config}-resumed", presets[family_of(config)], QUICK[:2], True) for config in STOPPED]
        if options.quickstart:
            jobs.append(("quickstart", "quickstart", (), False))
        for config, preset, settings, stop in jobs:
            if options.only and options.only not in config:
                continue
            prints = {
                side: fingerprint(made_by(trees[side], works[side], preset, config, settings, stop=stop))
                for side in trees
            }
            before, after = prints["before"], prints["after"]
            unequal = [part for part in before if before[part] != after[part]]
            different += bool(unequal)
            print(f"{config:24} {before['weights'][:16]} {after['weights'][:16]}  "
                  f"{'DIFFERENT: ' + ', '.join(unequal) if unequal else 'equal'}", flush=True)  # fmt: skip
    print(
        f"{different} of {len(jobs)} configurations differ" if different else "every student is the same, byte for byte"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
