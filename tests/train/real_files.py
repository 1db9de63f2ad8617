"""Small files of every kind of task, from the real texts of ../shared, as users have them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.word_tasks import Rows, sentences

TRAIN, DEV = 96, 40
Row = Mapping[str, Any]


@dataclass(frozen=True)
class TaskFiles:
    """A task in files: what `crild run` reads, what `crild predict` reads, and the rows of dev as objects."""

    train: Path
    dev: Path
    new: Path
    """The rows of dev without their labels."""
    rows: Sequence[Row]
    texts: tuple[str, ...]
    """The columns of the texts."""
    label: str
    kind: str
    group: str | None = None


def _table(path: Path, mark: str) -> list[list[str]]:
    """The lines of a GLUE file without its header."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [line.split(mark) for line in lines[1:]]


def _films(glue: Path, split: str) -> list[str]:
    """Sentences about films, of SST-2."""
    return [row[0].strip() for row in _table(glue / "SST-2" / f"{split}.tsv", "\t")]


def _paraphrases(glue: Path, split: str) -> list[tuple[str, str]]:
    """Sentences of the news and their paraphrases, of MRPC."""
    return list(
        {row[3]: (row[3], row[4]) for row in _table(glue / "MRPC" / f"{split}.tsv", "\t") if row[0] == "1"}.values()
    )


def sentences_of(glue: Path, split: str) -> list[dict[str, Any]]:
    """Sentences about films and of the news in turn, numbered, with what they are about."""
    both = zip(_films(glue, split), _paraphrases(glue, split), strict=False)
    texts = [text for film, (news, _) in both for text in (film, news)]
    return [
        {"number": f"{split}-{number}", "sentence": text, "label": ("film", "news")[number % 2]}
        for number, text in enumerate(texts)
    ]


def pairs(glue: Path, split: str) -> list[dict[str, Any]]:
    """Sentences of the news, by turns with their paraphrase and with a sentence about a film."""
    both = enumerate(zip(_paraphrases(glue, split), _films(glue, split), strict=False))
    return [
        {"sentence1": one, "sentence2": film if number % 2 else other, "label": "different" if number % 2 else "same"}
        for number, ((one, other), film) in both
    ]


def overlap(one: str, other: str) -> float:
    """How many of the words of two texts are in both, from 0 to 5."""
    left, right = set(one.lower().split()), set(other.lower().split())
    return round(5 * len(left & right) / len(left | right), 3)


def topics(row: Row) -> list[str]:
    """Labels that a sentence has by its source and its marks: none, some or all."""
    marks = {"list": ",", "figures": r"\d"}
    about = ["news"] if row["label"] == "news" else []
    return [*about, *(name for name, pattern in marks.items() if re.search(pattern, row["sentence"]))]


def queries(glue: Path, split: str, count: int) -> list[dict[str, Any]]:
    """Rankings: a sentence, its paraphrase, one of another sentence, and two sentences about films."""
    found = []
    same, films = _paraphrases(glue, split)[:count], _films(glue, split)
    for number, (query, right) in enumerate(same):
        passages = [films[number], same[(number + 3) % len(same)][1], right, films[-number - 1]]
        found += [{"query": query, "passage": text, "relevance": int(text == right)} for text in passages]
    return found


def write(path: Path, rows: Sequence[Row]) -> Path:
    """A file in the format of its ending."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".txt":
        path.write_text("".join(f"{next(iter(row.values()))}\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that `write` or `crild predict` wrote."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".conll":
        sentences = path.read_text().strip().split("\n\n")
        return [{"label": [line.split()[-1] for line in sentence.splitlines()]} for sentence in sentences]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def without(rows: Iterable[Row], column: str) -> list[dict[str, Any]]:
    """The rows without a column."""
    return [{name: value for name, value in row.items() if name != column} for row in rows]


def _files(
    folder: Path, name: str, train: Sequence[Row], dev: Sequence[Row], texts: tuple[str, ...], label: str, kind: str,
    group: str | None = None,
) -> TaskFiles:  # fmt: skip
    stem, ending = name.split(".")
    paths = [folder / f"{stem}-{part}.{ending}" for part in ("train", "dev", "new")]
    for path, rows in zip(paths, (train, dev, without(dev, label)), strict=True):
        write(path, rows)
    return TaskFiles(paths[0], paths[1], paths[2], rows=dev, texts=texts, label=label, kind=kind, group=group)


def _conll(path: Path, rows: Rows, *, labels: bool = True) -> Path:
    blocks = (
        "".join(f"{word}\t{label}\n" if labels else f"{word}\n" for word, label in zip(*row, strict=True))
        for row in rows
    )
    path.write_text("\n".join(blocks))
    return path


def words(folder: Path) -> TaskFiles:
    """Words with labels, made up, in CoNLL files."""
    train, dev = sentences(TRAIN, 1), sentences(DEV, 2)
    return TaskFiles(
        _conll(folder / "names-train.conll", train), _conll(folder / "names-dev.conll", dev),
        _conll(folder / "names-new.conll", dev, labels=False),
        [{"words": row, "labels": labels} for row, labels in dev], ("words",), "labels", "token-classification",
    )  # fmt: skip


def tasks(folder: Path, glue: Path) -> dict[str, TaskFiles]:
    """A task of each kind, each in another format where there is one."""
    texts = {split: sentences_of(glue, split) for split in ("train", "dev")}
    train, dev = texts["train"][:TRAIN], texts["dev"][:DEV]
    both = {split: pairs(glue, split) for split in ("train", "dev")}
    similar = {
        split: [
            {
                "premise": row["sentence1"],
                "hypothesis": row["sentence2"],
                "score": overlap(row["sentence1"], row["sentence2"]),
            }
            for row in rows
        ]
        for split, rows in both.items()
    }
    tagged = {
        split: [{"text": row["sentence"], "topics": topics(row)} for row in rows] for split, rows in texts.items()
    }
    ranked = {split: queries(glue, split, count // 4) for split, count in (("train", TRAIN), ("dev", DEV))}
    graded = {split: [{**row, "relevance": 1.5 * row["relevance"]} for row in rows] for split, rows in ranked.items()}
    return {
        "classification": _files(folder, "about.csv", train, dev, ("sentence",), "label", "classification"),
        "pairs": _files(
            folder, "pairs.tsv", both["train"][:TRAIN], both["dev"][:DEV], ("sentence1", "sentence2"), "label",
            "classification",
        ),
        "regression": _files(
            folder, "similar.jsonl", similar["train"][:TRAIN], similar["dev"][:DEV], ("premise", "hypothesis"), "score", "regression"
        ),
        "multilabel": _files(
            folder, "topics.parquet", tagged["train"][:TRAIN], tagged["dev"][:DEV], ("text",), "topics", "multilabel"
        ),
        "rankings": _files(
            folder, "graded.csv", graded["train"], graded["dev"], ("query", "passage"), "relevance", "regression", "query"
        ),
        "rankings-classes": _files(
            folder, "ranked.csv", ranked["train"], ranked["dev"], ("query", "passage"), "relevance", "classification", "query"
        ),
        "token-classification": words(folder),
    }  # fmt: skip
