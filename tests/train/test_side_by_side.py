"""`make bench` compares like with like: crild's steps are the plain ones, for every measured method, over twenty steps."""

from __future__ import annotations

import copy
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SHAPE = (4, 24, 3, 48)
STEPS = 20


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """benchmarks/side_by_side.py, with a shape that takes moments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        module = import_module("side_by_side")
    module.SHAPES["tiny"] = SHAPE
    return module


METHODS = ("finetune", "kd", "ild-last", "ild-uniform", "crild", "minilmv2")


def test_all_methods_are_compared(bench: ModuleType) -> None:
    assert tuple(bench.METHODS) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_losses_agree_over_twenty_steps(bench: ModuleType, method: str) -> None:
    teacher = bench.make_teacher("tiny", None, 0)
    student = bench.without_dropout(bench.make_student(teacher))
    settings = bench.make_settings(method, 8)
    tokens = bench.make_sentences("sst2", 8 * STEPS, teacher.config.vocab_size, 0)
    plain = bench.PlainStep(copy.deepcopy(teacher), copy.deepcopy(student), tokens, settings)
    steps = bench.make_work(settings, tokens.lengths)
    crild = bench.CrildStep(teacher, student, tokens, settings, "fp32", answered=steps)
    bench.stir(plain.average, crild.models.average)
    first = None
    for work in steps:
        crild.step(work)
        ours, theirs = crild.loss_of_last(), float(plain.step(work))
        assert ours == pytest.approx(theirs, rel=1e-5)
        first = theirs if first is None else first
    assert theirs != pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("profile", ["cola", "rte", "mrpc", "sst2"])
def test_typical_steps_have_the_mean_of_an_epoch(bench: ModuleType, profile: str) -> None:
    settings = bench.make_settings("ild-last", 32)
    lengths = bench.make_sentences(profile, 1024, 30522, 0).lengths
    work = bench.make_work(settings, lengths)
    padded = [len(part.rows) * lengths[part.rows].max() for part in work]
    picked = [len(part.rows) * lengths[part.rows].max() for part in bench.typical(work, lengths, 4)]
    assert np.mean(picked) == pytest.approx(np.mean(padded), rel=0.1)
    assert sorted(np.concatenate([part.rows for part in work])) == list(range(1024))


def test_a_step_needs_the_operations_that_are_counted_by_hand(bench: ModuleType) -> None:
    """Two sentences of 3 and 5 tokens; one of the student's two layers is read only as far as its queries and keys."""
    above, below = bench.Encoder(4, 24, 48), bench.Encoder(2, 24, 48)
    matrices = 2 * (4 * 24 * 24 + 2 * 24 * 48)
    layer = 8 * matrices + 4 * (9 + 25) * 24
    last = 8 * 2 * 2 * 24 * 24 + 2 * (9 + 25) * 24
    stage = {"objectives": {"attention": 1.0}}
    settings = bench.make_settings("ild-last", 2)
    attention = bench.replace(settings, stage=settings.stage.model_copy(update=stage))
    lengths = np.array([3, 5])
    assert bench.step_flops(attention, above, below, lengths) == 3 * (layer + last) + 3 * layer + last
    assert bench.step_flops(settings, above, below, lengths) == 3 * 2 * layer + 4 * layer


def test_the_limit_counts_a_quarter_of_the_teacher_for_answers_over_four_epochs(bench: ModuleType) -> None:
    above, below = bench.Encoder(4, 24, 48), bench.Encoder(2, 24, 48)
    settings, lengths = bench.make_settings("kd", 2), np.array([3, 5])
    whole, quarter = (bench.step_flops(settings, above, below, lengths, answer_epochs=n) for n in (1, 4))
    assert whole - quarter == pytest.approx(0.75 * above.forward(lengths.astype(float), ["logits"]))
