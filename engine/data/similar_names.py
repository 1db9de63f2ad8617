"""Names that look the same but are not: in Unicode form, invisible characters, white space or case."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping


def _visible(name: str) -> str:
    return "".join(character for character in name if unicodedata.category(character) != "Cf")


def _single_spaces(name: str) -> str:
    return " ".join(name.split())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


CASE = "case"
_FORMS: Mapping[str, Callable[[str], str]] = {
    "Unicode form (NFC or NFD)": _composed,
    "an invisible character": _visible,
    "white space": _single_spaces,
    CASE: str.casefold,
}
"""Differences that are easily missed, and the function that removes each."""


def normal(name: str) -> str:
    """The name without what is easily missed: equal for names that look alike."""
    for form in (_visible, _single_spaces, str.casefold, _composed):  # in this order: case folding can decompose
        name = form(name)
    return name


def difference(one: str, other: str) -> str:
    """In what alone two names that look alike differ."""
    alone = [what for what, form in _FORMS.items() if form(one) == form(other)]
    return alone[0] if alone else "Unicode form, invisible characters, white space or case"


def look_alike(name: str, others: Iterable[str]) -> str | None:
    """The first of `others` that looks like `name` without being equal; None if there is none."""
    return next((other for other in others if other != name and normal(other) == normal(name)), None)
