"""A stage with padding = "released" pads every batch to max_length and counts what it padded; no other stage does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.train import results
from tests.train.tiny_run import make, materials, unmeasured, work

Losses = Callable[..., tuple[float, float]]


@pytest.fixture
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Losses:
    """losses(max_length, *settings): the loss of the first step and that on dev, of a student without dropout."""
    monkeypatch.setattr(results, "measure", unmeasured)
    text = materials(tmp_path / "tiny", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    def found(length: int, *settings: str) -> tuple[float, float]:
        quick = [
            "teacher.finetune=false",
            'teacher.labels=["bad", "good"]',
            "stage.ild.steps=1",
            "stage.kd.steps=1",
            "baseline.enabled=false",
        ]
        name = f"run-{length}-{len(settings)}"
        run_dir = make(tmp_path, text, *quick, f"task.max_length={length}", *settings, name=name)
        assert work(run_dir) is not None
        step = next(event for event in read_events(run_dir, {"step"}) if event["stage"] == "ild")
        dev = next(
            event for event in read_events(run_dir, {"evaluation"}) if event["stage"] == "ild" and "loss" in event
        )
        return step["loss"], dev["loss"]

    return found


def test_the_loss_depends_on_max_length_only_where_padding_counts(losses: Losses) -> None:
    assert losses(24) == pytest.approx(losses(60), rel=1e-5)
    short, long = losses(24, "stage.ild.padding=released"), losses(60, "stage.ild.padding=released")
    assert all(abs(a - b) > 1e-3 * b for a, b in zip(short, long, strict=True))


def test_micro_batches_change_nothing_there_either(losses: Losses) -> None:
    released = "stage.ild.padding=released"
    assert losses(40, released, "stage.ild.accumulate=3") == pytest.approx(losses(40, released), rel=1e-4)


def test_transport_knows_no_such_padding() -> None:
    with pytest.raises(PresetError, match='padding = "released" is not defined for layer_map "emd"'):
        load_preset(["bert-emd", "rte"], ["stage.ild.padding=released"])
