"""The tickets of the tutorial: the file is what its script writes, and fits what the page says about it."""

from __future__ import annotations

import csv
import runpy
from collections import Counter

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "tutorial"


def test_the_file_is_what_its_script_writes() -> None:
    written = runpy.run_path(str(FOLDER / "tickets.py"))["tickets"]()
    with (FOLDER / "tickets.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["text", "label"]
    assert [tuple(row) for row in rows] == written
    texts = [text for text, _ in written]
    assert len(texts) == len(set(texts)) == 800
    assert all(len(text.split()) < 30 for text in texts)
    counts = Counter(label for _, label in written)
    assert len(counts) == 5
    assert min(counts.values()) > 100
