"""Stages on mixed inputs that stay text: what models read, whose words are chosen from, and resumed to the same bytes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from engine.data.batches import Batch
from engine.distill.mixup import mix_answers, mix_tokens
from engine.preset.load import load_preset
from engine.preset.names import ObjectiveName
from engine.preset.schema import Consistency, Mixup, Objective, Stage
from engine.preset.write import dump
from engine.train.engine_tools import plan
from engine.train.materials import Materials
from engine.train.settings import StageSettings, student_stage
from engine.train.step import Counts, Losses, Models, StepLosses, bound_terms
from tests.models.tiny_models import VOCABULARY, batch_of, own_forward, tiny, words
from tests.train.tiny_run import file_of, make, materials, unmeasured, work

STILL: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LENGTHS = [7, 4, 9, 6, 3, 8]
LAM = 0.52
WORDS = torch.arange(10, VOCABULARY)


def settings_of(objectives: dict[ObjectiveName, float | Objective], *, pull: bool = False) -> StageSettings:
    preset = load_preset(["ild-last", "rte"]).preset
    settings = student_stage(preset, preset.stage[0], kind="classification")
    consistency = Consistency(weight=1.0) if pull else None
    stage = Stage(name="ild", objectives=objectives)
    return replace(settings, stage=stage, mixup=Mixup(project="tokens"), consistency=consistency, temperature=1.0)


def losses_of(settings: StageSettings, models: Models, **more: Any) -> StepLosses:
    terms = bound_terms(settings, models.student, models.teacher)
    return StepLosses(settings, models, terms, autocast=nullcontext, words=WORDS, **more)


def step(losses: StepLosses, batch: Batch, lam: float | None) -> Losses:
    counts = Counts.of(batch.attention_mask.sum(1).numpy(), mixed=lam is not None)
    with torch.no_grad():
        return losses(batch, counts, lam, 1.0)


def text_of(batch: Batch, table: torch.Tensor) -> Batch:
    """The mixed batch as a batch of texts, by the table of a model."""
    ordinary = torch.zeros(VOCABULARY, dtype=torch.bool)
    ordinary[WORDS] = True
    mask = batch.attention_mask.bool()
    tokens, both = mix_tokens(batch.input_ids, mask, LAM, table.detach(), ordinary)
    types = batch.token_type_ids
    if types is not None:
        types = torch.where(mask, types, types.flip(0))
    return replace(batch, input_ids=tokens, attention_mask=both.long(), token_type_ids=types)


def table_of(model: Any) -> torch.Tensor:
    table: torch.Tensor = model.get_input_embeddings().weight
    return table


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert", "deberta-v2"])
def test_models_read_the_mixed_input_as_a_text(family: str) -> None:
    """With the words of the teacher, whose table is another one than the student's."""
    student, teacher = tiny(family, layers=2, seed=1), tiny(family, layers=2, seed=2)
    losses = losses_of(settings_of({"hidden": 1.0, "logits": 1.0}), Models(student, teacher))
    batch = batch_of(student, LENGTHS)
    text = text_of(batch, table_of(teacher))
    assert not torch.equal(text.input_ids, text_of(batch, table_of(student)).input_ids)
    assert not torch.equal(text.input_ids[:, :3], batch.input_ids[:, :3])
    mixed, read = step(losses, batch, LAM).terms, step(losses, text, None).terms
    assert mixed.keys() == read.keys() == {"hidden", "logits"}
    for name, value in mixed.items():
        torch.testing.assert_close(value, read[name])
    assert not losses.capturable


def test_targets_stay_those_of_mixup() -> None:
    """Labels of both inputs by λ, and a pull towards the self-teacher on each of the two clean inputs."""
    student, teacher, average = (tiny("bert", layers=2, seed=seed, **STILL) for seed in (1, 2, 3))
    losses = losses_of(
        settings_of({"hidden": 1.0, "labels": 1.0}, pull=True), Models(student.train(), teacher, average)
    )
    batch = replace(batch_of(student, LENGTHS), labels=torch.tensor([0, 1, 1, 0, 0, 1]))
    assert batch.labels is not None
    found = step(losses, batch, LAM)
    text = text_of(batch, table_of(teacher))
    with torch.no_grad():
        shown, clean = (
            own_forward(model, of, output_hidden_states=True) for model, of in ((student, text), (average, batch))
        )
    chances = -shown.logits.log_softmax(-1)
    rows = torch.arange(len(LENGTHS))
    labels = LAM * chances[rows, batch.labels] + (1 - LAM) * chances[rows, batch.labels.flip(0)]
    torch.testing.assert_close(found.terms["labels"], labels.mean(), rtol=1e-4, atol=1e-6)
    pull = 0.0
    for share, target, mask in (
        (LAM, clean.hidden_states[2], batch.attention_mask),
        (1 - LAM, clean.hidden_states[2].flip(0), batch.attention_mask.flip(0)),
    ):
        apart = (shown.hidden_states[2] - target).square().mean(-1)
        pull += share * float(apart[mask.bool()].sum()) / sum(LENGTHS)
    assert found.consistency is not None
    assert float(found.consistency) == pytest.approx(pull, rel=1e-4)


