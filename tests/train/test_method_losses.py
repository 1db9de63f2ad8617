"""The loss of each shipped method's stages is what its source says: a step of the preset on two small BERTs with padded
sentences, against the same written out in plain arithmetic (`tests.train.plain`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.data.batches import Batch
from engine.data.load import load_task
from engine.preset.load import load_preset
from engine.preset.shipped import shipped
from engine.train.materials import plan_stages
from engine.train.settings import student_stage
from engine.train.step import Counts, Models, StepLosses, bound_terms
from tests.models.tiny_models import tiny
from tests.train.plain import Pair, Shown, cheapest, reversed_batch, run
from tests.train.tiny_run import PRESET, write_task

LENGTHS = [7, 4, 9, 6, 3]
LONGEST = 12
"""Every batch is padded to this."""
LAM, RAMPED = 0.7, 0.05
UNIFORM, UPPER, LAST = ((2, 1), (4, 2)), ((3, 1), (4, 2)), ((4, 2),)
METHODS = [preset.name for preset in shipped() if preset.kind == "method"]


@pytest.fixture(scope="module")
def models() -> Models:
    torch.set_num_threads(1)
    still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "labels": 3}
    student, teacher, average = (
        tiny("bert", layers=layers, seed=seed, **still) for layers, seed in ((2, 1), (4, 2), (2, 3))
    )
    return Models(student.train(), teacher, average)


@pytest.fixture(scope="module")
def batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.tensor(LENGTHS)
    mask = (torch.arange(LONGEST) < lengths[:, None]).long()
    ids = torch.randint(5, 100, mask.shape, generator=draw) * mask
    types = (torch.arange(LONGEST) >= lengths[:, None] // 2).long() * mask
    return Batch(ids, mask, types, torch.tensor([0, 2, 1, 1, 0]), torch.arange(len(lengths)))


@dataclass
class Seen:
    """What the method's source sees of a step."""

    plain: Pair
    """Student and teacher."""
    mixed: Pair
    """Both on mixed inputs."""
    padded: Pair
    """Both on mixed inputs, padding counted as a word."""
    clean: Shown
    """The averaged self-teacher on clean inputs."""
    own: Shown
    """The student itself on clean inputs."""
    gold: Tensor

    def pull(self, distance: Callable[[Pair], Tensor], *, own: bool = False, mixed: bool = True) -> Tensor:
        """λ·d(S(mix), S′(x)) + (1 − λ)·d(S(mix), S′(x′)), ramped and weighted."""
        target, student = self.own if own else self.clean, (self.mixed if mixed else self.plain).student
        near = distance(Pair(student, target, LENGTHS))
        far = distance(Pair(student, reversed_batch(target), LENGTHS[::-1]))
        return RAMPED * (LAM * near + (1 - LAM) * far if mixed else near)


@pytest.fixture(scope="module")
def seen(models: Models, batch: Batch) -> Seen:
    both = [max(a, b) for a, b in zip(LENGTHS, LENGTHS[::-1], strict=True)]
    assert models.teacher is not None
    assert models.average is not None
    assert batch.labels is not None
    with torch.no_grad():
        pair = [run(model, batch) for model in (models.student, models.teacher)]
        mixed = [run(model, batch, LAM) for model in (models.student, models.teacher)]
        return Seen(
            Pair(pair[0], pair[1], LENGTHS),
            Pair(mixed[0], mixed[1], both),
            Pair(mixed[0], mixed[1], [LONGEST] * len(LENGTHS)),
            run(models.average, batch),
            pair[0],
            batch.labels,
        )


def both(pair: Pair, t: int, s: int) -> Tensor:
    """CR-ILD's own objectives."""
    return pair.attention(t, s) + pair.hidden(t, s)


def over(pairs: tuple[tuple[int, int], ...], of: Callable[[int, int], Tensor]) -> Tensor:
    """The sum over pairs (teacher layer, student layer)."""
    return torch.stack([of(t, s) for t, s in pairs]).sum()


def tinybert(x: Seen) -> Tensor:
    each = over(UNIFORM, lambda t, s: x.plain.attention(t, s, mse=True) + x.plain.hidden(t, s))
    return each + x.plain.hidden(0, 0)


def bert_emd(x: Seen) -> Tensor:
    attention = cheapest(lambda t, s: x.plain.attention(t, s, mse=True), range(1, 5), (1, 2))
    return attention + cheapest(x.plain.hidden, range(1, 5), (1, 2)) + x.plain.hidden(0, 0)


