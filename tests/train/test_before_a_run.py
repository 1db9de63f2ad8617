"""What `--dry-run` reports: everything that is missing, and the disk that the run needs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from engine.data.hub_connection import unreachable_reason
from engine.launch.start import engine_command, engine_environment
from engine.preset.load import load_preset
from engine.preset.schema import Consistency, Train
from engine.train.disk_estimate import disk_need
from engine.train.missing_sources import missing_sources
from engine.train.settings import StageSettings, student_stage, teacher_stage
from tests.conftest import REPOSITORY
from tests.train import tiny_run


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """No hub: connections are refused, and listed."""
    asked: list[Any] = []

    def refuse(address: Any, *_: Any, **__: Any) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    unreachable_reason.cache_clear()
    return asked


def test_everything_of_a_hub_that_cannot_be_reached_is_one_sentence_after_one_try(connections: list[Any]) -> None:
    preset = load_preset(["crild", "rte"], ["student.init=some/student", "teacher.tokenizer=some/words"]).preset
    (sentence,) = missing_sources(preset)
    for fact in (
        "127.0.0.1:9",
        "nyu-mll/glue (rte)",
        preset.teacher.model,
        "some/words",
        "some/student",
        "HF_ENDPOINT",
    ):
        assert fact in sentence
    assert len(connections) == 1


def test_what_is_missing_on_this_machine_is_named_beside_it(connections: list[Any], tmp_path: Path) -> None:
    preset = load_preset(["crild", "rte"], [f"task.source={tmp_path}", f"student.init={tmp_path}/none"]).preset
    missing = missing_sources(preset)
    assert len(missing) == 3
    assert preset.teacher.model in missing[0]
    assert any("none" in sentence for sentence in missing[1:])


def test_nothing_is_missing_where_all_is_built_in(connections: list[Any]) -> None:
    assert missing_sources(load_preset(["quickstart"]).preset) == []
    assert connections == []


def stages() -> list[StageSettings]:
    preset = load_preset(["kd", "rte"], []).preset
    teacher = teacher_stage(preset, kind="classification")
    assert teacher is not None
    student = replace(student_stage(preset, preset.stage[0], kind="classification"), keep_best=False)
    return [replace(teacher, keep_best=True), student]


def test_the_disk_of_a_run_by_hand() -> None:
    """Teacher of 10, student of 4 parameters; 2 checkpoints stay, one is written; each is weights and two moments."""
    train, (teacher, student) = Train(), stages()
    need = disk_need(train, [teacher, student], teacher=10, student=4, teacher_stored=False)
    assert (need.checkpoints, need.student, need.teacher) == (3 * 3 * 40 + 2 * 40, 16, 40)
    need = disk_need(train, [teacher, student], teacher=10, student=4, teacher_stored=True)
    assert (need.checkpoints, need.teacher) == (3 * 3 * 16, 0)
    averaged = replace(student, consistency=Consistency())
    baseline = replace(student, role="baseline", name="baseline")
    need = disk_need(train, [averaged, baseline], teacher=10, student=4, teacher_stored=True)
    assert need.checkpoints == max(3 * 4 * 16, 4 * 3 * 16)
    assert not need.checkpoints_stay


TRAIN = """
import sys
from pathlib import Path
import torch
from engine.train.step_metrics import peak_memory
from tests.train import tiny_run
tiny_run.work(Path(sys.argv[1]))
print("peak", peak_memory(torch.device("cpu")))
"""


@pytest.mark.slow
def test_the_memory_of_a_dry_run_is_near_the_peak_of_the_run(tmp_path: Path) -> None:
    """A model whose activations and moments count beside the libraries; both in processes of their own."""
    text = tiny_run.materials(tmp_path, hidden_size=512, intermediate_size=2048, layers=6)
    tiny_run.write_task(tmp_path, rows=160)
    once = [f"{key}.epochs=1" for key in ("teacher.finetune", "stage.ild", "stage.kd")]
    wide = [f"{key}.batch_size=160" for key in ("teacher.finetune", "stage.ild", "stage.kd")]
    run_dir = tiny_run.make(tmp_path, text, *once, *wide)
    environment = engine_environment() | {"PYTHONPATH": str(REPOSITORY), "CRILD_CACHE_DIR": str(tmp_path / "cache")}
    answer = subprocess.run(
        engine_command("plan", str(run_dir / "preset.toml")),
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    estimate = json.loads(answer.stdout.splitlines()[-1])["memory_bytes"]
    trained = subprocess.run(
        [sys.executable, "-c", TRAIN, str(run_dir)], capture_output=True, text=True, env=environment, check=True
    )
    peak = int(trained.stdout.split("peak ")[-1])
    libraries = 350_000_000
    assert min(estimate, peak) > 1.3 * libraries, "the model counts"
    assert 0.5 < (estimate - libraries) / (peak - libraries) < 2
