"""What a run read is shown by compare, show and the table of seeds."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from crild_tui.cli.seeds_table import seeds_table
from crild_tui.runs.comparison import difference_lines, metrics_lines
from crild_tui.runs.details import panel, read_about
from crild_tui.runs.probe_rows import summaries
from engine.record.files import read_json, write_json
from engine.record.inputs import INPUTS, RunInputs, write_inputs
from engine.record.run import read_run
from engine.record.student import student_hash
from engine.report.final_metrics import metrics_table, read_final_metrics
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.record.input_samples import inputs
from tests.record.probe_samples import sample


def made(runs_dir: Path, name: str, read: RunInputs | None, seed: int = 1) -> Path:
    run_dir = make_run(runs_dir, name, seed=seed)
    if read is not None:
        write_inputs(run_dir, read)
    return run_dir


def test_compare_shows_data_and_teacher_at_eighty_columns(
    crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made(runs_dir, "a", inputs())
    made(runs_dir, "b", inputs(dev="1", rows=30))
    lines = [line.split() for line in crild("compare", "a", "b").out.splitlines()]
    assert ["data", "dev:", "32", "rows,", "dddddddd", "dev:", "30", "rows,", "11111111"] in lines
    assert ["base", "model", "aaaaaaaa", "aaaaaaaa"] in lines
    one, other = crild("compare", "a", "b", "--json").json["runs"]
    assert one["inputs"]["dev"]["dev"]["content"] == "d" * 64
    assert other["inputs"]["dev"]["dev"]["rows"] == 30


def test_compare_of_runs_without_a_record_says_nothing_of_it(crild: Call, runs_dir: Path) -> None:
    for name in "ab":
        made(runs_dir, name, None)
    said = crild("compare", "a", "b")
    assert "data" not in said.out
    assert crild("compare", "a", "b", "--json").json["runs"][0]["inputs"] is None


def test_the_dashboard_compares_the_same_rows(runs_dir: Path) -> None:
    finals = [
        read_final_metrics(made(runs_dir, "a", inputs())),
        read_final_metrics(made(runs_dir, "b", inputs(dev="1"))),
    ]
    lines = [" ".join(line.text.plain.split()) for line in difference_lines(finals, [0, 1], dark=True)]
    assert "data dev: 32 rows, dddddddd dev: 32 rows, 11111111" in lines
    table = "\n".join(line.text.plain for line in metrics_lines(metrics_table(finals), finals, [0, 1], dark=True))
    assert "not averaged" in table
    assert "mean of" not in table
    keys: defaultdict[str, str] = defaultdict(str)
    details = panel(read_run(finals[0].run_dir), read_about(finals[0].run_dir), keys, 0.0, 60).plain
    assert "dev: 32 rows, dddddddd" in " ".join(details.split())


def test_show_names_data_teacher_and_a_student_that_was_replaced(crild: Call, runs_dir: Path) -> None:
    run_dir = made(runs_dir, "a", inputs())
    for name in ("config.json", "model.safetensors"):
        (run_dir / "student" / name).write_text("{}")
    results = read_json(run_dir / "results.json") or {}
    results["student"]["content"] = student_hash(run_dir)
    write_json(run_dir / "results.json", results)
    said = crild("show", "a")
    assert "data:    train: 96 rows, cccccccc; dev: 32 rows, dddddddd\n" in said.out
    assert "base model: aaaaaaaa, tokenizer bbbbbbbb\n" in said.out
    assert "student/" not in said.out
    assert crild("show", "a", "--json").json["inputs"]["teacher"]["weights"] == "a" * 64

    (run_dir / "student" / "model.safetensors").write_text("other")
    assert "student/" in crild("show", "a").out
    assert crild("show", "a", "--json").json["student_replaced"] is True
    shutil.rmtree(run_dir / "student")
    assert crild("show", "a", "--json").json["student_replaced"] is False


def test_show_reports_a_damaged_record(crild: Call, runs_dir: Path) -> None:
    run_dir = made(runs_dir, "a", inputs())
    (run_dir / INPUTS).write_text("{")
    assert str(run_dir / INPUTS) in crild("show", "a").out


def test_seeds_on_other_rows_have_no_mean(runs_dir: Path) -> None:
    runs = [made(runs_dir, name, inputs(dev=dev), seed) for seed, (name, dev) in enumerate((("a", "d"), ("b", "1")))]
    table = seeds_table([read_final_metrics(run_dir) for run_dir in runs])
    assert [row.name for row in table.rows] == ["a-s0", "b-s1"]
    (note,) = table.notes
    assert "11111111" in note
    write_inputs(runs[1], inputs())
    table = seeds_table([read_final_metrics(run_dir) for run_dir in runs])
    mean, deviation = table.rows[2:]
    headings = [column.heading for column in table.columns]
    figures = dict(zip(headings, deviation.cells, strict=True))
    assert figures["student"].value == 0
    assert figures["majority guess"].value is None, "a majority guess has no deviation over seeds"
    assert all(cell.value is not None for cell in mean.cells)
    for run_dir, init in zip(runs, "12", strict=True):
        write_inputs(run_dir, inputs(init=init))
    finals = [read_final_metrics(run_dir) for run_dir in runs]
    assert len(seeds_table(finals).rows) == 2
    assert len(seeds_table(finals, chained=True).rows) == 4, "each seed of a chain starts as a student of its own"


def test_probes_of_other_data_are_tables_of_their_own_and_other_teachers_rows() -> None:
    read = {"train": "c" * 64, "dev": "d" * 64, "teacher": "a" * 64}
    one = replace(sample("a"), inputs=read)
    twin = replace(sample("b"), inputs=read)
    assert [len(table.rows) for table in summaries([one, twin])] == [1, 1, 1]
    other = replace(sample("c"), inputs={**read, "dev": "1" * 64})
    titles = [table.title for table in summaries([one, twin, other])]
    assert len(titles) == 6
    assert sum("11111111" in title for title in titles) == 3
    taught = replace(sample("d"), inputs={**read, "teacher": "1" * 64})
    assert [len(table.rows) for table in summaries([one, taught])] == [2, 2, 2]
