"""What makes a step fast changes nothing that it computes: the benchmark's two sides agree."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """benchmarks/step.py, with a shape that takes moments."""
    file = Path(__file__).parents[2] / "benchmarks" / "step.py"
    spec = importlib.util.spec_from_file_location("step_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(file.parent)  # it imports its neighbours
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
