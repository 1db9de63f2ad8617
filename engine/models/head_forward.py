"""Run each family's classification head: last hidden states (batch, length, width) to logits (batch, classes).

`mask (batch, length)` is true at real positions; only a mean over positions reads it.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel


def bert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """BERT: the pooler (a layer and tanh on the first position), dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(model.bert.pooler(hidden)))
    return logits


def roberta(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """RoBERTa, XLM-R, ELECTRA, MPNet: the classifier picks the first position itself."""
    logits: Tensor = model.classifier(hidden)
    return logits


def distilbert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """DistilBERT: a layer and ReLU on the first position, dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(nn.functional.relu(model.pre_classifier(hidden[:, 0]))))
    return logits


def albert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """ALBERT: as BERT, with the pooler and its activation apart."""
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


def deberta(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    """DeBERTa: a pooler that does not come from pre-training, dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(model.pooler(hidden)))
    return logits
