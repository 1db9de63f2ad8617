from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from crild_tui.runs.comparison import assigned, difference_lines, labels, sheet_lines
from crild_tui.runs.table_file import named_file, write_file
from engine.errors import UsageError
from engine.report.formats import comma_separated, latex, markdown
from engine.report.sheet import Final, Sheet, group_names, groups, read_final, sheet
from tests.cli.samples import PRESET, make_run
from tests.tui.run_entries import HOSTILE


def final(name: str, seed: int, accuracy: float | None = 0.6, state: str = "finished", **fields: Any) -> Final:
    preset = {"seed": seed, "student": {"layers": 6}, **fields.pop("preset", {})}
    models = {"student": {} if accuracy is None else {"accuracy": accuracy}, "teacher": {"accuracy": 0.8}}
    known: dict[str, Any] = {"task": "rte", "method": "crild", "models": models, **fields}
    return Final(Path("/runs") / name, state, seed=seed, preset=preset, **known)


SEEDS = [final("a-s1", 1, 0.6), final("a-s2", 2, 0.7), final("a-s3", 3, 0.8)]
OTHER = final("b-s1", 1, 0.65, method="kd", preset={"student": {"layers": 3}})


def told(found: Sheet) -> list[tuple[str, str, float | None]]:
    return [(row.kind, row.name, row.figures["accuracy"].value if row.figures else None) for row in found.rows]


# -- groups and rows


def test_runs_that_differ_only_in_seed_are_a_group_with_mean_and_deviation() -> None:
    found = sheet([*SEEDS, OTHER])
    assert told(found) == [
        ("run", "a-s1", 0.6), ("run", "a-s2", 0.7), ("run", "a-s3", 0.8),
        ("mean", "crild: mean of 3 seeds", pytest.approx(0.7)), ("run", "b-s1", 0.65), ("model", "teacher", 0.8),
    ]  # fmt: skip
    mean = found.rows[3].figures["accuracy"]
    assert mean.deviation == pytest.approx(0.1)
    assert mean.count == 3


def test_members_of_a_group_need_not_stand_together() -> None:
    assert groups([SEEDS[0], OTHER, SEEDS[1]]) == [[0, 2], [1]]


def test_tags_and_description_make_no_other_method() -> None:
    tagged = final("c-s4", 4, preset={"tags": ["x"], "description": "y"})
    assert groups([SEEDS[0], tagged]) == [[0, 1]]


def test_unfinished_runs_say_so_and_enter_no_mean() -> None:
    found = sheet([*SEEDS[:2], final("a-s3", 3, 0.99, "running")])
    assert [row.state for row in found.rows if row.kind == "run"] == ["", "", "running"]
    mean = next(row for row in found.rows if row.kind == "mean")
    assert mean.name == "mean of 2 of 3 seeds"
    assert mean.figures["accuracy"].value == pytest.approx(0.65)
    assert not next(row for row in found.rows if row.name == "a-s3").figures["accuracy"].best


def test_one_finished_run_of_a_group_has_no_deviation() -> None:
    found = sheet([SEEDS[0], final("a-s2", 2, None, "failed")])
    mean = next(row for row in found.rows if row.kind == "mean")
    assert (mean.name, mean.figures["accuracy"].deviation) == ("mean of 1 of 2 seeds", None)


def test_the_best_run_and_the_best_mean_are_marked_within_a_task() -> None:
    others = [
        final("b-s1", 1, 0.75, method="kd", preset={"x": 1}),
        final("b-s2", 2, 0.76, method="kd", preset={"x": 1}),
    ]
    elsewhere = final("m-s1", 1, 0.99, task="mnli", preset={"task": "mnli"})
    found = sheet([*SEEDS, *others, elsewhere])
    assert [row.name for row in found.rows if row.kind != "task" and row.figures["accuracy"].best] == [
        "a-s3", "kd: mean of 2 seeds",
    ]  # fmt: skip
    assert [row.name for row in found.rows if row.kind == "task"] == ["rte", "mnli"]


