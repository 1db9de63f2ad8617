"""The keys that do something in the screen's present state, in one line: whole labels only, and first the key of the help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input

from crild_tui.textual_internals import FooterKey

HELP = "help"
"""The action that lists all keys."""


class KeyFooter(Footer):
    """Textual's footer, without labels that would be cut off."""

    def __init__(self, applies: Callable[[str], bool]) -> None:
        """`applies` says whether an action does something in the screen's present state; keys of others are not shown."""
        super().__init__(show_command_palette=False)
        self._applies = applies

    def compose(self) -> ComposeResult:
        """The key of the list first, then the others in their order, as far as they fit; for a dialog, its own keys."""
        top = self.app.screen
        found = self._of(top) if isinstance(top, ModalScreen) and top is not self.screen else super().compose()
        keys = [key for key in found if isinstance(key, FooterKey)]
        keys.sort(key=lambda key: not key.action.endswith(HELP))
        self._fit(keys)
        yield from keys

    async def recompose(self) -> None:
        """Compose only if other keys are active now: the focus moves more often than the keys change."""
        if not self.is_attached:
            return
        active = [told(key) for key in self.compose() if isinstance(key, FooterKey)]
        if active == [told(key) for key in self.query(FooterKey)]:
            self.fit()
        else:
            await super().recompose()

    def on_mount(self) -> None:
        """Show the keys of a dialog while it is open, since those of the screen do nothing then."""
        self.app.screen_change_signal.subscribe(self, self._screen_changed)

    def on_unmount(self) -> None:
        """Unsubscribe."""
        self.app.screen_change_signal.unsubscribe(self)

    def _screen_changed(self, top: Screen[Any]) -> None:
        if self.is_attached and (top is self.screen or isinstance(top, ModalScreen)):
            self.call_after_refresh(self._renew)

    async def _renew(self) -> None:
        """Show other keys, and refresh the dialogs above, which keep what was drawn below them."""
        await self.recompose()
        for screen in self.app.screen_stack[1:]:
            self.call_after_refresh(screen.refresh)

    def _of(self, dialog: Screen[Any]) -> Iterator[FooterKey]:
        """The keys of a dialog, each action once."""
        seen = set()
        for _, binding, enabled, tooltip in dialog.active_bindings.values():
            if binding.show and binding.action not in seen:
                seen.add(binding.action)
                yield FooterKey(
                    binding.key,
                    self.app.get_key_display(binding),
                    binding.description,
                    binding.action,
                    disabled=not enabled,
                    tooltip=tooltip,
                ).data_bind(compact=Footer.compact)

    def on_resize(self) -> None:
        """Show as many keys as fit."""
        self.fit()

    def fit(self) -> None:
        """Show the keys that do something now, as many as fit."""
        self._fit(self.query(FooterKey))

    def _fit(self, keys: Iterable[FooterKey]) -> None:
        room = self.size.width or self.app.size.width
        typing = isinstance(self.screen.focused, Input) and self.app.screen is self.screen
        for key in keys:
            if not self._applies(key.action) or (typing and len(key.key_display) == 1):  # it would be typed
                key.display = False
                continue
            room -= cell_len(key.key_display) + cell_len(key.description) + 3  # Textual's spaces around both
            key.display = room >= 0


def told(key: FooterKey) -> tuple[object, ...]:
    """What a key of the footer shows and does."""
    return key.key, key.key_display, key.description, key.action, key.disabled, key.tooltip
