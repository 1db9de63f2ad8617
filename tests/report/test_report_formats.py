"""Small reports in every format, and what a hostile name does to each: nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from engine.report.collect import collect_runs
from engine.report.page import page
from engine.report.report_document import report_document
from engine.report.result_table import ResultDocument
from engine.report.table import build_report
from engine.report.writers import FORMATS, PAGE, comma_separated, json_document, latex, markdown
from tests.report.records import finished, right, write_predictions
from tests.report.test_student_errors import sure, write

HOSTILE = "</td><script>alert(1)</script>|$x_1$\\end{tabular}&%#\"'`[a](http://evil.example)\x1b[31m\n=cmd()\u202e"


@pytest.fixture
def small(tmp_path: Path) -> ResultDocument:
    folder = tmp_path / "runs"
    for seed in (1, 2, 3):
        finished(folder, "kd", seed, right(200, range(seed, seed + 60)), created=seed)
        finished(folder, "crild", seed, right(200, range(seed, seed + 4 + 2 * seed)), created=10 + seed)
        finished(folder, "tinybert", seed, right(200, range(20, 33 - seed)), created=20 + seed)
    return report_document(build_report(collect_runs(folder.iterdir())))


@pytest.fixture
def hostile(tmp_path: Path) -> ResultDocument:
    folder = tmp_path / "runs"
    for seed, temperature in ((1, 1.0), (1, 2.0)):
        finished(folder, HOSTILE, seed, right(10), temperature=temperature, task="mrpc", extra={"task": HOSTILE})
    finished(folder, "=cmd()", 1, right(10), task="mrpc", extra={"task": HOSTILE})
    return report_document(build_report(collect_runs(folder.iterdir())))


def test_markdown(small: ResultDocument) -> None:
    assert (
        markdown(small).split("\n- ")[0]
        == """\
**accuracy on dev, in %, mean ± sample standard deviation over seeds**

| method         | seeds |  MRPC accuracy |
| -------------- | ----: | -------------: |
| kd             |     3 |   70.00 ± 0.00 |
| crild          |     3 | 96.00 ± 1.00 ≈ |
| tinybert       |     3 | 94.50 ± 0.50 ≈ |
| teacher        |       |          90.00 |
| majority guess |       |          50.00 |
"""
    )


def test_latex(small: ResultDocument) -> None:
    lines = [line for line in latex(small).splitlines() if not line.startswith("%")]
    assert lines[: lines.index(r"\end{table}") + 1] == [
        r"\begin{table}[tb]",
        r"\centering",
        r"\caption{Accuracy on dev, in \%, mean $\pm$ sample standard deviation over seeds."
        r" Underlined: not significantly different from the highest.}",
        r"\label{tab:crild-primary-metric}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & seeds & MRPC accuracy \\",
        r"\midrule",
        r"kd & 3 & 70.00 $\pm$ 0.00 \\",
        r"crild & 3 & \underline{96.00 $\pm$ 1.00} \\",
        r"tinybert & 3 & \underline{94.50 $\pm$ 0.50} \\",
        r"\addlinespace",
        r"teacher &  & 90.00 \\",
        r"majority guess &  & 50.00 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    assert latex(small).isascii()
    assert latex(small).count(r"\label{") == len(small.tables)


@pytest.mark.parametrize(("tasks", "is_small"), [(3, False), (9, True)])
def test_a_latex_table_that_is_wider_than_the_page_is_set_smaller(tmp_path: Path, tasks: int, is_small: bool) -> None:
    for number in range(tasks):
        finished(tmp_path, "crild", 1, right(50), task=f"task{number}")
    [primary, *_] = latex(report_document(build_report(collect_runs(tmp_path.iterdir())))).split(r"\end{table}")
    assert (r"\footnotesize" in primary) == is_small
    assert primary.index(r"\caption") < (primary.index(r"\footnotesize") if is_small else len(primary))


def test_csv_has_every_figure_in_full(small: ResultDocument) -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(small))))
    crild = next(row for row in rows if row["method"] == "crild")
    assert (crild["mark"], crild["seeds"]) == ("tied", "3")
    assert float(crild["mean"]) == pytest.approx(0.96)
    assert [float(part.split(":")[1]) for part in crild["values"].split()] == [0.97, 0.96, 0.95]
    assert float(next(row for row in rows if row["method"] == "kd")["p"]) < 0.01


def test_json_has_tables_and_runs(small: ResultDocument) -> None:
    document = json.loads(json_document(small))
    row = document["tables"][0]["blocks"][0]["rows"][1]
    assert (row["name"], row["cells"]["mrpc"]["mark"], len(row["runs"])) == ("crild", "tied", 3)
    assert [run["seed"] for run in document["runs"]] == [1, 2, 3] * 3


def test_every_format_says_how_far_methods_are_from_the_one_that_was_named(
    small: ResultDocument, tmp_path: Path
) -> None:
    named = report_document(build_report(collect_runs((tmp_path / "runs").iterdir()), against="kd"))
    line = next(line for line in markdown(named).splitlines() if line.startswith("| crild "))
    assert re.search(r" 96\.00 ± 1\.00 \+26\.00 \(\+\d+\.\d\d to \+\d+\.\d\d\) ▲ \|$", line)
    assert re.search(r"96\.00 \$\\pm\$ 1\.00 \+26\.00 \(.* to .*\) \$\\uparrow\$", latex(named))
    (row,) = [row for row in csv.DictReader(io.StringIO(comma_separated(named))) if row["method"] == "crild"]
    assert float(row["gap"]) == pytest.approx(0.26)
    assert float(row["low"]) < 0.26 < float(row["high"])
    table = json.loads(json_document(named))["tables"][0]
    assert table["against"] == "kd"
    gaps = [line["cells"]["mrpc"]["gap"] for line in table["blocks"][0]["rows"] if line["kind"] == "method"]
    assert [gap is None for gap in gaps] == [True, False, False]
    assert "+26.00 (" in page(named)


@pytest.mark.parametrize("name", [each.name for each in FORMATS.values() if not each.binary])
def test_no_name_steers_a_terminal_or_breaks_a_line(name: str, hostile: ResultDocument) -> None:
    text = str(FORMATS[name].write(hostile))
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_hostile_name_stays_in_its_cell_of_markdown(hostile: ResultDocument) -> None:
    rows = [line for line in markdown(hostile).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {3, 4}, "those of the settings, of the results"
    text = markdown(hostile)
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\]\(", text)


def test_a_hostile_name_stays_in_its_cell_of_latex(hostile: ResultDocument) -> None:
    rows = [line for line in latex(hostile).splitlines() if line.endswith(r"\\")]
    counts = {len(re.findall(r"(?<!\\)&", line)) for line in rows if "multicolumn" not in line}
    assert counts == {1, 2}, "those of the settings, of the results"
    assert latex(hostile).count(r"\end{tabular}") == len(hostile.tables)
    body = "\n".join(line for line in latex(hostile).splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)%", body)


def test_a_hostile_name_is_no_formula_in_csv(hostile: ResultDocument) -> None:
    rows = list(csv.reader(io.StringIO(comma_separated(hostile))))
    assert len({len(row) for row in rows}) == 1
    assert any(cell == "'=cmd()" for row in rows for cell in row)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)


def test_a_hostile_name_comes_back_whole_from_json(hostile: ResultDocument) -> None:
    document = json.loads(json_document(hostile))
    assert HOSTILE in {run["method"] for run in document["runs"]}


@pytest.fixture
def mistaken(tmp_path: Path) -> ResultDocument:
    """Two methods with hostile class names; the better seed of crild gets one row of three wrong, kd's two."""
    names = (HOSTILE, "yes")
    answers = (("kd", 1, (1, 0, 0)), ("crild", 1, (1, 0, 0)), ("crild", 2, (0, 1, 1)))
    for method, seed, predictions in answers:
        correct = [own == gold for own, gold in zip(predictions, (0, 1, 0), strict=True)]
        run_dir = finished(tmp_path, method, seed, correct)
        write(run_dir, "student", (0, 1, 0), [sure(answer, 0.9, 2) for answer in predictions], names)
        write(run_dir, "teacher", (0, 1, 0), [sure(answer, 0.9, 2) for answer in (0, 1, 0)], names)
    return report_document(build_report(collect_runs(tmp_path.iterdir())))


