from __future__ import annotations

import pytest
from rich.cells import cell_len

from crild_tui.text import bar, fit, fit_name, shorten
from engine.preset.text import listed, one_line, plain, printable


def test_text_from_outside_is_shown_not_obeyed() -> None:
    hostile = "é 日本 a\x1b[31m\n\r\t\x07\u202e\x9b\ud800"
    assert plain(hostile) == "é 日本 a\\x1b[31m\\n\\r\\t\\x07\\u202e\\x9b\\ud800"
    assert printable(hostile) == "é 日本 a\\x1b[31m\n\\r\\t\\x07\\u202e\\x9b\\ud800"
    assert one_line(hostile) == "é 日本 a\\x1b[31m \\r \\x07\\u202e\\x9b\\ud800"


def test_a_long_list_names_the_first_and_counts_the_rest() -> None:
    assert listed(["a", "b", "c"], "and", 3) == "a, b and c"
    assert listed(["a", "b", "c", "d", "e"], "and", 3) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("words", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本", 3, "日…"), ("日本", 2, "…"), ("a", 0, "")],
)
def test_a_text_that_is_too_long_ends_in_an_ellipsis(words: str, width: int, shown: str) -> None:
    assert shorten(words, width) == shown
    assert cell_len(fit(words, width)) == width


def test_a_text_is_filled_up_on_either_side() -> None:
    assert (fit("ab", 4), fit("ab", 4, right=True)) == ("ab  ", "  ab")


@pytest.mark.parametrize(
    "text", ["toy-entailment-quickstart-20261122-153012-s1", "日本語の名前の長い長い長い長い実行-s1", "x" * 50]
)
@pytest.mark.parametrize("width", [8, 13, 20, 30])
def test_a_long_name_keeps_both_its_ends(text: str, width: int) -> None:
    cut = fit_name(text, width)
    assert cell_len(cut) == width
    assert cut[0] == text[0]
    assert cut.rstrip().endswith(text[-2:])
    assert fit_name("short", width) == fit("short", width)


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("share", [-1.0, 0.0, 0.001, 0.5, 0.999, 1.0, 2.0])
def test_a_bar_has_its_width_and_is_full_only_when_all_is_done(share: float, width: int, ascii_only: bool) -> None:
    full, rest = bar(share, width, ascii_only=ascii_only)
    assert len(full + rest) == width
    assert (full + rest).isascii() == (ascii_only or not width)
    if width > 1:
        assert (not rest) == (share >= 1)
        assert (not full) == (share <= 0)
