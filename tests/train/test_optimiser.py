"""AdamW's steps: gradients of embeddings by row are the dense ones; steps on what is no number are not taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.train import optim
from engine.train.optim import Optimiser

ROWS = 5000


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = nn.Embedding(ROWS, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.out(self.words(ids))
        return output


def train(net: Net, *, clip: float, steps: int = 4, micro: int = 2) -> list[float]:
    optimiser = Optimiser([net], peak=0.01, weight_decay=0.1, clip=clip)
    draw = torch.Generator().manual_seed(1)
    norms = []
    for _ in range(steps):
        for _ in range(micro):
            ids = torch.randint(0, 40, (3, 17), generator=draw)  # with padding and with repetitions
            torch.autograd.backward(net(ids).square().sum())
        norms.append(float(optimiser.step(0.01)))
    return norms


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in net.parameters()]


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_gradients_by_row_take_the_steps_of_dense_ones(clip: float, monkeypatch: pytest.MonkeyPatch) -> None:
    by_row, dense = Net(), Net()
    norms = train(by_row, clip=clip)
    assert by_row.words.sparse
    monkeypatch.setattr(optim, "_MANY", ROWS + 1)
    assert norms == pytest.approx(train(dense, clip=clip), rel=1e-6)
    assert not dense.words.sparse
    for ours, theirs in zip(weights(by_row), weights(dense), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert not torch.equal(by_row.words.weight[39], Net().words.weight[39])


def test_rows_that_no_token_has_still_decay() -> None:
    net, before = Net(), Net()
    train(net, clip=0.0, steps=1)
    torch.testing.assert_close(net.words.weight[100:], before.words.weight[100:] * (1 - 0.01 * 0.1), rtol=1e-6, atol=0)


def test_moments_of_rows_that_a_step_leaves_out_move_on() -> None:
    net = Net()
    optimiser = Optimiser([net], peak=0.01, weight_decay=0.0, clip=0.0)
    for ids in ([[7]], [[8]]):
        torch.autograd.backward(net(torch.tensor(ids)).square().sum())
        optimiser.step(0.01)
    moments = optimiser.state()["0.exp_avg"]
    after_first = moments[7].clone()
    torch.autograd.backward(net(torch.tensor([[8]])).square().sum())
    optimiser.step(0.01)
    torch.testing.assert_close(optimiser.state()["0.exp_avg"][7], 0.9 * after_first)


def test_a_gradient_that_is_no_number_leaves_no_trace() -> None:
    net, expected = Net(), Net()
    optimiser = Optimiser([net], peak=0.01, weight_decay=0.1, clip=1.0)
    torch.autograd.backward((net(torch.tensor([[3, 4]])) * float("inf")).sum())
    optimiser.step(0.01)
    assert float(optimiser.bad) == 1
    for ours, before in zip(weights(net), weights(expected), strict=True):
        assert torch.equal(ours, before)
    torch.autograd.backward(net(torch.tensor([[5, 6]])).square().sum())
    assert torch.isfinite(optimiser.step(0.01))
    assert torch.isfinite(net.words.weight).all()
