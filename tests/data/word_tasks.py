"""A small language of names, places and times, with a label for each word."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

Rows = Sequence[tuple[list[str], list[str]]]
_NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Felix"]
_FAMILIES = ["Adler", "Berg", "Cohen", "Dietz"]
_PLACES = ["Bonn", "Dover", "Lille", "Oslo", "Porto", "Turin"]
_TIMES = ["noon", "midnight", "Monday", "Friday"]
_TEMPLATES = ["{PER} met {PER} in {LOC} at {TIME} .", "on {TIME} {PER} left {LOC} .", "it rained until {TIME} ."]


def sentences(count: int, seed: int) -> Rows:
    """Words and their labels in IOB2."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words: list[str] = []
        labels: list[str] = []
        for part in draw.choice(_TEMPLATES).split():
            if part == "{PER}":
                own = [draw.choice(_NAMES), *([draw.choice(_FAMILIES)] if draw.random() < 0.5 else [])]
            elif part.startswith("{"):
                own = [draw.choice(_PLACES if part == "{LOC}" else _TIMES)]
            else:
                words.append(part)
                labels.append("O")
                continue
            words += own
            labels += [f"B-{part[1:-1]}"] + [f"I-{part[1:-1]}"] * (len(own) - 1)
        found.append((words, labels))
    return found


def write_conll(path: Path, rows: Rows) -> Path:
    """A file with words in the first of three columns, and labels in the last."""
    blocks = ["\n".join(f"{word} X {label}" for word, label in zip(*row, strict=True)) for row in rows]
    path.write_text("-DOCSTART- X O\n\n" + "\n\n".join(blocks) + "\n")
    return path


def write_json_lines(path: Path, rows: Rows) -> Path:
    """A file with lists of words and labels, named as on the hub."""
    path.write_text("".join(json.dumps({"tokens": words, "ner_tags": labels}) + "\n" for words, labels in rows))
    return path
