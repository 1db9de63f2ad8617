"""AdamW, its schedule, and a step that is never taken on a loss or gradient that is no number."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


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


class Optimiser:
    """Fused AdamW with clipping inside the kernel and a flag on the device that skips steps on non-finite gradients.

    Clipping multiplies gradients by clip / max(clip, norm); the kernel divides by `grad_scale`, so the factor costs no
    pass of its own. `bad` counts skipped steps on the device; reading it is the caller's synchronisation.
    """

    def __init__(self, modules: list[nn.Module], *, peak: float, weight_decay: float, clip: float):
        groups = parameter_groups(modules, weight_decay)
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
        self.clip = clip
        device = self.parameters[0].device
        self.adamw = torch.optim.AdamW(
            groups, lr=peak, betas=(0.9, 0.999), eps=1e-8, fused=device.type in ("cpu", "cuda")
        )
        self.bad = torch.zeros((), device=device)

    def step(self, rate: float) -> Tensor:
        """Take one step at learning rate `rate` and clear the gradients; returns the gradient norm before clipping."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        found = (~torch.isfinite(norm)).float()
        self.bad += found
        for group in self.adamw.param_groups:
            group["lr"] = rate
        scale = torch.clamp(norm / self.clip, min=1.0) if self.clip else torch.ones_like(norm)
        if self.adamw.defaults["fused"]:
            self.adamw.grad_scale = scale.float()  # type: ignore[attr-defined]  # the hook that GradScaler uses
            self.adamw.found_inf = found  # type: ignore[attr-defined]
            self.adamw.step()
        elif not found.item():
            torch._foreach_div_(gradients, scale)
            self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, flat: moments and step counts by the parameter's place."""
        return {
            f"{place}.{name}": value
            for place, p in enumerate(self.parameters)
            for name, value in self.adamw.state.get(p, {}).items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned."""
        for label, value in state.items():
            place, name = label.split(".", 1)
            parameter = self.parameters[int(place)]
            self.adamw.state[parameter][name] = value.to(parameter.device).clone()
