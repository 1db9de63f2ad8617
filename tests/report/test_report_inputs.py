"""Runs on other rows, or from another teacher, are never averaged, paired or ranked as seeds of one experiment."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.record.inputs import INPUTS, InputRows, RunInputs, write_inputs
from engine.record.probe import write_probe
from engine.record.run import list_runs
from engine.report.collect import collect_runs
from engine.report.final_metrics import FinalMetrics, metrics_table
from engine.report.inputs import RunContent, all_of, difference_note, identities, input_lines, input_rows, unexplained
from engine.report.page import page
from engine.report.probes import group_probe
from engine.report.report_document import report_document
from engine.report.table import MethodRow, Report, build_report
from engine.report.writers import comma_separated
from tests.record.input_samples import inputs
from tests.record.probe_samples import sample
from tests.report.records import finished, right


def run(folder: Path, method: str, seed: int, read: RunInputs | None, wrong: int = 0, **fields: Any) -> Path:
    """A finished run that read this."""
    run_dir = finished(folder, method, seed, right(10, range(wrong)), **fields)
    if read is not None:
        write_inputs(run_dir, read)
    return run_dir


def report_of(folder: Path, *, published: bool = False) -> Report:
    return build_report(collect_runs(entry.path for entry in list_runs(folder)), with_published=published)


def methods(report: Report) -> dict[str, list[tuple[str, int]]]:
    """The rows of methods in each block: their names, and how many seeds they average."""
    (table,) = report.tables
    return {
        block.heading: [(row.label, cell.count) for row in block.rows if row.kind == "method" for cell in row.cells.values()]
        for block in table.blocks
    }  # fmt: skip


def row(report: Report, kind: str, block: int = 0) -> MethodRow:
    return next(row for row in report.tables[0].blocks[block].rows if row.kind == kind)


OTHERS = {
    "dev": inputs(dev="1", rows=30),
    "train": inputs(train="1"),
    "teacher": inputs(teacher="1"),
    "teacher tokenizer": inputs(tokenizer="1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_seeds_on_other_inputs_are_blocks_of_their_own(tmp_path: Path, name: str) -> None:
    for seed in (1, 2):
        run(tmp_path, "kd", seed, inputs())
    for seed in (3, 4):
        run(tmp_path, "kd", seed, OTHERS[name])
    run(tmp_path, "crild", 1, inputs())
    report = report_of(tmp_path)
    blocks = methods(report)
    assert len(blocks) == 2
    first, second = blocks
    assert blocks[first] == [("kd", 2), ("crild", 1)]
    assert blocks[second] == [("kd", 2)]
    assert "11111111" in second
    assert "11111111" not in first
    (note,) = [note for note in report.notes if "other inputs" in note]
    assert "11111111" in note


def test_seeds_of_one_record_stay_together(tmp_path: Path) -> None:
    moved = replace(inputs(), train=replace(inputs().train, source="/moved/train.csv"))
    for seed, read in enumerate((inputs(), moved, inputs())):
        run(tmp_path, "kd", seed, read)
    report = report_of(tmp_path)
    assert methods(report) == {"": [("kd", 3)]}
    assert report.notes == ()


def test_methods_on_other_dev_rows_are_not_tested_against_each_other(tmp_path: Path) -> None:
    """Ids and labels of the predictions are the same: only the record knows that the texts are not."""
    for seed in (1, 2, 3):
        run(tmp_path, "kd", seed, inputs(), wrong=6)
        run(tmp_path, "crild", seed, inputs(dev="1"))
    blocks = report_of(tmp_path).tables[0].blocks
    assert len(blocks) == 2
    cells = [cell for block in blocks for row in block.rows for cell in row.cells.values()]
    assert all(cell.mark == "" and cell.p is None for cell in cells)


def test_what_the_presets_say_needs_no_block(tmp_path: Path) -> None:
    """Another teacher by its name in the preset is a row of its own, as before; the data are the same."""
    run(tmp_path, "kd", 1, inputs())
    run(tmp_path, "kd", 2, inputs(teacher="1"), teacher="roberta")
    assert [len(rows) for rows in methods(report_of(tmp_path)).values()] == [2]


def test_few_samples_are_told_by_their_preset_alone(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, inputs())
    run(tmp_path, "kd", 1, inputs(train="1"), examples=20)
    assert list(methods(report_of(tmp_path))) == ["examples=all", "examples=20"]


def test_a_majority_guess_has_no_deviation_whatever_was_recorded(tmp_path: Path) -> None:
    """It follows from the labels alone: where it differs, the rows do."""
    run(tmp_path, "kd", 1, inputs())
    run(tmp_path, "kd", 2, inputs(dev="1"), extra={"majority": {"accuracy": 0.6}})
    run(tmp_path, "kd", 3, None, extra={"majority": {"accuracy": 0.7}})
    run(tmp_path, "kd", 4, None, extra={"majority": {"accuracy": 0.8}})
    blocks = report_of(tmp_path).tables[0].blocks
    majorities = [row.cells["mrpc"] for block in blocks for row in block.rows if row.kind == "majority"]
    assert sorted(cell.mean for cell in majorities) == [0.5, 0.6, 0.7, 0.8]
    assert all(cell.deviation is None for cell in majorities)


def test_runs_without_a_record_go_by_their_presets(tmp_path: Path) -> None:
    for seed in (1, 2):
        run(tmp_path, "kd", seed, None)
    report = report_of(tmp_path)
    assert methods(report) == {"": [("kd", 2)]}
    assert report.notes == ()


def test_a_run_without_a_record_joins_the_only_data_known_and_a_note_says_so(tmp_path: Path) -> None:
    for seed in (1, 2):
        run(tmp_path, "kd", seed, inputs())
    old = run(tmp_path, "kd", 3, None)
    report = report_of(tmp_path)
    assert methods(report) == {"": [("kd", 3)]}
    (note,) = report.notes
    assert old.name in note
    assert "1 of 3" in note


def test_a_run_without_a_record_joins_none_of_several(tmp_path: Path) -> None:
    for seed, read in enumerate((inputs(), inputs(dev="1"), None)):
        run(tmp_path, "kd", seed, read)
    assert list(methods(report_of(tmp_path)).values()) == [[("kd", 1)]] * 3


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    run_dir = run(tmp_path, "kd", 1, inputs())
    (run_dir / INPUTS).write_text((run_dir / INPUTS).read_text().replace("d" * 64, "1" * 64))
    assert report_of(tmp_path).runs[0].inputs is None


def test_the_same_seed_again_on_other_rows_does_not_replace_the_first(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, inputs(), name="a", created=1)
    run(tmp_path, "kd", 1, inputs(dev="1"), name="b", created=2)
    assert len(report_of(tmp_path).runs) == 2


def test_json_and_csv_carry_what_was_read(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, inputs())
    document = report_document(report_of(tmp_path))
    assert json.loads(json.dumps(document.data))["runs"][0]["inputs"]["dev"]["dev"] == {
        "source": "/data/dev.csv", "rows": 32, "content": "d" * 64,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(comma_separated(document))))
    kd = next(row for row in rows if row["method"] == "kd")
    assert kd["inputs"] == "train: 96 rows, cccccccc; dev: 32 rows, dddddddd; teacher: aaaaaaaa"


def test_the_page_is_written_of_several_inputs(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, inputs())
    run(tmp_path, "kd", 2, inputs(dev="1"))
    assert page(report_document(report_of(tmp_path))).count("11111111") >= 2


def test_published_figures_of_another_dev_set_say_so(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, inputs(rows=408))
    assert not [line for line in report_of(tmp_path, published=True).tables[0].footers if "official" in line]
    run(tmp_path, "kd", 2, inputs(dev="1", rows=350))
    (line,) = [line for line in report_of(tmp_path, published=True).tables[0].footers if "official" in line]
    assert "408" in line
    assert "350" in line


def test_a_probe_of_other_data_is_not_averaged(tmp_path: Path) -> None:
    one, other = (run(tmp_path, "kd", seed, inputs()) for seed in (1, 2))
    write_probe(one, sample(one.name))
    write_probe(other, replace(sample(other.name), changed=("dev",)))
    (group,) = report_of(tmp_path).groups
    found = group_probe(group)
    assert found is not None
    assert found.runs == 1


# -- chains


def chain(folder: Path, seed: int, first: Path | None = None, **fields: Any) -> Path:
    """A run that starts as the student of another, by default one of its own seed, whose weights nothing else has."""
    first = first or run(folder, "kd", seed, inputs(), task="cola", name="first", **fields)
    return run(folder, "kd+after-cola", seed, inputs(init=str(seed)), init=first)


def rows(folder: Path) -> list[tuple[str, int]]:
    return [row for block in methods(report_of(folder)).values() for row in block if row[0].startswith("kd+after")]


def test_the_seeds_of_a_chain_are_one_row(tmp_path: Path) -> None:
    for seed in (1, 2):
        second = chain(tmp_path, seed)
        run(tmp_path, "kd+after-mrpc", seed, inputs(init=f"{seed + 2}"), init=second)
    assert sorted(rows(tmp_path)) == [("kd+after-cola", 2), ("kd+after-mrpc", 2)]


def test_chains_that_differ_in_their_first_run_are_rows_of_their_own(tmp_path: Path) -> None:
    for seed, temperature in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)):
        chain(tmp_path, seed, temperature=temperature)
    names = [f"kd+after-cola (init={tmp_path.name}/first-s{seeds})" for seeds in ("1,2", "3,4")]
    assert sorted(rows(tmp_path)) == [(name, 2) for name in names]


def test_chains_whose_first_runs_read_other_rows_are_rows_of_their_own(tmp_path: Path) -> None:
    for seed, train in ((1, "1"), (2, "2")):
        chain(tmp_path, seed, run(tmp_path, "kd", seed, inputs(train=train), task="cola"))
    assert [count for _, count in rows(tmp_path)] == [1, 1]


def test_seeds_that_start_from_one_run_stay_one_row(tmp_path: Path) -> None:
    first, other = (run(tmp_path, "kd", seed, inputs(), task="cola", name="first") for seed in (1, 2))
    for seed in (1, 2, 3):
        run(tmp_path, "kd+after-cola", seed, inputs(init="1"), init=first)
    assert rows(tmp_path) == [("kd+after-cola", 3)]
    run(tmp_path, "kd+after-cola", 2, inputs(init="2"), init=other)
    assert sorted(count for _, count in rows(tmp_path)) == [1, 3]


def test_a_first_run_that_is_gone_or_started_from_its_own_second_is_a_setting(tmp_path: Path) -> None:
    one, _ = (chain(tmp_path, seed) for seed in (1, 2))
    first = tmp_path / "first-s1"
    text = (first / "preset.toml").read_text()
    (first / "preset.toml").write_text(text.replace("[student]", f'[student]\ninit = "{one}"'))
    assert [count for _, count in rows(tmp_path)] == [1, 1]
    shutil.rmtree(first)
    assert [count for _, count in rows(tmp_path)] == [1, 1]


# -- the functions


def content(read: RunInputs | None, majority: float | None = 0.5) -> RunContent:
    return RunContent(read, majority)


def same(*runs: RunContent) -> list[int]:
    """The identities of runs as small numbers."""
    found = identities(runs, all_of)
    return [found.index(identity) for identity in found]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((content(inputs()), content(inputs(dev="1")), content(inputs())), [0, 1, 0]),
        ((content(None), content(None)), [0, 0]),
        ((content(None, None), content(None, 0.5)), [0, 0]),
        ((content(None, 0.5), content(None, 0.6), content(None, None)), [0, 1, 2]),
        ((content(inputs()), content(None), content(None, None), content(None, 0.6)), [0, 0, 0, 3]),
        ((content(inputs(), None), content(None, 0.6)), [0, 0]),
        ((content(inputs()), content(inputs(dev="1")), content(None), content(None)), [0, 1, 2, 2]),
    ],
)
def test_equal_inputs_have_equal_identities(runs: Sequence[RunContent], expected: list[int]) -> None:
    assert same(*runs) == expected


def test_the_data_of_a_stage_and_the_initial_student_tell_runs_apart() -> None:
    corpus = replace(inputs(), stages={"ild": InputRows("/corpus.txt", 5, "1" * 64)})
    other = replace(inputs(), stages={"ild": InputRows("/corpus.txt", 6, "2" * 64)})
    settings = [{"stage.ild.data.corpus": "corpus.txt"}] * 2
    found = unexplained([content(corpus), content(other)], ["rte"] * 2, settings)
    assert found == [(("stage.ild.data", "5 rows 11111111"),), (("stage.ild.data", "6 rows 22222222"),)]
    assert unexplained([content(corpus), content(inputs())], ["rte"] * 2, [settings[0], {}]) == [(), ()]

    students = [content(inputs(init=letter)) for letter in "12"]
    named = [{"student.init": "small"}] * 2
    assert [dict(setting)["student.init"] for setting in unexplained(students, ["rte"] * 2, named)] == [
        "1" * 8,
        "2" * 8,
    ]
    assert unexplained(students, ["rte"] * 2, [{"student.init": "small"}, {"student.init": "large"}]) == [(), ()]


def test_another_teacher_behind_the_same_name_is_seen_across_methods() -> None:
    runs = [content(inputs()), content(inputs(teacher="1"))]
    settings = [{"teacher.model": "bert", "teacher.finetune.epochs": epochs} for epochs in ("3", "4")]
    assert [dict(setting) for setting in unexplained(runs, ["rte"] * 2, settings)] == [
        {"teacher": "a" * 8}, {"teacher": "1" * 8},
    ]  # fmt: skip
    heads = [{**setting, "teacher.finetune.seed": epochs} for setting, epochs in zip(settings, "34", strict=True)]
    assert unexplained(runs, ["rte"] * 2, heads) == [(), ()]


def test_the_note_names_what_differs() -> None:
    assert difference_note("kd", [content(inputs()), content(inputs())]) is None
    note = difference_note("kd", [content(inputs()), content(inputs(dev="1", rows=30))]) or ""
    assert "dev 32 rows dddddddd" in note
    assert "dev 30 rows 11111111" in note
    assert "teacher" not in note


def test_rows_side_by_side() -> None:
    assert input_rows([None, None]) == []
    rows = input_rows([inputs(), inputs(dev="1", rows=30), None])
    assert rows == [
        ("data", ["train: 96 rows, cccccccc", "train: 96 rows, cccccccc", "not recorded"]),
        ("data", ["dev: 32 rows, dddddddd", "dev: 30 rows, 11111111", "not recorded"]),
        ("base model", ["aaaaaaaa", "aaaaaaaa", "not recorded"]),
    ]
    assert [name for name, _ in input_rows([inputs(), inputs(init="1", tokenizer="2")])][3:] == [
        "teacher tokenizer", "student.init", "student.init tokenizer",
    ]  # fmt: skip


def test_lines_of_one_run() -> None:
    assert input_lines(inputs(init="1")) == [
        ("data", "train: 96 rows, cccccccc; dev: 32 rows, dddddddd"),
        ("base model", "aaaaaaaa, tokenizer bbbbbbbb"),
        ("student.init", "11111111, tokenizer bbbbbbbb"),
    ]


# -- Compare's table


def final(name: str, read: RunInputs | None, accuracy: float, majority: float = 0.5, **preset: Any) -> FinalMetrics:
    models = {"student": {"accuracy": accuracy}, "teacher": {"accuracy": 0.9}, "majority guess": {"accuracy": majority}}
    return FinalMetrics(Path(name), "finished", "rte", "kd", 1, models, preset, None, read)


def test_compare_keeps_dev_sets_apart_and_marks_the_highest_of_each() -> None:
    other = inputs(dev="1", rows=30)
    finals = [
        final("a", inputs(), 0.6),
        final("b", inputs(), 0.7),
        final("c", other, 0.9, 0.4),
        final("d", other, 0.8, 0.4),
    ]
    table = metrics_table(finals)
    assert [section.heading for section in table.sections] == [
        "rte, dev: 32 rows dddddddd",
        "rte, dev: 30 rows 11111111",
    ]
    highest = [row.name for row in table.rows if row.kind == "result" and row.cells[-1].mark == "highest"]
    assert highest == ["b", "c"]
    means = [row.cells[-1].value for row in table.rows if row.kind == "mean"]
    assert means == [pytest.approx(0.65), pytest.approx(0.85)]
    majority = [row.cells[-1].text for row in table.rows if "majority" in row.name]
    assert majority == ["50.00", "40.00"]
    (note,) = table.notes
    assert "11111111" in note


def test_compare_takes_no_mean_over_two_teachers() -> None:
    table = metrics_table([final("a", inputs(), 0.6), final("b", inputs(teacher="1"), 0.7), final("c", inputs(), 0.8)])
    (section,) = table.sections
    assert [row.name for row in section.rows if row.kind == "mean"] == ["kd (teacher aaaaaaaa): mean of 2 runs"]


def test_compare_of_presets_without_a_record_is_as_it_was() -> None:
    """Noise may give another majority guess on the same dev set: that alone makes no other dev set."""
    table = metrics_table([final("a", None, 0.6), final("b", None, 0.7, 0.4, task={"label_noise": 0.3})])
    assert [section.heading for section in table.sections] == [""]
    assert table.notes == ()
