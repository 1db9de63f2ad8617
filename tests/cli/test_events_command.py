"""`crild events`: a run's events as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.record.event_table import columns, flat
from engine.record.events import EventWriter, read_events
from tests.cli.conftest import Call
from tests.cli.samples import make_run


@pytest.fixture
def run_dir(runs_dir: Path) -> Path:
    """A run that was resumed: step 2 of its first attempt was trained again."""
    run_dir = make_run(runs_dir, state="created")
    for attempt, steps in ((1, (1, 2)), (2, (2, 3))):
        writer = EventWriter(run_dir / f"events.{attempt}.jsonl", attempt)
        writer.write("run_started", attempt=attempt, stages=["kd"], stage="kd", step=steps[0] - 1)
        for step in steps:
            writer.write(
                "step", stage="kd", step=step, loss=1 / step, terms={"logits": 0.5 * attempt}, ranks=[{"memory": 1}]
            )
        writer.close()
    last = EventWriter(run_dir / "events.2.jsonl", 2)
    last.write("evaluation", stage="kd", step=3, model="=student", split="dev", primary=True, metrics={"accuracy": 0.9})
    last.close()
    return run_dir


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_for_each_event_and_none_twice(crild: Call, run_dir: Path) -> None:
    said = crild("events", run_dir.name)
    rows = table(said.out)
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("step", "1"), ("step", "2"), ("step", "3"), ("evaluation", "3"),
    ]  # fmt: skip
    assert [row["terms.logits"] for row in rows] == ["0.5", "1.0", "1.0", ""]
    assert rows[3]["metrics.accuracy"] == "0.9"
    assert rows[3]["model"] == "'=student", "a spreadsheet would compute it"
    assert next(iter(rows[0])) == "t"
    assert "v" not in rows[0]
    assert rows[0]["ranks"] == '[{"memory": 1}]'


def test_every_number_is_the_events(crild: Call, run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    assert crild("events", run_dir.name, "--kind", "all", "-o", str(file)).code == 0
    rows = pq.read_table(file).to_pylist()
    events = [flat(event) for event in read_events(run_dir)]
    assert len(rows) == len(events) == 6
    for row, event in zip(rows, events, strict=True):
        assert {name: value for name, value in row.items() if value is not None} == event
    assert columns(run_dir)["primary"] == "bool"


def test_a_file_is_written_whole_and_its_name_decides(crild: Call, run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "curves.csv"
    said = crild("events", run_dir.name, "--kind", "step", "-o", str(file))
    assert "3 events written to" in said.err
    assert len(table(file.read_text())) == 3
    assert crild("events", run_dir.name, "--to", "csv", "-o", str(tmp_path / "curves")).code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--kind", "stepp"), "the kinds are"),
        (("--to", "parquet"), "Parquet needs a file"),
        (("-o", "curves.xls"), "csv and parquet"),
        (("-o", "/nowhere/curves.csv"), "cannot be written"),
    ],
)
def test_mistakes_are_sentences(crild: Call, run_dir: Path, words: tuple[str, ...], sentence: str) -> None:
    said = crild("events", run_dir.name, *words)
    assert said.code == 2
    assert sentence in said.err


def test_a_run_without_events_gives_an_empty_table(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="created")
    said = crild("events", run_dir.name)
    assert (said.code, said.out.strip()) == (0, "")