def test_a_teacher_that_differs_between_groups_stands_in_each() -> None:
    other = final(
        "b-s1", 1, method="kd", preset={"x": 1}, models={"student": {"accuracy": 0.5}, "teacher": {"accuracy": 0.9}}
    )
    assert [name for kind, name, _ in told(sheet([SEEDS[0], other])) if kind == "model"] == [
        "crild: teacher", "kd: teacher",
    ]  # fmt: skip


def test_groups_of_one_method_are_told_apart_by_what_they_differ_in() -> None:
    finals = [SEEDS[0], final("c-s1", 1, preset={"student": {"layers": 3}})]
    assert group_names(finals, groups(finals)) == ["crild (student.layers 6)", "crild (student.layers 3)"]


def test_a_run_without_a_preset_is_a_group_of_its_own() -> None:
    broken = [Final(Path("/runs/x"), "unreadable", problem="no status"), Final(Path("/runs/y"), "unreadable")]
    assert groups(broken) == [[0], [1]]
    assert [row.name for row in sheet(broken).rows] == ["x", "y"]


def test_nothing_makes_an_empty_table() -> None:
    assert sheet([]) == Sheet()


def test_finals_come_from_results_else_from_the_status(tmp_path: Path) -> None:
    done = read_final(make_run(tmp_path, "one"))
    assert done.models["student"] == {"accuracy": 0.6751, "f1": 0.69}
    assert done.models["majority guess"] == {"accuracy": 0.5271, "f1": 0.0}
    assert done.models["labels alone"]["accuracy"] == 0.61
    stopped = read_final(make_run(tmp_path, "two", state="stopped"))
    assert stopped.models == {
        "student": {"accuracy": 0.6751}, "teacher": {"accuracy": 0.6943}, "majority guess": {"accuracy": 0.5271},
    }  # fmt: skip
    waiting = read_final(make_run(tmp_path, "three", state="queued"))
    assert (waiting.models, waiting.finished) == ({}, False)


def test_a_second_dev_set_becomes_columns(tmp_path: Path) -> None:
    extra = {"metrics": {"accuracy": 0.7}, "dev_extra": {"mismatched": {"accuracy": 0.72}}}
    found = read_final(make_run(tmp_path, results={"student": extra, "teacher": extra}))
    assert found.models["student"] == found.models["teacher"] == {"accuracy": 0.7, "accuracy (mismatched)": 0.72}


def test_damage_ends_in_a_problem(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, results={"schema": 9})
    assert "update crild" in str(read_final(run_dir).problem)
    (run_dir / "preset.toml").write_text("= no toml")
    assert "cannot be read" in str(read_final(run_dir).problem)
    (run_dir / "status.json").write_text("{")
    assert read_final(run_dir).state == "unreadable"
    assert read_final(tmp_path / "gone").problem is not None


# -- formats


def test_markdown() -> None:
    assert markdown(sheet(SEEDS[1:])) == (
        "| run                 | seed |        accuracy |\n"
        "| ------------------- | ---: | --------------: |\n"
        "| a-s2                |    2 |          0.7000 |\n"
        "| a-s3                |    3 |      **0.8000** |\n"
        "| **mean of 2 seeds** |      | 0.7500 ± 0.0707 |\n"
        "| teacher             |      |          0.8000 |\n"
    )


def test_a_state_stands_only_where_a_run_has_not_finished() -> None:
    found = sheet([SEEDS[0], final("a-s2", 2, 0.5, "running")])
    assert "| run                      | seed | state   | accuracy |" in markdown(found)
    assert r"a-s2 & 2 & running & 0.5000 \\" in latex(found)
    assert r"\begin{tabular}{lrlr}" in latex(found)


def test_csv_has_full_precision_and_a_column_for_each_thing() -> None:
    text = comma_separated(sheet([*SEEDS[1:], final("c", 1, 1 / 3, preset={"x": 1})]))
    rows = list(csv.DictReader(io.StringIO(text)))
    mean = rows[2]
    assert float(mean.pop("accuracy deviation")) == pytest.approx(0.0707106781)
    assert mean == {
        "kind": "mean", "task": "rte", "run": mean["run"], "seed": "", "state": "", "accuracy": "0.75",
        "accuracy runs": "2",
    }  # fmt: skip
    assert rows[3]["accuracy"] == repr(1 / 3)


