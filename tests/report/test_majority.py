"""A student that is no better than always giving the same answer is marked and named wherever its figures stand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crild_tui.cli.compare import metrics_table as side_by_side
from crild_tui.cli.seeds_table import seeds_table
from crild_tui.runs.comparison import metrics_lines
from crild_tui.runs.details import closing_text
from crild_tui.runs.listing import BY_NAME, natural
from crild_tui.runs.states import describe, key_hints
from engine.record.run import read_run
from engine.report.closing_table import closing_table
from engine.report.collect import collect_runs
from engine.report.final_metrics import metrics_table, read_final_metrics
from engine.report.majority import MARK, at_or_below
from engine.report.page import page
from engine.report.report_document import ReportDocument, report_document
from engine.report.table import build_report
from engine.report.writers import comma_separated, latex, markdown
from tests.cli.samples import RESULTS, make_run
from tests.report.records import finished, right
from tests.tui.run_entries import KEYS

LOW: dict[str, Any] = {
    "student": {"metrics": {"accuracy": 0.4729, "f1": 0.69}, "layers": 3},
    "kept_margin": -3.0,
}


def test_equal_is_not_better() -> None:
    assert at_or_below(0.5, 0.5)
    assert at_or_below(0.5 + 1e-9, 0.5)
    assert not at_or_below(0.501, 0.5)
    assert not at_or_below(0.1, None)
    assert not at_or_below(None, 0.5)


def test_the_closing_table_says_so_and_speaks_of_no_margin() -> None:
    found = closing_table({**RESULTS, **LOW})
    assert [row.name for row in found.models if row.below_majority] == ["student, 3 layers"]
    assert found.models[1].below_majority == {"accuracy"}
    assert "at or below the majority guess (accuracy 47.29 against 52.71)" in found.statements[0]
    assert not any("keeps" in statement for statement in found.statements)
    assert f"47.29{MARK}" in closing_text(found, 60).plain


@pytest.mark.parametrize("margin", [-0.2, 0.0, None])
def test_a_margin_that_is_not_kept_is_never_a_percentage(margin: float | None) -> None:
    assert not any("keeps" in statement for statement in closing_table({**RESULTS, "kept_margin": margin}).statements)


def test_a_teacher_no_better_than_the_guess_is_named() -> None:
    found = closing_table({**RESULTS, "teacher": {"metrics": {"accuracy": 0.5271}}, "kept_margin": None})
    assert any("teacher is at or below the majority guess" in statement for statement in found.statements)


def test_lists_of_runs_mark_finished_ones(tmp_path: Path) -> None:
    low = read_run(make_run(tmp_path, "low", last=0.4729, best=0.4729))
    high = read_run(make_run(tmp_path, "high"))
    running = read_run(make_run(tmp_path, "early", state="stopped", last=0.1, best=0.1))
    texts = [BY_NAME["best"].text(entry, 0.0) for entry in (low, high, running)]
    assert texts == [f"47.29{MARK}", "67.51", "10.00"]
    assert natural([low, high])["best"] == 6
    assert "majority guess" in str(describe(low, key_hints(KEYS, "runs"), 0.0))
    assert "guess" not in str(describe(high, key_hints(KEYS, "runs"), 0.0))


def test_comparisons_mark_it_and_give_it_no_star(tmp_path: Path) -> None:
    finals = [read_final_metrics(make_run(tmp_path, "low", results=LOW, seed=seed)) for seed in (1, 2)]
    table = metrics_table(finals)
    marked = [
        (row.name, cell.below_majority, cell.mark) for row in table.rows for cell in row.cells if cell.value == 0.4729
    ]
    assert marked == [("low-s1", True, ""), ("low-s2", True, ""), ("mean of 2 seeds", True, "")]
    drawn = [line.text.plain for line in metrics_lines(table, finals, [0, 1], dark=True)]
    assert sum(MARK in line for line in drawn) == 4, "three figures and what the mark means"
    for other in (side_by_side(finals), seeds_table(finals)):
        assert any(cell.below_majority for row in other.rows for cell in row.cells)
        assert any(MARK in note for note in other.notes)


def test_a_comparison_marks_a_teacher_too(tmp_path: Path) -> None:
    weak = {"teacher": {"metrics": {"accuracy": 0.5271, "f1": 0.99}}}
    low, good = (
        read_final_metrics(make_run(tmp_path, name, results=found)) for name, found in (("weak", weak), ("good", {}))
    )
    table = side_by_side([low, replace(low, state="stopped"), good])
    marked = [[cell.below_majority for cell in row.cells] for row in table.rows]
    assert marked[0] == [*[False] * (len(table.columns) - 1), True]
    assert not any(marked[1] + marked[2])
    assert any(MARK in note for note in table.notes)


@pytest.fixture
def document(tmp_path: Path) -> ReportDocument:
    for seed, wrong in ((1, 60), (2, 40)):
        finished(tmp_path, "half", seed, right(100, range(wrong)))
        finished(tmp_path, "low", seed, right(100, range(60)))
        finished(tmp_path, "good", seed, right(100, range(10)))
    return report_document(build_report(collect_runs(tmp_path.iterdir())))


def test_reports_mark_the_mean_and_name_methods_and_seeds(document: ReportDocument) -> None:
    lines = markdown(document).splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|") and MARK in line] == ["half", "low"]
    (note,) = [line for line in lines if line.startswith(f"- {MARK}")]
    assert "half with 1 of 2 seeds and low" in note
    assert "good" not in note
    assert latex(document).count(r"$^\dagger$") >= 2
    assert page(document).count("at or below the majority guess") >= 2
    rows = csv.DictReader(io.StringIO(comma_separated(document)))
    assert {row["method"] for row in rows if row["below_majority"] == "yes"} == {"half", "low"}
