from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.report.test_query_errors import STUDENT, TEACHER
from tests.report.test_query_errors import write as write_ranking
from tests.report.test_student_errors import ANSWERS, GOLD, sure, write


def a_run(runs_dir: Path) -> Path:
    """A finished run of six rows in three classes, with predictions."""
    run_dir = make_run(runs_dir, "tickets")
    write(run_dir, "student", GOLD, [sure(answer) for answer in ANSWERS])
    write(run_dir, "teacher", GOLD, [sure(answer) for answer in GOLD])
    (run_dir / "texts.jsonl").write_text('{"id": "dev-2", "text": "' + "very long " * 40 + '"}\n')
    return run_dir


def test_errors_shows_classes_confusions_calibration_and_rows_in_eighty_columns(
    crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    a_run(runs_dir)
    done = crild("errors", "tickets", "--rows", "1")
    assert done.code == 0
    lines = done.out.splitlines()
    assert all(
        len(line.rstrip()) <= 80
        for line in lines
        if "|" not in line and "calibration" not in line and "disagree" not in line
    )
    assert next(line for line in lines if line.startswith("maybe")).split() == [
        "maybe",
        "1",
        "-",
        "0.00",
        "0.00",
        "100.00",
    ]
    assert "teacher is right on 3" in done.out
    assert "very long" in done.out
    assert "2 more rows" in done.out


def test_all_rows_are_written_as_csv(crild: Call, runs_dir: Path, tmp_path: Path) -> None:
    a_run(runs_dir)
    file = tmp_path / "rows.csv"
    assert crild("errors", "tickets", "-o", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 4
    assert crild("errors", "tickets", "--mistakes", "-o", str(file)).code == 0
    wrong = [line.split(",") for line in file.read_text().splitlines()[1:]]
    assert len(wrong) == 3
    assert "2 more rows" in crild("errors", "tickets", "--mistakes", "--rows", "1").out
    done = crild("errors", "tickets", "-o", str(tmp_path / "rows.xls"))
    assert (done.code, (tmp_path / "rows.xls").exists()) == (2, False)


def test_the_file_is_written_before_anything_is_printed(
    crild: Call, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So `crild errors ... -o rows.csv | head` leaves it."""

    def closed(*_: object) -> None:
        raise BrokenPipeError

    a_run(runs_dir)
    monkeypatch.setattr("crild_tui.cli.terminal.show_parts", closed)
    crild("errors", "tickets", "-o", str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").is_file()


def test_errors_as_json(crild: Call, runs_dir: Path) -> None:
    a_run(runs_dir)
    document = crild("errors", "tickets", "--json").json
    assert document["matrix"] == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert [row["text"] is None for row in document["disagreements"]] == [False, True, True]
    assert document["calibration"]["rows"] == 6


def test_show_has_the_classes_in_short_and_says_where_the_rows_are(crild: Call, runs_dir: Path) -> None:
    run_dir = a_run(runs_dir)
    done = crild("show", "tickets").out
    assert "crild errors tickets-s1" in done
    assert "recall" in done
    assert crild("show", "tickets", "--json").json["student_errors"]["disagreements"] == 3
    (run_dir / "predictions/teacher.jsonl").write_text("{")
    torn = crild("show", "tickets")
    assert torn.code == 0
    assert "teacher.jsonl" in torn.err
    (run_dir / "predictions/teacher.jsonl").unlink()
    assert "recall" not in crild("show", "tickets").out


def test_a_run_without_predictions_is_an_error(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    done = crild("errors", "rte-crild")
    assert done.code == 1
    assert "student.jsonl" in done.err


def test_the_queries_of_a_ranking_are_printed_and_written(
    crild: Call, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_dir = make_run(runs_dir, "pairs")
    write_ranking(run_dir, "student", STUDENT)
    write_ranking(run_dir, "teacher", TEACHER)
    done = crild("errors", "pairs", "--rows", "1")
    assert "    above: dev-0\n" in done.out
    assert "1 more query" in done.out
    assert "mean reciprocal rank" in crild("show", "pairs").out
    assert crild("errors", "pairs", "--json").json["ranking"]["worst"][0]["rank"] == 3
    file = tmp_path / "queries.csv"
    assert crild("errors", "pairs", "-o", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 3
    assert crild("errors", "pairs", "--mistakes", "-o", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 11


def test_the_queries_of_a_ranking_come_before_its_classes(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, "pairs")
    write_ranking(run_dir, "student", STUDENT, classes=True)
    write_ranking(run_dir, "teacher", TEACHER, classes=True)
    said = crild("errors", "pairs").out
    order = [said.index(words) for words in ("mean reciprocal rank", "    above: ", "recall")]
    assert order == sorted(order)
    mistakes = crild("errors", "pairs", "--mistakes").out
    assert "recall" in mistakes
    assert "    above: " not in mistakes
