"""Copies by rules: what is deleted, exchanged and inserted, and which scripts have no words to change."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.word_edits import EDITS, MARKS, edited, mostly_without_spaces

WORDS = [f"w{number}" for number in range(40)]
TEXT = "  " + "  ".join(WORDS) + "\t"


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_deleting_leaves_each_word_out_with_its_probability() -> None:
    copies = [edited(TEXT, "delete", 0.25, draw(seed)).split() for seed in range(200)]
    assert all(copy == [word for word in WORDS if word in copy] for copy in copies), "in their order"
    assert 0.73 < np.mean([len(copy) for copy in copies]) / len(WORDS) < 0.77
    assert edited("one two", "delete", 1.0, draw(0)) in ("one", "two"), "one word stays"


def test_swapping_exchanges_words_as_often_as_its_share() -> None:
    once = edited(TEXT, "swap", 0.001, draw(1)).split()
    assert sorted(once) == sorted(WORDS)
    assert sum(one != other for one, other in zip(once, WORDS, strict=True)) == 2
    often = edited(TEXT, "swap", 0.25, draw(1)).split()
    assert 2 < sum(one != other for one, other in zip(often, WORDS, strict=True)) <= 20
    assert edited("alone", "swap", 0.5, draw(0)) == "alone"


def test_punctuation_keeps_every_word_and_inserts_from_one_mark_to_its_share() -> None:
    counts = set()
    for seed in range(300):
        copy = edited(TEXT, "punctuation", 0.1, draw(seed)).split()
        assert [word for word in copy if word not in MARKS] == WORDS
        counts.add(len(copy) - len(WORDS))
    assert counts == {1, 2, 3, 4, 5}
    assert edited("alone", "punctuation", 1.0, draw(0)).split()[-1] == "alone"


@pytest.mark.parametrize("kind", EDITS)
def test_copies_follow_from_the_draw_and_empty_texts_stay(kind: str) -> None:
    assert edited(TEXT, kind, 0.3, draw(5)) == edited(TEXT, kind, 0.3, draw(5))
    assert edited(TEXT, kind, 0.3, draw(5)) != edited(TEXT, kind, 0.3, draw(6))
    assert edited(" ", kind, 0.3, draw(5)) == " "


def test_scripts_without_spaces() -> None:
    assert mostly_without_spaces(["我喜欢这部电影", "ประเทศไทย", "この映画が好き", "English words"])
    assert not mostly_without_spaces(["I like 北京 very much", "Привет мир", "이 영화를 좋아해요", "12 34", ""])
    assert not mostly_without_spaces([])
