"""Every report says what was run: what all runs share, and what a task, a method or a group has alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crild_tui.cli.result_tables import plain_text
from engine.record.files import write_json
from engine.record.inputs import InputModel, InputRows, RunInputs, write_inputs
from engine.report.collect import collect_runs
from engine.report.cost_columns import cost_columns
from engine.report.page import page
from engine.report.report_document import ReportDocument, report_document
from engine.report.setting_words import setting_lines
from engine.report.shared_settings import ALL, SettingsSection, shared_settings
from engine.report.table import build_report
from engine.report.writers import json_document, latex, markdown
from tests.report.records import finished, right

MEASURED: dict[str, Any] = {
    "teacher": {"metrics": {"accuracy": 0.9}, "layers": 12, "parameters": 109_482_240, "bytes": 437_000_000},
    "student": {
        "metrics": {"accuracy": 0.8}, "layers": 3, "parameters": 45_100_000, "bytes": 180_400_000, "latency_ms": 12.0,
    },
}  # fmt: skip


def run(folder: Path, method: str, seed: int, *, task: str = "rte", rows: int = 400, **fields: Any) -> Path:
    run_dir = finished(folder, method, seed, right(100, range(20)), task=task, extra=MEASURED, **fields)
    model = InputModel("/models/bert", "a" * 64, "b" * 64)
    write_inputs(
        run_dir, RunInputs(InputRows("/data", rows, "c" * 64), {"dev": InputRows("/data", 277, "d" * 64)}, model)
    )
    versions = {"torch": "2.6.0", "transformers": "5.0.0"}
    environment = {"device": "cpu", "device_name": "CPU", "precision": "fp32", "threads": 2, "crild": "0.3.0"}
    write_json(run_dir / "environment.json", {**environment, "versions": versions})
    return run_dir


def sections(folder: Path) -> dict[str, dict[str, str]]:
    found: list[SettingsSection] = shared_settings(build_report(collect_runs(folder.iterdir())).groups)
    return {section.heading: dict(section.settings) for section in found}


def test_what_all_share_stands_once_and_a_method_has_the_rest(tmp_path: Path) -> None:
    for seed in (1, 2):
        run(tmp_path, "kd", seed, temperature=1.0)
        run(tmp_path, "mixkd", seed, temperature=2.0)
    found = sections(tmp_path)
    assert set(found) == {ALL, "kd", "mixkd"}
    assert found[ALL]["examples"] == "400 training, 277 dev", "those that were read, not those that the task has"
    assert found[ALL]["teacher"] == "models/bert, 12 layers, 109 M parameters"
    assert found[ALL]["student"] == "3 layers, 45.1 M parameters"
    assert found[ALL]["seeds"] == "1, 2"
    assert (found[ALL]["device"], found[ALL]["precision"]) == ("cpu, 2 threads", "fp32")
    assert found[ALL]["versions"] == "crild 0.3.0, torch 2.6.0, transformers 5.0.0"
    assert [found[method] for method in ("kd", "mixkd")] == [
        {"stage kd": "logits, temperature 1"}, {"stage kd": "logits, temperature 2"},
    ]  # fmt: skip


def test_a_task_and_a_data_setting_have_their_own(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1, rows=2490)
    run(tmp_path, "kd", 1, rows=400, examples=400)
    run(tmp_path, "kd", 1, task="sst2", rows=67_349)
    found = sections(tmp_path)
    assert found["SST-2, examples=all"]["examples"].startswith("67,349 training")
    assert found["RTE, examples=400"]["examples"].startswith("400 training")
    assert found["RTE, examples=all"]["examples"].startswith("2,490 training")
    assert "teacher" in found[ALL]


def test_runs_of_one_group_that_differ_list_each_value(tmp_path: Path) -> None:
    run(tmp_path, "kd", 1)
    write_json(
        run(tmp_path, "kd", 2) / "environment.json", {"device": "cuda", "device_name": "H100", "precision": "bf16"}
    )
    found = sections(tmp_path)[ALL]
    assert (found["device"], found["precision"]) == ("cpu, 2 threads and cuda (H100)", "fp32 and bf16")


@pytest.fixture
def document(tmp_path: Path) -> ReportDocument:
    for seed in (1, 2):
        run(tmp_path, "kd", seed)
    costs = cost_columns(["params", "size", "latency"])
    return report_document(build_report(collect_runs(tmp_path.iterdir())), costs)


def test_every_format_has_them(document: ReportDocument) -> None:
    for text in (plain_text(document), markdown(document), latex(document), page(document), json_document(document)):
        for words in ("400 training, 277 dev", "109 M parameters", "transformers 5.0.0", "fp32"):
            assert words in text


def test_columns_of_size_and_speed_are_there_on_request(document: ReportDocument) -> None:
    table = document.tables[0]
    assert [column.heading for column in table.columns][-3:] == ["parameters", "size", "latency"]
    student, teacher = table.rows[0], table.rows[1]
    assert [cell.text for cell in student.cells[-3:]] == ["45.1 M", "180 MB", "12.0 ms"]
    assert [cell.text for cell in teacher.cells[-3:]] == ["109 M", "437 MB", ""]
    assert json.loads(json_document(document))["runs"][0]["models"]["student"]["params"] == 45_100_000
    assert not [cell for cell in report_document(document.report).tables[0].columns if cell.heading == "parameters"]


def test_a_stage_inherits_what_it_leaves_out() -> None:
    lines = dict(
        setting_lines({
            "train": {"epochs": 3.0, "batch_size": 32, "learning_rate": 3e-5, "temperature": 2.0, "clip": 1.0},
            "stage": [
                {"name": "ild", "objectives": {"attention": {"mse": True, "weight": 2.0}}, "steps": 9, "mixup": {"alpha": 0.4}, "select": False},
                {"name": "kd", "objectives": {"logits": 1.0}, "batch_size": 16, "consistency": False, "select": {"worst": 2, "of": 8}},
            ],
        })
    )  # fmt: skip
    assert lines["stage ild"] == "2 attention (mse true), mixup 0.4, 9 steps, batch 32, rate 3e-05"
    assert lines["stage kd"] == "logits, the worst 2 of 8 inputs, 3 epochs, batch 16, rate 3e-05, temperature 2"
    assert lines["optimiser"] == "AdamW, clip 1"


@pytest.mark.parametrize(
    ("init", "said"),
    [("teacher", "2 layers, initialised from teacher, keeps the first layers"), ("scratch", "2 layers, from scratch")],
)
def test_a_student_from_scratch_keeps_no_layers(init: str, said: str) -> None:
    assert dict(setting_lines({"student": {"layers": 2, "init": init, "keep": "first"}}))["student"] == said


def test_no_folder_of_the_machine_is_said() -> None:
    preset = {"teacher": {"model": "/home/somebody/models/bert"}, "student": {"init": "/home/somebody/x/y"}}
    assert "somebody" not in str(list(setting_lines(preset)))


@pytest.mark.parametrize(
    "preset",
    [{}, {"stage": 3}, {"stage": [1, {}]}, {"student": 1, "teacher": []}, {"stage": [{"mixup": True, "objectives": 7}]},
     {"train": {"epochs": "many", "clip": [1]}, "task": {"label_noise": {"a": 1}}}],
)  # fmt: skip
def test_any_preset_has_lines(preset: dict[str, Any]) -> None:
    assert all(isinstance(text, str) for _, text in setting_lines(preset))
