"""The families on a GPU: in fp32 what the CPU computes, in bf16 close to it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from engine.distill.activations import ActivationSpec
from engine.models import family_rules
from engine.models.attention import choose_attention
from engine.models.partial_encoder import PartialEncoder
from tests.models.test_offered import LENGTHS, gradients, loss_of, pair_of
from tests.models.test_partial_encoder import every_tensor, qkv
from tests.models.tiny_models import EVERY, batch_of, tiny

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("family", EVERY)
def test_losses_and_gradients_are_those_of_the_cpu(family: str) -> None:
    objectives: dict[str, object] = dict.fromkeys(sorted(family_rules.FAMILIES[family] - {"labels"}), 1.0)
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for device in ("cpu", "cuda"):
        student, teacher = (model.to(device) for model in pair_of(family))
        for model in (student, teacher):
            choose_attention(model, device, "fp32")
        batch = batch_of(teacher, LENGTHS, pad_to=24).to(torch.device(device))
        loss = loss_of(student, teacher, batch, objectives, layer_map="uniform", lam=0.7)
        found.append((loss.detach().cpu(), {name: g.cpu() for name, g in gradients(student, loss).items()}))
    (own, ours), (other, theirs) = found
    torch.testing.assert_close(other, own, rtol=1e-4, atol=1e-5)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", EVERY)
def test_bf16_is_close_to_fp32(family: str) -> None:
    model = tiny(family)
    batch = batch_of(model, LENGTHS, pad_to=24)
    need = qkv(1, 3) | ActivationSpec(hidden=frozenset({2, 3}), logits=True)
    with torch.no_grad():
        exact = PartialEncoder(model, need)(batch)
        there = copy.deepcopy(model).cuda()
        choose_attention(there, "cuda", "bf16")
        tapped = PartialEncoder(there, need)
        with torch.autocast("cuda", torch.bfloat16):
            found = tapped(batch.to(torch.device("cuda")))
    for name, tensor in every_tensor(exact).items():
        near = every_tensor(found)[name].float().cpu()
        assert (near - tensor)[exact.mask].abs().mean() < 0.03 * tensor[exact.mask].abs().mean() + 0.01, name
