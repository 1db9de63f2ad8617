"""Every extra has tests, which exist, and `crild doctor` and the documentation name it."""

from __future__ import annotations

import pytest

from crild_tui.cli.doctor import EXTRAS
from tests.conftest import REPOSITORY
from tests.extras import TESTS, extras


def test_every_extra_has_tests_and_a_use() -> None:
    assert set(TESTS) == set(extras()) == set(EXTRAS)


@pytest.mark.parametrize("extra", sorted(TESTS))
def test_its_tests_exist(extra: str) -> None:
    assert all((REPOSITORY / file).exists() for file in TESTS[extra] if file.startswith("tests/"))
