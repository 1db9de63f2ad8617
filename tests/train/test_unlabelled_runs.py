"""Runs whose stages read unlabelled files: trained, resumed to the same bytes, refused when the files changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import CrildError
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.inputs import read_inputs
from engine.train.engine_tools import plan
from tests.train.tiny_run import file_of, make, materials, work

QUICK = (
    "teacher.finetune.epochs=0.5", "stage.kd.epochs=1", "stage.kd.objectives={logits=1.0}", "baseline.enabled=false",
    "stage.ild.objectives={hidden=1.0}", "stage.ild.mixup=false", "stage.ild.consistency=false", "stage.ild.epochs=1",
)  # fmt: skip
MORE = "body,label,number\n" + "".join(f"w{row} w{row % 7} w3,x,1\n" for row in range(40))


def settings(folder: Path) -> tuple[str, ...]:
    data = f"{{files=['{folder}/mo*.csv'], columns={{text='body'}}, with_task=true}}"
    return (*QUICK, f"stage.ild.data={data}", f"stage.kd.data={data.replace('true', '0.2')}")


def weights(run_dir: Path) -> bytes:
    return (run_dir / "student/model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))


def test_a_run_on_unlabelled_rows_resumes_exactly_and_refuses_others(tmp_path: Path) -> None:
    text = materials(tmp_path)
    (tmp_path / "more.csv").write_text(MORE)
    whole = make(tmp_path, text, *settings(tmp_path), name="whole")
    results = work(whole)
    assert results is not None
    kinds = [finding["kind"] for finding in results["findings"]]
    assert kinds.count("columns-not-read") == 1, "two stages read the same file"
    assert "share-of-task" in kinds
    read = read_inputs(whole)
    assert read is not None
    assert (read.stages["ild"].rows, read.stages["kd"].rows) == (40 + 56, 50)
    assert read.stages["ild"].source == str(tmp_path / "mo*.csv")

    stopped = make(tmp_path, text, *settings(tmp_path), name="stopped")
    assert work(stopped, stop_after=("ild", 3)) is None
    (tmp_path / "more.csv").write_text(MORE.replace("w5 ", "w6 "))
    with pytest.raises(CrildError) as caught:
        work(stopped)
    assert caught.value.kind == "inputs-changed"
    assert caught.value.file == str(tmp_path / "mo*.csv")
    (tmp_path / "more.csv").unlink()
    (tmp_path / "more too.csv").write_text(MORE.replace("number", "nothing"))
    assert work(stopped) is not None, "another name and another column that is not read are the same rows"
    assert weights(stopped) == weights(whole)


def test_a_plan_counts_them_and_names_what_is_missing(tmp_path: Path) -> None:
    text = materials(tmp_path)
    (tmp_path / "more.csv").write_text(MORE)
    preset = load_preset([str(file_of(tmp_path, text))], settings(tmp_path))
    file = tmp_path / "plan.toml"
    file.write_text(dump(preset.preset))
    planned = plan(file)
    assert {row["name"]: row["examples"] for row in planned["stages"]} == {"teacher": 56, "ild": 96, "kd": 50}
    assert "columns-not-read" in json.dumps(planned["findings"])
    (tmp_path / "more.csv").unlink()
    assert any("mo*.csv" in sentence for sentence in plan(file)["missing"])
