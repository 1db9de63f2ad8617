"""AdamW and its learning rate schedule; steps with a non-finite loss or gradient are skipped."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engine.train.graphs import captured

_MANY = 4096
"""From this many rows on, a batch touches few rows of an embedding."""


def learning_rate(step: int, total: int, *, peak: float, warmup: float, schedule: str) -> float:
    """The rate of step `step` (counted from 0) of `total`: a linear rise over `warmup` × total steps, then linear decay
    to zero at `total`, or constant."""
    rise = round(warmup * total)
    if step < rise:
        return peak * (step + 1) / rise
    if schedule == "constant" or total <= rise:
        return peak
    return peak * (total - step) / (total - rise)


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices and embeddings decay, biases and normalisation weights do not."""
    named = [(name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad]
    decay = [p for _, p in named if p.ndim > 1]
    rest = [p for _, p in named if p.ndim <= 1]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


class RowGradient:
    """The gradient of an embedding, of which a step touches only the rows of its tokens.

    Without it, backward allocates and fills a gradient of the whole vocabulary at each step. Here the embedding gives
    sparse rows, which are added into one dense gradient that is reused; after the step only these rows are zeroed. The
    optimiser sees the same dense gradient, so AdamW stays AdamW.
    """

    def __init__(self, parameter: nn.Parameter):
        self.parameter = parameter
        self.dense: Tensor | None = None
        self.rows: Tensor | None = None

    def take(self) -> Tensor | None:
        """Replace the sparse gradient by the dense one; returns its nonzero rows (rows, width)."""
        gradient = self.parameter.grad
        if gradient is None or not gradient.is_sparse:
            return gradient
        if self.dense is None:
            self.dense = torch.zeros_like(self.parameter)
        rows = gradient._indices()[0]
        self.dense.index_add_(0, rows, gradient._values())
        self.parameter.grad, self.rows = self.dense, torch.unique(rows)
        return self.dense[self.rows]

    def clear(self) -> None:
        """Set the gradient back to zero."""
        if self.dense is not None and self.rows is not None:
            self.dense[self.rows] = 0.0
            self.rows = None


def row_gradients(modules: Iterable[nn.Module]) -> dict[nn.Parameter, RowGradient]:
    """Switch large trainable embeddings to sparse gradients where that helps: on a CPU, in a run of one process
    (several processes sum whole gradients)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return {}
    found = {}
    for module in (part for whole in modules for part in whole.modules()):
        weight = getattr(module, "weight", None)
        if not isinstance(module, nn.Embedding) or not isinstance(weight, nn.Parameter):
            continue
        if weight.requires_grad and weight.device.type == "cpu":
            module.sparse = module.num_embeddings >= _MANY
            if module.sparse:
                found[weight] = RowGradient(weight)
    return found


class Optimiser:
    """Fused AdamW with clipping inside the kernel and a flag on the device that skips steps on non-finite gradients.

    Clipping multiplies gradients by clip / max(clip, norm); the kernel divides by `grad_scale`, so the factor costs no
    pass of its own. `bad` counts skipped steps on the device; reading it is the caller's synchronisation.
    """

    def __init__(
        self, modules: list[nn.Module], *, peak: float, weight_decay: float, clip: float, capture: bool = False
    ):
        """With `capture` (CUDA) the second step is captured as a graph that later steps replay, with gradients in place."""
        groups = parameter_groups(modules, weight_decay)
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
        self.clip = clip
        self.by_row = row_gradients(modules)
        device = self.parameters[0].device
        self.rate = torch.full((), peak, device=device) if capture else None
        self.adamw = torch.optim.AdamW(
            groups,
            lr=peak if self.rate is None else self.rate,
            betas=(0.9, 0.999),
            eps=1e-8,
            fused=device.type in ("cpu", "cuda"),
            capturable=capture,
        )
        self.bad = torch.zeros((), device=device)
        self.taken = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.norm = torch.zeros((), device=device)

    def step(self, rate: float) -> Tensor:
        """Take one step at learning rate `rate` and clear the gradients; returns the gradient norm before clipping."""
        if self.rate is None:
            for group in self.adamw.param_groups:
                group["lr"] = rate
            norm = self._update()
            self.adamw.zero_grad(set_to_none=True)
            for rows in self.by_row.values():
                rows.clear()
            return norm
        self.rate.fill_(rate)
        self.taken += 1
        if self.taken == 1:  # creates the moments, and shows which parameters have a gradient
            return self._update_in_place()
        if self.graph is None:
            with captured() as self.graph:
                self.norm = self._update_in_place()
        self.graph.replay()
        return self.norm

    def _update_in_place(self) -> Tensor:
        norm = self._update()
        torch._foreach_zero_([p.grad for p in self.parameters if p.grad is not None])
        return norm

    def _update(self) -> Tensor:
        taken = (self.by_row[p].take() if p in self.by_row else p.grad for p in self.parameters)
        gradients = [gradient for gradient in taken if gradient is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        found = (~torch.isfinite(norm)).float()
        self.bad += found
        scale = torch.clamp(norm / self.clip, min=1.0) if self.clip else torch.ones_like(norm)
        if self.adamw.defaults["fused"]:
            self.adamw.grad_scale = scale.float()  # type: ignore[attr-defined]  # the hook that GradScaler uses
            self.adamw.found_inf = found  # type: ignore[attr-defined]
            self.adamw.step()
        elif not found.item():
            torch._foreach_div_([p.grad for p in self.parameters if p.grad is not None], scale)
            self.adamw.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, flat: moments and step counts by parameter index."""
        return {
            f"{index}.{name}": value
            for index, p in enumerate(self.parameters)
            for name, value in self.adamw.state.get(p, {}).items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for label, value in state.items():
            index, name = label.split(".", 1)
            parameter = self.parameters[int(index)]
            self.adamw.state[parameter][name] = value.to(parameter.device).clone()
