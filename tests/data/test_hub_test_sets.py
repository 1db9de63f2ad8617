"""GLUE's test sets from the hub, whose labels are withheld."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.data.tasks import TEST_SETS
from tests.conftest import PATIENCE
from tests.data.fake_hub import fake_hub
from tests.data.test_hub import card, parquet

SCRIPT = """
import json
from engine.data.hub import load_hub_test
from engine.errors import CrildError
from engine.preset.schema import Task
try:
    (known, rows), = load_hub_test(Task(name="wnli")).items()
    print(json.dumps([known.file, list(rows.texts), list(rows.pairs)]))
except CrildError as error:
    print(json.dumps(error.kind))
"""
NAMES = ["not_entailment", "entailment"]
(WNLI,) = TEST_SETS["wnli"]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (range(WNLI.rows), None),
        (range(WNLI.rows - 1), "wrong-number-of-rows"),
        (range(1, WNLI.rows + 1), "rows-not-numbered"),
    ],
)
def test_test_sets_come_from_the_hub(tmp_path: Path, numbers: range, expected: str | None) -> None:
    columns: dict[str, list[Any]] = {
        "sentence1": [f"first {row}" for row in numbers],
        "sentence2": [f"second {row}" for row in numbers],
        "label": [-1] * len(numbers),
        "idx": list(numbers),
    }
    glue = tmp_path / "hub/nyu-mll/glue"
    parquet(glue / "wnli/test-0.parquet", **columns)
    readme = card({"wnli": ["test"]}, {"wnli": NAMES})
    (glue / "README.md").write_text(
        readme.replace("  - name: label", "  - name: idx\n    dtype: int64\n  - name: label")
    )
    with fake_hub(tmp_path / "hub") as (url, _):
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")}
        environment.pop("HF_HUB_OFFLINE")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == (expected or [WNLI.file, columns["sentence1"], columns["sentence2"]])
