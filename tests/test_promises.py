"""docs/promises.md names tests that exist, in each of its rows."""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY

ROWS = [
    line
    for line in (REPOSITORY / "docs" / "promises.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| fault |"))
]
NAMED = re.compile(r"(tests/[\w/]+\.py)?(?:::(\w+))?")


def named_by(row: str) -> list[tuple[str, str | None]]:
    """File and function of each test that a row names; a name without a file is in the file before it."""
    named, file = [], ""
    for match in NAMED.finditer(row.rsplit(" | ", 1)[-1]):
        if match[0]:
            file = match[1] or file
            named.append((file, match[2]))
    return named


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_tests_that_exist(row: str) -> None:
    assert named_by(row), "a promise without a test"
    for file, name in named_by(row):
        text = (REPOSITORY / file).read_text()
        assert name is None or f"def {name}(" in text, f"{file} has no test {name}"
