"""Changed copies of texts by rules: words are deleted or exchanged (EDA), or punctuation is put between them (AEDA).

Words are what white space separates. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

MARKS = (".", ";", "?", ":", "!", ",")
"""The punctuation that AEDA inserts (Karimi et al. 2021)."""

# Thai, Lao, Burmese, Khmer, kana, and Chinese characters: scripts without spaces between words
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

Edit = Callable[[list[str], float, np.random.Generator], list[str]]


def delete(words: list[str], share: float, draw: np.random.Generator) -> list[str]:
    """Leave out each word with probability `share`; one of them stays (EDA, Wei & Zou 2019)."""
    kept = [word for word, drawn in zip(words, draw.random(len(words)).tolist(), strict=True) if drawn >= share]
    return kept or [words[int(draw.integers(len(words)))]]


def swap(words: list[str], share: float, draw: np.random.Generator) -> list[str]:
    """Exchange two random words, as many times as `share` of the words are, at least once (EDA)."""
    changed = list(words)
    for _ in range(max(1, round(share * len(words))) if len(words) > 1 else 0):
        one, other = draw.choice(len(words), 2, replace=False).tolist()
        changed[one], changed[other] = changed[other], changed[one]
    return changed


def punctuation(words: list[str], share: float, draw: np.random.Generator) -> list[str]:
    """Put 1 to ⌊share · words + 1⌋ random marks in front of random words (AEDA)."""
    most = min(len(words), int(share * len(words) + 1))
    places = set(draw.choice(len(words), int(draw.integers(1, most + 1)), replace=False).tolist())
    changed: list[str] = []
    for place, word in enumerate(words):
        changed += [MARKS[int(draw.integers(len(MARKS)))], word] if place in places else [word]
    return changed


EDITS: Mapping[str, Edit] = {"delete": delete, "swap": swap, "punctuation": punctuation}
SHARES: Mapping[str, float] = {"mlm": 0.4, "delete": 0.1, "swap": 0.1, "punctuation": 0.3}
"""The share of words that is changed where a preset names none: those of TinyBERT, EDA and AEDA."""


def edited(text: str, kind: str, share: float, draw: np.random.Generator) -> str:
    """A copy of a text, its words separated by single spaces; a text without words stays as it is."""
    words = text.split()
    return " ".join(EDITS[kind](words, share, draw)) if words else text


def mostly_without_spaces(texts: Iterable[str]) -> bool:
    """Whether more than half of some texts are in a script that separates no words: half of their letters, or more."""
    total = spaceless = 0
    for text in texts:
        total += 1
        spaceless += 2 * len(_SPACELESS.findall(text)) >= max(1, sum(map(str.isalpha, text)))
    return 2 * spaceless > total
