"""A training step of each measured method, written as one writes it first: what crild's own step is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import source_tree  # noqa: F401 - before the product's packages
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.data.batches import Batch, collate
from engine.data.tokens import TokenSet
from engine.distill.layer_maps import pairs
from engine.train.settings import StageSettings

PADDED = 128
"""Tokens that the plain step pads every sentence to."""
PROJECTIONS = ("query", "key", "value")


@dataclass(frozen=True)
class Work:
    """What one step trains on."""

    number: int
    """The step's, counted from 0."""
    rows: npt.NDArray[np.int64]
    lam: float | None
    """The mixing share, None where nothing is mixed."""
    pull: float
    """Weight of the consistency."""
    decay: float
    """Of the averaged self-teacher."""


@dataclass
class Outputs:
    """What a classifier shows of a batch: hidden states (batch, length, width) by layer, the embeddings' output as layer
    0; queries, keys and values by name and layer from 1; logits (batch, classes)."""

    hidden: tuple[Tensor, ...]
    projections: dict[tuple[str, int], Tensor]
    logits: Tensor

    def scores(self, left: str, right: str, layer: int, heads: int) -> Tensor:
        """Scaled dot products (batch, heads, length, length)."""
        one, other = (
            part.view(*part.shape[:-1], heads, -1).transpose(1, 2)
            for part in (self.projections[left, layer], self.projections[right, layer])
        )
        scores: Tensor = one @ other.transpose(2, 3) / one.shape[-1] ** 0.5
        return scores


class Watched:
    """A BERT classifier that runs whole and hands out everything that objectives compare."""

    def __init__(self, model: PreTrainedModel):
        self.model, self.caught = model, {}  # type: tuple[PreTrainedModel, dict[tuple[str, int], Tensor]]
        for number, layer in enumerate(model.bert.encoder.layer, start=1):
            for name in PROJECTIONS:
                getattr(layer.attention.self, name).register_forward_hook(self._catcher(name, number))

    def _catcher(self, name: str, layer: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def catch(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
            self.caught[name, layer] = output

        return catch

    def __call__(self, batch: Batch, mask: Tensor, lam: float | None = None) -> Outputs:
        """On a batch, or with `lam` on the batch mixed with its own reverse; `mask` (batch, length)."""

        def mixed(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:  # noqa: ARG001
            return output if lam is None else lam * output + (1 - lam) * output.flip(0)

        hook = self.model.bert.embeddings.register_forward_hook(mixed)
        try:
            output = self.model(
                input_ids=batch.input_ids,
                attention_mask=mask,
                token_type_ids=batch.token_type_ids,
                output_hidden_states=True,
                output_attentions=self.model.config._attn_implementation == "eager",
            )
        finally:
            hook.remove()
        caught, self.caught = self.caught, {}
        return Outputs(output.hidden_states, caught, output.logits)


def row_kl(student: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """KL(T ‖ S) of the softmax of scores (batch, heads, query, key): a mean over heads and real rows."""
    absent = (1.0 - mask[:, None, None, :].float()) * -1e9
    ours, theirs = F.log_softmax(student + absent, -1), F.softmax(target + absent, -1)
    rows = F.kl_div(ours, theirs, reduction="none").sum(-1).mean(1)
    return (rows * mask).sum() / mask.sum()


def hidden_mse(student: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states over real tokens."""
    return ((student - target).square().mean(-1) * mask).sum() / mask.sum()


def layer_loss(
    settings: StageSettings, student: Outputs, target: Outputs, mask: Tensor, layers: list[tuple[int, int]], heads: int
) -> Tensor:
    """The stage's layer objectives, summed over pairs (target's layer, student's layer)."""
    parts = []
    for name in settings.stage.terms():
        for theirs, ours in layers:
            if name == "hidden":
                parts.append(hidden_mse(student.hidden[ours], target.hidden[theirs], mask))
                continue
            left, right = ("query", "key") if name == "attention" else (name, name)
            own, other = student.scores(left, right, ours, heads), target.scores(left, right, theirs, heads)
            parts.append(row_kl(own, other, mask))
    return torch.stack(parts).sum()


def distillation_loss(
    settings: StageSettings, student: Outputs, teacher: Outputs | None, batch: Batch, mask: Tensor, heads: int
) -> Tensor:
    """The stage's objectives between a student and a teacher (or labels), each of weight 1."""
    terms = settings.stage.terms()
    if "labels" in terms:
        assert batch.labels is not None
        return F.cross_entropy(student.logits, batch.labels)
    assert teacher is not None
    if "logits" in terms:
        ours, theirs = (x.logits / settings.temperature for x in (student, teacher))
        return settings.temperature**2 * F.kl_div(ours.log_softmax(-1), theirs.softmax(-1), reduction="batchmean")
    layers = pairs(settings.stage.layer_map, len(teacher.hidden) - 1, len(student.hidden) - 1)
    return layer_loss(settings, student, teacher, mask, layers, heads)


def decayed_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The usual two groups of parameters: biases and normalisation weights do not decay."""
    rest = ("bias", "LayerNorm.weight")
    named = list(model.named_parameters())
    return [
        {"params": [p for name, p in named if not name.endswith(rest)], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name.endswith(rest)], "weight_decay": 0.0},
    ]


class PlainStep:
    """A step in fp32: padded to 128, eager attention, everything computed again, AdamW parameter by parameter.

    The self-teacher runs once for each of the two clean sentences of a mixed one.
    """

    def __init__(self, teacher: PreTrainedModel, student: PreTrainedModel, tokens: TokenSet, settings: StageSettings):
        self.settings, self.tokens, self.student = settings, tokens, student
        average = copy.deepcopy(student).requires_grad_(False).eval()
        for model in (teacher, student, average):
            model.set_attn_implementation("eager")
        self.average = average if settings.consistency else None
        self.run_student, self.run_teacher, self.run_average = Watched(student), Watched(teacher), Watched(average)
        groups = decayed_groups(student, settings.weight_decay)
        self.adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, foreach=False)

    def loss(self, work: Work) -> Tensor:
        """The loss of a step."""
        batch = collate(self.tokens, work.rows, pad_id=0, pad_to=PADDED).to(self.student.device)
        heads, mask, lam = self.student.config.num_attention_heads, batch.attention_mask, work.lam
        if lam is not None:
            mask = torch.maximum(mask, mask.flip(0))
        teacher = None
        if "labels" not in self.settings.stage.terms():
            with torch.no_grad():
                teacher = self.run_teacher(batch, mask, lam)
        student = self.run_student(batch, mask, lam)
        loss = distillation_loss(self.settings, student, teacher, batch, mask, heads)
        if self.average is None or lam is None:
            return loss
        last = len(student.hidden) - 1
        other = batch.take(torch.arange(len(batch), device=self.student.device).flip(0))
        for clean, share in ((batch, lam), (other, 1 - lam)):
            with torch.no_grad():
                pull = self.run_average(clean, clean.attention_mask)
            distance = layer_loss(self.settings, student, pull, clean.attention_mask, [(last, last)], heads)
            loss = loss + work.pull * share * distance
        return loss

    def step(self, work: Work) -> Tensor:
        """Forward, backward, clipping, optimiser, average; returns the loss."""
        loss = self.loss(work)
        self.adamw.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.settings.clip, foreach=False)
        self.adamw.step()
        if self.average is not None:
            with torch.no_grad():
                for mean, new in zip(self.average.parameters(), self.student.parameters(), strict=True):
                    mean.mul_(work.decay).add_(new, alpha=1 - work.decay)
        return loss.detach()
