"""Usual names of the columns of tables: texts, pairs of texts, labels, ids."""

from __future__ import annotations

TEXTS = frozenset((
    "text", "sentence", "question", "content", "review", "comment", "message", "body", "utterance", "query", "tweet",
    "document", "description", "headline",
))  # fmt: skip
PAIRS = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("sentence_a", "sentence_b"), ("question1", "question2"),
    ("text1", "text2"), ("text_a", "text_b"), ("premise", "hypothesis"), ("question", "sentence"), ("question", "answer"),
    ("question", "context"), ("question", "passage"), ("query", "passage"), ("query", "document"),
    ("text", "text_pair"), ("text", "pair"),
)  # fmt: skip
PAIRED = frozenset(word for pair in PAIRS for word in pair)
WORDS = frozenset(("tokens", "words"))
"""Of lists of words, for token classification."""
LABELS = frozenset((
    "label", "labels", "class", "category", "target", "score", "y", "sentiment", "intent", "topic", "rating", "stars",
    "verdict", "emotion", "similarity",
))  # fmt: skip
IDS = frozenset(("", "id", "idx", "index", "guid", "uid", "unnamed:_0", "row"))


def normal(name: str) -> str:
    """A column's name as these tables write it."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
