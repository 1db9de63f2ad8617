"""Which runs a report counts, how it groups them, and what its cells say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.record.files import read_json, write_json
from engine.record.run import list_runs, update_status
from engine.report.collect import collect_runs, left_out_notes, runs_of_sweep
from engine.report.report_document import report_document
from engine.report.settings import Group, own_names
from engine.report.table import MetricTable, Report, SeedMean, build_report, metric_choices
from tests.report.records import finished, right, write_predictions


def report_of(runs_dir: Path, *choices: str, with_published: bool = False, against: str | None = None) -> Report:
    found = collect_runs(entry.path for entry in list_runs(runs_dir))
    return build_report(found, choices or ("primary",), with_published=with_published, against=against)


def table_of(runs_dir: Path) -> MetricTable:
    return report_of(runs_dir).tables[0]


def cells(table: MetricTable, task: str = "mrpc", block: int = 0) -> dict[str, SeedMean]:
    return {line.label: line.cells[task] for line in table.blocks[block].rows if task in line.cells}


def test_a_cell_is_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    for seed, wrong in ((1, 4), (2, 3), (3, 2)):
        finished(tmp_path, "kd", seed, right(10, range(wrong)))
    cell = cells(table_of(tmp_path))["kd"]
    assert cell.mean == pytest.approx(0.7)
    assert cell.deviation == pytest.approx(0.1)
    assert cell.values == ((1, 0.6), (2, 0.7), (3, 0.8))


def test_rows_are_methods_then_what_they_are_held_against(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), baseline=0.6)
    finished(tmp_path, "crild", 1, right(10), baseline=0.6)
    rows = [(line.kind, line.label) for line in table_of(tmp_path).blocks[0].rows]
    assert rows == [
        ("method", "kd"), ("method", "crild"), ("baseline", "labels alone"), ("teacher", "teacher"),
        ("majority", "majority guess"),
    ]  # fmt: skip


def test_labels_alone_that_differ_are_told_by_their_method(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), baseline=0.6)
    finished(tmp_path, "crild", 1, right(10), baseline=0.7)
    found = cells(table_of(tmp_path))
    assert found["labels alone (steps of kd)"].mean == 0.6
    assert found["labels alone (steps of crild)"].mean == 0.7


def test_tasks_are_columns_and_only_full_rows_have_an_average(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10, range(4)), task="mrpc", created=1)
    finished(tmp_path, "kd", 1, right(10, range(2)), task="rte", created=2)
    finished(tmp_path, "crild", 1, right(10), task="rte", created=3)
    table = table_of(tmp_path)
    averages = {line.label: line.average for line in table.blocks[0].rows}
    assert table.tasks == ("mrpc", "rte")
    assert averages["kd"] == pytest.approx(0.7)
    assert averages["crild"] is None


def test_an_average_of_different_metrics_says_so(tmp_path: Path) -> None:
    def notes() -> list[str]:
        return [line for line in table_of(tmp_path).footers if "average" in line]

    finished(tmp_path, "kd", 1, right(10), task="mrpc", created=1)
    finished(tmp_path, "kd", 1, right(10), task="rte", created=2)
    assert notes() == []
    finished(tmp_path, "kd", 1, right(10), task="cola", metric="matthews", created=3)
    (note,) = notes()
    assert "accuracy (MRPC and RTE)" in note
    assert "matthews (CoLA)" in note


def test_another_data_setting_is_a_block_of_its_own(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), created=1)
    finished(tmp_path, "kd", 1, right(10), noise=0.3, created=2)
    finished(tmp_path, "crild", 1, right(10), noise=0.3, examples=1000, created=3)
    assert [block.heading for block in table_of(tmp_path).blocks] == [
        "label_noise=0.0, examples=all", "label_noise=0.3, examples=all", "label_noise=0.3, examples=1000",
    ]  # fmt: skip


def test_what_differs_within_a_method_is_a_row_of_its_own(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), temperature=1.0, created=1)
    finished(tmp_path, "kd", 1, right(10), temperature=2.0, created=2)
    finished(tmp_path, "crild", 1, right(10), temperature=4.0, created=3)
    names = [line.label for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    assert names == ["kd (kd.temperature=1.0)", "kd (kd.temperature=2.0)", "crild"]


def test_places_threads_and_seeds_are_no_setting(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), threads=1)
    path = finished(tmp_path, "kd", 2, right(10), threads=8) / "preset.toml"
    path.write_text(path.read_text().replace("/models/bert", "/elsewhere/models/bert"))
    (line,) = [line for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    assert (line.label, line.cells["mrpc"].count) == ("kd", 2)


def test_another_teacher_is_a_setting(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), created=1)
    finished(tmp_path, "kd", 1, right(10), teacher="roberta", created=2)
    names = [line.label for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    assert names == ["kd (teacher.model=models/bert)", "kd (teacher.model=models/roberta)"]


def test_a_seed_that_was_run_again_counts_once_and_the_newest(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10, range(5)), created=1, name="old")
    finished(tmp_path, "kd", 1, right(10), created=2, name="new")
    report = report_of(tmp_path)
    assert cells(report.tables[0])["kd"].values == ((1, 1.0),)
    assert report.notes == ("1 left out, the same preset and seed again (the newest counts): old-s1",)


# -- marks


def test_a_difference_beyond_chance_is_marked(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        finished(tmp_path, "good", seed, right(200, range(seed, seed + 6)))
        finished(tmp_path, "bad", seed, right(200, range(seed, seed + 60)))
    table = table_of(tmp_path)
    found = cells(table)
    assert (found["good"].mark, found["bad"].mark, found["teacher"].mark) == ("best", "", "")
    assert (found["bad"].p or 1) < 0.05
    assert any("4,000 resamples" in line and "Holm" in line for line in table.footers)


def test_a_difference_within_chance_is_a_tie(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        finished(tmp_path, "one", seed, right(100, range(seed, seed + 10)))
        finished(tmp_path, "other", seed, right(100, range(40 + seed, 51 + seed)))
        finished(tmp_path, "bad", seed, right(100, range(seed, seed + 60)))
    found = cells(table_of(tmp_path))
    assert [found[name].mark for name in ("one", "other", "bad")] == ["tied", "tied", ""]


@pytest.mark.parametrize(("rivals", "marks"), [(1, ("best", "")), (2, ("tied", "tied", "tied"))])
def test_marks_are_corrected_for_the_number_of_methods(tmp_path: Path, rivals: int, marks: tuple[str, ...]) -> None:
    """A lead that is significant over one rival (p = 0.03) is not over each of two (Holm: p = 0.09)."""
    for seed in (1, 2, 3):
        finished(tmp_path, "good", seed, right(100))
        for number in range(rivals):
            finished(tmp_path, f"other{number}", seed, right(100, range(10 * number, 10 * number + 4)))
    found = cells(table_of(tmp_path))
    assert tuple(found[name].mark for name in ("good", *(f"other{number}" for number in range(rivals)))) == marks
    named = cells(report_of(tmp_path, against="good").tables[0])
    said = "below" if rivals == 1 else "tied"
    assert {named[f"other{number}"].mark for number in range(rivals)} == {said}


def three_methods(runs_dir: Path) -> None:
    for seed in (1, 2, 3):
        finished(runs_dir, "good", seed, right(200, range(seed, seed + 6)))
        finished(runs_dir, "middle", seed, right(200, range(seed, seed + 40)))
        finished(runs_dir, "bad", seed, right(200, range(seed, seed + 90)))


def test_methods_are_held_against_the_one_that_is_named(tmp_path: Path) -> None:
    three_methods(tmp_path)
    table = report_of(tmp_path, against="middle").tables[0]
    found = cells(table)
    assert [found[name].mark for name in ("good", "middle", "bad", "teacher")] == ["above", "", "below", ""]
    gap = found["bad"].gap
    assert gap is not None
    assert gap.mean == pytest.approx(-0.25)
    assert gap.low < -0.25 < gap.high < 0
    assert found["middle"].gap is None
    assert "Against middle" in table.footers[0]


def test_a_column_without_the_method_that_is_named_is_not_tested(tmp_path: Path) -> None:
    three_methods(tmp_path)
    for seed in (1, 2):
        finished(tmp_path, "good", seed, right(50), task="rte")
        finished(tmp_path, "bad", seed, right(50, range(20)), task="rte")
    table = report_of(tmp_path, against="middle").tables[0]
    assert cells(table, "rte")["bad"].mark == ""
    assert "Not tested, RTE: there is no row middle." in table.footers


def test_rows_of_one_method_are_told_apart_by_their_whole_label(tmp_path: Path) -> None:
    for seed in (1, 2):
        finished(tmp_path, "kd", seed, right(50, range(5)), temperature=1.0)
        finished(tmp_path, "kd", seed, right(50, range(8)), temperature=4.0)
    assert any("several rows are called kd" in line for line in report_of(tmp_path, against="kd").tables[0].footers)
    labels = [line.label for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    table = report_of(tmp_path, against=labels[0]).tables[0]
    assert cells(table)[labels[1]].gap is not None
    assert cells(table)[labels[0]].gap is None


def test_the_label_in_the_table_is_the_name_however_many_settings_it_has(tmp_path: Path) -> None:
    """Two rows that differ in the last of many settings alone: their labels are as long as that takes."""
    for last in (1, 2):
        for seed in (1, 2):
            run_dir = finished(tmp_path, "kd", seed, right(50, range(3 * last)))
            preset = (run_dir / "preset.toml").read_text()
            extra = "".join(f"x{at} = {last if at == 5 else 7}\n" for at in range(6))
            (run_dir / "preset.toml").write_text(f"{preset}[extra]\n{extra}")
    for seed in (1, 2):
        finished(tmp_path, "kd", seed, right(50))
    labels = [line.label for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    assert len(labels) == 3
    for label in labels:
        found = cells(report_of(tmp_path, against=label).tables[0])
        assert [name for name in labels if found[name].gap is None] == [label]


def test_pairs_that_share_fewer_seeds_than_their_means_are_of_are_said(tmp_path: Path) -> None:
    for seed, wrong in ((1, 20), (2, 22), (3, 2)):
        finished(tmp_path, "kd", seed, right(200, range(wrong)))
    for seed, wrong in ((1, 17), (2, 19)):
        finished(tmp_path, "crild", seed, right(200, range(wrong)))
    said = "Tested, MRPC: crild against kd over the 2 seeds that they share; their means are of more."
    assert said in report_of(tmp_path, against="kd").tables[0].footers


def test_an_unknown_method_to_be_held_against_is_a_usage_error(tmp_path: Path) -> None:
    three_methods(tmp_path)
    with pytest.raises(UsageError) as caught:
        report_of(tmp_path, against="midle")
    assert caught.value.kind == "unknown-method"
    assert '"midle"' in str(caught.value)
    assert '"middle"' in str(caught.value)


def test_a_single_seed_is_never_marked_and_said_so(tmp_path: Path) -> None:
    finished(tmp_path, "good", 1, right(200))
    finished(tmp_path, "bad", 1, right(200, range(150)))
    table = table_of(tmp_path)
    assert {cell.mark for cell in cells(table).values()} == {""}
    assert table.footers[-2:] == (
        "No figure is marked: nothing could be tested.", "Not tested, MRPC: bad against good: one seed."
    )  # fmt: skip


def test_nothing_is_best_while_a_rival_could_not_be_tested(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        finished(tmp_path, "good", seed, right(200))
        finished(tmp_path, "bad", seed, right(200, range(90 + seed)))
    finished(tmp_path, "single", 1, right(200, range(100)))
    table = table_of(tmp_path)
    assert {cell.mark for cell in cells(table).values()} == {""}
    assert (cells(table)["bad"].p or 1) < 0.05
    assert "Not tested, MRPC: single against good: one seed." in table.footers


@pytest.mark.parametrize("damage", ["missing", "torn", "others"])
def test_predictions_that_cannot_be_used_are_said(tmp_path: Path, damage: str) -> None:
    for seed in (1, 2):
        finished(tmp_path, "good", seed, right(50))
        run_dir = finished(tmp_path, "bad", seed, right(50, range(30)), name="bad")
        path = run_dir / "predictions/student.jsonl"
        if damage == "missing":
            path.unlink()
        elif damage == "torn":
            path.write_bytes(path.read_bytes()[:-20])
        else:
            write_predictions(run_dir, [0, 1], [0, 1])
    table = table_of(tmp_path)
    words = {"missing": "is missing", "torn": "cut off", "others": "do not give the accuracy"}[damage]
    assert any("bad-s1" in line and words in line for line in table.footers)
    assert {cell.mark for cell in cells(table).values()} == {""}


def test_settings_are_not_held_against_each_other(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        finished(tmp_path, "kd", seed, right(200))
        finished(tmp_path, "kd", seed, right(200, range(100)), noise=0.3)
    assert {cell.mark for block in (0, 1) for cell in cells(table_of(tmp_path), block=block).values()} == {""}


# -- metrics


def test_other_metrics_have_tables_of_their_own(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), metrics={"accuracy": 1.0, "f1": 0.5}, task="mrpc", created=1)
    finished(tmp_path, "kd", 1, right(10), metrics={"matthews": 1.0}, metric="matthews", task="cola", created=2)
    assert metric_choices(collect_runs(tmp_path.iterdir())) == ("primary", "accuracy", "f1", "matthews")
    primary, f1 = report_of(tmp_path, "primary", "f1").tables
    assert primary.metrics == {"mrpc": "accuracy", "cola": "matthews"}
    assert (f1.tasks, cells(f1)["kd"].mean) == (("mrpc",), 0.5)


def test_an_unknown_metric_is_a_usage_error(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10))
    with pytest.raises(UsageError) as caught:
        report_of(tmp_path, "acuracy")
    assert caught.value.kind == "unknown-metric"
    assert '"acuracy"' in str(caught.value)
    assert '"accuracy"' in str(caught.value)


# -- which runs


def test_a_copy_of_a_run_is_not_another_seed(tmp_path: Path) -> None:
    first, _second = (finished(tmp_path, "kd", seed, right(10, range(seed))) for seed in (1, 2))
    shutil.copytree(first, tmp_path / "saved")
    report = report_of(tmp_path)
    assert cells(report.tables[0])["kd"].values == ((1, 0.9), (2, 0.8))
    (note,) = left_out_notes(collect_runs(e.path for e in list_runs(tmp_path)).left_out)
    assert "saved" in note
    assert first.name in note


def test_runs_that_have_not_finished_are_left_out_and_counted(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10))
    for seed, state in ((2, "failed"), (3, "failed"), (4, "stopped")):
        update_status(finished(tmp_path, "kd", seed, right(10), name=state), state=state)
    report = report_of(tmp_path)
    assert cells(report.tables[0])["kd"].count == 1
    assert report.notes == ("2 left out, failed: failed-s2, failed-s3", "1 left out, stopped: stopped-s4")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("results.json", None, "results.json is missing"),
        ("results.json", "{", "results.json is not complete JSON"),
        ("results.json", '{"schema": 9}', "schema 9"),
        ("results.json", '{"student": {"accuracy": "high"}, "metric": "accuracy"}', "no figure"),
        ("results.json", '{"student": {"accuracy": 1}, "metric": ["x"]}', "no figure"),
        ("results.json", '{"student": {"accuracy": 1e308}, "metric": "accuracy"}', "no figure"),
        ("preset.toml", "a = [", "preset cannot be read"),
        ("status.json", "[]", "created"),  # what its other files say: it has no events
    ],
)
def test_damaged_records_are_left_out_and_said(tmp_path: Path, file: str, content: str | None, words: str) -> None:
    finished(tmp_path, "kd", 1, right(10))
    path = finished(tmp_path, "crild", 1, right(10), name="damaged") / file
    path.unlink() if content is None else path.write_text(content)
    report = report_of(tmp_path)
    assert [run.method for run in report.runs] == ["kd"]
    assert words in report.notes[0]
    assert "damaged-s1" in report.notes[0]


def test_nothing_to_report_is_a_usage_error_that_says_what_there_was(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        report_of(tmp_path)
    assert caught.value.kind == "no-finished-run"
    update_status(finished(tmp_path, "kd", 1, right(10), name="broken"), state="failed")
    with pytest.raises(UsageError) as caught:
        report_of(tmp_path)
    assert caught.value.kind == "no-finished-run"
    assert "1 left out, failed: broken-s1" in str(caught.value)


def test_a_sweep_is_the_runs_that_name_it(tmp_path: Path) -> None:
    run_dir = finished(tmp_path, "kd", 1, right(10))
    finished(tmp_path, "crild", 1, right(10))
    write_json(run_dir / "status.json", {**(read_json(run_dir / "status.json") or {}), "sweep": "study"})
    assert runs_of_sweep(tmp_path, "study") == [run_dir]
    (tmp_path / ".sweep").mkdir()
    for cells, there in (([{"run": run_dir.name}], [run_dir]), ([{"run": "another"}], []), ("damaged", [run_dir])):
        write_json(tmp_path / ".sweep/study.json", {"cells": cells})
        assert runs_of_sweep(tmp_path, "study") == there
    with pytest.raises(UsageError) as caught:
        runs_of_sweep(tmp_path, "stdy")
    assert caught.value.kind == "unknown-sweep"
    assert '"study"' in str(caught.value)
    (tmp_path / ".sweep/empty.json").write_text(json.dumps({}))
    with pytest.raises(UsageError) as caught:
        runs_of_sweep(tmp_path, "empty")
    assert caught.value.kind == "empty-sweep"
    assert '"empty"' in str(caught.value)


# -- published figures


def test_published_figures_are_rows_of_their_own_with_their_caveats(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), task="rte")
    table = report_of(tmp_path, with_published=True).tables[0]
    theirs = {line.label: line.cells["rte"].mean for line in table.blocks[-1].rows}
    assert theirs["PKD, 6 layers (PKD repository)"] == pytest.approx(0.682)
    assert all(line.kind == "published" and line.average is None for line in table.blocks[-1].rows)
    assert any("minilmv2.bb" in line for line in table.footers)
    assert {line.kind for line in table.blocks[0].rows} == {"method", "teacher", "majority"}


def test_without_figures_for_the_tasks_that_is_said(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10), task="toy-words")
    assert (
        "no published figures are known for these tasks" in report_of(tmp_path, with_published=True).tables[0].footers
    )


def test_rows_are_told_apart_however_many_settings_that_takes() -> None:
    same = [(f"train.key{number}", "same") for number in range(6)]
    owns = [(*same, ("train.last", value)) for value in ("1", "2")]
    names = own_names([Group("kd", "rte", (), own, ()) for own in owns])
    assert len(set(names.values())) == 2


def test_a_table_that_is_switched_off_is_one_setting(tmp_path: Path) -> None:
    for seed, value in ((1, "false"), (2, "{ weight = 0.1, decay = 0.9 }")):
        run_dir = finished(tmp_path, "crild", seed, right(10))
        path = run_dir / "preset.toml"
        path.write_text(path.read_text() + f"consistency = {value}\n")
    names = [line.label for line in table_of(tmp_path).blocks[0].rows if line.kind == "method"]
    assert names == ["crild (kd.consistency=false)", "crild (kd.consistency=on)"]


def test_single_trials_of_a_search_are_left_out_unless_wanted(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10))
    for number, trial in enumerate(("0", "12", "12-again"), start=2):
        run_dir = finished(tmp_path, "kd", number, right(10), name=f"tune-{trial}")
        update_status(run_dir, sweep="tune", cell={"trial": trial})
    paths = [entry.path for entry in list_runs(tmp_path)]
    assert len(collect_runs(paths, with_trials=False).runs) == 4, "without a record it may be a sweep"
    (tmp_path / ".sweep").mkdir()
    for search, left in (({"table": {}}, ["tune-0-s2", "tune-12-s3"]), (None, [])):
        write_json(tmp_path / ".sweep/tune.json", {"search": search})
        found = collect_runs(paths, with_trials=False)
        assert [one.name for one in found.left_out] == left
        assert all("--sweep tune" in one.why for one in found.left_out)
        assert len(found.runs) == 4 - len(left)
    write_json(tmp_path / ".sweep/tune.json", {"search": {"table": {}}})
    assert len(collect_runs(paths).runs) == 4


def test_rows_held_out_are_one_setting_and_measuring_them_is_none(tmp_path: Path) -> None:
    for seed, keys in ((1, ""), (2, "holdout = 0.2\n"), (3, "holdout = 0.2\nmeasure_holdout = true\n")):
        path = finished(tmp_path, "kd", seed, right(10)) / "preset.toml"
        path.write_text(path.read_text().replace("[teacher]", f"{keys}[teacher]"))
    assert [block.heading for block in table_of(tmp_path).blocks] == ["rows held out=none", "rows held out=0.2"]


def test_a_student_without_the_key_has_the_layers_of_its_results(tmp_path: Path) -> None:
    finished(tmp_path, "kd", 1, right(10))
    chained = finished(tmp_path, "crild", 1, right(10)) / "preset.toml"
    chained.write_text(chained.read_text().replace("layers = 3", 'init = "/runs/first/student"'))
    (block,) = table_of(tmp_path).blocks
    assert [row.label for row in block.rows if row.kind == "method"] == ["kd", "crild"]


def a_ranking(runs_dir: Path, method: str, seed: int, second: int, *, groups: bool = True) -> Path:
    """Of 40 queries with two rows so many are ranked second."""
    found = {"mrr": 1 - second / 80}
    run_dir = finished(runs_dir, method, seed, right(80), metric="mrr", metrics=found)
    rows = [
        {"id": f"dev-{row}", "group": row // 2, "label": float(row % 2), "prediction": score, "score": score}
        for row in range(80)
        for score in [float(row % 2 == 0) if row // 2 < second else float(row % 2)]
    ]
    kept = [{key: value for key, value in row.items() if groups or key not in ("group", "score")} for row in rows]
    (run_dir / "predictions/student.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    return run_dir


@pytest.mark.parametrize(("more", "said"), [((), "2"), ((1,), "1 to 2"), ((1, 2), "2")])
def test_numbers_of_seeds_that_differ_are_a_range(tmp_path: Path, more: tuple[int, ...], said: str) -> None:
    for seed in (1, 2):
        finished(tmp_path, "kd", seed, right(10))
    for seed in more:
        finished(tmp_path, "kd", seed, right(12), task="rte")
    (row,) = [row for row in report_document(report_of(tmp_path)).tables[0].rows if row.label == "kd"]
    assert row.cells[0].text == said


def test_rankings_are_marked(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        a_ranking(tmp_path, "kd", seed, 30 + seed)
        a_ranking(tmp_path, "crild", seed, seed)
    table = table_of(tmp_path)
    assert {label: cells(table)[label].mark for label in ("kd", "crild")} == {"kd": "", "crild": "best"}
    assert not any("Not tested" in line for line in table.footers)
    assert any("bootstrap over queries (" in line for line in table.footers)
    for seed in (1, 2, 3):
        finished(tmp_path / "labels", "kd", seed, right(80, range(30 + seed)))
        finished(tmp_path / "labels", "crild", seed, right(80, range(seed)))
    assert any("bootstrap over dev examples (" in line for line in table_of(tmp_path / "labels").footers)
    against = report_of(tmp_path, against="kd").tables[0]
    assert cells(against)["crild"].mark == "above"


def test_rankings_whose_predictions_name_no_queries_are_not_tested(tmp_path: Path) -> None:
    for seed in (1, 2):
        a_ranking(tmp_path, "kd", seed, 30 + seed, groups=False)
        a_ranking(tmp_path, "crild", seed, seed)
    table = table_of(tmp_path)
    assert any("which query each row is of" in line for line in table.footers)
    assert {cell.mark for cell in cells(table).values()} == {""}


def test_a_metric_of_words_without_a_test_is_said(tmp_path: Path) -> None:
    for method in ("kd", "crild"):
        for seed in (1, 2):
            run_dir = finished(tmp_path, method, seed, right(2), metric="f1_macro", metrics={"f1_macro": 0.5})
            row = {"id": "dev-0", "label": ["O"], "prediction": ["O"], "word_probabilities": [1.0]}
            (run_dir / "predictions/student.jsonl").write_text(json.dumps(row) + "\n")
    assert any("there is no test for f1_macro" in line for line in table_of(tmp_path).footers)
