"""The help screen (`?`): all keys of a screen, taken from its bindings."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

TITLES = {"app": "Everywhere", "mode": "Modes"}
PALETTE = "command_palette"
"""The one action of Textual's own that is listed, since the palette offers crild's actions."""
HINT = "keys can be changed in ~/.config/crild/dashboard.toml by these ids (README)"
WIDEST, FRAME = 90, 6
"""Columns of the box, and those of its border, padding and scrollbar."""
LEAST = 12
"""Cells of a description below which there is no room for the ids."""

Groups = dict[str, dict[str, tuple[list[str], str]]]


class HelpScreen(ModalScreen[None]):
    """A list of keys; any of `?`, Escape and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close")]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._below = below

    def compose(self) -> ComposeResult:
        """The list, in a box that scrolls."""
        with VerticalScroll(id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "Escape closes"
            yield Static(id="keys")

    def on_resize(self) -> None:
        """Fit descriptions next to the ids."""
        self.query_one("#keys", Static).update(listed(self._groups(), min(self.size.width, WIDEST) - FRAME))

    def _groups(self) -> Groups:
        """The bindings with an id, grouped by the part before its dot; those without are Textual's own."""
        groups: Groups = {}
        for active in self._below.active_bindings.values():
            binding = active.binding
            identity = binding.id or ""
            palette = binding.action.rpartition(".")[2] == PALETTE
            if not (identity or palette) or not binding.description or (binding.system and not palette):
                continue
            name = "app" if palette else identity.partition(".")[0]
            group = groups.setdefault(TITLES.get(name, name.title()), {})
            keys, _ = group.setdefault(identity, ([], binding.tooltip or binding.description))
            keys.append(self.app.get_key_display(binding))
        return groups


def listed(groups: Groups, width: int) -> Text:
    """The groups as columns of keys, descriptions and ids; descriptions are cut to fit."""
    rows = [
        (" ".join(dict.fromkeys(keys)), words, own) for group in groups.values() for own, (keys, words) in group.items()
    ]
    first = max((cell_len(keys) for keys, _, _ in rows), default=0)
    longest = max((cell_len(words) for _, words, _ in rows), default=0)
    room = width - first - max((cell_len(own) for _, _, own in rows), default=0) - 6
    ids = room >= LEAST
    room = min(longest, room if ids else max(width - first - 4, LEAST))
    text = Text()
    if ids:
        text.append(f"{HINT}\n\n", "dim")
    for name in sorted(groups, key=lambda title: (title in TITLES.values(), title)):
        text.append(f"{name}\n", "bold")
        for own, (keys, words) in groups[name].items():
            shown = Text(words)
            shown.truncate(room, overflow="ellipsis", pad=True)
            pressed = " ".join(dict.fromkeys(keys))
            text.append(f"  {pressed}{' ' * (first - cell_len(pressed))}  ").append_text(shown)
            text.append(f"  {own}\n" if ids else "\n", "dim")
        text.append("\n")
    text.rstrip()
    return text
