"""Stages that choose their inputs: the worst by an independent calculation, resumed to the same bytes, refused where they cannot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.candidates import STAYS, Choice
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.events import read_events
from engine.train import stepper
from engine.train.engine_tools import plan
from engine.train.selection import Chosen
from engine.train.selection import chosen as choose
from engine.train.step import StepLosses
from tests.errors import raises
from tests.train import test_word_runs
from tests.train.tiny_run import file_of, make, materials, unmeasured, work

QUICK = (
    "teacher.finetune.epochs=4", "baseline.enabled=false", "stage.ild.objectives={hidden=1.0}", "stage.ild.mixup=false",
    "stage.ild.consistency=false", "stage.ild.epochs=0.5", "stage.kd.objectives={logits=1.0}",
)  # fmt: skip
COPIES = (
    *QUICK,
    "stage.kd.data={augment={words='delete',share=0.4,copies=6}}",
    "stage.kd.select={worst=2,of=6}",
    "stage.kd.steps=12",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", unmeasured)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task, and unlabelled rows."""
    made = tmp_path_factory.mktemp("selection")
    (made / "preset").write_text(materials(made))
    (made / "more.csv").write_text("text\n" + "".join(f"w{row} w{row % 7} w3 w{row % 30}\n" for row in range(90)))
    return made


def run(folder: Path, name: str, *settings: str, **how: Any) -> tuple[Path, dict[str, Any] | None]:
    run_dir = make(folder, (folder / "preset").read_text(), *settings, name=name)
    return run_dir, work(run_dir, **how)


def weights(run_dir: Path) -> bytes:
    return (run_dir / "student/model.safetensors").read_bytes()


def steps(run_dir: Path) -> list[dict[str, Any]]:
    return [dict(event) for event in read_events(run_dir, {"step"}) if event["stage"] == "kd"]


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[Path, list[tuple[Choice, StepLosses, Any, Chosen, dict[str, torch.Tensor]]]]:
    """A finished run on the worst copies, and what was chosen in each step, of what, by which student."""
    made: list[Any] = []

    def watched(choice: Choice, losses: StepLosses, tokens: Any, **words: Any) -> Chosen:
        student = {name: value.clone() for name, value in losses.models.student.state_dict().items()}
        found = choose(choice, losses, tokens, **words)
        made.append((choice, losses, tokens, found, student))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.train.results.measure", unmeasured)
        patch.setattr(stepper, "chosen", watched)
        run_dir, results = run(folder, "whole", *COPIES)
    assert results is not None
    (finding,) = [finding for finding in results["findings"] if finding["kind"] == "inputs-chosen"]
    assert finding["facts"]["per_epoch"] == 56 + 2 * 56
    return run_dir, made


def test_the_copies_with_the_largest_divergence_of_the_present_student_are_read(whole: Any) -> None:
    for choice, losses, tokens, found, student in whole[1][::4]:
        groups = tokens.candidates.groups
        model = losses.models.student.eval()
        model.load_state_dict(student)
        told = losses.teacher_logits
        values: dict[int, float] = {}
        for row in choice.rows.tolist():
            ids = torch.from_numpy(tokens.input_ids[tokens.offsets[row] : tokens.offsets[row + 1]].astype(np.int64))
            with torch.no_grad():
                mine = torch.log_softmax(model(input_ids=ids[None]).logits[0].double() / 2.0, -1)
            theirs = torch.softmax(told[row].double() / 2.0, -1)
            values[row] = 4 * float((theirs * (theirs.log() - mine)).sum())
        read, compared = set(found.rows.tolist()), choice.rows[choice.is_open].tolist()
        assert found.compared.tolist() == pytest.approx([values[row] for row in compared], rel=1e-3, abs=1e-9)
        for part, take in zip(np.split(choice.rows, np.cumsum(choice.sizes)[:-1]), choice.take.tolist(), strict=True):
            assert len(read.intersection(part.tolist())) == take
            least = min(values[row] for row in part.tolist() if row in read)
            assert all(values[row] < 1.005 * least for row in part.tolist() if row not in read)
        assert {row for row in choice.rows.tolist() if groups[row] == STAYS} <= read


