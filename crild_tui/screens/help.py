"""The help screen (`?`): all keys of a screen, taken from its bindings."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from crild_tui.text import fit
from crild_tui.widgets.dialog import Dialog

TITLES = {"app": "Everywhere", "mode": "Modes"}
PALETTE = "command_palette"
"""The one action of Textual's own that is listed, since the palette offers crild's actions."""
HINT = "keys can be changed in [dashboard.keys] of settings.toml by these ids (docs/dashboard.md)"
WIDEST, FRAME = 90, 6
"""Columns of the box, and those of its border, padding and scrollbar."""
LEAST = 12
"""Cells of a description below which there is no room for the ids."""

Groups = dict[str, dict[str, tuple[list[str], str]]]


class HelpScreen(Dialog[None]):
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
            yield Static(self._listed(self.app.size.width), id="keys")

    def on_resize(self) -> None:
        """Fit descriptions next to the ids."""
        self.query_one("#keys", Static).update(self._listed(self.size.width))

    def _listed(self, width: int) -> Text:
        return listed(self._groups(), min(width, WIDEST) - FRAME)

    def _groups(self) -> Groups:
        """The bindings with an id, grouped by the part before its dot; those without are Textual's own."""
        groups: Groups = {}
        for active in self._below.active_bindings.values():
            binding = active.binding
            palette = binding.action.rpartition(".")[2] == PALETTE
            if not (binding.id or palette) or not binding.description or (binding.system and not palette):
                continue
            name = "app" if palette else (binding.id or "").partition(".")[0]
            group = groups.setdefault(TITLES.get(name, name.title()), {})
            keys, _ = group.setdefault(binding.id or "", ([], binding.tooltip or binding.description))
            keys.append(self.app.get_key_display(binding))
        return groups


def listed(groups: Groups, width: int) -> Text:
    """The groups as columns of keys, descriptions and ids; descriptions are cut to fit."""
    rows = {
        name: [(" ".join(dict.fromkeys(keys)), words, binding) for binding, (keys, words) in group.items()]
        for name, group in groups.items()
    }
    key_width, longest, id_width = (
        max((cell_len(row[column]) for group in rows.values() for row in group), default=0) for column in range(3)
    )
    room = width - key_width - id_width - 6
    ids = room >= LEAST
    room = min(longest, room if ids else max(width - key_width - 4, LEAST))
    text = Text(f"{HINT}\n\n" if ids else "")
    text.stylize("dim")
    for name in sorted(rows, key=lambda title: (title in TITLES.values(), title)):
        text.append(f"{name}\n", "bold")
        for keys, words, binding in rows[name]:
            text.append(f"  {set_cell_size(keys, key_width)}  {fit(words, room)}")
            text.append(f"  {binding}\n" if ids else "\n", "dim")
        text.append("\n")
    text.rstrip()
    return text
