from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crild_tui.runs.comparison import assigned, difference_lines, labels, metrics_lines
from crild_tui.runs.table_file import named_file, write_file
from engine.errors import UsageError
from engine.report.final_metrics import (
    FinalMetrics,
    group_names,
    groups_of_seeds,
    metrics_table,
    read_final_metrics,
)
from engine.report.result_table import Cell, Column, ResultDocument, ResultTable, Row
from engine.report.writers import comma_separated, latex, markdown
from tests.cli.samples import PRESET, make_run
from tests.tui.run_entries import HOSTILE


def final(name: str, seed: int, accuracy: float | None = 0.6, state: str = "finished", **fields: Any) -> FinalMetrics:
    preset = {"seed": seed, "student": {"layers": 6}, **fields.pop("preset", {})}
    models = {"student": {} if accuracy is None else {"accuracy": accuracy}, "teacher": {"accuracy": 0.8}}
    known: dict[str, Any] = {"task": "rte", "method": "crild", "models": models, **fields}
    return FinalMetrics(Path("/runs") / name, state, seed=seed, preset=preset, **known)


SEEDS = [final("a-s1", 1, 0.6), final("a-s2", 2, 0.7), final("a-s3", 3, 0.8)]
OTHER = final("b-s1", 1, 0.65, method="kd", preset={"student": {"layers": 3}})


def accuracy(table: ResultTable, row: Row) -> Cell:
    return row.cells[table.columns.index(Column("accuracy"))]


def state(table: ResultTable, row: Row) -> str:
    columns = [column.heading for column in table.columns]
    return row.cells[columns.index("state")].text if "state" in columns else ""


def rows_of(table: ResultTable) -> list[tuple[str, str, float | None]]:
    return [(row.kind, row.name, accuracy(table, row).value) for row in table.rows]


def document(finals: Sequence[FinalMetrics]) -> ResultDocument:
    return ResultDocument((metrics_table(finals),))


# -- groups and rows


def test_runs_that_differ_only_in_seed_are_a_group_with_mean_and_deviation() -> None:
    found = metrics_table([*SEEDS, OTHER])
    assert rows_of(found) == [
        ("result", "a-s1", 0.6), ("result", "a-s2", 0.7), ("result", "a-s3", 0.8),
        ("mean", "crild: mean of 3 seeds", pytest.approx(0.7)), ("result", "b-s1", 0.65), ("other", "teacher", 0.8),
    ]  # fmt: skip
    assert accuracy(found, found.rows[3]).text == "70.00 ± 10.00"
    assert found.records[3]["accuracy deviation"] == pytest.approx(0.1)
    assert found.records[3]["accuracy runs"] == 3


def test_members_of_a_group_need_not_stand_together() -> None:
    assert groups_of_seeds([SEEDS[0], OTHER, SEEDS[1]]) == [[0, 2], [1]]


def test_tags_and_description_make_no_other_method() -> None:
    tagged = final("c-s4", 4, preset={"tags": ["x"], "description": "y"})
    assert groups_of_seeds([SEEDS[0], tagged]) == [[0, 1]]


def test_unfinished_runs_say_so_and_enter_no_mean() -> None:
    found = metrics_table([*SEEDS[:2], final("a-s3", 3, 0.99, "running")])
    assert [state(found, row) for row in found.rows if row.kind == "result"] == ["", "", "running"]
    mean = next(row for row in found.rows if row.kind == "mean")
    assert mean.name == "mean of 2 of 3 seeds"
    assert accuracy(found, mean).value == pytest.approx(0.65)
    assert not accuracy(found, next(row for row in found.rows if row.name == "a-s3")).mark


def test_one_finished_run_of_a_group_has_no_deviation() -> None:
    found = metrics_table([SEEDS[0], final("a-s2", 2, None, "failed")])
    mean = next(row for row in found.rows if row.kind == "mean")
    assert (mean.name, accuracy(found, mean).text) == ("mean of 1 of 2 seeds", "60.00")


def test_the_best_run_and_the_best_mean_are_marked_within_a_task() -> None:
    others = [
        final("b-s1", 1, 0.75, method="kd", preset={"x": 1}),
        final("b-s2", 2, 0.76, method="kd", preset={"x": 1}),
    ]
    elsewhere = final("m-s1", 1, 0.99, task="mnli", preset={"task": "mnli"})
    found = metrics_table([*SEEDS, *others, elsewhere])
    assert [row.name for row in found.rows if accuracy(found, row).mark == "highest"] == [
        "a-s3", "kd: mean of 2 seeds",
    ]  # fmt: skip
    assert [section.heading for section in found.sections] == ["rte", "mnli"]


def test_a_teacher_that_differs_between_groups_stands_in_each() -> None:
    other = final(
        "b-s1", 1, method="kd", preset={"x": 1}, models={"student": {"accuracy": 0.5}, "teacher": {"accuracy": 0.9}}
    )
    assert [name for kind, name, _ in rows_of(metrics_table([SEEDS[0], other])) if kind == "other"] == [
        "crild: teacher", "kd: teacher",
    ]  # fmt: skip


