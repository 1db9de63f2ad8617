"""The objectives, and the registry that stages look them up in.

Each compares a student with a teacher (or with labels) and returns a `Total`. All of them: no gradient goes to the
teacher's side; padding changes neither the sum nor a gradient; inputs in half precision are compared in single
precision (products of rows excepted, which stay in the inputs' precision so that they run on its units); double
precision stays double.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from engine.distill.activations import LAYER_STATES
from engine.distill.row_scores import Total, at_least_fp32, row_kl, row_mse, total
from engine.preset.kinds import WORD_LABELS, Kind


def examples(mask: Tensor) -> Tensor:
    """Which examples are real: (batch,) of bool from an attention mask (batch, length); an empty row is a filler."""
    return mask.bool().any(-1)


def attention(student: Tensor, teacher: Tensor, rows: Tensor, *, keys: Tensor, mse: bool = False) -> Total:
    """Attention transfer: KL(T ‖ S) of softmax(QKᵀ/√d), row by row (Wang et al. 2020, MiniLM).

    With `mse`, the mean squared error of the scores QKᵀ/√d, over pairs of real tokens (Jiao et al. 2020, TinyBERT).
    Of scores XXᵀ/√d, X the queries, keys or values, the same KL is a self-attention relation (Wang et al. 2021), whose
    heads are any number that divides both models' widths.

    Args:
        student: the scores (batch, heads, query, key), unmasked (`row_scores.scores`).
        teacher: `log_rows` of the teacher's scores, with `mse` the scores; the same shape: head h is compared with
            head h.
        rows: (batch, length), not zero at real tokens.
        keys: (batch, key) or (batch, query, key), not zero at keys that take part; usually the rows.
        mse: compare scores instead of distributions.
    """
    return (row_mse if mse else row_kl)(student, teacher, rows, keys)


def hidden(student: Tensor, teacher: Tensor, rows: Tensor) -> Total:
    """Mean squared error of hidden states or embedding outputs (Jiao et al. 2020): a token's value is the mean over the width.

    Args:
        student: (batch, length, width), projected to the teacher's width where the models' widths differ.
        teacher: the same shape.
        rows: (batch, length), not zero at real tokens.
    """
    return total(_mean_square(student, teacher), rows)


def cls(student: Tensor, teacher: Tensor, rows: Tensor) -> Total:
    """Mean squared error of L2-normalised [CLS] states (Sun et al. 2019, PKD), a mean over the width.

    Args:
        student: hidden states (batch, length, width), projected to the teacher's width where the models' widths
            differ; the first token's are compared.
        teacher: (batch, length, width).
        rows: attention mask (batch, length): examples without a real token don't count.
    """
    first = F.normalize(at_least_fp32(student[:, 0]), dim=-1)
    target = F.normalize(at_least_fp32(teacher[:, 0]), dim=-1)
    return total(_mean_square(first, target), examples(rows))


def pooled(student: Tensor, teacher: Tensor, rows: Tensor) -> Total:
    """Mean squared error of L2-normalised means over real tokens (Haidar et al. 2022, RAIL-KD), a mean over the width.

    Args:
        student: hidden states (batch, length, width), projected to the teacher's width where the models' widths differ.
        teacher: the same shape.
        rows: attention mask (batch, length): the tokens that the mean is over. Examples without one don't count.
    """
    mine, target = (F.normalize(_mean_over_tokens(states, rows), dim=-1) for states in (student, teacher))
    return total(_mean_square(mine, target), examples(rows))


def cka(student: Tensor, teacher: Tensor, rows: Tensor) -> Total:
    """1 − CKA of an example's hidden states over its tokens: linear centred kernel alignment (Kornblith et al. 2019).

    CKA is the cosine of the two models' centred Gram matrices of tokens, so that rotations, shifts and one factor change
    nothing, and the widths may differ. As a loss: Saha et al. 2022; Dasgupta and Cohn 2025, over a batch instead of an
    example. An example of one token, which has nothing to compare, gives 0.

    Args:
        student: hidden states (batch, length, width).
        teacher: (batch, length, any width).
        rows: attention mask (batch, length): the tokens that are compared. Examples without one don't count.
    """
    mine, target = (_centred_products(states, rows) for states in (student, teacher.detach()))
    cosines = (F.normalize(mine, dim=-1) * F.normalize(target, dim=-1)).sum(-1)
    return total(torch.where(rows.bool().sum(-1) > 1, 1 - cosines, 0.0), examples(rows))


def logits(
    student: Tensor,
    teacher: Tensor,
    rows: Tensor,
    *,
    temperature: float = 1.0,
    kind: Kind = "classification",
    mse: bool = False,
    anneal: float | Tensor = 1.0,
    lam: float | Tensor | None = None,
) -> Total:
    """Soft targets: KL(T ‖ S) of softmax(logits/temperature), times temperature² (Hinton et al. 2015).

    Of several labels for a text, the KL of the two answers to each label (it applies, it doesn't), which are a sigmoid of
    logit/temperature, times temperature²: the mean over the labels, as of the objective labels. For regression, the mean
    squared error of logits/temperature, as the released code has it: no square in front. With `mse`, this for classes and
    labels too; with `anneal`, of the teacher's logits times that factor (Jafari et al. 2021, Annealing-KD). Of labels by word,
    the value at the first piece of each word; on mixed inputs, whose two texts have words at other places, a place counts λ
    where the one has a word and 1 - λ where the other has, so that the count stays that of the words.

    Args:
        student: (batch, classes), or (batch, length, classes) of labels by word.
        teacher: the same shape.
        rows: attention mask (batch, length): examples without a real token don't count. Of labels by word not zero at the
            first piece of each word, of the texts before mixing.
        temperature: softens both sides.
        kind: what the logits mean.
        mse: compare logits instead of distributions.
        anneal: what the teacher's logits are multiplied by, with `mse`: `annealing.factor` of the step.
        lam: λ of the mixed inputs, which only labels by word need; None when they are not mixed.
    """
    if mse:
        values = _mean_square(
            at_least_fp32(student) / temperature, anneal * (at_least_fp32(teacher.detach()) / temperature)
        )
    else:
        values = divergence(student, teacher, temperature=temperature, kind=kind)
    if kind != WORD_LABELS:
        return total(values, examples(rows))
    first = rows.bool().to(values.dtype)
    weights = first if lam is None else lam * first + (1 - lam) * first.flip(0)
    return (weights * values).sum(), rows.bool().sum()


def divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, kind: Kind = "classification") -> Tensor:
    """The value of the objective `logits` for each answer, (batch,) or (batch, length) of labels by word; arguments as there."""
    cool, target = at_least_fp32(student) / temperature, at_least_fp32(teacher.detach()) / temperature
    if kind == "regression":
        return _mean_square(cool, target)
    if kind == "multilabel":
        return _bernoulli_kl(cool, target).mean(-1) * temperature**2
    target = target.log_softmax(-1)
    return (target.exp() * (target - cool.log_softmax(-1))).sum(-1) * temperature**2


def labels(
    student: Tensor,
    gold: Tensor,
    rows: Tensor,
    *,
    kind: Kind = "classification",
    lam: float | Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Total:
    """Cross-entropy with the gold labels; for regression, mean squared error with the gold scores.

    Of several labels for a text, the binary cross-entropy of each label's sigmoid, a mean over the labels.

    On mixed inputs the term is λ·loss(gold) + (1 - λ)·loss(gold reversed along the batch) (Zhang et al. 2018), which for
    regression has the gradient of the mixed score. Of labels by word, this holds of each place, and a text has no loss where it has
    no word.

    Args:
        student: (batch, classes), or (batch, 1) scores, or (batch, length, classes) of labels by word.
        gold: (batch,) class indices or scores, or (batch, classes) with 1 where a label applies, or (batch, length), negative
            where no word begins.
        rows: attention mask (batch, length): examples without a real token don't count. Of labels by word, as in `logits`.
        kind: what the labels are.
        lam: λ of the mixed inputs; None when they are not mixed.
        class_weights: (classes,); each example's loss is multiplied by its gold class's, the count stays the number of
            examples. Of several labels, the loss of a label where it applies is multiplied. None: every class counts alike.
    """
    output = at_least_fp32(student)
    weights = None if class_weights is None else class_weights.to(output.dtype)

    def loss(target: Tensor) -> Tensor:
        if kind == "regression":
            return (output.squeeze(-1) - target.to(output.dtype)).square()
        if kind == "multilabel":
            applies = target.to(output.dtype)
            return F.binary_cross_entropy_with_logits(output, applies, pos_weight=weights, reduction="none").mean(-1)
        by_class = output.transpose(1, 2) if kind == WORD_LABELS else output  # a negative class has no loss
        return F.cross_entropy(by_class, target.long(), weight=weights, reduction="none")

    values = loss(gold) if lam is None else lam * loss(gold) + (1 - lam) * loss(gold.flip(0))
    return (values.sum(), rows.bool().sum()) if kind == WORD_LABELS else total(values, examples(rows))


def _centred_products(states: Tensor, rows: Tensor) -> Tensor:
    """Products of each pair of real tokens' states after their mean is taken off, (batch, length²); zeros elsewhere."""
    real = rows.bool().unsqueeze(-1)
    centred = torch.where(real, at_least_fp32(states) - _mean_over_tokens(states, rows).unsqueeze(1), 0.0)
    return (centred @ centred.mT).flatten(1)


def _mean_over_tokens(states: Tensor, rows: Tensor) -> Tensor:
    """The mean of states (batch, length, width) over real tokens, (batch, width); zeros where there is none."""
    real = rows.bool().unsqueeze(-1)
    return torch.where(real, at_least_fp32(states), 0.0).sum(1) / real.sum(1).clamp(min=1)


def _bernoulli_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(T ‖ S) of each label's answer, from logits of both."""
    yes, no = F.logsigmoid(teacher), F.logsigmoid(-teacher)
    return yes.exp() * (yes - F.logsigmoid(student)) + no.exp() * (no - F.logsigmoid(-student))


def _mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    return (at_least_fp32(student) - at_least_fp32(teacher.detach())).square().mean(-1)


@dataclass(frozen=True)
class ObjectiveSpec:
    """A registered objective: its function, and what stages must know to call it."""

    function: Callable[..., Total]
    """Takes the student's tensor, the teacher's, and the rows that count; its keyword-only parameters are options,
    some of `keys`, `mse`, `temperature`, `kind`, `anneal`, `lam` and `class_weights`, and it receives those that it names."""
    reads: tuple[str, ...]
    """Names of the activations that are compared: one, or two whose product (`row_scores.scores`) is."""
    per_token: bool
    """A position is a real token; otherwise an example."""
    first_token: bool = False
    """Only the first token's states are compared."""
    any_width: bool = False
    """States of any two widths can be compared as they are, without a projection."""
    gold: bool = False
    """The target is the gold labels, not the teacher."""

    @cached_property
    def per_layer(self) -> bool:
        """Whether pairs of layers are compared."""
        return self.reads[0] in LAYER_STATES

    @cached_property
    def compares_scores(self) -> bool:
        """Whether rows of scores are compared, in heads."""
        return len(self.reads) == 2

    @cached_property
    def compares_attention(self) -> bool:
        """Whether the rows are those that the model itself attends with: its own heads, keys and windows."""
        return self.compares_scores and self.reads[0] != self.reads[1]

    @cached_property
    def compares_states(self) -> bool:
        """Whether states are compared, which need a projection where the models' widths differ."""
        return self.reads in (("hidden",), ("embedding",)) and not self.any_width

    @cached_property
    def options(self) -> frozenset[str]:
        """Names of the options that the function takes."""
        parameters = inspect.signature(self.function).parameters.values()
        return frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)

    def __call__(self, student: Tensor, target: Tensor, rows: Tensor, options: Mapping[str, Any]) -> Total:
        """The objective, with those of `options` that it takes."""
        return self.function(student, target, rows, **{name: options[name] for name in self.options})


