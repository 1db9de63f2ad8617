"""Ask for the user's attention through the terminal: its bell, or a notification of the desktop that the terminal shows."""

from __future__ import annotations

import os

from engine.preset.text import one_line, plain

NOTIFICATIONS = {"osc9": "\x1b]9;{text}\a", "osc777": "\x1b]777;notify;crild;{text}\a"}
"""Control sequences of a notification: iTerm2, kitty, WezTerm, Windows Terminal and Ghostty; urxvt, foot and VTE."""


def sequence(sentence: str) -> str:
    """The control sequence that `notify.terminal` of the user's settings chooses; the bell if these cannot be read."""
    from engine.errors import CrildError
    from engine.user.settings import Notify, read_settings

    try:
        kind = read_settings(Notify).terminal
    except (CrildError, OSError):
        kind = "bell"
    return "" if kind == "off" else "\a" if kind == "bell" else _notification(kind, sentence)


def _notification(kind: str, sentence: str) -> str:
    text = NOTIFICATIONS[kind].format(text=plain(one_line(sentence)).replace(";", ","))
    if not os.environ.get("TMUX"):
        return text
    doubled = text.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"  # tmux passes it on with `set -g allow-passthrough on`