def test_groups_of_one_method_are_told_apart_by_what_they_differ_in() -> None:
    finals = [SEEDS[0], final("c-s1", 1, preset={"student": {"layers": 3}})]
    assert group_names(finals, groups_of_seeds(finals)) == ["crild (student.layers 6)", "crild (student.layers 3)"]


def test_a_run_without_a_preset_is_a_group_of_its_own() -> None:
    broken = [
        FinalMetrics(Path("/runs/x"), "unreadable", problem="no status"),
        FinalMetrics(Path("/runs/y"), "unreadable"),
    ]
    assert groups_of_seeds(broken) == [[0], [1]]
    assert [row.name for row in metrics_table(broken).rows] == ["x", "y"]


def test_nothing_makes_an_empty_table() -> None:
    assert not metrics_table([]).rows


def test_finals_come_from_results_else_from_the_status(tmp_path: Path) -> None:
    done = read_final_metrics(make_run(tmp_path, "one"))
    assert done.models["student"] == {"accuracy": 0.6751, "f1": 0.69}
    assert done.models["majority guess"] == {"accuracy": 0.5271, "f1": 0.0}
    assert done.models["labels alone"]["accuracy"] == 0.61
    stopped = read_final_metrics(make_run(tmp_path, "two", state="stopped"))
    assert stopped.models == {
        "student": {"accuracy": 0.6751}, "teacher": {"accuracy": 0.6943}, "majority guess": {"accuracy": 0.5271},
    }  # fmt: skip
    waiting = read_final_metrics(make_run(tmp_path, "three", state="queued"))
    assert (waiting.models, waiting.finished) == ({}, False)


def test_a_second_dev_set_becomes_columns(tmp_path: Path) -> None:
    extra = {"metrics": {"accuracy": 0.7}, "dev_extra": {"mismatched": {"accuracy": 0.72}}}
    found = read_final_metrics(make_run(tmp_path, results={"student": extra, "teacher": extra}))
    assert found.models["student"] == found.models["teacher"] == {"accuracy": 0.7, "accuracy (mismatched)": 0.72}


def test_damage_ends_in_a_problem(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, results={"schema": 9})
    assert "update crild" in str(read_final_metrics(run_dir).problem)
    (run_dir / "preset.toml").write_text("= no toml")
    assert "cannot be read" in str(read_final_metrics(run_dir).problem)
    (run_dir / "status.json").write_text('{"schema": 99}')
    assert read_final_metrics(run_dir).state == "unreadable"
    assert read_final_metrics(tmp_path / "gone").problem is not None


# -- formats


def test_markdown() -> None:
    assert markdown(document(SEEDS[1:])) == (
        "| run                 | seed |     accuracy |\n"
        "| ------------------- | ---: | -----------: |\n"
        "| a-s2                |    2 |        70.00 |\n"
        "| a-s3                |    3 |    **80.00** |\n"
        "| **mean of 2 seeds** |      | 75.00 ± 7.07 |\n"
        "| teacher             |      |        80.00 |\n"
    )


def test_a_state_stands_only_where_a_run_has_not_finished() -> None:
    found = metrics_table([SEEDS[0], final("a-s2", 2, 0.5, "running")])
    assert "| run                      | seed | state   | accuracy |" in markdown(ResultDocument((found,)))
    assert r"a-s2 & 2 & running & 50.00 \\" in latex(ResultDocument((found,)))
    assert r"\begin{tabular}{lrlr}" in latex(ResultDocument((found,)))


def test_csv_has_full_precision_and_a_column_for_each_thing() -> None:
    text = comma_separated(document([*SEEDS[1:], final("c", 1, 1 / 3, preset={"x": 1})]))
    rows = list(csv.DictReader(io.StringIO(text)))
    mean = rows[2]
    assert float(mean.pop("accuracy deviation")) == pytest.approx(0.0707106781)
    assert mean == {
        "kind": "mean", "task": "rte", "run": mean["run"], "seed": "", "state": "", "inputs": "", "accuracy": "0.75",
        "accuracy runs": "2",
    }  # fmt: skip
    assert rows[3]["accuracy"] == repr(1 / 3)


def test_latex() -> None:
    text = latex(document([*SEEDS[1:], final("m_1", 1, 0.5, task="mnli", preset={"x": 1})]))
    lines = text.splitlines()
    assert lines[1:5] == [
        r"\begin{table}[tb]", r"\centering", r"\caption{Results. Bold: the highest.}", r"\label{tab:crild-results}",
    ]  # fmt: skip
    assert lines[5:10] == [
        r"\begin{tabular}{lrr}", r"\toprule", r"run & seed & accuracy \\", r"\midrule",
        r"\multicolumn{3}{l}{\textit{rte}} \\",
    ]  # fmt: skip
    assert r"a-s3 & 3 & \textbf{80.00} \\" in lines
    assert r"75.00 $\pm$ 7.07 \\" in text
    assert r"m\_1 & 1 & 50.00 \\" in lines
    assert lines[-3:] == [r"\bottomrule", r"\end{tabular}", r"\end{table}"]


