"""What the checks before training need to know of a tokenizer."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TokenizerFacts:
    """A tokenizer's special tokens, vocabulary, and whether it changes case.

    Ids are None where the tokenizer has no such token. `special` counts the special tokens that it adds to a single
    text and to a pair.
    """

    source: str
    """The folder or hub id that it comes from; "" for one that was built here."""
    unknown: int | None
    cls: int | None
    sep: int | None
    pad: int
    special: tuple[int, int]
    lowers: bool
    """Whether it makes capitals small."""
    vocabulary: Mapping[str, int]
    special_tokens: frozenset[str]

    def has_capitals(self) -> bool:
        """Whether more than a few words of the vocabulary have capitals, special tokens apart."""
        words = [word for word in self.vocabulary if word not in self.special_tokens]
        return sum(word != word.lower() for word in words) > len(words) / 50

    def letters(self) -> frozenset[str]:
        """Every letter in the vocabulary, small."""
        return frozenset("".join(word for word in self.vocabulary if word not in self.special_tokens).lower())

    def word(self, number: int) -> str:
        """The token with an id; "" if the vocabulary lacks it."""
        return next((word for word, index in self.vocabulary.items() if index == number), "")


def tokenizer_facts(tokenizer: Any) -> TokenizerFacts:
    """The facts of a Hugging Face tokenizer."""
    return TokenizerFacts(
        source=str(tokenizer.name_or_path or ""),
        unknown=tokenizer.unk_token_id,
        cls=tokenizer.cls_token_id,
        sep=tokenizer.sep_token_id,
        pad=int(tokenizer.pad_token_id or 0),
        special=(
            int(tokenizer.num_special_tokens_to_add(pair=False)),
            int(tokenizer.num_special_tokens_to_add(pair=True)),
        ),
        lowers=_lowers(tokenizer),
        vocabulary=tokenizer.get_vocab(),
        special_tokens=frozenset(map(str, tokenizer.all_special_tokens)),
    )


def _lowers(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return bool(getattr(tokenizer, "do_lower_case", False))
    return backend.normalizer is not None and backend.normalizer.normalize_str("A") == "a"


def script_of(letter: str) -> str:
    """The script of a letter, by the first word of its Unicode name: "Latin", "Cyrillic", "CJK"."""
    name = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    return name if name == "CJK" else name.title()
