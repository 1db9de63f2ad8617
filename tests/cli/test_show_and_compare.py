from __future__ import annotations

import errno
from pathlib import Path

import pytest

from crild_tui.runs.details import read_about
from crild_tui.runs.tables import read_closing
from engine.errors import RunError
from engine.record.events import EventWriter
from engine.record.paths import events_file
from tests.cli.conftest import Call
from tests.cli.samples import PRESET, make_run
from tests.refused_files import refuse


def test_show_repeats_results_settings_and_warnings(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, tags=("first", "try"))
    said = crild("show", "rte-crild")
    assert said.code == 0
    for words in (
        "state:   finished",
        "tags:    first, try",
        "student, 6 layers",
        "keeps 88.5 % of its teacher's margin",
        "stage kd",
        f"all settings: crild presets show {runs_dir / 'rte-crild-s1' / 'preset.toml'}",
        "warning: 3 of 100 inputs were cut",
    ):
        assert words in said.out


def test_show_lists_findings_of_the_newest_attempt_once(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    details = {"kind": "texts-cut", "severity": "note", "facts": {"cut": 5}}
    for attempt in (2, 3):
        events = EventWriter(events_file(run_dir, attempt), attempt)
        events.write("run_started", attempt=attempt, stages=["ild", "kd"], stage="kd", step=10)
        events.write("message", level="info", text="5 inputs were cut", finding=details)
        unknown = {**details, "kind": "unknown-tokens", "severity": "warning"}
        events.write("message", level="warning", text="all tokens are unknown", finding=unknown)
        events.close()
    said = crild("show", "rte-crild").out
    assert said.count("data: 5 inputs were cut") == 1
    assert said.count("warning: all tokens are unknown") == 1
    found = crild("show", "rte-crild", "--json").json["findings"]
    assert found[0] == {**details, "sentence": "5 inputs were cut"}
    assert [finding["kind"] for finding in found] == ["texts-cut", "unknown-tokens"]


def test_the_closing_table_fits_eighty_columns(crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    make_run(runs_dir)
    lines = crild("show", "rte-crild").out.splitlines()
    table = lines[lines.index(next(line for line in lines if "accuracy" in line)) :][:6]
    assert all(len(line.rstrip()) <= 80 for line in table)
    assert table[2].split() == ["teacher", "69.43", "71.00", "109", "M", "438", "MB", "24.3", "ms", "95"]


def test_how_long_a_run_took_is_the_clock_s_time_as_live_says_it(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, started=1000.0, ended=1075.0)
    assert "took:    1:15\n" in crild("show", "rte-crild").out


def test_a_run_that_failed_shows_its_error_stages_and_the_way_on(crild: Call, runs_dir: Path) -> None:
    from engine.record.status import Fault

    make_run(runs_dir, state="failed", error=Fault("data", "a label is\x07 missing", "train.tsv", 7))
    said = crild("show", "rte-crild")
    assert "error:   train.tsv:7: a label is\\x07 missing" in said.out
    assert "crild resume rte-crild-s1" in said.out
    assert "ild: step 10/10, loss 2.0000 to 1.0000, dev loss 2.0000 to 1.0000, 30 s" in said.out
    assert "kd: step 10/10, loss 0.9000 to 0.4000, accuracy 55.00 to 60.00" in said.out


def test_show_as_json_holds_every_part(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    document = crild("show", "latest", "--json").json
    assert document["state"] == "finished"
    assert document["results"]["agreement"] == 0.931
    assert document["preset"]["stage"][1]["name"] == "kd"
    assert document["environment"]["command"] == ["crild"]
    assert document["status"]["seed"] == 1


def test_damaged_results_are_said_not_thrown(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    (run_dir / "results.json").write_text('{"schema": 9}')
    said = crild("show", "rte-crild")
    assert said.code == 0
    assert "update crild" in said.err


def test_an_unknown_run_is_a_usage_error_that_names_near_ones(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    said = crild("show", "rte-crld")
    assert said.code == 2
    assert "rte-crild-s1" in said.err


def test_compare_shows_final_metrics_and_only_the_settings_that_differ(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "one")
    make_run(
        runs_dir,
        "two",
        preset=PRESET.replace('name = "kd"\n', 'name = "kd"\ntemperature = 2.0\n').replace("seed = 1", "seed = 2"),
        results={"student": {"metrics": {"accuracy": 0.7, "f1": 0.75}}},
    )
    said = crild("compare", "one", "two")
    assert said.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines() if line.strip()}
    assert rows["1"] == ["one-s1", "finished", "67.51", "69.00", "69.43"]
    assert rows["2"] == ["two-s1", "finished", "70.00", "75.00", "69.43"]
    assert rows["stage.kd.temperature"] == ["-", "2.0"]
    assert rows["seed"] == ["1", "2"]
    assert "task.name" not in said.out


def test_compare_as_json(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "one")
    make_run(runs_dir, "two", state="stopped")
    document = crild("compare", "one", "two", "--json").json
    assert document["runs"][0]["metrics"]["student"] == {"accuracy": 0.6751, "f1": 0.69}
    assert document["runs"][1]["metrics"] == {
        "student": {"accuracy": 0.6751}, "teacher": {"accuracy": 0.6943}, "majority guess": {"accuracy": 0.5271},
    }  # fmt: skip
    assert document["differences"] == []


def test_compare_wants_two(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    assert crild("compare", "rte-crild").code == 2


def test_results_that_cannot_be_read_now_are_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError) as caught:
        read_closing(tmp_path)
    assert caught.value.kind == "missing-results"
    (tmp_path / "results.json").write_text("{}")
    refuse(monkeypatch, tmp_path / "results.json", errno.EMFILE)
    with pytest.raises(RunError) as caught:
        read_closing(tmp_path)
    assert caught.value.kind == "unreadable-results"
    assert "crild resume" not in caught.value.sentence
    about = read_about(tmp_path)
    assert about.closing is None
    assert "results.json" in (about.problem or "")