def pkd(x: Seen, pairs: tuple[tuple[int, int], ...]) -> Tensor:
    return 0.5 * x.plain.labels(x.gold) + 0.5 * x.plain.logits(10.0) + 20 * over(pairs, x.plain.cls)


def rail(x: Seen) -> Tensor:
    """Two of the teacher's four layers, in order; which ones, the seed, the stage and the epoch say."""
    seed, purpose, epoch = 42, 8, 0
    generator = np.random.Generator(np.random.PCG64([seed, purpose, crc32(b"rail"), epoch]))
    first, second = sorted(generator.choice(4, 2, replace=False) + 1)
    states = x.plain.pooled(int(first), 1) + x.plain.pooled(int(second), 2)
    return (x.plain.labels(x.gold) + x.plain.logits(2.0)) / 3 + 768 / 3 * states


def alp(x: Seen) -> Tensor:
    """Each student layer's [CLS] with the teacher's, averaged over its layers by a softmax of dot products."""
    sums = []
    for s in (1, 2):
        mine = x.plain.student.hidden[s][:, 0]
        layers = [x.plain.target.hidden[t][:, 0] for t in range(1, 5)]
        odds = torch.stack([((mine * other).sum(-1) / mine.shape[-1] ** 0.5).exp() for other in layers])
        mixed = torch.stack([o[:, None] * other for o, other in zip(odds, layers, strict=True)]).sum(0)
        mean = mixed / odds.sum(0)[:, None]
        apart = mine / mine.norm(dim=-1, keepdim=True) - mean / mean.norm(dim=-1, keepdim=True)
        sums.append(apart.square().mean())
    return 0.5 * x.plain.labels(x.gold) + 0.5 * x.plain.logits(10.0) + 20 * torch.stack(sums).sum()


ILD: dict[str, Callable[[Seen], Tensor]] = {
    "tinybert": tinybert,
    "minilm": lambda x: x.plain.attention(4, 2) + x.plain.scored("value", "value", 4, 2),
    "minilmv2": lambda x: x.plain.relations(4, 2),
    "bert-emd": bert_emd,
    "ild-last": lambda x: both(x.plain, 4, 2),
    "ild-last-attention": lambda x: x.plain.attention(4, 2),
    "ild-last-hidden": lambda x: x.plain.hidden(4, 2),
    "ild-last-relations": lambda x: x.plain.relations(4, 2),
    "cka": lambda x: over(UNIFORM, x.plain.cka),
    "ild-uniform": lambda x: over(UNIFORM, lambda t, s: both(x.plain, t, s)),
    "ild-uniform-attention": lambda x: over(UNIFORM, x.plain.attention),
    "ild-uniform-hidden": lambda x: over(UNIFORM, x.plain.hidden),
    "ild-uniform-relations": lambda x: over(UNIFORM, x.plain.relations),
    "crild": lambda x: both(x.mixed, 4, 2) + x.pull(lambda p: both(p, 2, 2)),
    "crild-student": lambda x: both(x.mixed, 4, 2) + x.pull(lambda p: both(p, 2, 2), own=True),
    "crild-qkv": lambda x: x.mixed.relations(4, 2) + x.pull(lambda p: p.relations(2, 2)),
    "crild-no-mixup": lambda x: both(x.plain, 4, 2) + x.pull(lambda p: both(p, 2, 2), mixed=False),
    "crild-no-consistency": lambda x: both(x.mixed, 4, 2),
    "crild-all-layers": lambda x: (
        over(UNIFORM, lambda t, s: both(x.mixed, t, s)) + x.pull(lambda p: both(p, 1, 1) + both(p, 2, 2))
    ),
    "crild-reference": lambda x: x.padded.relations(4, 2),
}
"""The first stage of methods with two."""

SECOND = {"tinybert": 1.0}
"""Temperature of the second stage, where it is not 2."""

JOINT: dict[str, tuple[str, Callable[[Seen], Tensor]]] = {
    "finetune": ("finetune", lambda x: x.plain.labels(x.gold)),
    "kd": ("kd", lambda x: x.plain.logits(2.0)),
    "mixkd": ("mixkd", lambda x: x.mixed.logits(2.0) + x.mixed.labels(x.gold, LAM)),
    "pkd": ("pkd", lambda x: pkd(x, UNIFORM)),
    "pkd-last": ("pkd", lambda x: pkd(x, UPPER)),
    "rail-kd": ("rail", rail),
    "alp-kd": ("alp", alp),
}

