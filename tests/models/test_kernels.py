"""What training on a CPU computes with its own attention and dropout, and with a teacher kept in half precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.distill.activations import ActivationSpec
from engine.distill.row_scores import within
from engine.models.half_precision import in_half_precision
from engine.models.kernels import Dropout, attend, drop, fast_attention, keep_mask, use_dropout
from engine.models.partial_encoder import PartialEncoder
from tests.models.tiny_models import EVERY, batch_of, tiny


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_drops_as_many_as_it_should_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(101, 1003, dtype=dtype), p)
    assert mask.dtype == dtype
    assert float((mask == 0).float().mean()) == pytest.approx(p, abs=0.006)
    assert float(mask.float().mean()) == pytest.approx(1.0, rel=0.03 if p == 0.9 else 0.01)
    assert len(torch.unique(mask)) == 2


def test_neighbours_are_dropped_independently() -> None:
    """Four decisions come from one draw: none may tell of another."""
    torch.manual_seed(0)
    mask = (keep_mask(torch.empty(4 * 60_000), 0.5) != 0).view(-1, 4).T.double()
    assert float((torch.corrcoef(mask) - torch.eye(4)).abs().max()) < 0.02


def test_the_seed_decides_on_the_mask_whatever_the_threads() -> None:
    masks = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            torch.manual_seed(3)
            masks.append(keep_mask(torch.empty(64, 999), 0.1))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*masks)


def test_gradients_pass_where_numbers_did() -> None:
    x = torch.ones(50, 40, requires_grad=True)
    output = drop(x, 0.3)
    output.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.equal(x.grad, output.detach())


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_scale(p: float) -> None:
    x = torch.randn(7, 5)
    assert torch.equal(drop(x, p), x * (1 - p))


def test_every_dropout_of_a_model_is_replaced_and_evaluation_stays() -> None:
    model = tiny("bert", hidden_dropout_prob=0.2)
    batch = batch_of(model, [7, 3])
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    names = list(model.state_dict())
    before = model.eval()(**inputs).logits
    model.train()
    use_dropout(model)
    kinds = [type(module) for module in model.modules() if isinstance(module, nn.Dropout)]
    assert set(kinds) == {Dropout}
    assert all(module.training for module in model.modules())
    assert list(model.state_dict()) == names
    assert torch.equal(model.eval()(**inputs).logits, before)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_the_models_own(masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 4, 9, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.zeros(3, 1, 1, 9, dtype=torch.float64)
    mask[1, ..., 5:] = torch.finfo(torch.float64).min
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask if masked else None)
    found, _ = attend(nn.Module(), query, key, value, mask if masked else None)
    torch.testing.assert_close(found, expected.transpose(1, 2))
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), (query, key, value))
    theirs = torch.autograd.grad((expected.transpose(1, 2) * weight).sum(), (query, key, value))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_attention_takes_a_mask_for_each_query() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 9, 8, dtype=torch.float64) for _ in range(3))
    close = within(9, 2, query.device)
    assert close is not None
    mask = torch.zeros(2, 1, 9, 9, dtype=torch.float64).masked_fill(~close, torch.finfo(torch.float64).min)
    mask[0, :, 1:, 0] = torch.finfo(torch.float64).min  # rows and columns are not the same
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    found, _ = attend(nn.Module(), query, key, value, mask)
    torch.testing.assert_close(found, expected.transpose(1, 2))
    alike, _ = attend(nn.Module(), query, key, value, mask[1:])
    torch.testing.assert_close(alike[1], found[1])


def test_attention_weights_are_dropped_in_training() -> None:
    query = key = torch.zeros(64, 2, 10, 4)
    value = torch.ones(64, 2, 10, 4)
    torch.manual_seed(0)
    found, _ = attend(nn.Module(), query, key, value, None, dropout=0.5)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.05)  # the mean stays
    assert float(found.std()) > 0.2


def test_attention_is_exchanged_for_bf16_on_a_cpu_and_for_as_long_as_a_forward_takes() -> None:
    model = tiny("bert")
    config, cpu = model.config, torch.device("cpu")
    own = config._attn_implementation
    with fast_attention(config, cpu):
        assert config._attn_implementation == own
    with torch.autocast("cpu", torch.bfloat16):
        with fast_attention(config, torch.device("cuda")):
            assert config._attn_implementation == own
        with fast_attention(config, cpu):
            assert config._attn_implementation == "crild"
    assert config._attn_implementation == own


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "albert", "modernbert"])
def test_bf16_attention_is_as_close_to_fp32_as_the_eager_one(family: str) -> None:
    model = tiny(family)
    model.set_attn_implementation("eager")
    batch = batch_of(model, [9, 4, 7])
    need = ActivationSpec(hidden=frozenset({3}))
    with torch.no_grad():
        exact = PartialEncoder(model, need)(batch)
        with torch.autocast("cpu", torch.bfloat16):
            found = PartialEncoder(model, need)(batch)
    assert not torch.equal(found.hidden[3], exact.hidden[3])
    torch.testing.assert_close(found.hidden[3][found.mask].float(), exact.hidden[3][exact.mask], rtol=0, atol=0.06)


@pytest.mark.parametrize("family", EVERY)
def test_a_lowered_teacher_gives_the_same_bits_under_autocast(family: str) -> None:
    model = tiny(family).requires_grad_(False)
    half = in_half_precision(model, torch.bfloat16)
    batch = batch_of(model, [7, 3])
    need = ActivationSpec(hidden=frozenset({3}), query=frozenset({3}), logits=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = PartialEncoder(model, need)(batch), PartialEncoder(half, need)(batch)
    assert torch.equal(found.hidden[3], expected.hidden[3])
    assert torch.equal(found.query[3], expected.query[3])
    assert found.logits is not None
    assert expected.logits is not None
    assert torch.equal(found.logits, expected.logits)


def test_a_lowered_teacher_shares_what_is_not_a_linear_layer() -> None:
    model = tiny("bert")
    half = in_half_precision(model, torch.bfloat16)
    theirs = dict(half.named_parameters())
    for name, parameter in model.named_parameters():
        linear = isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Linear)
        assert parameter.dtype == torch.float32
        assert (theirs[name] is parameter) == (not linear)
        assert (theirs[name].dtype == torch.bfloat16) == linear
