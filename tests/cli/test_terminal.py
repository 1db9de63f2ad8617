from __future__ import annotations

import io
import json
import math
import sys

import pytest

from crild_tui.cli import terminal


def test_text_from_outside_is_shown_not_obeyed() -> None:
    assert terminal.safe_lines("a\tb\r\nc\rd\x1b\n") == "a\tb\nc\nd\\x1b\n"


def test_markup_in_a_table_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(terminal.table([("[red]head", "left")], [["[bold]cell[/bold] :smile:"]], title=None))
    out = capsys.readouterr().out
    assert "[red]head" in out
    assert "[bold]cell[/bold] :smile:" in out


def test_json_has_null_for_what_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_json({"a": math.nan, "b": [math.inf, 1.5], "c": "λ"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": "λ"}


def test_json_escapes_what_could_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x9b31m\u202e\u2066\u2028\x85\x7f\ud800 é 又\t"
    terminal.show_json({text: [text]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {text: [text]}
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert "é 又" in printed


def test_ascii_is_used_where_asked_for_or_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not terminal.ascii_only(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert terminal.ascii_only(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    monkeypatch.setenv("CRILD_ASCII", "1")
    assert terminal.ascii_only(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def test_tables_are_ascii_where_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CRILD_ASCII", "1")
    terminal.show(terminal.table([("one", "left"), ("two", "right")], [["a", "b"]]))
    out = capsys.readouterr().out
    assert out.isascii()
    assert "---" in out


@pytest.mark.parametrize(("term", "screen"), [("xterm", True), ("dumb", False), ("", False)])
def test_a_dumb_terminal_is_no_screen(monkeypatch: pytest.MonkeyPatch, term: str, screen: bool) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert terminal.is_screen(sys.stderr) is screen


def test_nothing_is_announced_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.announce("crild: finished", attention=True)
    assert capsys.readouterr().err == ""


def test_every_state_has_a_colour_or_none_but_never_a_colour_alone() -> None:
    from engine.record.states import STATES

    for state in STATES:
        assert all(terminal.colours_of(state)) == any(terminal.colours_of(state))
    assert terminal.colours_of("failed") != terminal.colours_of("finished")
