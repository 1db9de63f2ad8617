"""The word-level tokenizer of models trained from scratch."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from engine.data.word_tokenizer import SPECIAL_TOKENS, word_tokenizer

TEXTS = ["The cat sat.", "A dog, the cat.", "the END"]


def test_frequent_words_come_first_and_ties_by_alphabet() -> None:
    vocabulary = word_tokenizer(TEXTS).get_vocab()
    assert sorted(vocabulary, key=vocabulary.__getitem__) == [
        *SPECIAL_TOKENS, "the", ".", "cat", ",", "a", "dog", "end", "sat"
    ]  # fmt: skip


def test_order_of_texts_does_not_matter() -> None:
    assert word_tokenizer(TEXTS).get_vocab() == word_tokenizer(iter(TEXTS[::-1])).get_vocab()


def test_single_sentence_in_the_form_of_bert() -> None:
    tokenizer = word_tokenizer(TEXTS)
    out = tokenizer("The UNSEEN cat")
    assert tokenizer.convert_ids_to_tokens(out["input_ids"]) == ["[CLS]", "the", "[UNK]", "cat", "[SEP]"]
    assert out["token_type_ids"] == [0, 0, 0, 0, 0]


def test_pair_has_token_types_and_padding_is_masked() -> None:
    tokenizer = word_tokenizer(TEXTS)
    out = tokenizer(["the cat", "a"], ["sat.", "dog"], padding=True)
    assert tokenizer.convert_ids_to_tokens(out["input_ids"][0]) == ["[CLS]", "the", "cat", "[SEP]", "sat", ".", "[SEP]"]
    assert out["token_type_ids"] == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]]
    assert out["attention_mask"][1] == [1, 1, 1, 1, 1, 0, 0]
    assert out["input_ids"][1][5:] == [0, 0]
    assert tokenizer.pad_token_id == 0


def test_largest_size_keeps_the_most_frequent_words() -> None:
    tokenizer = word_tokenizer(TEXTS, max_size=7)
    assert set(tokenizer.get_vocab()) == {*SPECIAL_TOKENS, "the", "."}


def test_size_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for"):
        word_tokenizer(TEXTS, max_size=4)


def test_saved_tokenizer_reads_back_the_same(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("The cat", "sat.").data == tokenizer("The cat", "sat.").data
    assert (again.pad_token, again.mask_token) == ("[PAD]", "[MASK]")
