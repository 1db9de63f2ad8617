"""What each family offers, objective by objective: rows, padding, gradients, kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.distill.activations import Activations, ActivationSpec
from engine.distill.model_shape import ModelShape
from engine.distill.row_scores import log_rows, near, scores
from engine.distill.terms import bind, consistency_loss, distillation_loss, required_activations, transport_costs
from engine.models import family_rules
from engine.models.attention import choose_attention
from engine.models.families import FAMILIES, family_of, layers_of
from engine.models.family_rules import not_offered
from engine.models.partial_encoder import PartialEncoder
from engine.models.students import keep_layers
from engine.preset import schema
from engine.preset.names import LAYER_OBJECTIVES
from engine.train.step import shape_of
from tests.models.tiny_models import EVERY, batch_of, own_forward, tiny

OFFERED = [(family, name) for family in EVERY for name in sorted(family_rules.FAMILIES[family])]
LENGTHS = [9, 4, 16, 11, 5]


def loss_of(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    batch: Batch,
    objectives: dict[str, object],
    *,
    layer_map: object = "last",
    lam: float | None = None,
) -> Tensor:
    """The mean of a stage's terms over the batch, as a step computes it."""
    stage = schema.Stage.model_validate({"name": "s", "epochs": 1, "objectives": objectives, "layer_map": layer_map})
    terms = bind(stage, shape_of(teacher), shape_of(student), temperature=2.0, kind="classification")
    activations: list[Activations | None] = []
    for model, side in ((student, "student"), (teacher, "teacher")):
        spec = required_activations(terms, side)  # type: ignore[arg-type]
        encoder = PartialEncoder(model, spec) if spec != ActivationSpec() else None
        activations.append(None if encoder is None else encoder(batch, lam=lam))
        if encoder is not None:
            encoder.remove()
    ours, theirs = activations
    assert ours is not None
    gold = torch.tensor([row % 2 for row in range(len(batch.index))])
    sums = []
    for term in terms:
        total, count = distillation_loss(
            term,
            ours,
            theirs,
            gold=gold,
            lam=lam,
            flow=tuple((pair, 1.0) for pair in term.pairs),
        )
        sums.append(total / count)
    return torch.stack(sums).sum()


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of each parameter that one reaches."""
    model.zero_grad()
    torch.autograd.backward(loss)
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}


def pair_of(family: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    return tiny(family, layers=2, seed=1), tiny(family, layers=4).requires_grad_(False)


@pytest.mark.parametrize("family", [name for name in EVERY if "attention" in family_rules.FAMILIES[name]])
def test_the_rows_that_attention_compares_are_those_that_the_model_attends_with(family: str) -> None:
    model = tiny(family)
    model.set_attn_implementation("eager")
    batch = batch_of(model, LENGTHS)
    attended = own_forward(model, batch, output_attentions=True).attentions
    every = frozenset({1, 2, 3})
    seen = PartialEncoder(model, ActivationSpec(query=every, key=every, logits=True))(batch)
    for layer in (1, 2, 3):
        window = (*shape_of(model).windows, *[None] * 3)[layer - 1]
        made = log_rows(scores(seen.query[layer], seen.key[layer], 4), near(seen.mask, window)).exp()
        real = seen.mask[:, None, :, None]
        torch.testing.assert_close(made * real, attended[layer - 1] * real, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in EVERY if "attention" not in family_rules.FAMILIES[name]])
def test_where_attention_is_not_offered_rows_of_queries_and_keys_are_not_what_the_model_attends_with(
    family: str,
) -> None:
    model = tiny(family)
    batch = batch_of(model, [16, 16])
    attended = own_forward(model, batch, output_attentions=True).attentions
    seen = PartialEncoder(model, ActivationSpec(query=frozenset({2}), key=frozenset({2})))(batch)
    made = log_rows(scores(seen.query[2], seen.key[2], 4), seen.mask).exp()
    assert float((made - attended[1]).detach().abs().max()) > 0.05
    reason = not_offered(family, "attention", "teacher")
    assert reason is not None
    assert all(fact in reason for fact in (family, "teacher", "attention", "query, key and value relations"))


@pytest.mark.parametrize(("family", "name"), OFFERED)
@pytest.mark.parametrize("lam", [None, 0.7])
def test_padding_changes_no_objective_and_no_gradient(family: str, name: str, lam: float | None) -> None:
    found = {}
    for pad_to in (16, 64, 128):
        student, teacher = pair_of(family)
        layer_map = "uniform" if name in LAYER_OBJECTIVES else "last"
        loss = loss_of(
            student, teacher, batch_of(teacher, LENGTHS, pad_to=pad_to), {name: 1.0}, layer_map=layer_map, lam=lam
        )
        found[pad_to] = (loss, gradients(student, loss))
    loss, expected = found[16]
    assert math.isfinite(loss.item())
    assert loss.item() > 1e-4
    for pad_to in (64, 128):
        torch.testing.assert_close(found[pad_to][0], loss, rtol=1e-5, atol=1e-6)
        assert found[pad_to][1].keys() == expected.keys()
        for parameter, gradient in found[pad_to][1].items():
            torch.testing.assert_close(gradient, expected[parameter], rtol=1e-4, atol=1e-5, msg=parameter)


@pytest.mark.parametrize(("family", "name"), OFFERED)
def test_gradients_reach_what_the_objective_reads_and_nothing_else(family: str, name: str) -> None:
    """docs/objectives.md: which parts an objective leaves untrained. Here at layer 2 of 3."""
    student, teacher = tiny(family, seed=1), tiny(family).requires_grad_(False)
    layer_map = [[2, 2]] if name in LAYER_OBJECTIVES else "last"
    batch = batch_of(teacher, LENGTHS)
    loss = loss_of(student, teacher, batch, {name: 1.0}, layer_map=layer_map)
    reached = {
        id(student.get_parameter(path))
        for path, tensor in gradients(student, loss).items()
        if float(tensor.abs().max())
    }
    here, (first, second, third) = family_of(student.config), layers_of(student)

    def of(*paths: str) -> set[int]:
        return {id(tensor) for path in paths for tensor in student.get_submodule(path).parameters()}

    head = of(*here.head)
    embeddings = of(here.embeddings)
    if name in ("labels", "logits"):
        weights = {id(tensor) for tensor in student.parameters() if tensor.ndim > 1}
        assert weights <= reached
        return
    assert not head & reached
    assert {
        id(tensor) for path, tensor in student.named_parameters() if "embeddings.word" in path or "tok_" in path
    } <= reached
    if name == "embedding":
        assert reached <= embeddings
        return
    if family == "albert":  # the one layer is every layer: the first time it runs whole
        assert {id(tensor) for tensor in first.parameters() if tensor.ndim > 1} <= reached
        return
    assert not {id(tensor) for tensor in third.parameters()} & reached
    assert {id(tensor) for tensor in first.parameters() if tensor.ndim > 1} <= reached
    own = {path: id(tensor) for path, tensor in second.named_parameters() if id(tensor) in reached}
    whole = {path for path, tensor in second.named_parameters() if tensor.ndim > 1}
    if name in ("hidden", "cls"):
        assert whole <= own.keys()
        return
    parts = {"attention": ("query", "key"), "query": ("query",), "key": ("key",), "value": ("value",)}[name]
    read = {f"{getattr(here, part)}.weight" for part in parts}
    assert read <= own.keys()
    allowed = tuple(getattr(here, part) for part in parts) + ((here.norm_before,) if here.norm_before else ())
    assert all(path.startswith(allowed) for path in own)
    if here.split is not None:  # of a fused projection, the rows of the other parts get none
        gradient = second.get_submodule(here.query).weight.grad
        assert isinstance(gradient, Tensor)
        for part, rows in zip(("query", "key", "value"), gradient.chunk(3), strict=True):
            assert bool(rows.abs().max() > 0) == (part in parts), part


@pytest.mark.parametrize("family", [name for name in EVERY if FAMILIES[name].fused])
def test_the_fused_kernel_gives_what_eager_attention_gives(family: str) -> None:
    found = []
    for kernel in ("sdpa", "eager"):
        student, teacher = pair_of(family)
        for model in (student, teacher):
            model.set_attn_implementation(kernel)
        batch = batch_of(teacher, LENGTHS, pad_to=20)
        objectives: dict[str, object] = dict.fromkeys(sorted(family_rules.FAMILIES[family]), 1.0)
        loss = loss_of(student, teacher, batch, objectives, layer_map="uniform")
        found.append((loss, gradients(student, loss)))
    (fused, ours), (eager, theirs) = found
    torch.testing.assert_close(fused, eager, rtol=1e-5, atol=1e-6)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("family", [name for name in EVERY if not FAMILIES[name].fused])
def test_a_family_without_a_fused_kernel_stays_eager(family: str) -> None:
    model = tiny(family)
    for device, precision in (("cpu", "bf16"), ("cpu", "fp32"), ("cuda", "bf16")):
        assert choose_attention(model, device, precision) == "eager" == model.config._attn_implementation


@pytest.mark.parametrize("family", EVERY)
def test_teacher_and_student_may_have_other_widths_and_heads(family: str) -> None:
    teacher = tiny(family).requires_grad_(False)
    student = tiny(family, layers=2, hidden=16, num_attention_heads=2)
    batch = batch_of(teacher, LENGTHS)
    relations: dict[str, object] = {part: {"weight": 1.0, "relation_heads": 8} for part in ("query", "key", "value")}
    loss = loss_of(student, teacher, batch, {**relations, "logits": 1.0})
    assert math.isfinite(loss.item())
    assert gradients(student, loss)


@pytest.mark.parametrize("mse", [False, True])
@pytest.mark.parametrize(("windows", "reach"), [((None, 2), 2), ((2, None), 2), ((3, 1), 1), ((None, None), 9)])
def test_a_pair_of_layers_compares_the_keys_that_both_look_at(
    windows: tuple[int | None, int | None], reach: int, mse: bool
) -> None:
    torch.manual_seed(0)
    lengths, heads = [6, 4], 2
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    ours, theirs = (Activations(mask, {1: torch.randn(2, 6, 8)}, {1: torch.randn(2, 6, 8)}) for _ in range(2))
    stage = schema.Stage.model_validate(
        {"name": "s", "epochs": 1, "objectives": {"attention": {"mse": mse}}, "layer_map": "last"}
    )
    teacher, student = (ModelShape(layers=1, width=8, heads=heads, windows=(window,)) for window in windows)
    (term,) = bind(stage, teacher, student, temperature=1.0, kind="classification")
    total, count = distillation_loss(term, ours, theirs)

    expected = 0.0
    for row, length in enumerate(lengths):
        for query in range(length):
            keys = [key for key in range(length) if abs(key - query) <= reach]
            for head in range(heads):
                of = slice(4 * head, 4 * head + 4)
                made = [side.key[1][row, keys][:, of] @ side.query[1][row, query, of] / 2 for side in (ours, theirs)]
                if mse:
                    value = (made[0] - made[1]).square().mean()
                else:
                    own, other = (scores.log_softmax(0) for scores in made)
                    value = (other.exp() * (other - own)).sum()
                expected += value.item() / heads
    assert count == sum(lengths)
    assert total.item() == pytest.approx(expected, rel=1e-5)

    pull, _ = consistency_loss(term, ours, ours, None)
    assert pull.item() == pytest.approx(0.0, abs=1e-5)
    sums, _ = transport_costs(term, ours, theirs)
    assert sums.shape == (1, 1)
    assert sums.item() == pytest.approx(expected, rel=1e-5)


def test_modernberts_local_layers_are_told_and_stay_with_what_is_kept() -> None:
    model = tiny("modernbert", layers=4)
    assert shape_of(model).windows == (None, 3, 3, None)
    assert shape_of(keep_layers(model, (0, 2, 3))).windows == (None, 3, None)
    assert shape_of(tiny("bert")).windows == ()
