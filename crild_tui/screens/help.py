"""`?`: every key that counts on a screen, made from its bindings."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

TITLES = {"app": "Everywhere", "mode": "Modes"}


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
            box.border_subtitle = "Escape closes; ids can be bound anew (README)"
            yield Static(self._text(), id="keys")

    def _text(self) -> Text:
        groups: dict[str, dict[str, tuple[list[str], str]]] = {}
        for active in self._below.active_bindings.values():
            binding = active.binding
            if not binding.description or binding.system:
                continue
            name = (binding.id or "").partition(".")[0] or "widget"
            name = TITLES.get(name, name.title())
            identity = binding.id or binding.action
            keys, _ = groups.setdefault(name, {}).setdefault(identity, ([], binding.tooltip or binding.description))
            keys.append(self.app.get_key_display(binding))
        text = Text()
        for name in sorted(groups, key=lambda title: (title in TITLES.values(), title == "Widget", title)):
            text.append(f"{name}\n", "bold")
            for identity, (keys, description) in groups[name].items():
                text.append(f"  {' '.join(dict.fromkeys(keys)):<14} {description:<32}", "")
                text.append(f"{identity}\n" if "." in identity else "\n", "dim")
            text.append("\n")
        text.rstrip()
        return text
