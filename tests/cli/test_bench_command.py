"""`crild bench` with an engine whose answers the test sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
from crild_tui.cli import bench as command
from engine.errors import ModelError, UsageError
from engine.record.latency import PROCESSOR, Latency, LatencyCase, ModelLatency, Quartiles
from tests.cli.conftest import Call
from tests.cli.samples import make_run


def latency(*names: str, waited: float = 0.0) -> Latency:
    """Each model twice as fast as the one before."""
    cases = []
    for batch in (1, 32):
        own = [batch * 24.31 / 2**index for index in range(len(names))]
        models = tuple(
            ModelLatency(name, Quartiles(ms, ms * 0.99, ms * 1.02), 40, Quartiles(2.0**index, 1.98**index, 2.03**index))
            for index, (name, ms) in enumerate(zip(names, own, strict=True))
        )
        cases.append(LatencyCase(batch, 45, 25, models, waited))
    return Latency("cpu", "AMD EPYC", 1, PROCESSOR, tuple(cases))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked; it answers with a teacher and a student."""
    requests: list[dict[str, Any]] = []

    def run_tool(tool: str, args: Sequence[str] = (), **_: object) -> Any:
        assert tool == "bench"
        requests.append(json.loads(args[-1]))
        found = latency("teacher of rte-crild", "rte-crild", waited=0.62)
        return json.loads(json.dumps({"latency": found.to_dict(), "models": {}, "notes": ["a note"]}))

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
    return requests


def test_bench_shows_a_table_for_each_batch_within_80_columns(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_dir = make_run(runs_dir)
    said = crild("bench", "rte-crild", "--batch", "1, 32", "--device", "cpu")
    assert said.code == 0
    assert asked == [
        {
            "batches": [1, 32], "lengths": [], "threads": 1, "device": "cpu",
            "targets": [{"name": run_dir.name, "run": str(run_dir)}],
        }
    ]  # fmt: skip
    lines = said.out.splitlines()
    assert max(map(len, lines[: lines.index("ratio: how many times as fast as teacher of rte-crild")])) <= 80
    rows = [" ".join(line.split()) for line in lines]
    assert "teacher of rte-crild 24.3 24.1 to 24.8 41 1.00" in rows
    assert "rte-crild 12.2 12.0 to 12.4 82 2.00 1.98 to 2.03" in rows
    joined = " ".join(said.out.split())
    for fact in ("batch 32, 45 tokens", "AMD EPYC", "1 thread", "62 %", "a note"):
        assert fact in joined


def test_bench_as_json_is_one_document(crild: Call, asked: list[dict[str, Any]], runs_dir: Path) -> None:
    make_run(runs_dir)
    found = crild("bench", "rte-crild", "--json", "--length", "16,64", "--threads", "2").json
    assert Latency.from_dict(found["latency"]).cases[1].of("rte-crild") is not None
    assert (asked[0]["lengths"], asked[0]["threads"], asked[0]["batches"]) == ([16, 64], 2, [1, 8, 32])


def test_runs_folders_and_hub_ids_are_told_apart(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, tmp_path: Path
) -> None:
    run_dir, folder = make_run(runs_dir), tmp_path / "model"
    folder.mkdir()
    said = crild("bench", str(folder), "some/model", "rte-crild", "rte-crild", str(run_dir))
    assert asked[0]["targets"] == [
        {"name": str(folder), "model": str(folder)},
        {"name": "some/model", "model": "some/model"},
        {"name": "rte-crild", "run": str(run_dir)},
        {"name": str(run_dir), "run": str(run_dir)},
    ]
    assert "some/model is no run" in said.err


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--batch", "0"], "invalid-numbers"),
        (["--batch", "1,,2"], "invalid-numbers"),
        (["--batch", "1e3"], "invalid-numbers"),
        (["--length", "99999"], "invalid-numbers"),
        (["--batch", "1,2,3,4,5,6,7,8,9"], "invalid-numbers"),
        (["--threads", "0"], "invalid-threads"),
        (["--device", "cuda:99"], "unusable-device"),
        (["--device", "tpu"], "unusable-device"),
        (["./nowhere"], "no-such-model"),
        ([f"./m{number}" for number in range(20)], "too-many-models"),
    ],
)
def test_bad_input_is_refused_before_an_engine_starts(
    words: list[str], kind: str, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(runs_dir)
    monkeypatch.setattr("engine.launch.devices._without_cuda", lambda: True)
    options: dict[str, Any] = {"batch": "1", "length": None, "threads": 1, "device": None, "runs_dir": str(runs_dir)}
    models = ["rte-crild"]
    if words[0].startswith("--"):
        options[words[0].removeprefix("--")] = int(words[1]) if words[0] == "--threads" else words[1]
    else:
        models = words
    with pytest.raises(UsageError) as caught:
        command.bench(models, **options)
    assert (caught.value.kind, asked) == (kind, [])


def test_a_run_without_a_student_and_a_fault_of_the_engine(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(runs_dir, "unfinished", state="stopped")
    assert (crild("bench", "unfinished").code, asked) == (2, [])
    fault = ModelError("--length 600: some/model reads at most 512 tokens", kind="length-above-positions")

    def refuse(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(engine.launch.foreground, "run_tool", refuse)
    assert crild("bench", "some/model", "--length", "600").code == 3
    monkeypatch.setattr(engine.launch.foreground, "run_tool", lambda *_, **__: {"latency": {}})
    assert crild("bench", "some/model").code == 1