def test_steps_say_what_was_chosen_and_how_far_it_was(whole: Any) -> None:
    run_dir, made = whole
    logged = steps(run_dir)
    assert len(logged) == len(made) == 12
    for event, (_, _, _, found, _) in zip(logged, made, strict=True):
        assert (event["candidates"], event["chosen"]) == (len(found.compared), len(found.worst))
        assert event["divergence"] == pytest.approx(float(found.worst.mean()), rel=1e-4)
        assert event["divergence"] > event["candidates_divergence"] > 0
    epoch = -(-3 * 56 // 16)
    assert sorted(len(each[3].rows) for each in made[:epoch]) == [8] + [16] * (epoch - 1), (
        "the batch is what the preset says"
    )
    assert all("candidates" not in event for event in read_events(run_dir, {"step"}) if event["stage"] == "ild")


def test_stopped_or_killed_while_it_chooses_a_run_ends_in_the_same_bytes_and_refuses_another_choice(
    whole: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, _ = run(folder, "stopped", *COPIES, stop_after=("kd", 3))
    file = stopped / "preset.toml"
    text = file.read_text()
    file.write_text(text.replace("worst = 2", "worst = 3"))
    with raises("incompatible-change", "stage.kd.select.worst"):
        work(stopped)
    file.write_text(text)
    taken: list[int] = []

    def dies(choice: Choice, *rest: Any, **words: Any) -> Chosen:
        taken.append(1)
        if len(taken) == 6:
            raise KeyboardInterrupt
        return choose(choice, *rest, **words)

    with monkeypatch.context() as patch:
        patch.setattr(stepper, "chosen", dies)
        with pytest.raises(KeyboardInterrupt):
            work(stopped)
    assert steps(stopped)[-1]["step"] == 8
    assert work(stopped) is not None
    assert weights(stopped) == weights(whole[0])
    assert len(taken) == 6, "five whole steps after the third, and the one that was killed"


def test_unlabelled_rows_are_chosen_and_the_task_stays(folder: Path) -> None:
    data = f"stage.kd.data={{files=['{folder}/more.csv'],with_task=true}}"
    own = (*QUICK, data, "stage.kd.select={worst=1,of=4}", "train.accumulate=3", "stage.kd.epochs=1")
    once, results = run(folder, "once", *own)
    assert results is not None
    last = steps(once)[-1]
    assert (last["step"], last["epoch"]) == (math.ceil((23 + 56) / 16), 1.0)
    again, _ = run(folder, "again", *own, stop_after=("kd", 1))
    assert work(again) is not None
    assert weights(once) == weights(again)


def test_a_stage_within_an_epoch_needs_the_answers_to_what_it_compares_alone(folder: Path) -> None:
    own = (
        *QUICK,
        f"stage.kd.data={{files=['{folder}/more.csv']}}",
        "stage.kd.select={worst=4,of=9}",
        "stage.kd.steps=1",
    )
    seen: list[Any] = []

    def watched(choice: Choice, losses: StepLosses, *rest: Any, **words: Any) -> Chosen:
        assert losses.teacher_logits is not None
        seen.append((choice, losses.teacher_logits))
        return choose(choice, losses, *rest, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepper, "chosen", watched)
        assert run(folder, "short", *own)[1] is not None
    ((choice, logits),) = seen
    known = torch.isfinite(logits).all(-1).nonzero().flatten().tolist()
    assert known == sorted(choice.rows.tolist()), "of 90 rows, those of the first batch"
    assert len(known) < 90


def test_a_plan_counts_what_an_epoch_trains_on(folder: Path) -> None:
    loaded = load_preset([str(file_of(folder, (folder / "preset").read_text()))], (*COPIES[:-1], "stage.kd.epochs=2"))
    (folder / "plan.toml").write_text(dump(loaded.preset))
    planned = {row["name"]: row for row in plan(folder / "plan.toml")["stages"]}
    assert planned["kd"]["examples"] == 7 * 56
    assert planned["kd"]["steps"] == 2 * math.ceil(3 * 56 / 16)


def test_of_words_whose_kind_is_recognised_nothing_is_selected(tmp_path: Path) -> None:
    text = test_word_runs.materials(tmp_path)
    with raises("select-of-words", "kd"):
        work(
            make(tmp_path, text, "stage.kd.data={augment={words='delete',copies=2}}", "stage.kd.select={worst=1,of=2}")
        )
