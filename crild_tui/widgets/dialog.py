"""What all dialogs are: screens on top of a mode that close themselves, once."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """A dialog that closes itself alone.

    Textual closes whatever is on top: a second key or click, on its way when the first one closed the dialog, would close
    what is below it.
    """

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Close the dialog and pass its result on; nothing once it is closed."""
        if self.app.screen is self:
            return super().dismiss(result)
        return AwaitComplete.nothing()  # type: ignore[no-any-return, no-untyped-call]
