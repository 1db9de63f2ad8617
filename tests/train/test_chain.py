"""Two runs of a chain, trained: the second student starts as the first, whose classes are others."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from crild_tui.runs.chain import started_from
from engine.errors import ModelError
from engine.preset.load import load_preset, load_run_preset
from engine.preset.write import dump
from engine.record.run import create_run
from tests.train.tiny_run import file_of, make, materials, work

QUICK = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=1", "baseline.enabled=false")


def three_classes(folder: Path) -> None:
    """Make another task of the rows of a folder: every sixth is of a third class."""
    for name in ("train", "dev"):
        file = folder / f"{name}.csv"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(f"{line}{'ish' * (n % 6 == 1)}" for n, line in enumerate(lines)) + "\n")


def second(folder: Path, first: Path, *overrides: str) -> Path:
    loaded = load_preset([str(file_of(folder, materials(folder), "second"))], (*QUICK, *overrides))
    return create_run(folder / "runs", dump(started_from(loaded.preset, first)), name="second", seed=7)


def test_the_second_student_starts_as_the_first(tmp_path: Path) -> None:
    """With a rate of almost nothing it stays what it was, but for its classifier, whose classes are others."""
    text = materials(tmp_path / "one")
    three_classes(tmp_path / "one")
    first = make(tmp_path / "one", text, *QUICK)
    run_dir = second(tmp_path / "two", first, "train.learning_rate=1e-12", "train.clip=0")
    with pytest.raises(ModelError) as caught:
        work(run_dir)
    assert caught.value.kind == "run-without-student"
    assert "no student yet" in str(caught.value)
    assert work(first) is not None
    assert work(run_dir) is not None
    assert load_run_preset(run_dir).preset.student.layers is None
    one, two = (load_file(run / "student" / "model.safetensors") for run in (first, run_dir))
    assert one["classifier.weight"].shape[0] == 3
    assert two["classifier.weight"].shape[0] == 2
    assert {name for name in one if "classifier" not in name} == {name for name in two if "classifier" not in name}
    for name in two:
        if "classifier" not in name:
            assert abs(one[name] - two[name]).max() < 1e-6, name
