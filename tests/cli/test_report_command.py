from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.record.run import update_status
from tests.cli.conftest import Call
from tests.report.records import finished, right, write_curves


@pytest.fixture
def runs(runs_dir: Path) -> Path:
    for task in ("mrpc", "rte"):
        for seed in (1, 2, 3):
            finished(runs_dir, "kd", seed, right(200, range(seed, seed + 60)), task=task)
            finished(runs_dir, "crild", seed, right(200, range(seed, seed + 5)), task=task)
    return runs_dir


def test_the_table_fits_eighty_columns(crild: Call, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(6):
        finished(runs, "kd", 1, right(10), task=f"task-number-{number}")
    said = crild("report")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    rows = [line.split() for line in said.out.splitlines()]
    assert ["crild", "3", "97.50", "±", "0.00", "▲", "97.50", "±", "0.00", "▲"] in rows
    assert all(f"task-number-{number}" in said.out for number in range(6))


def test_ascii_where_the_terminal_wants_it(crild: Call, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_ASCII", "1")
    assert "97.50 +- 0.00 ^" in crild("report").out
    against = crild("report", "--against", "kd").out
    assert "97.50 +- 0.00  +27.50 (+" in against
    assert ") ^" in against


def test_an_unknown_method_to_be_held_against_is_wrong_usage(crild: Call, runs: Path) -> None:
    said = crild("report", "--against", "crld")
    assert (said.code, '"crild"' in said.err) == (2, True)


def test_trials_of_a_search_are_left_out_unless_named_or_chosen(crild: Call, runs: Path) -> None:
    trial = finished(runs, "rkd", 1, right(10), name="tune-0")
    update_status(trial, sweep="tune", cell={"trial": "0"})
    (runs / ".sweep").mkdir()
    (runs / ".sweep/tune.json").write_text(json.dumps({"search": {"table": {}}, "cells": [{"run": trial.name}]}))
    said = crild("report").out
    assert "rkd" not in said
    assert "trials of the search tune" in " ".join(said.split())
    for chosen in ((trial.name,), ("--sweep", "tune")):
        assert "rkd" in crild("report", *chosen).out


def test_runs_can_be_named(crild: Call, runs: Path) -> None:
    one = next(path.name for path in runs.iterdir() if "rte-crild" in path.name)
    document = crild("report", one, "--format", "json").json
    assert [run["run"] for run in document["runs"]] == [one]


def test_a_name_without_its_seed_means_all_of_them(crild: Call, runs_dir: Path) -> None:
    for name, seed in (("a", 1), ("a", 2), ("b", 1)):
        finished(runs_dir, "kd", seed, right(10), name=name)
    document = crild("report", "a", "--format", "json").json
    assert [run["run"] for run in document["runs"]] == ["a-s1", "a-s2"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.md", "**accuracy"),
        ("a.csv", "choice,"),
        ("a.json", "{"),
        ("a.tex", "% needs"),
        ("a.html", "<!DOC"),
        ("a.txt", "accuracy"),
    ],
)
def test_the_ending_of_the_file_tells_the_format(
    crild: Call, runs: Path, tmp_path: Path, name: str, begins: str
) -> None:
    said = crild("report", "--output", str(tmp_path / name))
    assert (said.code, said.out) == (0, "")
    assert name in said.err
    assert (tmp_path / name).read_text().startswith(begins)


def test_a_pdf_is_written_as_such_and_not_to_a_terminal(
    crild: Call, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert crild("report", "--columns", "params, size", "-o", str(tmp_path / "study.pdf")).code == 0
    assert (tmp_path / "study.pdf").read_bytes().startswith(b"%PDF-")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert crild("report", "--format", "pdf").code == 2


def test_the_table_has_the_columns_that_were_named(crild: Call, runs: Path) -> None:
    header = next(line for line in crild("report", "--columns", "layers").out.splitlines() if "method" in line)
    assert header.split()[-1] == "layers"


def test_what_goes_to_stdout_is_what_goes_to_a_file(crild: Call, runs: Path, tmp_path: Path) -> None:
    crild("report", "--format", "latex", "-o", str(tmp_path / "x"))
    assert crild("report", "--format", "latex").out == (tmp_path / "x").read_text()


def test_pictures_are_written_as_svg_and_png(crild: Call, runs: Path, tmp_path: Path) -> None:
    for run_dir in runs.iterdir():
        write_curves(run_dir)
    assert crild("report", "--figures", str(tmp_path / "pictures")).code == 0
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("final", "curves-mrpc", "curves-rte") for kind in ("svg", "png")}
    assert (tmp_path / "pictures/final.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "pictures/final.svg").read_text()


@pytest.mark.parametrize("name", ["study.docx", "study.md.gz"])
def test_an_unknown_ending_is_refused_with_the_endings_there_are(
    crild: Call, runs: Path, tmp_path: Path, name: str
) -> None:
    said = crild("report", "-o", str(tmp_path / name))
    assert (said.code, said.out) == (2, "")
    assert all(
        ending in said.err for ending in (name, ".txt", ".md", ".csv", ".json", ".tex", ".html", ".xlsx", ".pdf")
    )
    assert not (tmp_path / name).exists()
    assert crild("report", "--format", "csv", "-o", str(tmp_path / name)).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "markdwn"), "markdown"),
        (("--metric", "accurcy"), '"accuracy"'),
        (("--columns", "param"), "params"),
        (("nothing-like-it",), "nothing-like-it"),
        (("--sweep", "none"), '"none"'),
        (("rte", "--sweep", "none"), "--sweep"),
        (("-o", "/nowhere/at/all.md"), "/nowhere/at/all.md: "),
        (("--figures", "/proc/none"), "/proc/none"),
    ],
)
def test_wrong_usage_is_a_sentence(crild: Call, runs: Path, words: tuple[str, ...], said: str) -> None:
    found = crild("report", *words)
    assert (found.code, found.out) == (2, "") or "--figures" in words
    assert said in found.err


def test_without_runs_that_is_said(crild: Call, runs_dir: Path) -> None:
    found = crild("report")
    assert found.code == 2
    assert "nothing to report" in found.err


def test_the_light_part_loads_neither_numpy_nor_matplotlib() -> None:
    code = (
        "import sys; from engine.report import collect, page, report_document, writers; from crild_tui.cli import app, report, result_tables;"
        "print(json := [m for m in ('numpy', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
