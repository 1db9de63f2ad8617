"""`crild export`: what it asks the engine, what it refuses before, and its table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
from engine.record import export
from engine.record.export import EXPORT
from engine.record.latency import PROCESSOR, Latency, LatencyCase, ModelLatency, Quartiles
from tests.cli.conftest import Call
from tests.cli.samples import make_run


def answer(*names: str, refused: str | None = None) -> dict[str, Any]:
    timed = ("teacher", "rte-crild", *names)
    models = tuple(
        ModelLatency(name, Quartiles(20 / 2**at, 20 / 2**at, 20 / 2**at), 40, Quartiles(2.0**at, 2.0**at, 2.0**at))
        for at, name in enumerate(timed)
    )
    rows = [{"name": "rte-crild", "value": 0.7, "bytes": 62_500_000, "differ": None, "refused": None}]
    rows += [
        {
            "name": name,
            "value": 0.69,
            "bytes": 16_000_000,
            "differ": 0.25,
            "refused": None,
            "folder": f"/exports/{name}",
        }
        for name in names
    ]
    if refused is not None:
        rows[-1] |= {"refused": refused, "folder": None}
    case = LatencyCase(1, 45, 25, models, 0.0)
    return {
        "metric": "accuracy",
        "rows": rows,
        "notes": [],
        "latency": Latency("cpu", "EPYC", 1, PROCESSOR, (case,)).to_dict(),
    }


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX and its runtime are there, for all that the command line knows."""
    monkeypatch.setattr(export, "find_spec", lambda name: name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked."""
    requests: list[dict[str, Any]] = []

    def run_tool(tool: str, args: Sequence[str] = (), **_: object) -> Any:
        assert tool == "export"
        requests.append(json.loads(args[-1]))
        return json.loads(json.dumps(answer(*requests[-1]["folders"])))

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
    return requests


def test_a_run_is_exported_with_its_task_into_folders_by_form(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_dir = make_run(runs_dir)
    said = crild("export", "rte-crild", "--quantize", "int8,fp16", "-o", str(tmp_path / "model"))
    assert said.code == 0, said.err
    (request,) = asked
    assert request["folders"] == {
        "onnx": str(tmp_path / "model"), "int8": str(tmp_path / "model-int8"), "fp16": str(tmp_path / "model-fp16"),
    }  # fmt: skip
    assert (request["run"], request["name"], request["tolerance"]) == (str(run_dir), run_dir.name, 1.0)
    assert request["preset"]
    for words in ("teacher", "70.00", "62.5 MB", "0.25", "20 ms", "4.00", "int8: /exports/int8"):
        assert words in said.out, words
    assert max(map(len, said.out.splitlines()[:8])) <= 80


def test_a_form_that_was_refused_is_said_and_ends_with_3(
    crild: Call, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(runs_dir)
    found = answer("onnx", "int8", refused="4.00 points below the original, more than --tolerance 1")
    monkeypatch.setattr(engine.launch.foreground, "run_tool", lambda *_, **__: found)
    said = crild("export", "rte-crild", "--quantize", "int8", "-o", str(tmp_path / "model"))
    assert said.code == 3
    assert "int8 was not written: 4.00 points below" in said.out


def test_mistakes_are_found_before_an_engine_starts(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, tmp_path: Path
) -> None:
    make_run(runs_dir)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (tmp_path / "file").touch()
    for words, sentence in (
        (("--to", "tflite"), "onnx is the only format"),
        (("--quantize", "int4"), "int8, int8-static and fp16"),
        (("-o", str(foreign)), "is no earlier export"),
        (("-o", str(tmp_path / "file")), "is no earlier export"),
        (("-o", str(tmp_path / "no" / "model")), "there is no folder"),
    ):
        said = crild("export", "rte-crild", *words)
        assert said.code == 2, words
        assert sentence in said.err
    assert not asked
    (foreign / EXPORT).write_text("{}")
    assert crild("export", "rte-crild", "-o", str(foreign)).code == 0


def test_without_the_packages_no_engine_starts(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(runs_dir)
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    said = crild("export", "latest")
    assert said.code == 3
    assert "pip install 'crild[onnx]'" in said.err
    assert not asked
