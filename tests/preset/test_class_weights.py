from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.preflight.check import check
from engine.preset.load import load_preset
from engine.preset.write import dump
from tests.preset.support import MINIMAL


def test_a_word_or_a_table_is_loaded_and_written_back(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text(MINIMAL)
    assert "class_weights" not in dump(load_preset([str(file)]).preset)  # the presets of earlier runs stay equal
    for item, value in (
        ("train.class_weights=balanced", "balanced"),
        ('train.class_weights={ "not entailed" = 2, entailed = 0.5 }', {"not entailed": 2.0, "entailed": 0.5}),
    ):
        preset = load_preset([str(file)], [item]).preset
        assert preset.train.class_weights == value
        again = tmp_path / "again.toml"
        again.write_text(dump(preset))
        assert load_preset([str(again)]).preset == preset
        assert load_preset([str(again)], ["train.class_weights=false"]).preset.train.class_weights is None


@pytest.mark.parametrize(
    ("item", "kind", "key"),
    [
        ("train.class_weights=balance", "wrong-value", "train.class_weights"),
        ("train.class_weights=2", "wrong-value", "train.class_weights"),
        ("train.class_weights={ rare = 0 }", "wrong-value", "train.class_weights.rare"),
        ('train.class_weights={ rare = "much" }', "wrong-value", "train.class_weights.rare"),
        ("train.class_weights={}", "wrong-value", "train.class_weights"),
    ],
)
def test_wrong_values_are_one_problem_each(tmp_path: Path, item: str, kind: str, key: str) -> None:
    file = tmp_path / "one.toml"
    file.write_text(MINIMAL)
    with pytest.raises(PresetError) as caught:
        load_preset([str(file)], [item])
    assert [(problem.kind, problem.key) for problem in caught.value.problems] == [(kind, key)]


def test_class_weights_of_scores_are_refused_when_the_preset_is_read() -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(["finetune", "stsb"], ["train.class_weights=balanced"])
    assert (caught.value.kind, caught.value.key) == ("class-weights-of-scores", "train.class_weights")


def test_a_class_that_a_glue_task_lacks_is_found_before_a_run() -> None:
    loaded = load_preset(["finetune", "sst2"], ["train.class_weights={ negative = 1.0, positiv = 2.0 }"])
    with pytest.raises(PresetError) as caught:
        check(loaded)
    assert caught.value.kind == "unknown-class-weight"
    assert "positive" in caught.value.sentence
