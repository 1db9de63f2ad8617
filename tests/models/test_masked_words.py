"""Words in place of others: which words, which candidates, how often, in whose case; and models that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForMaskedLM, BertModel, PreTrainedTokenizerFast

from engine.errors import ModelError
from engine.models.families import FAMILIES
from engine.models.masked_words import MaskedWords, load_masked_model
from tests.models.tiny_models import saved, tiny

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*(f"w{number}" for number in range(30)), "in", "the", "Ünlü", ".", "'", "-", "7", "##ing", "go"]
VOCABULARY = {word: at for at, word in enumerate(SPECIAL + WORDS)}


def pieces(family: str = "bert") -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer, the padding token where the family's config has it."""
    order = dict(VOCABULARY)
    if family in ("roberta", "xlm-roberta", "mpnet"):
        order |= {"[PAD]": 1, "[UNK]": 0}
    tokenizer = Tokenizer(models.WordPiece(order, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip


def masked(family: str = "bert") -> Any:
    config = tiny(family, layers=1, vocab_size=len(VOCABULARY)).config
    torch.manual_seed(3)
    return AutoModelForMaskedLM.from_config(AutoConfig.for_model(**config.to_dict())).eval()


def maker(model: Any = None, **keys: Any) -> MaskedWords:
    settings: dict[str, Any] = {"share": 0.5, "top": 4, "copies": 6, "seed": [1, 7, 0], **keys}
    return MaskedWords(model or masked(), pieces(), **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_word_is_replaced_by_the_likeliest_others_in_its_place(family: str) -> None:
    """Against the whole model on the masked sentence, computed plainly."""
    model, tokenizer = masked(family), pieces(family)
    text, top = "w1 w2 w3 . w4", 3
    copies = MaskedWords(model, tokenizer, share=0.3, top=top, copies=200, seed=[0]).copies([(text, None)], 0)
    found: dict[int, set[str]] = {}
    for _, (copy, _) in copies:
        for place, (word, own) in enumerate(zip(copy.split(), text.split(), strict=True)):
            if word != own:
                found.setdefault(place, set()).add(word)
    assert set(found) == {0, 1, 2, 4}, "punctuation stays"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    candidates = [token for token, word in enumerate(SPECIAL + WORDS) if word[0].isalpha()]
    for place, words in found.items():
        masked_ids = ids.clone()
        before = int(masked_ids[0, place + 1])
        masked_ids[0, place + 1] = tokenizer.mask_token_id
        with torch.inference_mode():
            logits = model(input_ids=masked_ids, attention_mask=torch.ones_like(ids)).logits[0, place + 1]
        best = sorted((token for token in candidates if token != before), key=lambda token: -float(logits[token]))[:top]
        assert words == {tokenizer.convert_ids_to_tokens(token) for token in best}


def test_only_whole_words_of_one_token_are_replaced_and_the_rest_of_the_text_stays() -> None:
    text = " W1  going w2 o'w3 w4-w5 7,\tTHE w6! (Ünlü)"
    model = masked()
    with torch.no_grad():
        copies = [copy for _, (copy, _) in maker(model, share=1.0, copies=3).copies([(text, None)], 0)]
    for copy in copies:
        start, rest = copy.split("  ", 1)
        assert start == " W1", "its token is unknown"
        assert rest.startswith("going ")
        assert " o'w3 w4-w5 7,\tTHE " in copy
        assert copy.endswith(")")
        assert "w6" not in copy
        assert "Ünlü" not in copy
        assert copy[copy.index("(") + 1].isupper(), "a capital stays one"


def test_a_share_of_the_words_with_equal_probability() -> None:
    text = " ".join(f"w{number}" for number in range(20))
    copies = [copy.split() for _, (copy, _) in maker(share=0.4, top=5, copies=400).copies([(text, None)], 0)]
    changed = np.array([[word != own for word, own in zip(copy, text.split(), strict=True)] for copy in copies])
    assert 0.38 < changed.mean() < 0.42
    words = [copy[0] for copy in copies if copy[0] != "w0"]
    counts = [words.count(word) for word in set(words)]
    assert len(counts) == 5
    assert max(counts) < 2 * min(counts)


def test_of_a_pair_one_side_changes() -> None:
    copies = [copy for _, copy in maker(copies=40).copies([("w1 w2 w3", "w4 w5 w6")], 0)]
    changed = {(text != "w1 w2 w3", pair != "w4 w5 w6") for text, pair in copies}
    assert changed == {(True, False), (False, True)}


def test_a_copy_depends_on_its_row_alone() -> None:
    rows: list[tuple[str, str | None]] = [(f"w{number} w{number + 1} in the w9", None) for number in range(12)]
    whole = list(maker().copies(rows, 0))
    assert list(maker().copies(rows[5:], 5)) == [copy for copy in whole if copy[0] >= 5]
    assert list(maker(seed=[2, 7, 0]).copies(rows, 0)) != whole


def test_models_that_cannot_are_refused_by_name(tmp_path: Path) -> None:
    tokenizer = pieces()
    good = saved(tmp_path / "good", masked(), tokenizer)
    model, _ = load_masked_model(str(good), None)
    assert not model.training
    bare = saved(tmp_path / "bare", BertModel(masked().config), tokenizer)
    classifier = saved(tmp_path / "classifier", tiny("bert", layers=1, vocab_size=len(VOCABULARY)), tokenizer)
    for folder in (bare, classifier):
        with pytest.raises(ModelError) as error:
            load_masked_model(str(folder), None)
        assert error.value.kind == "no-masked-words-head"
        assert str(folder) in error.value.sentence
    (good / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError) as error:
        load_masked_model(str(good), None)
    assert error.value.kind == "unsupported-family"
    assert "gpt2" in error.value.sentence
    tokenizer.mask_token = None
    plain = saved(tmp_path / "plain", masked(), tokenizer)
    with pytest.raises(ModelError) as error:
        load_masked_model(str(plain), None)
    assert error.value.kind == "no-masking-token"
