"""What makes a step fast changes nothing that it computes: the benchmark's two sides agree, compiled and not."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from engine.train import step as steps
from engine.train.step import StepLosses, bound_terms


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """benchmarks/step.py, with a shape that takes moments."""
    file = Path(__file__).parents[2] / "benchmarks" / "step.py"
    spec = importlib.util.spec_from_file_location("step_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.SHAPES["tiny"] = (4, 24, 3, 48)
    return module


def test_both_sides_of_the_benchmark_compute_one_loss(bench: ModuleType) -> None:
    teacher, sentences = bench.make_teacher("tiny", None, 0), bench.make_sentences(30522, 0)
    assert bench.check(teacher, sentences, next(bench.make_work(sentences, 0))) < 1e-5


def test_both_sides_of_the_benchmark_take_one_step(bench: ModuleType) -> None:
    teacher, sentences = bench.make_teacher("tiny", None, 0), bench.make_sentences(30522, 0)
    student = bench.make_student(teacher)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    engine = bench.Engine(teacher, copy.deepcopy(student), sentences, "fp32")
    plain = bench.Baseline(teacher, student, sentences)
    work = bench.make_work(sentences, 0)
    for _ in range(3):
        given = next(work)
        engine.step(given)
        plain.step(given)
    ours, theirs = dict(engine.models.student.named_parameters()), dict(student.named_parameters())
    for name in ("bert.encoder.layer.0.output.dense.weight", "bert.encoder.layer.1.attention.self.query.weight"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)
        moved = (ours[name].detach() - dict(teacher.named_parameters())[name]).abs().max()
        assert float(moved) > 3e-5


def test_a_compiled_step_has_the_same_loss_and_gradients(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated by the compiler, run without its code generator, which this machine may not have."""
    monkeypatch.setattr(steps, "COMPILER", "aot_eager")
    teacher, sentences = bench.make_teacher("tiny", None, 0), bench.make_sentences(30522, 0)
    student = bench.make_student(teacher)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    engine = bench.Engine(teacher, student, sentences, "fp32")
    for module in student.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = False  # as on CUDA, which compiling is for
    work = [next(bench.make_work(sentences, seed)) for seed in (0, 1, 2)]
    torch._dynamo.reset()
    counters.clear()
    found = []
    for compiled in (False, True):
        engine.losses.remove()
        engine.losses = StepLosses(
            engine.losses.settings,
            engine.models,
            bound_terms(engine.losses.settings, student, teacher),
            autocast=engine.losses.autocast,
            compiled=compiled,
        )
        for given in work:  # batches of other lengths and with another λ
            student.zero_grad()
            loss = engine.loss(given)
            torch.autograd.backward(loss)
            weight = student.get_submodule("bert.encoder.layer.0.output.dense").weight
            assert weight.grad is not None
            found.append((float(loss), weight.grad.clone()))
    assert not counters["graph_break"]
    graphs = counters["stats"]["unique_graphs"]
    assert 3 <= graphs <= 6, "one for each model, or two: rows full, rows padded"
    for plain, traced in zip(found[:3], found[3:], strict=True):
        assert traced[0] == pytest.approx(plain[0], rel=1e-5)
        torch.testing.assert_close(traced[1], plain[1], rtol=1e-4, atol=1e-6)
