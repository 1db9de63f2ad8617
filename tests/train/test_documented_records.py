"""What a run writes into its events and results is in the reference of the documentation, and the reverse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.record.event_kinds import COMMON, KINDS
from engine.record.events import read_events
from engine.record.result_fields import FIELDS
from engine.train import results
from tests.train.tiny_run import make, materials, unmeasured, work

ONLY_SOMETIMES = {
    "run_started": set(), "message": {"finding"}, "run_finished": {"state", "metrics"}, "step": {"ranks", "candidates", "chosen", "divergence", "candidates_divergence"},
}  # fmt: skip
"""Fields that no event of the tiny run has: its engine is this process, which writes no end, shares no step and chooses no inputs."""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished tiny run with a test set."""
    folder = tmp_path_factory.mktemp("documented")
    text = materials(folder)
    (folder / "test.csv").write_text((folder / "dev.csv").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "measure", unmeasured)
        made = make(folder, text, f"task.files.test={folder}/test.csv")
        work(made)
        yield made


def test_every_field_of_an_event_is_documented(run_dir: Path) -> None:
    seen: dict[str, set[str]] = {}
    for event in read_events(run_dir):
        seen.setdefault(event["kind"], set()).update(event.keys() - COMMON.keys())
    for kind, fields in seen.items():
        assert fields <= KINDS[kind].fields.keys(), kind
    for kind in KINDS.keys() & seen.keys():
        assert KINDS[kind].fields.keys() - seen[kind] <= ONLY_SOMETIMES.get(kind, set()), kind
    assert KINDS.keys() - seen.keys() <= {"phase", "run_finished"}


def test_every_field_of_the_results_is_documented(run_dir: Path) -> None:
    document = json.loads((run_dir / "results.json").read_text())
    patterns = {name: re.compile(_pattern(name)) for name in FIELDS}
    written = set(_paths(document))
    undocumented = {
        path
        for path in written
        if not path.startswith("latency.") and not any(pattern.fullmatch(path) for pattern in patterns.values())
    }
    assert undocumented == set()
    unwritten = {name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, written))}
    assert unwritten <= {"data.scores[]", "latency", *_BY_CIRCUMSTANCE}


_BY_CIRCUMSTANCE = {
    name
    for name in FIELDS
    if name.startswith(("findings", "self_teacher", "baseline", "best"))
    or name in ("teacher", "teacher.models")
    or name.endswith((".latency_ms", ".throughput", ".dev_extra.{split}.{metric}", ".thresholds.{label}"))
}
"""Fields that depend on the run: no teacher with figures, several of them, a second dev set, findings, chosen thresholds, and speeds, which this run doesn't measure."""


def _pattern(name: str) -> str:
    return "".join(
        ".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", name) if part
    )  # fmt: skip


def _paths(value: Any, path: str = "") -> Iterator[str]:
    """The path of each value in a document that is no object; of empty ones their own."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _paths(item, f"{path}[]")
    elif value not in ({}, []):
        yield path
