"""Finished runs with predictions, made up so that what a report must say is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.record.events import EventWriter
from engine.record.files import write_json
from engine.record.paths import events_file
from engine.record.run import create_run, update_status

PRESET = """\
schema = 1
seed = {seed}
[task]
name = "{task}"
max_length = 128
label_noise = {noise}
{examples}
[teacher]
model = "/models/{teacher}"
[student]
layers = 3
{init}
[train]
threads = {threads}
[[stage]]
name = "kd"
objectives = {{ logits = 1.0 }}
temperature = {temperature}
"""


def finished(
    runs_dir: Path,
    method: str,
    seed: int,
    correct: Sequence[bool],
    *,
    task: str = "mrpc",
    labels: Sequence[int] | None = None,
    metrics: dict[str, float] | None = None,
    metric: str = "accuracy",
    noise: float = 0.0,
    examples: int | None = None,
    temperature: float = 1.0,
    threads: int = 1,
    teacher: str = "bert",
    init: Path | None = None,
    baseline: float | None = None,
    name: str | None = None,
    created: float | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    """A finished run whose student answered these examples right (its accuracy is theirs unless `metrics` is given)."""
    count = f"examples = {examples}" if examples else ""
    preset = PRESET.format(
        seed=seed, task=task, noise=noise, examples=count, temperature=temperature, threads=threads, teacher=teacher,
        init=f'init = "{init}"' if init else "",
    )  # fmt: skip
    run_dir = create_run(
        runs_dir, preset, name=name, seed=seed, task=task, method=method, preset=method, environment={"host": "here"}
    )
    gold = list(labels) if labels is not None else [place % 2 for place in range(len(correct))]
    found = metrics if metrics is not None else {metric: sum(correct) / max(1, len(correct))}
    write_json(
        run_dir / "results.json",
        {
            "schema": 1,
            "run": run_dir.name,
            "task": task,
            "metric": metric,
            "split": "dev",
            "majority": dict.fromkeys(found, 0.5),
            "teacher": {"metrics": dict.fromkeys(found, 0.9)},
            "student": {"metrics": found, "layers": 3},
            "baseline": None if baseline is None else {"metrics": {metric: baseline}},
            **(extra or {}),
        },
    )
    write_predictions(
        run_dir, gold, [label if right else 1 - label for label, right in zip(gold, correct, strict=True)]
    )
    dated: dict[str, Any] = {} if created is None else {"created": created}
    update_status(run_dir, state="finished", **dated)
    return run_dir


def write_predictions(run_dir: Path, labels: Sequence[int], predictions: Sequence[int], name: str = "student") -> None:
    classes = ("no", "yes")
    rows = [
        {
            "id": f"dev-{place}",
            "label": classes[label],
            "prediction": classes[said],
            "probabilities": {"no": 1.0 - said, "yes": float(said)},
        }
        for place, (label, said) in enumerate(zip(labels, predictions, strict=True))
    ]
    folder = run_dir / "predictions"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_curves(run_dir: Path, steps: int = 40, *, level: float = 0.7) -> None:
    """The events of one stage: loss, consistency and the dev metric."""
    events = EventWriter(events_file(run_dir, 1), 1)
    events.write("run_started", attempt=1, stages=["teacher", "kd"], stage="teacher", step=0)
    events.write("stage_started", stage="teacher", role="teacher", step=0, steps=10)
    events.write("step", stage="teacher", step=10, loss=9.0)
    events.write("stage_started", stage="kd", role="student", step=0, steps=steps)
    for step in range(5, steps + 1, 5):
        events.write("step", stage="kd", step=step, loss=2.0 / step, consistency=0.1, consistency_weight=step / steps)
        metrics = {"accuracy": level * step / steps}
        events.write("evaluation", stage="kd", step=step, model="student", split="dev", primary=True, metrics=metrics)
    events.close()


def right(count: int, wrong: Sequence[int] = ()) -> list[bool]:
    """`count` answers, all right but those at these places."""
    return [place not in wrong for place in range(count)]
