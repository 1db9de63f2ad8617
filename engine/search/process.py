"""What the process of a search does, with its record. `crild/process.py` starts it."""

from __future__ import annotations

from engine.search.supply import SearchSupply
from engine.sweep.process import main as execute


def main(words: list[str]) -> int:
    """Execute the search in a record; returns the exit code."""
    return execute(words, SearchSupply)
