"""Few-sample and noisy-label settings: teacher, student and every seed learn from the same rows and the same labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data.tokens import TokenSet
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.events import read_events
from engine.record.run import create_run
from engine.train import experiment, results
from engine.train.loop import StageRun
from tests.train.tiny_run import materials, unmeasured, work

Rows = list[tuple[tuple[int, ...], int]]


def rows(tokens: TokenSet) -> Rows:
    """The inputs with their labels."""
    assert tokens.labels is not None
    cut = [tokens.input_ids[tokens.offsets[at] : tokens.offsets[at + 1]] for at in range(len(tokens))]
    return [(tuple(ids.tolist()), int(label)) for ids, label in zip(cut, tokens.labels, strict=True)]


def learnt(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, *settings: str, seed: int = 1) -> dict[str, Rows]:
    """What each stage of a run was trained on; the notes of the run are kept as "notes"."""
    found: dict[str, Any] = {}

    def watch(context: Any, stage: Any, position: Any, models: Any, tokens: TokenSet, *rest: Any) -> Any:
        found[stage.name] = rows(tokens)
        return StageRun(context, stage, position, models, tokens, *rest)

    file = folder / "mine.toml"
    file.write_text(text)
    quick = ["teacher.finetune.epochs=0.1", "stage.ild.steps=1", "stage.kd.steps=1", "train.save_teacher_cache=false"]
    seeds = [f"seed={seed}", f"teacher.finetune.seed={seed}"]
    presets, overrides = ([s for s in settings if ("=" in s) is wanted] for wanted in (False, True))
    loaded = load_preset([str(file), *presets], [*quick, *seeds, *overrides])
    run_dir = create_run(folder / "runs", dump(loaded.preset), seed=seed)
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "StageRun", watch)
        patch.setattr(results, "measure", unmeasured)
        assert work(run_dir) is not None
    found["notes"] = [event["text"] for event in read_events(run_dir, {"message"})]
    return found


SMALL = ("few-sample", "noise-30", "task.examples=20")


@pytest.fixture
def text(tmp_path: Path) -> str:
    return materials(tmp_path / "tiny")


def test_teacher_student_and_baseline_learn_from_the_same_rows(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = learnt(tmp_path, text, monkeypatch, *SMALL)
    assert {"teacher", "ild", "kd", "baseline"} < set(found)
    assert len(found["teacher"]) == 20
    for stage in ("ild", "kd", "baseline"):
        assert found[stage] == found["teacher"], stage
    whole = dict(learnt(tmp_path, text, monkeypatch)["teacher"])
    wrong = [label for ids, label in found["teacher"] if whole[ids] != label]
    assert len(wrong) == 6, "30 % of 20"
    notes = " ".join(str(note) for note in found["notes"])
    assert "20 of 56 training examples" in notes
    assert "6 of 20 training labels" in notes


def test_another_seed_sees_the_same_rows(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (learnt(tmp_path, text, monkeypatch, *SMALL, seed=seed) for seed in (1, 2))
    assert {stage: one[stage] for stage in ("teacher", "ild", "kd")} == {
        stage: other[stage] for stage in ("teacher", "ild", "kd")
    }


def test_another_data_seed_sees_others(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = learnt(tmp_path, text, monkeypatch, *SMALL)
    other = learnt(tmp_path, text, monkeypatch, *SMALL, "task.data_seed=1")
    assert {ids for ids, _ in one["ild"]} != {ids for ids, _ in other["ild"]}
    assert other["ild"] == other["teacher"]


def test_noise_beside_the_subset_changes_labels_alone(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = learnt(tmp_path, text, monkeypatch, "few-sample", "task.examples=20")
    noisy = learnt(tmp_path, text, monkeypatch, *SMALL)
    assert [ids for ids, _ in clean["teacher"]] == [ids for ids, _ in noisy["teacher"]]
