"""The distance between two models, layer by layer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.tokens import TokenSet
from engine.distill import objectives
from engine.distill.activations import ActivationSpec
from engine.distill.model_shape import ModelShape
from engine.distill.row_scores import Total
from engine.evaluate.layer_distances import Compared, Comparison, LinearCka, compare
from engine.evaluate.weight_noise import direction
from engine.models.partial_encoder import PartialEncoder
from engine.models.students import keep_layers
from engine.train.step import shape_of
from tests.distill.inputs import attention_between, relation_between
from tests.models.tiny_models import EVERY, VOCABULARY, batch_of, tiny

CPU = torch.device("cpu")


def sentences(lengths: list[int], seed: int = 0, labels: Any = None) -> TokenSet:
    draw = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = draw.integers(4, VOCABULARY, offsets[-1]).astype(np.int32)
    return TokenSet(tuple(map(str, lengths)), offsets, ids, np.zeros(len(ids), np.int8), labels, 0, "")


def between(student: Any, teacher: Any, tokens: TokenSet, batch_size: int = 8) -> Compared:
    comparison = Comparison.between(shape_of(teacher), shape_of(student))
    return compare(
        student, teacher, tokens, comparison, kind="classification", batch_size=batch_size, device=CPU, pad_id=0
    )


@pytest.mark.parametrize("family", EVERY)
def test_a_student_that_equals_its_teacher_is_nowhere_away_from_it(family: str) -> None:
    teacher = tiny(family)
    found = between(keep_layers(teacher, range(3)), teacher, sentences([5, 9, 3]))
    assert set(found.distances) == {(1, 1), (2, 2), (3, 3)}
    for distances in found.distances.values():
        assert set(distances) == {"attention", "query", "key", "value", "hidden", "cls", "cka"}
        assert max(distances.values()) < 1e-5
    assert found.output < 1e-6
    assert np.array_equal(found.student, found.teacher)


def test_figures_are_those_of_the_losses() -> None:
    teacher, student = tiny("bert", layers=4), tiny("bert", layers=2, seed=1)
    batch = batch_of(student, [5, 9, 3], pairs=False)
    lengths = batch.attention_mask.sum(1).tolist()
    ids = np.concatenate([row[:length] for row, length in zip(batch.input_ids.numpy(), lengths, strict=True)])
    tokens = replace(sentences(lengths), input_ids=ids.astype(np.int32))
    found = between(student, teacher, tokens)
    need = ActivationSpec(
        query=frozenset({2, 4}), key=frozenset({2, 4}), value=frozenset({2, 4}), hidden=frozenset({2, 4})
    )
    own = ActivationSpec(query=frozenset({2}), key=frozenset({2}), value=frozenset({2}), hidden=frozenset({2}))
    with torch.no_grad():
        s, t = PartialEncoder(student, own)(batch), PartialEncoder(teacher, need)(batch)
    mask = batch.attention_mask

    def mean(total: Total) -> float:
        return float(total[0] / total[1])

    expected = {
        "attention": mean(attention_between((s.query[2], s.key[2]), (t.query[4], t.key[4]), mask, heads=4)),
        "query": mean(relation_between(s.query[2], t.query[4], mask, heads=4)),
        "value": mean(relation_between(s.value[2], t.value[4], mask, heads=4)),
        "hidden": mean(objectives.hidden(s.hidden[2], t.hidden[4], mask)),
        "cls": mean(objectives.cls(s.hidden[2], t.hidden[4], mask)),
    }
    for name, value in expected.items():
        assert found.distances[4, 2][name] == pytest.approx(value, rel=1e-4), name


def test_neither_padding_nor_batches_change_a_figure() -> None:
    teacher, student = tiny("bert", layers=4), tiny("bert", layers=2, seed=1)
    tokens = sentences([30, 2, 7, 19, 4])
    one, many = (between(student, teacher, tokens, size) for size in (1, 5))
    for pair, distances in one.distances.items():
        assert distances == pytest.approx(many.distances[pair], rel=1e-4, abs=1e-6)
    assert one.output == pytest.approx(many.output, rel=1e-4)
    assert np.allclose(one.student, many.student, atol=1e-4)


def test_layers_are_held_against_those_at_the_same_depth() -> None:
    def pairs(teacher: int, student: int) -> list[tuple[int, int]]:
        return list(Comparison.between(ModelShape(teacher, 32, 4), ModelShape(student, 32, 4)).pairs)

    assert pairs(12, 3) == [(4, 1), (8, 2), (12, 3)]
    assert pairs(6, 4) == [(2, 1), (3, 2), (5, 3), (6, 4)]
    assert pairs(2, 4) == [(1, 1), (1, 2), (2, 3), (2, 4)]


def test_models_of_other_widths_and_heads_are_compared_by_what_they_share() -> None:
    comparison = Comparison.between(ModelShape(12, 768, 12), ModelShape(3, 312, 12))
    assert "attention" in comparison.terms
    assert set(comparison.unavailable) == {"hidden", "cls"}
    assert "768 wide, the student 312" in comparison.unavailable["hidden"]
    other = Comparison.between(ModelShape(12, 768, 12), ModelShape(3, 80, 5))
    assert "attention" not in other.terms
    assert [term.heads for term in other.terms["value"]] == [1, 1, 1]
    assert Comparison.between(ModelShape(12, 768, 12), ModelShape(3, 128, 8)).terms["query"][0].heads == 8
    found = between(tiny("bert", layers=2, hidden=16), tiny("bert", layers=4), sentences([4, 6, 5]))
    assert set(found.distances[4, 2]) == {"attention", "query", "key", "value", "cka"}


def test_cka_computed_by_hand() -> None:
    """Centred X = (1, −1), Y = ((1, 1), (−1, −1)) are one line: alike. Z is across: only a part of it is."""
    mask = torch.ones(1, 4)
    x = torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]])
    line = 3 * x + 5
    plane = torch.tensor([[[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]])
    assert _cka(x, line, mask) == pytest.approx(0.0, abs=1e-6)
    assert _cka(x, plane, mask) == pytest.approx(1 - 1 / math.sqrt(2), abs=1e-6)
    assert _cka(x, plane[..., 1:], mask) == pytest.approx(1.0, abs=1e-6)
    assert math.isnan(_cka(x, torch.full_like(x, 7.0), mask))


def test_cka_is_blind_to_rotation_scale_and_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 100 + torch.randn(2, 20, 8, generator=generator)
    y = torch.randn(2, 20, 6, generator=generator) + x[..., :6]
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
    mask = torch.ones(2, 20)
    assert _cka(x, x @ rotation * 3, mask) == pytest.approx(0.0, abs=1e-4)
    value = _cka(x, y, mask)
    assert 0.01 < value < 0.99
    longer_x, longer_y = (torch.cat([states, torch.full((2, 3, states.shape[-1]), 1e3)], 1) for states in (x, y))
    assert _cka(longer_x, longer_y, torch.cat([mask, torch.zeros(2, 3)], 1)) == pytest.approx(value, abs=1e-5)
    halves = LinearCka()
    for rows in (slice(0, 1), slice(1, 2)):
        halves.add(x[rows], y[rows], mask[rows])
    assert halves.distance() == pytest.approx(value, abs=1e-5)


def _cka(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> float:
    found = LinearCka()
    found.add(x, y, mask)
    return found.distance()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_what_the_cpu_does() -> None:
    teacher, student = tiny("bert", layers=4), tiny("bert", layers=2, seed=1)
    tokens = sentences([30, 2, 7, 19, 4])
    here = between(student, teacher, tokens)
    noise = direction(student, seed=3)
    cuda = torch.device("cuda", 0)
    comparison = Comparison.between(shape_of(teacher), shape_of(student))
    there = compare(
        student.to(cuda),
        teacher.to(cuda),
        tokens,
        comparison,
        kind="classification",
        batch_size=8,
        device=cuda,
        pad_id=0,
    )
    for pair, distances in here.distances.items():
        assert distances == pytest.approx(there.distances[pair], rel=1e-3, abs=1e-5)
    assert np.allclose(here.student, there.student, atol=1e-3)
    for own, moved in zip(noise, direction(student, seed=3), strict=True):
        assert moved.device.type == "cuda"
        assert torch.allclose(own, moved.cpu(), rtol=1e-5)
