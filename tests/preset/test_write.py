"""A preset that is written and read again is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
from hypothesis import HealthCheck, given, settings

from engine.preset.load import load_preset
from engine.preset.schema import Preset
from engine.preset.write import dump
from tests.preset.strategies import presets
from tests.preset.support import MINIMAL, load


@given(preset=presets())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_is_written_loads_as_the_same_preset(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "preset.toml").write_text(dump(preset), encoding="utf-8", newline="")
    assert load_preset(["preset.toml"], base=folder).preset == preset


def test_the_text_is_pleasant_to_read(tmp_path: Path) -> None:
    text = dump(load(tmp_path, MINIMAL).preset)
    assert "\n[train]  # Settings of the loop, and defaults for every stage.\n" in text
    assert '\n\n[[stage]]\nname = "kd"\n' in text
    assert "\nobjectives = { attention = 1.0, hidden = 1.0 }\n" in text
    assert "\n[teacher.finetune]  #" in text
    assert "\n\n\n" not in text
    assert "trust_remote_code" not in text, "a key that is left open is left out"
    assert all(len(line) <= 120 for line in text.splitlines())


def test_defaults_are_written_out_and_what_is_open_is_not(tmp_path: Path) -> None:
    document = tomli.loads(dump(load(tmp_path, MINIMAL).preset))
    assert document["train"]["learning_rate"] == 3e-5
    assert document["teacher"]["finetune"]["batch_size"] == 32
    assert "batch_size" not in document["stage"][0]
    assert "layers" not in document["student"]
