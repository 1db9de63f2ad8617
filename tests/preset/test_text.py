"""Words near to others, and hostile text made harmless."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.preset.text import listed, nearest, plain, plural, shown


@pytest.mark.parametrize(
    ("word", "expected"),
    [("epoch", "epochs"), ("EPOCHS", "epochs"), ("learning_rte", "learning_rate"), ("learn", "learning_rate")],
)
def test_nearest_finds_what_was_meant(word: str, expected: str) -> None:
    assert nearest(word, ["epochs", "learning_rate", "warmup"]) == expected


def test_nearest_is_silent_when_nothing_comes_close() -> None:
    assert nearest("zebra", ["epochs", "warmup"]) is None
    assert nearest("", ["epochs"]) is None
    assert nearest("x" * 100_000, ["epochs"]) is None  # at once, not after minutes


def test_one_thing_is_no_several() -> None:
    assert [plural(count, "row") for count in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [plural(count, "query", "queries") for count in (1, 2)] == ["1 query", "2 queries"]


@given(st.text())
def test_plain_text_steers_no_terminal(text: str) -> None:
    assert plain(text).isprintable()
    assert (plain(text) == text) == text.isprintable()


def test_plain_shows_what_it_escapes_and_leaves_the_rest() -> None:
    assert plain("a\x1b[31m\n\u202eb\ud800") == "a\\x1b[31m\\n\\u202eb\\ud800"
    assert plain("Grüße, 日本 [bold] ½") == "Grüße, 日本 [bold] ½"


def test_values_are_shown_as_toml_writes_them() -> None:
    values = [True, 3, 2e-5, 'a"\n', [1, "x"], {"a": 1}, {}, datetime.date(2020, 1, 2), float("inf")]
    assert [shown(value) for value in values] == [
        "true", "3", "2e-05", '"a"\\n"', '[1, "x"]', "a table", "an empty table", "the date or time 2020-01-02", "inf",
    ]  # fmt: skip
    assert len(shown("x" * 1000)) == 62


def test_listed() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed("abc", "and")] == ["", "a", "a or b", "a, b and c"]
