"""The keys that count here, in one line: whole labels only, and first the key that lists all of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

HELP = "help"
"""The action that lists all keys."""


class Keys(Footer):
    """Textual's footer, without what would be cut at its edge."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)

    def compose(self) -> ComposeResult:
        """The key of the list first, then the others in their order, as far as they fit."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        keys.sort(key=lambda key: not key.action.endswith(HELP))
        self._fit(keys)
        yield from keys

    def on_resize(self) -> None:
        """Others fit."""
        self._fit(self.query(FooterKey))

    def _fit(self, keys: Iterable[FooterKey]) -> None:
        room = self.size.width or self.app.size.width
        for key in keys:
            room -= cell_len(key.key_display) + cell_len(key.description) + 3  # Textual's spaces around both
            key.display = room >= 0
