from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data.hub_connection import HubUnreachableError
from engine.preflight import hub
from engine.preflight.disk import DiskEstimate, disk_estimate
from engine.preset.load import load_preset
from tests.preset.support import model_folder


def refuse() -> None:
    raise HubUnreachableError("no answer within 8 seconds")


def test_a_hub_that_cannot_be_reached_is_a_sentence_with_what_is_needed_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presets = [load_preset(["kd", "rte"]).preset, load_preset(["kd", "sst2"], ["student.init=some/student"]).preset]
    monkeypatch.setattr(hub, "check_hub", refuse)
    sentence = hub.hub_problem(presets) or ""
    for fact in ("8 seconds", "the data of rte", presets[0].teacher.named, "the data of sst2", "some/student"):
        assert fact in sentence
    assert sentence.count(presets[0].teacher.named) == 1
    monkeypatch.setattr(hub, "check_hub", lambda: None)
    assert hub.hub_problem(presets) is None


def test_presets_that_need_no_hub_ask_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_hub", refuse)
    local = ["task.source=/data/glue", "teacher.model=/models/bert"]
    assert hub.hub_problem([load_preset(["quickstart"]).preset, load_preset(["kd", "rte"], local).preset]) is None


def test_the_disk_of_a_sweep_by_hand(tmp_path: Path) -> None:
    """Weights of 100,000 bytes, 40,000 of them embeddings; half of the layers are 70,000 bytes."""
    sizes: dict[str, Any] = {"num_hidden_layers": 4, "hidden_size": 10, "num_attention_heads": 2, "vocab_size": 1000}
    folder = model_folder(tmp_path / "teacher", **sizes)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    items = [f"teacher.model={folder}", "task.source=/data", "stage.kd.keep_best=false", "train.keep_checkpoints=1"]
    items += ["teacher.finetune=false", "student.layers=2", "baseline.enabled=false"]
    preset = load_preset(["kd", "rte"], items).preset
    need = disk_estimate([preset, preset])
    assert need == DiskEstimate(students=140_000, kept_checkpoints=0, checkpoints=2 * 3 * 70_000, unknown=0)
    tuned = load_preset(["kd", "rte"], [*items[:4], *items[5:], "teacher.finetune.keep_best=true"]).preset
    assert disk_estimate([tuned]).checkpoints == 2 * 3 * 100_000 + 2 * 100_000
    kept = load_preset(["kd", "rte"], [*items, "train.keep_for_extending=true"]).preset
    assert disk_estimate([kept]).kept_checkpoints == need.checkpoints
    assert disk_estimate([load_preset(["quickstart"]).preset]) == DiskEstimate(0, 0, 0, 1)
