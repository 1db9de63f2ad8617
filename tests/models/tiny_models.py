"""Small random models of every family, their tokenizers and batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from engine.data.batches import Batch
from engine.data.types import TaskSpec
from engine.models.families import FAMILIES

torch.set_num_threads(1)

EVERY = tuple(FAMILIES)
VOCABULARY = 100
ENTAILMENT = TaskSpec("rte", "classification", ("entailment", "not_entailment"), ("accuracy",), is_pair=True)
INFERENCE = TaskSpec("mnli", "classification", ("entailment", "neutral", "contradiction"), ("accuracy",), is_pair=True)
SIMILARITY = TaskSpec("stsb", "regression", (), ("pearson",), is_pair=True, label_range=(0.0, 5.0))

_OWN: dict[str, dict[str, Any]] = {
    "roberta": {"pad_token_id": 1, "type_vocab_size": 1, "bos_token_id": 2, "eos_token_id": 3},
    "xlm-roberta": {"pad_token_id": 1, "type_vocab_size": 1, "bos_token_id": 2, "eos_token_id": 3},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
    # A window of 3 tokens to either side, so that short sentences are longer than it; layer 1 of 3 is global.
    "modernbert": {
        "pad_token_id": 0,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "local_attention": 6,
        "attention_bias": True,
        "mlp_bias": True,
        "attention_dropout": 0.1,
        "embedding_dropout": 0.1,
        "mlp_dropout": 0.1,
    },
    "mpnet": {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3},
    "deberta-v2": {
        "type_vocab_size": 2,
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
}


def tiny(
    family: str, *, layers: int = 3, hidden: int = 32, labels: int = 2, seed: int = 0, **own: Any
) -> PreTrainedModel:
    """A random model, its weights large enough that mistakes show, in evaluation mode."""
    feed_forward = {"hidden_dim": 48} if family == "distilbert" else {"intermediate_size": 48}
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 140,
        "initializer_range": 0.2,
        "num_labels": labels,
        **feed_forward,
        **_OWN.get(family, {}),
    }
    settings |= own
    config = AutoConfig.for_model(family, **settings)
    torch.manual_seed(seed)
    kernel = "sdpa" if FAMILIES[family].fused else "eager"
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, attn_implementation=kernel)
    for name, tensor in model.named_parameters():
        if name.endswith("bias"):  # drawn as zeros, which would hide a bias that is left out
            tensor.data.normal_(0.0, 0.2)
    return model.eval()


def words(family: str = "bert", size: int = VOCABULARY, prefix: str = "w") -> PreTrainedTokenizerFast:
    """A tokenizer of single words, the padding token where the family's config has it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if _OWN.get(family, {}).get("pad_token_id") == 1:
        special[:2] = ["[UNK]", "[PAD]"]
    vocabulary = {word: at for at, word in enumerate(special + [f"{prefix}{at}" for at in range(size - 4)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def saved(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    """The model as a folder, with a tokenizer beside it."""
    model.save_pretrained(folder)
    (tokenizer or words(model.config.model_type)).save_pretrained(folder)
    return folder


def batch_of(
    model: PreTrainedModel, lengths: Sequence[int], *, pad_to: int | None = None, pairs: bool = True, seed: int = 0
) -> Batch:
    """Random sentences of these lengths, the same whatever the padding; the second half of each has type 1."""
    generator = torch.Generator().manual_seed(seed)
    width = pad_to or max(lengths)
    ids = torch.full((len(lengths), width), int(model.config.pad_token_id))
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(4, VOCABULARY, (length,), generator=generator)
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    return Batch(ids, mask, types if pairs else None, None, torch.arange(len(lengths)))


def own_forward(model: PreTrainedModel, batch: Batch, **extra: Any) -> Any:
    """What the model's own forward gives."""
    types = {"token_type_ids": batch.token_type_ids} if FAMILIES[model.config.model_type].takes_types else {}
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **types, **extra)
