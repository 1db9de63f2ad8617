"""The supported families of models: where each one's parts are, and the functions for what it does differently.

Adding a family is one entry in `FAMILIES`, its objectives in `engine.models.family_rules`, and a tiny config for the tests
of this package, which run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from engine.distill.activations import Projection
from engine.errors import ModelError
from engine.models import depth, head_forward, layer_inputs
from engine.models.family_rules import unusable
from engine.preset.text import plain


@dataclass(frozen=True)
class Family:
    """Where the parts of a `…ForSequenceClassification` model are, as dotted paths from the model.

    `query`, `key` and `value` are paths from a layer. `head` lists the modules between the last layer and the logits,
    in the order in which `logits(model, hidden (batch, length, width), mask (batch, length))` runs them; `output` is the
    linear layer whose rows are the classes. `pooler` names the part of the head that comes from pre-training. `intermediate` is the
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
    logits: Callable[[PreTrainedModel, Tensor, Tensor], Tensor]
    project: str | None = None
    """From the embedding's width to the encoder's, where that is a module of its own (ELECTRA, ALBERT)."""
    pooler: str | None = None
    intermediate: str = "intermediate_size"
    positions_offset: bool = False
    """Position numbers begin after the padding token's id, so that many of them cannot be used."""
    fused: bool = True
    """Its attention can run in a fused kernel. Where scores have more parts than QKᵀ, transformers only has eager code."""
    captures: bool = True
    """A step can be captured as a CUDA graph: its forward computes nothing on the host."""
    masks_embeddings: bool = False
    """Its embeddings are set to zero at padding, so they read the mask."""
    norm_before: str | None = None
    """Path from a layer to the normalisation in front of its projections, where there is one."""
    final: str | None = None
    """The normalisation behind the last layer: part of that layer's hidden state, as in transformers."""
    inputs: Callable[[PreTrainedModel, Tensor, Tensor], layer_inputs.LayerInputs] = layer_inputs.mask_alone
    """The arguments of its layers besides the hidden states."""
    split: Callable[[PretrainedConfig, Projection, Tensor, tuple[Any, ...]], Tensor] | None = None
    """Queries, keys or values from the projection's output, where that holds all three."""
    layers_in_order: Callable[[PreTrainedModel, str], Sequence[nn.Module]] = depth.stored_layers
    """The layers in the order in which they run: a shared layer appears as often as it runs."""
    select_layers: Callable[[PretrainedConfig, Sequence[int]], Sequence[int]] = depth.select_layers
    """Fits a config to selected layers (from 0); returns the stored layer that each stored layer of the copy is."""
    set_depth: Callable[[PretrainedConfig, int], None] = depth.set_depth
    """Fits a config to a number of fresh layers; its other sizes are already set."""
    windows: Callable[[PretrainedConfig], tuple[int | None, ...]] = depth.no_windows
    """How far each layer looks to either side, in tokens; None where it looks everywhere, empty where all do."""


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
        "logits": head_forward.roberta,
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
            logits=head_forward.bert,
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
            logits=head_forward.distilbert,
            intermediate="hidden_dim",
        ),
        Family(
            name="albert",
            takes_types=True,
            embeddings="albert.embeddings",
            project="albert.encoder.embedding_hidden_mapping_in",
            layers="albert.encoder.albert_layer_groups",
            query="attention.query",
            key="attention.key",
            value="attention.value",
            head=("albert.pooler", "dropout", "classifier"),
            output="classifier",
            logits=head_forward.albert,
            pooler="albert.pooler",
            layers_in_order=depth.albert_layers,
            select_layers=depth.select_albert_layers,
            set_depth=depth.set_albert_depth,
        ),
        Family(
            name="modernbert",
            takes_types=False,
            embeddings="model.embeddings",
            layers="model.layers",
            query="attn.Wqkv",
            key="attn.Wqkv",
            value="attn.Wqkv",
            head=("head", "drop", "classifier"),
            output="classifier",
            logits=head_forward.modernbert,
            norm_before="attn_norm",
            final="model.final_norm",
            inputs=layer_inputs.modernbert,
            split=layer_inputs.split_and_rotate,
            select_layers=depth.select_modernbert_layers,
            set_depth=depth.set_modernbert_depth,
            windows=depth.modernbert_windows,
        ),
        _like_bert(
            "mpnet",
            "mpnet",
            takes_types=False,
            query="attention.attn.q",
            key="attention.attn.k",
            value="attention.attn.v",
            positions_offset=True,
            fused=False,
            captures=False,
            inputs=layer_inputs.mpnet,
        ),
        _like_bert(
            "deberta-v2",
            "deberta",
            query="attention.self.query_proj",
            key="attention.self.key_proj",
            value="attention.self.value_proj",
            head=("pooler", "dropout", "classifier"),
            output="classifier",
            logits=head_forward.deberta,
            fused=False,
            captures=False,
            masks_embeddings=True,
            inputs=layer_inputs.deberta,
            set_depth=depth.set_deberta_depth,
        ),
    )
}


def family_of(config: PretrainedConfig) -> Family:
    """The family of a config, by its `model_type`.

    Raises:
        ModelError: an unsupported family, a decoder, or a variant of a family that does not work (`family_rules`).
    """
    name = str(getattr(config, "model_type", "") or "")
    family = FAMILIES.get(name)
    if family is None:
        raise ModelError(
            f"models of the family {plain(name or 'unknown')} are not supported; supported are {', '.join(FAMILIES)}",
            kind="unsupported-family",
        )
    if getattr(config, "is_decoder", False):
        raise ModelError(
            f"this {name} model is a decoder (is_decoder in its config.json); use an encoder", kind="decoder-model"
        )
    reason = unusable(name, lambda key: getattr(config, key, None))
    if reason is not None:
        raise ModelError(reason, kind="unsupported-variant")
    return family


def positions(config: PretrainedConfig) -> int:
    """The largest number of tokens that a model can read, special tokens included."""
    family = family_of(config)
    unused = int(config.pad_token_id) + 1 if family.positions_offset else 0
    return int(config.max_position_embeddings) - unused


def embedding_width(config: PretrainedConfig) -> int:
    """The width of the embedding output: the encoder's, unless a projection follows."""
    own = getattr(config, "embedding_size", None) if family_of(config).project else None
    return int(own or config.hidden_size)


def layers_of(model: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder layers of a sequence-classification model, in order; a shared one appears as often as it runs."""
    family = family_of(model.config)
    return family.layers_in_order(model, family.layers)


def output_of(model: PreTrainedModel) -> nn.Linear:
    """The linear layer of a sequence-classification model whose rows are the classes."""
    output: nn.Linear = model.get_submodule(family_of(model.config).output)
    return output