def test_answers_of_a_file_are_mixed_and_the_words_are_the_students() -> None:
    student = tiny("bert", layers=2, seed=1, **STILL)
    answers = torch.randn(len(LENGTHS), 2, generator=torch.Generator().manual_seed(0))
    losses = losses_of(settings_of({"logits": 1.0}), Models(student), teacher_logits=answers)
    batch = batch_of(student, LENGTHS)
    target = mix_answers(answers, LAM).softmax(-1)
    with torch.no_grad():
        logits = own_forward(student, text_of(batch, table_of(student))).logits
    expected = (target * (target.log() - logits.log_softmax(-1))).sum(-1).mean()
    torch.testing.assert_close(step(losses, batch, LAM).terms["logits"], expected, rtol=1e-4, atol=1e-6)


def test_micro_batches_read_the_same_texts() -> None:
    student, teacher = tiny("bert", layers=2, seed=1), tiny("bert", layers=2, seed=2)
    losses = losses_of(settings_of({"hidden": 1.0, "logits": 1.0}), Models(student, teacher))
    batch = batch_of(student, LENGTHS)
    counts = Counts.of(np.array(LENGTHS), mixed=True)
    with torch.no_grad():
        parts = [losses(part, counts, LAM, 0.0).total for part in batch.mirrored_parts(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), step(losses, batch, LAM).total)


def test_the_words_of_a_tokenizer_are_needed() -> None:
    student = tiny("bert", layers=2)
    settings = settings_of({"labels": 1.0})
    with pytest.raises(ValueError, match="words"):
        StepLosses(settings, Models(student), bound_terms(settings, student, None), autocast=nullcontext)


def test_special_tokens_are_no_words() -> None:
    tokenizer = words("bert")
    materials = cast(Materials, SimpleNamespace(tokenizer=tokenizer))
    found = Materials.words_for(materials, settings_of({"labels": 1.0}))
    assert found is not None
    assert tokenizer.pad_token_id is not None
    assert set(found.tolist()) == set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    assert not {tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id} & set(found.tolist())
    assert Materials.words_for(materials, replace(settings_of({"labels": 1.0}), mixup=Mixup())) is None


RUN = (
    "teacher.finetune.epochs=0.5", "baseline.enabled=false", "stage.ild.objectives={hidden=1.0}", "stage.ild.epochs=1",
    "stage.ild.mixup={alpha=50.0,project='tokens'}", "stage.kd.mixup={alpha=50.0,project='tokens'}", "stage.kd.epochs=1",
)  # fmt: skip


def test_a_run_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", unmeasured)
    text = materials(tmp_path)
    students = []
    for name, places in (("whole", []), ("stopped", [("ild", 3), ("kd", 3)])):
        run_dir = make(tmp_path, text, *RUN, name=name)
        for place in places:
            assert work(run_dir, stop_after=place) is None
        assert work(run_dir) is not None
        students.append((run_dir / "student/model.safetensors").read_bytes())
    assert students[0] == students[1]
    plain = make(tmp_path, text, *RUN, "stage.kd.mixup={alpha=50.0}", name="plain")
    assert work(plain) is not None
    assert (plain / "student/model.safetensors").read_bytes() != students[0]


def test_a_plan_times_its_steps(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(dump(load_preset([str(file_of(tmp_path, materials(tmp_path)))], RUN).preset))
    planned = {row["name"]: row["steps"] for row in plan(file)["stages"]}
    assert {name: planned[name] for name in ("ild", "kd")} == {"ild": 4, "kd": 4}, "each was timed on its own words"
