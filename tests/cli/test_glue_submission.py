"""`crild predict --glue-submission`: what the engine is asked, what is refused before, and what the user sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
from engine.preset.load import load_preset
from engine.preset.write import dump
from tests.cli.conftest import Call
from tests.cli.samples import make_run

ANSWER: dict[str, Any] = {
    "sets": [{"file": "RTE.tsv", "rows": 3000, "labels": {"entailment": 1800, "not_entailment": 1200}}],
    "archive": "/glue/submission.zip",
    "files": ["CoLA.tsv", "RTE.tsv"],
    "missing": ["SST-2.tsv", "AX.tsv"],
    "notes": ["a note"],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked."""
    requests: list[dict[str, Any]] = []

    def run_tool(tool: str, args: Sequence[str] = (), **_: object) -> Any:
        assert tool == "submission"
        requests.append(json.loads(args[-1]))
        return ANSWER

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
    return requests


def run_of(runs_dir: Path, *presets: str, settings: Sequence[str] = ()) -> Path:
    name = presets[-1].split("/")[-1].removesuffix(".toml")
    return make_run(runs_dir, name, preset=dump(load_preset(list(presets), list(settings)).preset))


def test_the_task_of_a_run_is_answered_into_a_folder(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, tmp_path: Path
) -> None:
    run_dir = run_of(runs_dir, "crild", "rte")
    said = crild("predict", "rte", "--glue-submission", str(tmp_path / "glue"), "--batch-size", "8", "--device", "cpu")
    assert said.code == 0, said.err
    assert asked == [{"run": str(run_dir), "folder": str(tmp_path / "glue"), "device": "cpu", "batch_size": 8}]
    for words in (
        "RTE.tsv",
        "3,000",
        "entailment 60.0 %",
        "submission.zip: CoLA.tsv and RTE.tsv",
        "SST-2.tsv and AX.tsv",
    ):
        assert words in said.out, words
    assert "a note" in said.err
    assert (tmp_path / "glue").is_dir()


def test_what_cannot_be_submitted_is_refused_before_an_engine_starts(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, tmp_path: Path
) -> None:
    run_of(runs_dir, "crild", "rte")
    toy = run_of(runs_dir, "quickstart")
    (tmp_path / "model").mkdir()
    (tmp_path / "file").touch()
    folder = str(tmp_path / "glue")
    for words in (
        (toy.name, "--glue-submission", folder),
        (str(tmp_path / "model"), "--glue-submission", folder),
        ("owner/model", "--glue-submission", folder),
        ("rte", "--glue-submission", str(tmp_path / "file")),
        ("rte", "--glue-submission", str(tmp_path / "no" / "glue")),
        ("rte", "--glue-submission", str(tmp_path / "cache" / "tokens")),
        ("rte", "x.csv", "--glue-submission", folder),
        ("rte", "--glue-submission", folder, "-o", "out.csv"),
        ("rte", "--glue-submission", folder, "--text", "sentence"),
        ("rte", "--glue-submission", folder, "--precision", "bf16"),
        ("rte", "--glue-submission", folder, "--max-length", "8"),
    ):
        said = crild("predict", *words)
        assert said.code == 2, words
        assert len([line for line in said.err.splitlines() if line.startswith("error: ")]) == 1
    assert not asked