def test_latex() -> None:
    text = latex(sheet([*SEEDS[1:], final("m_1", 1, 0.5, task="mnli", preset={"x": 1})]))
    lines = text.splitlines()
    assert lines[1:6] == [
        r"\begin{tabular}{lrr}", r"\toprule", r"run & seed & accuracy \\", r"\midrule", r"\textit{rte} \\",
    ]  # fmt: skip
    assert r"a-s3 & 3 & \textbf{0.8000} \\" in lines
    assert r"0.7500 $\pm$ 0.0707 \\" in text
    assert r"m\_1 & 1 & 0.5000 \\" in lines
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


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
    hostile = Final(Path("/runs") / name.replace("/", ""), "finished", task=name, method=name, seed=1, models={
        "student": {name: 0.5}, "teacher": {name: 0.6},
    }, preset={"x": name})  # fmt: skip
    found = sheet([hostile, SEEDS[0]])
    for text in (markdown(found), latex(found), comma_separated(found)):
        assert all(line.isprintable() for line in text.splitlines())
    for row in csv.reader(io.StringIO(comma_separated(found))):
        assert not any(cell.startswith(tuple("=+@\t\r＝＋－＠")) or re.match(r"-\D", cell) for cell in row), row
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown(found).splitlines()}
    assert len(columns) == 1
    for line in latex(found).splitlines():
        assert not line.startswith(("[", "*"))
    assert r"\input" not in latex(found)


# -- on the screen


def test_a_run_keeps_its_number_while_it_stays() -> None:
    a, b, c, d = (Path(f"/{name}") for name in "abcd")
    first = assigned({}, [a, b, c])
    assert first == {a: 0, b: 1, c: 2}
    second = assigned(first, [c, a])
    assert second == {c: 2, a: 0}
    assert assigned(second, [d, c, a, d]) == {d: 1, c: 2, a: 0}
    assert len(assigned({}, [Path(f"/{n}") for n in range(30)])) == 12


def test_labels_leave_out_what_is_common_and_long() -> None:
    runs = [Path(f"/rte-crild-20260101-12000{n}-s{n}") for n in (1, 2)]
    assert labels(runs) == ["…120001-s1", "…120002-s2"]
    assert labels([Path("/a-s1"), Path("/a-s2")]) == ["a-s1", "a-s2"]
    assert labels([Path("/" + HOSTILE.replace("/", ""))])[0].isprintable()
    assert labels([]) == []


def test_the_screen_table_shows_markers_spread_best_and_problems() -> None:
    finals = [*SEEDS, Final(Path("/runs/x"), "unreadable", problem=HOSTILE)]
    lines = sheet_lines(sheet(finals), finals, [0, 1, 2, 3], dark=True)
    shown = [line.text.plain for line in lines]
    assert all(text.isprintable() for text in shown)
    assert [line.run_dir for line in lines if line.run_dir] == [final.run_dir for final in finals]
    assert "0.7000 ± 0.1000" in "\n".join(shown)
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
    lines = difference_lines([read_final(run) for run in runs], [0, 1], dark=True)
    assert [line.text.plain.split() for line in lines[1:]] == [["seed", "1", "2"], ["student.layers", "2", "3"]]


# -- files


def test_a_file_is_written_once_and_overwritten_only_when_told(tmp_path: Path) -> None:
    path = named_file(str(tmp_path / "t.md"))
    assert write_file(path, "one") == f"written to {path}"
    with pytest.raises(UsageError, match="exists already"):
        write_file(path, "two")
    assert path.read_text() == "one"
    write_file(path, "two", overwrite=True)
    assert path.read_text() == "two"
    assert {each.name for each in tmp_path.iterdir()} == {"home", "t.md"}


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "/dev/null", "~nobody-there/x"])
def test_what_cannot_be_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        named_file(name)


def test_folders_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        named_file(str(tmp_path))
    with pytest.raises(UsageError, match="does not exist"):
        write_file(named_file(str(tmp_path / "no" / "t.md")), "x")


def test_home_is_expanded(isolated: Path) -> None:
    assert named_file("~/t.md") == isolated.resolve() / "t.md"
