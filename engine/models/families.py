"""The supported families of models: where each one's parts are, and the functions for what it does differently.

Adding a family is one entry in `FAMILIES`, its objectives in `engine.models.family_rules`, and a tiny config for the tests
of this package, which run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from engine.distill.activations import Projection
from engine.errors import ModelError
from engine.models import depth, head_forward, layer_inputs
from engine.models.family_rules import unusable
from engine.models.model_files import BY_WORD
from engine.preset.text import plain


@dataclass(frozen=True)
class Family:
    """Where the parts of a `…ForSequenceClassification` model are; the defaults are those of RoBERTa, which has BERT's names.

    `encoder` is the bare encoder's path from the model; `embeddings` and `layers` are paths within it, `query`, `key`,
    `value` and `norm_before` are paths from a layer, and all others are paths from the model. `head` lists the modules
    between the last layer and the logits, in the order in which they run; `output` is the linear layer whose rows are
    the classes. `pooler` names the part of the head that comes from pre-training. `intermediate` is the config's name
    for the feed-forward width (the other sizes have the same names in every config).
    """

    name: str
    encoder: str
    takes_types: bool = False
    stack: str = "encoder.layer"
    """The layers, from `encoder`."""
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    head: tuple[str, ...] = ("classifier",)
    output: str = "classifier"
    logits: Callable[[PreTrainedModel, Tensor, Tensor], Tensor] | None = None
    """Logits of the last hidden states (batch, length, width) and the mask (batch, length), where `head` does more than
    call its modules one after the other."""
    word_head: tuple[str, ...] = ("dropout", "classifier")
    """As `head`, of the `…ForTokenClassification` model, which labels every token."""
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
    """The normalisation in front of a layer's projections, where there is one."""
    final: str | None = None
    """The normalisation behind the last layer: part of that layer's hidden state, as in transformers."""
    inputs: Callable[[PreTrainedModel, Tensor, Tensor], layer_inputs.LayerInputs] = layer_inputs.mask_alone
    """The arguments of its layers besides the hidden states."""
    split: Callable[[PretrainedConfig, Projection, Tensor, tuple[Any, ...]], Tensor] | None = None
    """Queries, keys or values from the projection's output, where that holds all three."""
    repeat_layers: Callable[[PretrainedConfig, nn.Module], Sequence[nn.Module]] | None = None
    """The layers in the order in which they run, from the module that holds them, where layers run more than once."""
    select_layers: Callable[[PretrainedConfig, Sequence[int]], Sequence[int]] | None = None
    """Fits a config to selected layers (from 0), where more changes than their number, which is not set yet; returns
    the stored layer that each stored layer of the copy is."""
    fit_depth: Callable[[PretrainedConfig], None] | None = None
    """Fits a config to fresh layers, where more changes than their number and sizes, which are set already."""
    windows: Callable[[PretrainedConfig], tuple[int | None, ...]] = lambda config: ()  # noqa: ARG005
    """How far each layer looks to either side, in tokens; None where it looks everywhere, empty where all do."""

    @property
    def embeddings(self) -> str:
        """The path of the embeddings."""
        return f"{self.encoder}.embeddings"

    @property
    def layers(self) -> str:
        """The path of the layers."""
        return f"{self.encoder}.{self.stack}"


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("bert", "bert", takes_types=True, head=("bert.pooler", "dropout", "classifier"), pooler="bert.pooler"),
        Family("roberta", "roberta", output="classifier.out_proj", positions_offset=True),
        Family("xlm-roberta", "roberta", output="classifier.out_proj", positions_offset=True),
        Family(
            "electra", "electra", takes_types=True, output="classifier.out_proj", project="electra.embeddings_project"
        ),
        Family(
            "distilbert",
            "distilbert",
            stack="transformer.layer",
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            head=("pre_classifier", "dropout", "classifier"),
            logits=head_forward.distilbert,
            intermediate="hidden_dim",
        ),
        Family(
            "albert",
            "albert",
            takes_types=True,
            project="albert.encoder.embedding_hidden_mapping_in",
            stack="encoder.albert_layer_groups",
            query="attention.query",
            key="attention.key",
            value="attention.value",
            head=("albert.pooler", "dropout", "classifier"),
            logits=head_forward.albert,
            pooler="albert.pooler",
            repeat_layers=depth.albert_layers,
            select_layers=depth.select_albert_layers,
            fit_depth=depth.fit_albert_depth,
        ),
        Family(
            "modernbert",
            "model",
            stack="layers",
            query="attn.Wqkv",
            key="attn.Wqkv",
            value="attn.Wqkv",
            head=("head", "drop", "classifier"),
            logits=head_forward.modernbert,
            word_head=("head", "drop", "classifier"),
            norm_before="attn_norm",
            final="model.final_norm",
            inputs=layer_inputs.modernbert,
            split=layer_inputs.split_and_rotate,
            select_layers=depth.select_modernbert_layers,
            fit_depth=depth.fit_modernbert_depth,
            windows=depth.modernbert_windows,
        ),
        Family(
            "mpnet",
            "mpnet",
            query="attention.attn.q",
            key="attention.attn.k",
            value="attention.attn.v",
            output="classifier.out_proj",
            positions_offset=True,
            fused=False,
            captures=False,
            inputs=layer_inputs.mpnet,
        ),
        Family(
            "deberta-v2",
            "deberta",
            takes_types=True,
            query="attention.self.query_proj",
            key="attention.self.key_proj",
            value="attention.self.value_proj",
            head=("pooler", "dropout", "classifier"),
            fused=False,
            captures=False,
            masks_embeddings=True,
            inputs=layer_inputs.deberta,
            fit_depth=depth.fit_deberta_depth,
        ),
    )
}


_LABEL_WORDS: dict[str, Family] = {
    name: replace(family, head=family.word_head, output="classifier", logits=None, pooler=None)
    for name, family in FAMILIES.items()
}


def labels_words(config: PretrainedConfig) -> bool:
    """Whether a config is that of a model which labels every token: its `architectures` say so."""
    names = getattr(config, "architectures", None)
    return isinstance(names, list) and any(str(name).endswith(BY_WORD) for name in names)


def family_of(config: PretrainedConfig) -> Family:
    """The family of a config, by its `model_type`, with the head of a model that labels texts or (`labels_words`) words.

    Raises:
        ModelError: an unsupported family, a decoder, or a variant of a family that does not work (`family_rules`).
    """
    name = str(getattr(config, "model_type", "") or "")
    if name not in FAMILIES:
        raise ModelError(
            f"models of the family {plain(name or 'unknown')} are not supported; supported are {', '.join(FAMILIES)}",
            kind="unsupported-family",
        )
    if getattr(config, "is_decoder", False):
        sentence = f"this {name} model is a decoder (is_decoder in its config.json); use an encoder"
        raise ModelError(sentence, kind="decoder-model")
    reason = unusable(name, lambda key: getattr(config, key, None))
    if reason is not None:
        raise ModelError(reason, kind="unsupported-variant")
    return (_LABEL_WORDS if labels_words(config) else FAMILIES)[name]


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
    stored: nn.ModuleList = model.get_submodule(family.layers)
    return list(stored) if family.repeat_layers is None else family.repeat_layers(model.config, stored)


def output_of(model: PreTrainedModel) -> nn.Linear:
    """The linear layer of a sequence-classification model whose rows are the classes."""
    output: nn.Linear = model.get_submodule(family_of(model.config).output)
    return output
