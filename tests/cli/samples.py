"""Results and run directories as the engine leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.record.events import EventWriter
from engine.record.files import write_json
from engine.record.paths import events_file
from engine.record.run import create_run, update_status

RESULTS: dict[str, Any] = {
    "schema": 1,
    "task": "rte",
    "metric": "accuracy",
    "split": "dev",
    "majority": {"accuracy": 0.5271, "f1": 0.0},
    "teacher": {
        "metrics": {"accuracy": 0.6943, "f1": 0.71},
        "layers": 12,
        "parameters": 109_483_778,
        "bytes": 437_958_648,
        "latency_ms": 24.31,
        "throughput": 95.4,
    },
    "student": {
        "metrics": {"accuracy": 0.6751, "f1": 0.69},
        "layers": 6,
        "parameters": 66_956_546,
        "bytes": 267_832_560,
        "latency_ms": 12.02,
        "throughput": 188.2,
    },
    "baseline": {"metrics": {"accuracy": 0.61, "f1": 0.6}, "parameters": 66_956_546, "bytes": 267_832_560},
    "self_teacher": None,
    "agreement": 0.931,
    "kept_margin": 0.885,
    "last": {"stage": "kd", "step": 400, "metrics": {"accuracy": 0.6679, "f1": 0.68}},
    "best": {"stage": "kd", "step": 320, "metrics": {"accuracy": 0.6751, "f1": 0.69}},
    "saved": "best",
    "saved_why": "the weights of the best evaluation were saved (step 320 of 400)",
    "stages": [
        {"name": "ild", "steps": 1560, "seconds": 812.4, "examples_per_second": 61.2},
        {"name": "kd", "steps": 400, "seconds": 95.1, "examples_per_second": 67.0},
    ],
    "seconds": 931.0,
    "command": "crild run crild rte",
}

PRESET = """\
schema = 1
seed = 1
[task]
name = "toy-entailment"
[teacher]
model = "scratch"
[teacher.finetune]
epochs = 1.0
[student]
layers = 2
[[stage]]
name = "ild"
objectives = { hidden = 1.0 }
epochs = 4.0
[[stage]]
name = "kd"
objectives = { logits = 1.0 }
epochs = 4.0
"""


def make_run(
    runs_dir: Path,
    name: str = "rte-crild",
    *,
    state: str = "finished",
    preset: str = PRESET,
    results: dict[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    **fields: Any,
) -> Path:
    """A run directory in some state, with one attempt's events where the state says that it was started."""
    known: dict[str, Any] = {"seed": 1, "task": "rte", "method": "crild", "preset": "crild+rte", **fields}
    run_dir = create_run(runs_dir, preset, name=name, tags=tags, environment={"command": ["crild"]}, **known)
    if state in ("created", "queued"):
        return run_dir if state == "created" else _with(run_dir, state="queued")
    _write_events(run_dir)
    if state == "finished":
        write_json(run_dir / "results.json", {**RESULTS, **(results or {}), "run": run_dir.name})
        (run_dir / "student").mkdir()
    figures = {"metric_name": "accuracy", "last": 0.6751, "best": 0.6751, "teacher": 0.6943, "majority": 0.5271}
    place = {
        "stage": "kd",
        "stage_index": 2,
        "stages": 2,
        "step": 4,
        "steps": 10,
        "done": 14,
        "total": 20,
        "attempt": 1,
    }
    return _with(run_dir, state=state, **{**figures, **place, **fields})


def _with(run_dir: Path, **changes: Any) -> Path:
    update_status(run_dir, **changes)
    return run_dir


def _write_events(run_dir: Path) -> None:
    events = EventWriter(events_file(run_dir, 1), 1)
    events.write("run_started", attempt=1, stages=["ild", "kd"], stage="ild", step=0)
    events.write(
        "evaluation", stage=None, step=0, model="teacher", split="dev", primary=True, metrics={"accuracy": 0.6943}
    )
    events.write("message", level="warning", text="3 of 100 inputs were cut")
    for stage, losses in (("ild", (2.0, 1.0)), ("kd", (0.9, 0.4))):
        events.write("stage_started", stage=stage, step=0, steps=10)
        for step, loss in zip((5, 10), losses, strict=True):
            events.write("step", stage=stage, step=step, loss=loss, examples_per_second=50.0)
            events.write(
                "evaluation", stage=stage, step=step, model="student", split="dev", primary=True,
                metrics={"accuracy": 0.5 + step / 100}, best=True, **({"loss": loss} if stage == "ild" else {}),
            )  # fmt: skip
    events.write("stage_finished", stage="ild", step=10, seconds=30.0)
    events.close()
