from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from crild_tui.cli.runs import print_table
from crild_tui.runs.marks import MarksFile
from engine.record.run import list_runs, update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run


def test_no_runs_says_how_to_start(crild: Call) -> None:
    said = crild("runs")
    assert (said.code, said.out) == (0, "")
    assert "crild run quickstart" in said.err


def test_no_runs_as_json_is_an_empty_list(crild: Call) -> None:
    assert crild("runs", "--json").json == []


def test_each_run_is_a_line_with_its_figures(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    lines = crild("runs").out.splitlines()
    assert lines[0].split() == [
        "state", "run", "preset", "task", "method", "seed", "metric", "last", "best", "teacher", "to-teacher", "done", "age",
    ]  # fmt: skip
    for word in ("rte-crild-s1", "finished", "rte", "crild", "67.51", "69.43", "100 %"):
        assert word in lines[1]


def test_the_newest_comes_first_unless_sorted_otherwise(crild: Call, runs_dir: Path) -> None:
    for name, best, age in (("old", 0.9, 300), ("new", 0.1, 100), ("middle", 0.5, 200)):
        make_run(runs_dir, name, best=best)
        update_status(runs_dir / f"{name}-s1", created=time.time() - age)

    def listed(*words: str) -> list[str]:
        return [entry["run"] for entry in crild("runs", "--json", *words).json]

    assert listed() == ["new-s1", "middle-s1", "old-s1"]
    assert listed("--sort", "-best") == ["old-s1", "middle-s1", "new-s1"]
    assert listed("--sort", "best") == ["new-s1", "middle-s1", "old-s1"]
    assert listed("--sort", "id") == ["middle-s1", "new-s1", "old-s1"]


def test_runs_without_the_value_come_last_in_either_order(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "measured")
    make_run(runs_dir, "fresh", state="queued")
    for sort in ("last", "-last"):
        assert [entry["run"] for entry in crild("runs", "--json", "--sort", sort).json] == ["measured-s1", "fresh-s1"]


def test_states_filter_and_misspelt_ones_are_named(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "good")
    make_run(runs_dir, "gone", state="running", owner=None)
    assert [entry["state"] for entry in crild("runs", "--json", "--state", "lost").json] == ["lost"]
    assert len(crild("runs", "--json", "--state", "lost,finished").json) == 2
    said = crild("runs", "--state", "finishd")
    assert said.code == 2
    assert "finished" in said.err


def test_unknown_sort_keys_are_named(crild: Call) -> None:
    said = crild("runs", "--sort", "colour")
    assert said.code == 2
    assert "teacher" in said.err
    assert "progress" in said.err


def test_a_run_that_cannot_be_read_is_shown_as_such(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "good")
    (make_run(runs_dir, "torn") / "status.json").write_text('{"schema": 1, "id')
    (make_run(runs_dir, "later") / "status.json").write_text('{"schema": 99}')
    said = crild("runs")
    assert said.code == 0
    assert "unreadable" in said.out
    assert "newer crild" in said.out
    problems = {entry["run"]: entry["problem"] for entry in crild("runs", "--json").json}
    assert problems["good-s1"] is None
    assert "status.json is damaged" in str(problems["torn-s1"])
    assert {entry["run"]: entry["state"] for entry in crild("runs", "--json").json}["torn-s1"] == "lost"


def test_folder_names_and_fields_cannot_act_on_the_terminal(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, task="rte\x1b[31m\n")
    run_dir.rename(runs_dir / "evil\x1b[2Jname")
    out = crild("runs").out
    assert "\x1b" not in out
    assert "evil\\x1b[2Jname" in out
    assert "rte\\x1b[31m" in out


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_columns_are_left_out_until_the_table_fits(
    runs_dir: Path, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs_dir, "toy-entailment-crild-20251122-101010")
    print_table(list_runs(runs_dir), time.time(), width)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "toy-entailment-crild-20251122-101010-s1" in lines[1]  # ids are there to be copied
    heading = lines[0].split()
    assert heading[:2] == ["state", "run"]
    if width >= 80:
        assert {"best", "teacher", "done"} <= set(heading)
    assert ("task" in heading) == (width >= 100)


def test_columns_without_any_value_are_left_out(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, state="queued")
    assert "best" not in crild("runs").out.splitlines()[0].split()


def test_filters_are_those_of_the_dashboard(crild: Call, runs_dir: Path) -> None:
    for name, state, best in (("toy-a", "finished", 0.9), ("mrpc-a", "failed", 0.4), ("mrpc-b", "finished", 0.6)):
        make_run(runs_dir, name, state=state, best=best)

    def listed(*words: str) -> set[str]:
        return {entry["run"] for entry in crild("runs", "--json", *words).json}

    assert listed("--filter", "is:failed") == {"mrpc-a-s1"}
    assert listed("--filter", "state:finished !toy") == {"mrpc-b-s1"}
    assert listed("--filter", "best:>0.5", "--filter", "mrpc") == {"mrpc-b-s1"}
    assert listed("--filter", "best:>0.5", "--state", "finished", "--sort", "best") == {"toy-a-s1", "mrpc-b-s1"}
    file = MarksFile(runs_dir)
    file.take(("pinned", ("toy-a-s1",), True))
    file.write()
    assert listed("--filter", "is:pinned") == {"toy-a-s1"}
    assert "mrpc" in crild("runs", "--filter", "task:mrpc").err
    wrong = crild("runs", "--filter", "is:x")
    assert wrong.code == 2
    assert "is:x" in wrong.err


def test_colour_marks_the_state_only_on_a_screen_that_wants_it(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs_dir)
    entries = list_runs(runs_dir)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(entries, time.time(), 80)
    assert "\x1b[32mfinished\x1b[0m" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(entries, time.time(), 80)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["file", "pipe", "run"])
def test_what_is_no_folder_of_runs_is_named(what: str, crild: Call, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    if what == "run":
        path = make_run(tmp_path / "runs")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
    for words in (("runs",), ("runs", "--json"), ("report",), ("prune",), ("show", "some")):
        done = crild(*words, "--runs-dir", str(path))
        assert done.code == 2, words
        assert str(path) in done.err
    if what == "run":
        assert f"--runs-dir {tmp_path / 'runs'}" in done.err