def test_markdown_has_the_mistakes_of_the_best_seeds_after_the_notes(mistaken: ResultDocument) -> None:
    text = markdown(mistaken).split(r"\- crild")[-1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    overview = [row for row in rows if row[0] in ("kd", "crild") and len(row) == 9]
    assert [row[:5] for row in overview] == [["kd", "1", "3", "2", "2"], ["crild", "2", "3", "1", "1"]]
    heads = [index for index, row in enumerate(rows) if row[0] == "class"]
    assert len(heads) == 1, "one table for both methods"
    classes = rows[heads[0] + 2 : heads[0] + 8]
    assert [row[0] for row in classes if not row[1]] == ["**kd**", "**crild**"]
    assert [row[1:] for row in classes if row[0] == "yes"] == [
        ["1", "0.00", "0.00", "0.00", "100.00"],
        ["1", "50.00", "100.00", "66.67", "100.00"],
    ]
    assert [row[1:] for row in rows if row[0] == "2 yes" and len(row) == 3] == [["1", "0"], ["0", "1"]], "confusions"
    assert not re.search(r"(?<!\\)<script", text)


def test_latex_has_the_mistakes_as_floats_of_their_own(mistaken: ResultDocument) -> None:
    text = latex(mistaken)
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels[-3:] == ["tab:crild-mistakes", "tab:crild-classes-mrpc", "tab:crild-confusion-matrix-mrpc"]
    assert len(set(labels)) == len(labels) == text.count(r"\end{tabular}") == text.count(r"\bottomrule")
    assert text.count(r"\clearpage") == 1
    assert text.isascii()


def test_many_methods_are_divided_into_floats_that_fit_on_a_page(tmp_path: Path) -> None:
    for number in range(20):
        run_dir = finished(tmp_path, f"method{number}", 1, right(4))
        write_predictions(run_dir, [0, 1, 0, 1], [0, 0, 0, 0], "teacher")
    text = latex(report_document(build_report(collect_runs(tmp_path.iterdir()))))
    labels = re.findall(r"\\label\{tab:crild-(classes.*?)\}", text)
    assert labels == ["classes-mrpc", "classes-mrpc-2"]
    bodies = [part.split(r"\end{table}")[0] for part in text.split(r"\begin{table}")[1:]]
    parts = [body for body in bodies if "classes-mrpc" in body]
    assert sum(body.count(r"\multicolumn") for body in parts) == 20
    assert all(body.count(r"\\" + "\n") - 1 <= PAGE for body in parts)
