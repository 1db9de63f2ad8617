"""The values of a table's column while it is read: texts go to a mapped file, values of which few are different are shared.

Imports no torch, and numpy once there are many different texts: preflight reads the heads of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.data.examples import TextBuilder

FEW = 4096
"""Different texts up to which a column is a list that names each of them by reference, as a column of labels is."""


class ColumnBuilder:
    """Values in the order of their rows. A column of texts becomes a `TextColumn` once it has more than `FEW` different ones;
    any other one, and one with a text that is not valid Unicode, is a list."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._known: dict[str, str] | None = {}
        """The different texts of the list; None where it has too many, or other values."""
        self._texts: TextBuilder | None = None

    def extend(self, values: list[Any]) -> None:
        """Add the values of further rows."""
        if self._texts is not None:
            try:
                if set(map(type, values)) <= {str}:
                    self._texts.append(values)
                    return
            except UnicodeEncodeError:
                pass
            self._values, self._texts = list(self._texts.column()), None
        known = self._known
        if known is None or not set(map(type, values)) <= {str}:
            self._known = None
            self._values += values
            return
        self._values += [known.setdefault(value, value) for value in values]
        if len(known) > FEW:
            self._to_texts()

    def _to_texts(self) -> None:
        from engine.data.examples import TextBuilder

        texts = TextBuilder()
        try:
            texts.append(self._values)
        except UnicodeEncodeError:
            pass
        else:
            self._values, self._texts = [], texts
        self._known = None

    def column(self) -> Sequence[Any]:
        """The column. Nothing can be added afterwards."""
        return self._values if self._texts is None else self._texts.column()
