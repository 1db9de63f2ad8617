"""Run the heads that do more than call their modules in a row: last hidden states (batch, length, width) to logits (batch, classes).

`mask (batch, length)` is true at real positions; only a mean over positions reads it.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel


def distilbert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """DistilBERT: a layer and ReLU on the first position, dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(nn.functional.relu(model.pre_classifier(hidden[:, 0]))))
    return logits


def albert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """ALBERT: a layer and its activation on the first position, dropout, the classifier."""
    first = model.albert.pooler_activation(model.albert.pooler(hidden[:, 0]))
    logits: Tensor = model.classifier(model.dropout(first))
    return logits


def modernbert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:
    """ModernBERT: the first position or the mean over real ones (`classifier_pooling`), the head, the classifier."""
    if model.config.classifier_pooling == "mean":
        real = mask.unsqueeze(-1).to(hidden.dtype)
        summary = (hidden * real).sum(1) / real.sum(1).clamp(min=1)
    else:
        summary = hidden[:, 0]
    logits: Tensor = model.classifier(model.drop(model.head(summary)))
    return logits
