"""A word-level tokenizer for models trained from scratch on their own task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first entries of every vocabulary, in this order: padding is 0."""


def word_tokenizer(texts: Iterable[str], max_size: int = 30_000) -> PreTrainedTokenizerFast:
    """A fast tokenizer whose tokens are the words and punctuation marks of the texts, lower-cased.

    The vocabulary has at most `max_size` entries, special tokens included: the most frequent words, ties in code point
    order, so the order of the texts doesn't matter. Inputs have BERT's form, `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` with token types 0 and 1; unknown words
    become `[UNK]`. Raises ValueError when `max_size` leaves no room for the special tokens.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    if max_size < len(SPECIAL_TOKENS):
        raise ValueError(f"a vocabulary of {max_size} has no room for {', '.join(SPECIAL_TOKENS)}")
    normalizer, splitter = Lowercase(), Whitespace()
    counts = Counter(
        word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )  # fmt: skip
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: max_size - len(SPECIAL_TOKENS)]
    vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *frequent))}

    backend = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizer
    backend.pre_tokenizer = splitter
    backend.post_processor = TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, vocabulary[CLS]), (SEP, vocabulary[SEP])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
