"""How long the inputs of four GLUE tasks are, and random sentences of such lengths.

    python benchmarks/length_profiles.py GLUE_FOLDER TOKENIZER_JSON     # count them again

The histograms are of the training files in GLUE's original layout, as pairs where the task has pairs, by the WordPiece
tokenizer of the uncased BERTs (30,522 pieces) with special tokens, cut at 128.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import source_tree  # noqa: F401 - before the product's packages

from engine.data.tokens import TokenSet

LONGEST = 128
"""Tokens at which inputs are cut."""
BIN = 4
"""Lengths in a bin: the first holds 1 to 4 tokens."""
SHORTEST = 3
"""A word and two special tokens."""
PROFILES: dict[str, tuple[int, ...]] = {
    "cola": (1, 242, 467, 187, 64, 28, 8, 3),
    "rte": (
        0, 0, 0, 0, 8, 14, 27, 42, 57, 65, 69, 94, 70, 71, 56, 53, 38, 36, 19, 16, 13, 12, 13, 11, 7, 10, 10, 11, 14, 14,
        14, 135,
    ),
    "mrpc": (0, 0, 0, 0, 1, 2, 18, 32, 52, 78, 89, 103, 101, 110, 110, 106, 74, 58, 34, 18, 10, 3, 1, 1, 1),
    "sst2": (108, 302, 187, 123, 87, 62, 45, 31, 22, 14, 9, 5, 3, 1),
}  # fmt: skip
"""Inputs of a thousand in each bin, from the shortest on. Means: 11, 67, 53 and 13 tokens."""
COLUMNS = {"CoLA": (3,), "RTE": (1, 2), "MRPC": (3, 4), "SST-2": (0,)}
"""Folders of GLUE, and the columns of their texts."""
_WITHOUT_HEADER = "CoLA"


def draw_lengths(profile: str, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The lengths (count,) of random inputs of a task."""
    random = np.random.default_rng(seed)
    histogram = np.array(PROFILES[profile], dtype=np.float64)
    bins = random.choice(len(histogram), count, p=histogram / histogram.sum())
    lengths: npt.NDArray[np.int64] = np.maximum(BIN * bins + random.integers(1, BIN, count, endpoint=True), SHORTEST)
    return lengths


def make_sentences(profile: str, count: int, vocabulary: int, seed: int) -> TokenSet:
    """Random tokens (none is padding, id 0) in sentences as long as the task's, with labels 0 and 1."""
    lengths = draw_lengths(profile, count, seed)
    random = np.random.default_rng(seed + 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(1, vocabulary, offsets[-1], dtype=np.int32)
    types, labels = np.zeros(offsets[-1], np.int8), random.integers(0, 2, count)
    return TokenSet(tuple(map(str, range(count))), offsets, ids, types, labels, 0, f"random {profile} {count} {seed}")


def count_lengths(folder: Path, columns: tuple[int, ...], tokenizer: Path) -> npt.NDArray[np.int64]:
    """The histogram of a task's training file, inputs of a thousand in each bin."""
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(str(tokenizer))
    encode.no_truncation()
    encode.no_padding()
    lines = (folder / "train.tsv").read_text(encoding="utf-8-sig").strip("\n").split("\n")
    rows = [line.split("\t") for line in (lines if folder.name == _WITHOUT_HEADER else lines[1:])]
    texts = [row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns) for row in rows]
    lengths = np.array([len(encoding.ids) for encoding in encode.encode_batch(texts)])
    bins = np.bincount((np.minimum(lengths, LONGEST) - 1) // BIN)
    thousandths: npt.NDArray[np.int64] = np.rint(1000 * bins / bins.sum()).astype(np.int64)
    return thousandths


def main() -> None:
    """Print the histograms of real data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("glue", type=Path, help="a folder with CoLA/train.tsv and so on")
    parser.add_argument("tokenizer", type=Path, help="a tokenizer.json")
    options = parser.parse_args()
    for name, columns in COLUMNS.items():
        print(name, count_lengths(options.glue / name, columns, options.tokenizer).tolist())


if __name__ == "__main__":
    main()
