"""The audit notices what it is there for."""

from __future__ import annotations

import pytest

from tests.audit import foreign, strange_licence


@pytest.mark.parametrize(
    "licence", ["MIT", "Apache-2.0 OR GPL-3.0", "BSD-3-Clause AND 0BSD AND Zlib", "MIT License; ISC"]
)
def test_licences_that_can_be_shipped(licence: str) -> None:
    assert not strange_licence(licence)


@pytest.mark.parametrize("licence", ["GPL-3.0", "UNKNOWN", "MIT AND AGPL-3.0", ""])
def test_licences_that_cannot(licence: str) -> None:
    assert strange_licence(licence)


def test_files_that_are_not_the_projects() -> None:
    files = {"engine/a.py": "1", "engine/__pycache__/a.pyc": "2", "crild-1.dist-info/METADATA": "3", "METADATA": "4"}
    files |= {"COMMIT": "5", "crild/_packages/COMMIT": "6", "engine/COMMIT": "7"}
    assert foreign(files, {"1"}) == ["engine/__pycache__/a.pyc", "METADATA", "engine/COMMIT"]