OTHER: dict[str, dict[str, Callable[[Seen], Tensor]]] = {
    "annealing-kd": {"anneal": lambda x: x.plain.squares(0.4), "labels": lambda x: x.plain.labels(x.gold)}
}
"""Methods with other stages; in step 13 of 40 the fourth of ten factors is due."""


def test_no_method_is_left_out() -> None:
    assert {*ILD, *JOINT, *OTHER} == set(METHODS)


def step(method: str, models: Models, batch: Batch) -> dict[str, Tensor]:
    """The loss of one step of each of the method's stages."""
    preset = load_preset([method, "rte"], [f"task.max_length={LONGEST}"]).preset
    found = {}
    for stage in preset.stage:
        settings = student_stage(preset, stage, kind="classification")
        taking = settings.consistency is not None and settings.consistency.target == "ema"
        who = Models(models.student, models.teacher, models.average if taking else None)
        losses = StepLosses(settings, who, bound_terms(settings, who.student, who.teacher), autocast=nullcontext)
        lam = LAM if settings.mixup else None
        lengths = torch.tensor(LENGTHS).numpy()
        counts = Counts.of(lengths, mixed=lam is not None, pad_to=settings.pad_to)
        losses.begin_step(13, 40, epoch=0)
        found[stage.name] = losses(batch, counts, lam, RAMPED).total
        losses.remove()
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_what_the_source_says(method: str, models: Models, batch: Batch, seen: Seen) -> None:
    if method in JOINT:
        stage, source = JOINT[method]
        expected = {stage: source(seen)}
    elif method in OTHER:
        expected = {stage: source(seen) for stage, source in OTHER[method].items()}
    else:
        expected = {"ild": ILD[method](seen), "kd": seen.plain.logits(SECOND.get(method, 2.0))}
    found = step(method, models, batch)
    assert list(found) == list(expected)
    for stage, loss in expected.items():
        torch.testing.assert_close(found[stage], loss, rtol=2e-4, atol=1e-6)
        assert float(loss) > 1e-3


def test_class_weights_reach_the_labels_term_alone(models: Models, batch: Batch) -> None:
    """The mean over examples of weight times cross-entropy; `logits` beside it stays as it is."""
    preset = load_preset(["kd", "rte"], ["stage.kd.objectives.labels=1.0"]).preset
    settings = replace(student_stage(preset, preset.stage[0], kind="classification"), class_weights=(1.0, 2.0, 5.0))
    gold, counts = batch.labels, Counts(30, 30, len(LENGTHS), len(LENGTHS))
    assert gold is not None
    found = {}
    for name, each in (("weighted", settings), ("plain", replace(settings, class_weights=()))):
        bound = bound_terms(each, models.student, models.teacher)
        losses = StepLosses(each, Models(models.student, models.teacher), bound, autocast=nullcontext)
        found[name] = losses(batch, counts, None, 0.0).terms
        losses.remove()
    logits = models.student(batch.input_ids, batch.attention_mask, token_type_ids=batch.token_type_ids).logits
    each_loss = -logits.log_softmax(-1)[torch.arange(len(gold)), gold.long()]
    weights = torch.tensor([1.0, 5.0, 2.0, 2.0, 1.0])
    torch.testing.assert_close(found["weighted"]["labels"], (weights * each_loss).mean(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["plain"]["labels"], each_loss.mean(), rtol=1e-4, atol=1e-6)
    assert torch.equal(found["weighted"]["logits"], found["plain"]["logits"])


def test_every_stage_that_reads_labels_gets_the_class_weights(tmp_path: Path) -> None:
    write_task(tmp_path)
    file = tmp_path / "preset.toml"
    file.write_text(PRESET.format(folder=tmp_path))
    for items, expected in ((["train.class_weights={ good = 3.0, bad = 0.5 }"], (0.5, 3.0)), ([], ())):
        preset = load_preset([str(file)], items).preset
        data = load_task(preset.task)
        rows: Any = dict.fromkeys(("ild", "kd"), SimpleNamespace(per_epoch=len(data.train)))
        stages = plan_stages(preset, data, rows)
        assert [stage.name for stage in stages] == ["teacher", "ild", "kd", "baseline"]
        assert {stage.class_weights for stage in stages} == {expected}
