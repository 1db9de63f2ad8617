"""What a terminal gets at a run's end, as the user's settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from crild_tui.runs.attention import sequence


def choose(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text(f"[notify]\nterminal = {kind}\n")
    monkeypatch.setenv("CRILD_CONFIG", str(tmp_path / "settings.toml"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ('"bell"', "\a"),
        ('"off"', ""),
        ('"osc9"', "\x1b]9;crild: mine-s1 finished, all\\x07 of it\a"),
        ('"osc777"', "\x1b]777;notify;crild;crild: mine-s1 finished, all\\x07 of it\a"),
        ("5", "\a"),  # settings that cannot be read are reported elsewhere
    ],
)
def test_each_kind(kind: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    choose(kind, tmp_path, monkeypatch)
    assert sequence("crild: mine-s1 finished; all\a of it") == expected


def test_tmux_passes_a_notification_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    choose('"osc9"', tmp_path, monkeypatch)
    assert sequence("done") == "\x1bPtmux;\x1b\x1b]9;done\a\x1b\\"
