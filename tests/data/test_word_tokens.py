"""Which token is the first of a word, and what is lost of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from engine.data.batches import collate
from engine.data.tokens import NO_LABEL, tokenise, tokenise_texts, word_starts
from engine.data.types import Example, WordLabels
from engine.errors import DataError, ModelError
from tests.errors import raises

PIECES = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "un": 4, "##real": 5, ".": 6, "it": 7, "is": 8, "##s": 9}


def word_pieces(*, side: str = "right") -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(PIECES, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", truncation_side=side, model_input_names=names
    )


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's: a piece begins with the space before it."""
    alphabet = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words = {**alphabet, "Ġi": 256, "Ġit": 257}
    backend = Tokenizer(models.BPE(words, [("Ġ", "i"), ("Ġi", "t")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="!")


def rows(*texts: tuple[str, tuple[int, ...]]) -> list[Example]:
    return [Example(f"x-{at}", text, None, WordLabels(labels)) for at, (text, labels) in enumerate(texts)]


def test_the_first_piece_has_the_label_and_no_other_token() -> None:
    tokens = tokenise(rows(("it unreal. is", (1, 2, 3)), ("its", (0,))), word_pieces(), 20, by_word=True)
    assert tokens.input_ids.tolist() == [2, 7, 4, 5, 6, 8, 3, 2, 7, 9, 3]
    assert tokens.words is not None
    assert tokens.words.tolist() == [-1, 0, 1, -1, -1, 2, -1, -1, 0, -1, -1]
    assert tokens.labels is not None
    assert tokens.labels.tolist() == [1, 2, 3, 0]
    assert tokens.answer_offsets.tolist() == [0, 3, 4]
    assert tokens.answers_of(np.array([1, 0])).tolist() == [3, 0, 1, 2]
    assert tokens.answer_count() == 4
    assert tokens.answer_count(np.array([1])) == 1
    batch = collate(tokens, np.array([1, 0]), pad_id=0)
    assert batch.labels is not None
    assert batch.answers is not None
    none = NO_LABEL
    assert batch.labels.tolist() == [[none, 0, none, none, none, none, none], [none, 1, 2, none, none, 3, none]]
    assert batch.answers.tolist() == (batch.labels >= 0).tolist()
    assert batch.take(batch.index.flip(0).argsort(), 4).labels.shape == (2, 4)  # type: ignore[union-attr]


def test_a_space_before_a_piece_belongs_to_no_word() -> None:
    tokens = tokenise_texts(["it it i"], None, byte_level(), 20, source="x", by_word=True)
    assert tokens.words is not None
    assert tokens.words.tolist() == [0, -1, 1, 2]
    assert word_starts("a b", [(0, 3)]) == [0]  # one token of two words is the first one's
    assert word_starts("a  b", [(0, 1), (1, 2), (2, 4)]) == [0, -1, 2]


def test_words_without_tokens_and_words_cut_off_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path))
    examples = rows(("it \u00ad is is is", (1, 2, 3, 4, 5)))
    backend = word_pieces()
    backend.backend_tokenizer.normalizer = __import__("tokenizers").normalizers.BertNormalizer(lowercase=False)
    for _ in range(2):  # computed, then read from the cache
        tokens = tokenise(examples, backend, 4, by_word=True)
        assert tokens.labels is not None
        assert (tokens.labels.tolist(), tokens.lost, tokens.cut) == ([1, 3], (2, 1), 1)
    left = word_pieces(side="left")
    assert tokenise(rows(("it it is is", (1, 2, 3, 4))), left, 4, by_word=True).lost == (2, 0)
    bare = [row.unlabelled() for row in examples]
    assert tokenise(bare, backend, 4).words is None  # another entry of the cache


def test_pairs_are_refused() -> None:
    """A stage's corpus, or another task, may have some."""
    with raises("pairs-of-word-labels", "the inputs", error=DataError):
        tokenise([Example("x", "it", "is", None)], word_pieces(), 8, by_word=True, what="inputs")


def test_a_tokenizer_that_does_not_say_where_its_tokens_are_is_refused() -> None:
    class Slow:
        name_or_path = "slow"
        truncation_side = "right"
        model_input_names: tuple[str, ...] = ("input_ids",)
        init_kwargs: dict[str, Any] = {}  # noqa: RUF012

        def num_special_tokens_to_add(self, *, pair: bool) -> int:
            return 2 * pair

        def get_vocab(self) -> dict[str, int]:
            return {}

    with raises("tokenizer-without-offsets", "slow", "tokenizer.json", error=ModelError):
        tokenise(rows(("a", (0,))), Slow(), 8, by_word=True)
