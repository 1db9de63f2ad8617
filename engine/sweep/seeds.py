"""Parse lists of seeds: `1,2,3` or `1-5`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.errors import UsageError
from engine.preset.text import shown

LARGEST_SEED = 2**32 - 1
MOST_SEEDS = 1000
"""Seeds that `crild run` takes."""
_PART = re.compile(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", re.ASCII)


def parse_seeds(text: str | None, name: str = "--seeds", most: int = MOST_SEEDS) -> tuple[int, ...]:
    """The seeds in a text, in order; none for None. `name` is what messages call the option or key.

    Raises UsageError for anything but seeds, for more than `most` of them, and for a repeated one.
    """
    if text is None:
        return ()
    seeds: list[int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise UsageError(f"{name} {shown(text)} is not a list of seeds: write 1,2,3 or 1-5", kind="invalid-seeds")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            sentence = f"{name} {shown(part.strip())} is an empty range: write {last}-{first}"
            raise UsageError(sentence, kind="empty-seed-range")
        if last > LARGEST_SEED:
            raise UsageError(f"{name}: {last} is not a seed; allowed: 0 to {LARGEST_SEED}", kind="seed-out-of-range")
        if last - first + len(seeds) >= most:
            raise UsageError(f"{name} {shown(part.strip())}: at most {most:,} seeds are allowed", kind="too-many-seeds")
        seeds += range(first, last + 1)
    check_unique(seeds, name)
    return tuple(seeds)


def check_unique(seeds: Sequence[int], name: str) -> None:
    """Raise UsageError when a seed is repeated: its runs would be the same."""
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        sentence = f"{name} repeats {', '.join(map(str, repeated))}: each seed makes one run"
        raise UsageError(sentence, kind="repeated-seeds")
