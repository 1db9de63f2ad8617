"""Lists, comparisons and reports: the figures of the command line, as tables."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

import crild
from tests.cli.conftest import Call
from tests.cli.samples import PRESET, make_run
from tests.report.records import finished, right


@pytest.fixture
def runs(runs_dir: Path) -> Path:
    for seed in (1, 2, 3):
        finished(runs_dir, "kd", seed, right(200, range(seed, seed + 60)))
        finished(runs_dir, "crild", seed, right(200, range(seed, seed + 5)))
    return runs_dir


def test_runs_are_listed_and_filtered(runs_dir: Path, command: Call) -> None:
    make_run(runs_dir, "one", tags=("toy",))
    make_run(runs_dir, "two", state="failed")
    everything = crild.runs()
    assert {run.name for run in everything} == {run["run"] for run in command("runs", "--json").json}
    table = everything.to_dataframe().set_index("run")
    assert table.loc["one-s1", "tags"] == "toy"
    assert table.loc["two-s1", "state"] == "failed"
    assert str(table["created"].dtype).startswith("datetime64")
    assert [run.name for run in crild.runs("state:failed")] == ["two-s1"]
    assert "two-s1" in everything._repr_html_()
    with pytest.raises(crild.CrildError) as caught:
        crild.runs("metric:>x")
    assert f"error: {caught.value}\n" == command("runs", "--filter", "metric:>x").err


def test_no_runs_are_an_empty_list_and_an_empty_table(tmp_path: Path) -> None:
    nothing = crild.runs(runs_dir=tmp_path / "none")
    assert (list(nothing), nothing.to_dataframe().empty) == ([], True)
    assert "no runs" in nothing._repr_html_()


def test_notes_of_a_stranger_are_text(runs_dir: Path) -> None:
    run = make_run(runs_dir, tags=("<script>",))
    assert "<script>" not in crild.runs()._repr_html_() + crild.Run(run)._repr_html_()


def test_runs_are_compared_with_their_differences(runs_dir: Path) -> None:
    first = crild.Run(make_run(runs_dir, "a"))
    make_run(runs_dir, "b", preset=PRESET.replace("epochs = 4.0", "epochs = 5.0", 1))
    compared = crild.compare(first, "b")
    different = compared.differences()
    assert list(different.columns) == ["a-s1", "b-s1"]
    assert list(different.loc["stage.ild.epochs"]) == ["4.0", "5.0"]
    figures = compared.to_dataframe()
    assert list(figures.loc[figures["kind"] == "run", "accuracy"]) == [0.6751, 0.6751]
    page = compared._repr_html_()
    assert "67.51" in page
    assert "stage.ild.epochs" in page
    with pytest.raises(crild.CrildError) as caught:
        crild.compare(first)
    assert caught.value.kind == "too-few-runs"


def test_a_report_has_the_records_of_the_command_line(runs: Path, command: Call) -> None:
    table = crild.report().to_dataframe()
    printed = pd.read_csv(io.StringIO(command("report", "--format", "csv").out))
    assert list(table.columns) == list(printed.columns)
    assert list(table["mean"]) == list(printed["mean"])
    assert list(table["values"]) == list(printed["values"])
    page = crild.report(metrics="primary", columns=["params"])._repr_html_()
    assert "97.50 ± 0.00" in page
    assert "<script" not in page


def test_a_report_is_saved_in_the_format_of_the_ending(runs: Path, command: Call, tmp_path: Path) -> None:
    report = crild.report(list(crild.runs()), against="kd")
    for ending in ("md", "csv", "tex", "json"):
        file = report.save(tmp_path / f"a.{ending}")
        assert command("report", "--against", "kd", "-o", str(tmp_path / f"b.{ending}")).code == 0
        assert file.read_text() == (tmp_path / f"b.{ending}").read_text()
    with pytest.raises(crild.CrildError) as caught:
        report.save(tmp_path / "a.docx")
    assert caught.value.kind == "unknown-file-ending"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({"sweep": "frob"}, "unknown-sweep"),
        ({"against": "crld"}, None),
        ({"metrics": "frob"}, None),
        ({"columns": ["frob"]}, None),
    ],
)
def test_unknown_names_are_refused(runs: Path, words: dict[str, str], kind: str | None) -> None:
    with pytest.raises(crild.CrildError) as caught:
        crild.report(**words)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert kind in (None, caught.value.kind)
