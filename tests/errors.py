"""Assert which error is raised, by its kind and the facts in its message rather than by its wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.errors import CrildError


@contextmanager
def raises(kind: str, *facts: object, error: type[CrildError] = CrildError) -> Iterator[None]:
    """The block raises an error of this kind whose message names all facts."""
    with pytest.raises(error) as caught:
        yield
    assert caught.value.kind == kind, caught.value
    missing = [fact for fact in facts if str(fact) not in str(caught.value)]
    assert not missing, caught.value
