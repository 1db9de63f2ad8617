"""Forward and backward of a step as CUDA graphs: a step of small models is otherwise spent on launching kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any

import torch

from engine.data.batches import Batch
from engine.train.step import Counts, Losses, StepLosses

MULTIPLE = 8
"""Batches are padded to a multiple of this: few graphs serve all lengths, and the matrix units like it."""


def padded(longest: int, most: int) -> int:
    """Tokens that a batch is padded to: the next multiple of `MULTIPLE`, but no more than `most` (positions may end there)."""
    return min(-(-longest // MULTIPLE) * MULTIPLE, most)


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """A stream of its own for what runs inside: PyTorch captures no graph on the default one. Nothing on other devices."""
    if device.type != "cuda":
        yield
        return
    before, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        before.wait_stream(stream)


@contextmanager
def captured(pool: Any = None) -> Iterator[torch.cuda.CUDAGraph]:
    """A graph of what runs inside, which is not carried out but recorded. `pool` is memory that graphs share."""
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        yield graph
    except BaseException:
        with suppress(RuntimeError):  # report the error inside, not the capture that it spoilt
            graph.capture_end()
        raise
    graph.capture_end()


class Backward:
    """Computes the losses of a micro-batch and adds its gradient to what the parameters have."""

    def __init__(self, losses: StepLosses, device: torch.device):
        self.losses, self.device = losses, device

    def __call__(self, part: Batch, counts: Counts, lam: float | None, weight: float) -> Losses:
        """The micro-batch's losses; arguments as for `StepLosses`, the batch on the host."""
        losses = self.losses(part.to(self.device), counts, lam, weight)
        torch.autograd.backward(losses.total)
        return losses


@dataclass
class _Shape:
    """All micro-batches of one shape: where their graph reads its input, and what it writes."""

    batch: Batch
    graph: torch.cuda.CUDAGraph | None = None
    losses: Losses | None = None

    def fill(self, part: Batch) -> None:
        """Put another micro-batch where the graph reads."""
        for name in (item.name for item in fields(Batch)):
            buffer, value = getattr(self.batch, name), getattr(part, name)
            if buffer is not None:
                buffer.copy_(value, non_blocking=True)


class CapturedBackward(Backward):
    """`Backward`, where the second micro-batch of a shape is captured as a graph, which all later ones replay.

    What changes from step to step (λ, weight, counts) is read from the device, also before anything is captured: so a
    resumed run, which captures at other steps, computes the same bits. Gradients are added to tensors that must stay
    where they are (`Optimiser` with `capture`). Dropout draws from the global generator, whose seed and offset a replay
    reads again. Everything must happen on one stream that is not the default one (`own_stream`).
    """

    def __init__(self, losses: StepLosses, device: torch.device):
        super().__init__(losses, device)
        self.numbers = torch.zeros(6, device=device)
        self.lam, self.weight, *counts = self.numbers.unbind()
        self.counts = Counts(*counts)
        self.shapes: dict[tuple[int, ...], _Shape] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, part: Batch, counts: Counts, lam: float | None, weight: float) -> Losses:
        """The micro-batch's losses, good until the next call."""
        numbers = (0.0 if lam is None else lam, weight, counts.tokens, counts.own, counts.examples, counts.answers)
        self.numbers.copy_(torch.tensor(numbers, dtype=torch.float32), non_blocking=True)
        shape = self.shapes.get(tuple(part.input_ids.shape))
        if shape is None:
            shape = self.shapes[tuple(part.input_ids.shape)] = _Shape(part.to(self.device))
            return self._run(shape.batch, mixed=lam is not None)
        shape.fill(part)
        if shape.graph is None:
            with captured(self.pool) as shape.graph:
                shape.losses = self._run(shape.batch, mixed=lam is not None)
        shape.graph.replay()
        assert shape.losses is not None
        return shape.losses

    def _run(self, batch: Batch, *, mixed: bool) -> Losses:
        losses = self.losses(batch, self.counts, self.lam if mixed else None, self.weight)
        torch.autograd.backward(losses.total)
        return losses.detached()
