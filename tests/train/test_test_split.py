"""A test set is measured once, when training has ended, and decides nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data.load import load_task
from engine.errors import DataError
from engine.preset.schema import Files, Task
from engine.record.inputs import read_inputs
from engine.record.student import student_hash
from engine.report.closing_table import closing_table
from tests.train.tiny_run import make, materials, work

SHORT = (
    "teacher.finetune.epochs=1", "stage.ild.epochs=0.5", "stage.kd.epochs=1", "stage.kd.evaluate=1", "baseline.enabled=false",
)  # fmt: skip


def test_it_is_measured_at_the_end_and_the_student_is_the_same_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    text = materials(tmp_path)
    rows = [f"w{n} w{n + 1} w{n + 2},{'good' if n < 20 else 'bad'}" for n in range(0, 36, 3)]
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    without = make(tmp_path, text, *SHORT, name="without")
    run_dir = make(tmp_path, text, *SHORT, f"task.files.test={tmp_path / 'test.csv'}", name="with")
    plain, results = work(without), work(run_dir)
    assert plain is not None
    assert results is not None
    assert student_hash(run_dir) == student_hash(without)
    assert {"test"} == results.keys() - plain.keys()
    for model in ("teacher", "student"):
        assert set(results[model]["test"]) == {"accuracy"}
        assert results[model]["dev_extra"] == {}
        assert results[model]["metrics"] == plain[model]["metrics"]
    assert results["test"]["rows"] == 12
    events = [json.loads(line) for line in (run_dir / "events.1.jsonl").read_text().splitlines()]
    assert "test" not in {event.get("split") for event in events}, "nothing that is logged or picked reads it"
    saved = [json.loads(line) for line in (run_dir / "predictions" / "student.test.jsonl").read_text().splitlines()]
    assert [row["id"] for row in saved] == [f"test-{n}" for n in range(12)]
    inputs = read_inputs(run_dir)
    assert inputs is not None
    assert list(inputs.dev) == ["dev", "test"]
    table = closing_table(results)
    assert [row.name.strip() for row in table.models].count("on test") == 3
    assert any("12 rows" in sentence for sentence in table.statements)
    assert "test set (12 rows" in (run_dir / "student" / "README.md").read_text()


def test_its_classes_are_those_of_train_and_rows_that_train_has_are_reported(tmp_path: Path) -> None:
    from engine.data.findings import data_findings

    for name, labels in (("train", "xyxyxy"), ("test", "xz")):
        rows = [f"text {n},{label}" for n, label in enumerate(labels)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    files = Files(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError) as caught:
        load_task(Task(name="custom", files=files, kind="classification"))
    assert (caught.value.kind, caught.value.file) == ("unknown-label", files.test)
    train = (tmp_path / "train.csv").read_text()
    (tmp_path / "test.csv").write_text(f"{train}other,y\n")
    data = load_task(Task(name="custom", files=files, kind="classification"))
    assert list(data.dev) == ["dev"]
    facts = {finding.kind: finding.facts for finding in data_findings(data)}
    assert facts["dev-overlaps-train"] == {"split": "test", "rows": 7, "shared": len(data.train)}
    assert facts["test-overlaps-dev"] == {"rows": 7, "shared": len(data.dev["dev"])}
