"""`crild probe` with an engine that answers what it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
from crild_tui.runs import probe_rows
from engine.errors import RunError
from engine.record.probe import Sides
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.record.probe_samples import sample


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked; it answers a probe for each run, and an error for a run named "bad"."""
    requests: list[dict[str, Any]] = []

    def run_tool(tool: str, args: Sequence[str] = (), **_: object) -> Any:
        assert tool == "probe"
        requests.append(json.loads(args[0]))
        rows = []
        for run in requests[-1]["runs"]:
            name = Path(run).name
            if name.startswith("bad"):
                error = {"kind": "model", "sentence": f"{name}: its teacher is gone", "file": None, "line": None}
                rows.append({"run": name, "error": error})
            else:
                rows.append({"run": name, "probe": sample(name, method=name.split("-")[1]).to_dict()})
        return json.loads(json.dumps({"runs": rows}))

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
    return requests


def test_a_probe_is_three_tables_within_80_columns(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_dir = make_run(runs_dir)
    said = crild("probe", "rte-crild", "--device", "cpu", "--draws", "5", "--scales", "0.3, 0.1", "--examples", "64")
    assert said.code == 0
    assert asked == [
        {"runs": [str(run_dir)], "device": "cpu", "draws": 5, "scales": [0.1, 0.3], "examples": 64, "again": False}
    ]
    lines = said.out.splitlines()
    assert "rte-crild-s1: rte, crild; 256 training and 256 dev examples; cpu, 12 s, 5 % of training it" in lines
    assert any(line.split() == ["student", "accuracy", "90.00", "66.00", "-24.00"] for line in lines)
    assert any(line.split() == ["2", "to", "teacher's", "4", "attention", "1.5000", "1.8000", "1.20"] for line in lines)
    (noisy,) = [line for line in lines if line.startswith("0.3 ")]
    assert noisy.split()[1:4] == ["33.00", "5.00", "1.1000"]
    assert noisy.count("▄") == probe_rows.BAR // 2
    assert "not measured: hidden and cls, since the teacher is 768 wide, the student 312" in said.out
    assert all(len(line) <= 80 for line in lines if not line.startswith(("sharpness:", "not measured", "rte-crild")))


def test_several_runs_end_with_a_line_for_each_method(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("rte-crild-a", "rte-crild-b", "rte-kd-a"):
        make_run(runs_dir, name=name)
    said = crild("probe", "rte-crild-a", "rte-crild-b", "rte-kd-a", "rte-kd-a")
    assert said.code == 0
    assert len(asked[0]["runs"]) == 3
    rows = [line.split() for line in said.out.splitlines() if line.startswith(("crild ", "kd "))]
    assert rows == [
        ["crild", "2", "90.00", "66.00", "-24.00", "0.0200", "0.0800", "0.0500"],
        ["kd", "1", "90.00", "66.00", "-24.00", "0.0200", "0.0800", "0.0500"],
        ["crild", "1.20", "-", "-", "-", "-", "-", "-", "2.00"],
        ["kd", "1.20", "-", "-", "-", "-", "-", "-", "2.00"],
        ["crild", "66.00", "62.00", "33.00"],
        ["kd", "66.00", "62.00", "33.00"],
    ]
    summary = said.out[said.out.index("rte: accuracy,") :].splitlines()
    assert all(len(line) <= 80 for line in summary)


def test_means_are_over_the_runs_of_a_method_and_unknown_where_one_is() -> None:
    one, other = sample(train=0.8), sample(train=1.0)
    assert probe_rows.summaries([one, other])[0].rows[0][2] == "90.00"
    unknown = replace(other, metrics={"accuracy": Sides(None, 0.5)})
    assert probe_rows.summaries([one, unknown])[0].rows[0][2:4] == ["-", "58.00"]
    elsewhere = replace(other, task="mrpc")
    assert [table.title.partition(":")[0] for table in probe_rows.summaries([one, elsewhere])] == ["mrpc"] * 3 + [
        "rte"
    ] * 3


def test_json_is_what_the_engine_found(crild: Call, asked: list[dict[str, Any]], runs_dir: Path) -> None:
    make_run(runs_dir)
    document = crild("probe", "rte-crild", "--json", "--again").json
    assert document["runs"][0]["probe"]["schema"] == 1
    assert asked[0]["again"] is True


def test_a_run_that_fails_is_told_after_the_others(crild: Call, asked: list[dict[str, Any]], runs_dir: Path) -> None:
    make_run(runs_dir)
    make_run(runs_dir, name="bad-one")
    make_run(runs_dir, name="bad-two")
    said = crild("probe", "bad-one", "rte-crild", "bad-two")
    assert said.code == 3
    assert "student accuracy" in said.out
    assert "error: bad-one-s1: its teacher is gone" in said.err
    assert "error: bad-two-s1: its teacher is gone" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scales", "0,0.1"], "--scales"),
        (["--scales", "-1"], "--scales"),
        (["--scales", "nan"], "--scales"),
        (["--scales", "1e9"], "--scales"),
        (["--scales", ""], "--scales"),
        (["--scales", "a lot"], "--scales"),
        (["--draws", "0"], "1 to 100"),
        (["--draws", "101"], "--draws 101"),
        (["--examples", "0"], "--examples 0"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_loaded(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, words: list[str], said: str
) -> None:
    make_run(runs_dir)
    answer = crild("probe", "rte-crild", *words)
    assert answer.code == 2
    assert said in answer.err
    assert not asked


def test_an_unknown_run_and_a_strange_answer_are_sentences(
    crild: Call, asked: list[dict[str, Any]], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(runs_dir)
    assert "there is no run 'other'" in crild("probe", "other").err
    monkeypatch.setattr(engine.launch.foreground, "run_tool", lambda *_, **__: [1])
    answer = crild("probe", "rte-crild")
    assert (answer.code, "probes" in answer.err) == (1, True)


def test_without_unicode_bars_are_of_ascii() -> None:
    assert {row[-1] for row in probe_rows.noise_rows(sample(), ascii_only=True)} <= {
        "#" * n for n in range(probe_rows.BAR + 1)
    }


def test_the_engines_fault_keeps_its_kind() -> None:
    assert engine.launch.foreground.error_of({"kind": "strange", "sentence": "no"}).exit_code == RunError.exit_code
