"""A package `mlflow` that appends what it is sent to a file, so that whole commands can be tested without an extra.

$FAKE_MLFLOW names the file; a file `slow` or `down` in its folder makes each request take a tenth of a second, or fail.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

CODE = """
import json, os, time
from pathlib import Path
from types import SimpleNamespace
FILE = Path(os.environ["FAKE_MLFLOW"])

class MlflowClient:
    def __init__(self, uri):
        pass
    def write(self, **row):
        if (FILE.parent / "down").exists():
            raise ConnectionError("nobody answers at https://me:secret@mlflow.example")
        if (FILE.parent / "slow").exists():
            time.sleep(0.1)
        with FILE.open("a") as file:
            file.write(json.dumps({**row, "pid": os.getpid()}) + chr(10))
    def rows(self, key):
        lines = FILE.read_text().splitlines() if FILE.exists() else []
        return [row for row in map(json.loads, lines) if key in row]
    def run(self, run_id):
        names = {row["metric"]: 0.0 for row in self.rows("metric") if row["run"] == run_id}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id), data=SimpleNamespace(metrics=names))
    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name)
    def search_runs(self, experiments, query):
        return [self.run(row["created"]) for row in self.rows("created") if repr(row["id"]) in query]
    def create_run(self, experiment, start_time, tags, run_name):
        self.write(created=run_name, id=tags["crild.id"], project=experiment, tags=tags)
        return self.run(run_name)
    def update_run(self, run_id, status):
        self.write(run=run_id, status=status)
    def log_batch(self, run_id, metrics=(), params=()):
        for item in params:
            self.write(run=run_id, param=item.key, value=item.value)
        for item in metrics:
            self.write(run=run_id, metric=item.key, step=item.step, value=item.value)
    def get_metric_history(self, run_id, name):
        return [SimpleNamespace(step=row["step"]) for row in self.rows("metric") if (row["run"], row["metric"]) == (run_id, name)]
    def set_tag(self, run_id, key, value):
        self.write(run=run_id, tag=key, value=value)
    def log_artifacts(self, run_id, folder, place):
        self.write(run=run_id, folder=folder)
    def set_terminated(self, run_id, status, end_time):
        self.write(run=run_id, terminated=status)
"""
ENTITIES = """
from types import SimpleNamespace

def Metric(key, value, timestamp, step):
    return SimpleNamespace(key=key, value=value, step=step)

def Param(key, value):
    return SimpleNamespace(key=key, value=value)
"""


class FakeMlflow:
    """What the package was sent, and how it behaves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "sent.jsonl"

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The requests that have a field, in their order."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [row for row in map(json.loads, lines) if key in row]

    def values(self, run: str) -> list[tuple[str, int, float]]:
        """Curves, steps and values of a run, as often as they were sent; without its results."""
        rows = [row for row in self.rows("metric") if row["run"] == run and not row["metric"].startswith("results/")]
        return sorted((row["metric"], row["step"], row["value"]) for row in rows)

    def become(self, *marks: str) -> None:
        """Be slow, down, or (without marks) as it should."""
        for mark in ("slow", "down"):
            (self.folder / mark).unlink(missing_ok=True)
        for mark in marks:
            (self.folder / mark).touch()


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    """The package, installed for this process and those that it starts."""
    site, folder = tmp_path / "site", tmp_path / "mlflow-server"
    for path in (site / "mlflow", site / "mlflow-3.0.dist-info", folder):
        path.mkdir(parents=True)
    (site / "mlflow" / "__init__.py").write_text(CODE)
    (site / "mlflow" / "entities.py").write_text(ENTITIES)
    (site / "mlflow" / "exceptions.py").write_text("class MlflowException(Exception): pass\n")
    (site / "mlflow-3.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow\nVersion: 3.0\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ["PYTHONPATH"]]))
    fake = FakeMlflow(folder)
    monkeypatch.setenv("FAKE_MLFLOW", str(fake.file))
    return fake