OBJECTIVES: Mapping[str, ObjectiveSpec] = MappingProxyType(
    {
        "labels": ObjectiveSpec(labels, ("logits",), per_token=False, gold=True),
        "logits": ObjectiveSpec(logits, ("logits",), per_token=False),
        "attention": ObjectiveSpec(attention, ("query", "key"), per_token=True),
        "query": ObjectiveSpec(attention, ("query", "query"), per_token=True),
        "key": ObjectiveSpec(attention, ("key", "key"), per_token=True),
        "value": ObjectiveSpec(attention, ("value", "value"), per_token=True),
        "hidden": ObjectiveSpec(hidden, ("hidden",), per_token=True),
        "cls": ObjectiveSpec(cls, ("hidden",), per_token=False, first_token=True),
        "pooled": ObjectiveSpec(pooled, ("hidden",), per_token=False),
        "cka": ObjectiveSpec(cka, ("hidden",), per_token=False, any_width=True),
        "embedding": ObjectiveSpec(hidden, ("embedding",), per_token=True),
    }
)
"""Every objective by the name that presets use (`engine.preset.names.ObjectiveName`)."""


def positions(name: str, mask: Tensor) -> Tensor:
    """How many positions the objective `name` counts under this attention mask (batch, length), without a forward.

    Under mixup the mask is the union of both sentences' for distillation, the clean one for consistency.
    """
    real = mask.bool() if OBJECTIVES[name].per_token else examples(mask)
    return real.sum()
