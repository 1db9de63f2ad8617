"""What tells one model family from another: where its parts are, and nothing else.

Adding a family is one entry in `FAMILIES` (and its name in `engine.preset.facts`), and one entry in the list that the
tests of this package run over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from engine.errors import ModelError
from engine.preset.text import plain


def _pooled(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """BERT: the pooler (a layer and tanh on the first position), dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(model.bert.pooler(hidden)))
    return logits


def _classified(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """RoBERTa, XLM-R, ELECTRA: the classifier picks the first position itself."""
    logits: Tensor = model.classifier(hidden)
    return logits


def _preclassified(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """DistilBERT: a layer and ReLU on the first position, dropout, the classifier."""
    logits: Tensor = model.classifier(model.dropout(nn.functional.relu(model.pre_classifier(hidden[:, 0]))))
    return logits


@dataclass(frozen=True)
class Family:
    """Where the parts of a `…ForSequenceClassification` model are, as dotted paths from the model.

    `query`, `key` and `value` are paths from a layer. `head` lists the modules between the last layer and the logits,
    in the order in which `logits(model, hidden (batch, length, width))` runs them; `output` is the linear layer whose
    rows are the classes. `pooler` names the part of the head that pre-training brings along. `intermediate` is the
    config's name for the feed-forward width (the other sizes have the same names in every config).
    """

    name: str
    takes_types: bool
    embeddings: str
    layers: str
    query: str
    key: str
    value: str
    head: tuple[str, ...]
    output: str
    logits: Callable[[PreTrainedModel, Tensor], Tensor]
    project: str | None = None
    pooler: str | None = None
    intermediate: str = "intermediate_size"
    positions_offset: bool = False
    """Position numbers begin after the padding token's id, which costs so many of them."""


def _like_bert(name: str, base: str, **parts: Any) -> Family:
    """The entry of a family whose encoder has BERT's names."""
    settings: dict[str, Any] = {
        "takes_types": True,
        "embeddings": f"{base}.embeddings",
        "layers": f"{base}.encoder.layer",
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "head": ("classifier",),
        "output": "classifier.out_proj",
        "logits": _classified,
    }
    return Family(name=name, **(settings | parts))


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _like_bert(
            "bert",
            "bert",
            head=("bert.pooler", "dropout", "classifier"),
            output="classifier",
            logits=_pooled,
            pooler="bert.pooler",
        ),
        _like_bert("roberta", "roberta", takes_types=False, positions_offset=True),
        _like_bert("xlm-roberta", "roberta", takes_types=False, positions_offset=True),
        _like_bert("electra", "electra", project="electra.embeddings_project"),
        Family(
            name="distilbert",
            takes_types=False,
            embeddings="distilbert.embeddings",
            layers="distilbert.transformer.layer",
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            head=("pre_classifier", "dropout", "classifier"),
            output="classifier",
            logits=_preclassified,
            intermediate="hidden_dim",
        ),
    )
}


def family_of(config: PretrainedConfig) -> Family:
    """The family of a config, told by its `model_type`.

    Raises `ModelError` for any other than the supported ones, and for a decoder: it looks at earlier positions only.
    """
    name = str(getattr(config, "model_type", "") or "")
    family = FAMILIES.get(name)
    if family is None:
        raise ModelError(
            f"models of the family {plain(name or 'unknown')} cannot be used; supported are {', '.join(FAMILIES)}"
        )
    if getattr(config, "is_decoder", False):
        raise ModelError(f"this {name} model is a decoder (is_decoder in its config.json); an encoder is needed")
    return family


def positions(config: PretrainedConfig) -> int:
    """Tokens that a model can read at most, special tokens included."""
    family = family_of(config)
    taken = int(config.pad_token_id) + 1 if family.positions_offset else 0
    return int(config.max_position_embeddings) - taken


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The encoder layers of a sequence-classification model, in order."""
    layers: nn.ModuleList = model.get_submodule(family_of(model.config).layers)
    return layers


def output_of(model: PreTrainedModel) -> nn.Linear:
    """The linear layer of a sequence-classification model whose rows are the classes."""
    output: nn.Linear = model.get_submodule(family_of(model.config).output)
    return output
