"""The student's model card: what it is, what it was distilled from, how good it is, how to reproduce it."""

from __future__ import annotations

from typing import Any

from engine.data.types import TaskSpec
from engine.preset.schema import Preset
from engine.preset.text import plain


def model_card(preset: Preset, results: dict[str, Any], spec: TaskSpec) -> str:
    """The student's README.md, as the Hugging Face hub shows it."""
    student, teacher, metric = results["student"], results["teacher"], results["metric"]
    answers = f"one of {', '.join(plain(label) for label in spec.labels)}" if spec.labels else "a score"
    example = '{"text": "...", "text_pair": "..."}' if spec.is_pair else '"..."'
    rows = [("teacher", teacher), ("**this student**", student)]
    if results["baseline"]:
        rows.append(("same student, labels alone", results["baseline"]))
    names = list(student["metrics"])
    table = [
        f"| model | layers | parameters | {' | '.join(names)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in names)} |",
        *(_row(name, found, names) for name, found in rows),
        f"| most frequent class | | | {' | '.join(_figure(results['majority'].get(name)) for name in names)} |",
    ]
    findings = "".join(f"\n- {plain(finding['sentence'])}" for finding in results["findings"])
    about_data = f"About its data, before training:\n{findings}\n\n" if findings else ""
    stages = "; ".join(f"{stage.name} ({', '.join(stage.terms())})" for stage in preset.stage)
    return f"""---
library_name: transformers
pipeline_tag: text-classification
tags: [distillation, crild]
metrics: [{metric}]
---

# {plain(preset.task.display_name)}: a student of {student["layers"]} layers

Distilled with crild from `{plain(preset.teacher.model)}`. It predicts {answers}.

{chr(10).join(table)}

Measured on {results["split"]}, which was also used during training: {results["saved_why"]}.
Student and teacher give the same answer on {100 * results["agreement"]:.1f} % of it.

```python
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
classify({example}, truncation=True, max_length={preset.task.max_length})
```

It was trained on inputs of at most {preset.task.max_length} tokens; longer ones are cut.

{about_data}Stages: {stages}. Seed {preset.seed}.

To reproduce, run the preset next to this folder:

```sh
{results["command"]}
```
"""


def _row(name: str, found: dict[str, Any], metrics: list[str]) -> str:
    figures = " | ".join(_figure(found["metrics"].get(metric)) for metric in metrics)
    return f"| {name} | {found['layers']} | {found['parameters']:,} | {figures} |"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