NAMES = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-2",
    "@SUM(1)",
    "\t=1",
    "＝1",
    HOSTILE,
    r"\input{x}",
    "[opt]",
    "*",
    "a|b",
    "<script>",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_from_outside_stay_text_in_every_format(name: str) -> None:
    hostile = FinalMetrics(Path("/runs") / name.replace("/", ""), "finished", task=name, method=name, seed=1, models={
        "student": {name: 0.5}, "teacher": {name: 0.6},
    }, preset={"x": name})  # fmt: skip
    found = metrics_table([hostile, SEEDS[0]])
    for text in (
        markdown(ResultDocument((found,))),
        latex(ResultDocument((found,))),
        comma_separated(ResultDocument((found,))),
    ):
        assert all(line.isprintable() for line in text.splitlines())
    for row in csv.reader(io.StringIO(comma_separated(ResultDocument((found,))))):
        assert not any(cell.startswith(tuple("=+@\t\r＝＋－＠")) or re.match(r"-\D", cell) for cell in row), row
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown(ResultDocument((found,))).splitlines()}
    assert len(columns) == 1
    for line in latex(ResultDocument((found,))).splitlines():
        assert not line.startswith(("[", "*"))
    assert r"\input" not in latex(ResultDocument((found,)))


# -- on the screen


def test_a_run_keeps_its_number_while_it_stays() -> None:
    a, b, c, d = (Path(f"/{name}") for name in "abcd")
    first = assigned({}, [a, b, c])
    assert first == {a: 0, b: 1, c: 2}
    second = assigned(first, [c, a])
    assert second == {c: 2, a: 0}
    assert assigned(second, [d, c, a, d]) == {d: 1, c: 2, a: 0}
    assert len(assigned({}, [Path(f"/{n}") for n in range(30)])) == 12


def test_labels_are_names_that_are_safe_to_show() -> None:
    assert labels([Path("/a-s1"), Path("/a-s2")]) == ["a-s1", "a-s2"]
    assert labels([Path("/" + HOSTILE.replace("/", ""))])[0].isprintable()
    assert labels([]) == []


def test_the_screen_table_shows_markers_spread_best_and_problems() -> None:
    finals = [*SEEDS, FinalMetrics(Path("/runs/x"), "unreadable", problem=HOSTILE)]
    lines = metrics_lines(metrics_table(finals), finals, [0, 1, 2, 3], dark=True)
    shown = [line.text.plain for line in lines]
    assert all(text.isprintable() for text in shown)
    assert [line.run_dir for line in lines if line.run_dir] == [final.run_dir for final in finals]
    assert "70.00 ± 10.00" in "\n".join(shown)
    assert [text.split()[0] for text in shown[2:5]] == ["o", "x", "+"]
    assert "★" in shown[4]
    assert any("evil" in text for text in shown[-3:])


def test_differences_stand_under_the_markers_of_the_runs() -> None:
    finals = [SEEDS[0], OTHER, final("d", 5, preset={"note": HOSTILE, "list": list(range(99))})]
    lines = [line.text.plain for line in difference_lines(finals, [0, 4, 2], dark=False)]
    assert lines[0].split() == ["setting", "o", "#", "+"]
    assert lines[1].split() == ["seed", "1", "1", "5"]
    assert lines[2].split() == ["student.layers", "6", "3", "6"]
    assert all(line.isprintable() for line in lines)
    same = difference_lines([SEEDS[0], SEEDS[0]], [0, 1], dark=True)
    assert same[0].text.plain == "Their presets are the same."
    assert difference_lines(SEEDS[:1], [0], dark=True) == []


def test_presets_of_real_runs_differ_by_key(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, "one"),
        make_run(tmp_path, "two", preset=PRESET.replace("layers = 2", "layers = 3").replace("seed = 1", "seed = 2")),
    ]
    lines = difference_lines([read_final_metrics(run) for run in runs], [0, 1], dark=True)
    assert [line.text.plain.split() for line in lines[1:]] == [["seed", "1", "2"], ["student.layers", "2", "3"]]


# -- files


def test_a_file_is_written_once_and_overwritten_only_when_rows_of(tmp_path: Path) -> None:
    path = named_file(str(tmp_path / "t.md"))
    assert write_file(path, "one") == f"written to {path}"
    with pytest.raises(UsageError) as caught:
        write_file(path, "two")
    assert caught.value.kind == "file-exists"
    assert path.read_text() == "one"
    write_file(path, "two", overwrite=True)
    assert path.read_text() == "two"
    assert {each.name for each in tmp_path.iterdir()} == {"home", "t.md"}


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "/dev/null", "~nobody-there/x"])
def test_what_cannot_be_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        named_file(name)


def test_folders_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        named_file(str(tmp_path))
    assert caught.value.kind == "path-is-folder"
    with pytest.raises(UsageError) as caught:
        write_file(named_file(str(tmp_path / "no" / "t.md")), "x")
    assert caught.value.kind == "unwritable-file"


def test_home_is_expanded(isolated: Path) -> None:
    assert named_file("~/t.md") == isolated.resolve() / "t.md"
