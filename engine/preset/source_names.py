"""The one rule that tells local paths from Hugging Face hub ids, for models, tokenizers and corpora."""

from __future__ import annotations

import os
import re
from pathlib import Path

TEXT_ENDINGS = (".txt", ".text", ".raw", ".tokens", ".md")
"""Endings of the files that a corpus folder is searched for; no hub id ends like this."""
CONLL_ENDINGS = (".conll", ".conllu", ".iob", ".iob2", ".bio")
"""Endings of files with words and their labels in columns."""
TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *CONLL_ENDINGS)
"""Endings of files with rows of data; no preset or hub id ends like this."""
COMPRESSED_ENDINGS = (".gz", ".zst")
"""Endings of compressed files, after those of their content: `rows.csv.gz`."""
INIT_WORDS = frozenset({"teacher", "pretrained", "scratch"})
"""Values of `student.init` that name no model of their own."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_path(name: str, folder: Path | None = None) -> bool:
    """Whether the name of a model or tokenizer is a path.

    It is one if it cannot be a hub id, and if `folder` holds something so named, or the folder that `models/teacher`
    begins with (a misspelt path then, unless the hub's cache has such a model).

    Where a user names something, pass the folder that relative names start from, and make a path absolute. In a loaded
    preset that is done, and the name alone decides, whatever the working directory holds.
    """
    if not _HUB_ID.fullmatch(name):
        return True
    if folder is None:
        return False
    if os.path.lexists(folder / name):
        return True
    owner, slash, _ = name.partition("/")
    return bool(slash) and os.path.isdir(folder / owner) and not os.path.isdir(cached_repository(name))  # noqa: PTH112


def cached_repository(model: str) -> Path:
    """The folder that the hub's cache has, or would have, for a hub model."""
    return hub_cache() / f"models--{model.replace('/', '--')}"


def hub_cache() -> Path:
    """The cache folder of huggingface_hub: $HF_HUB_CACHE, else below $HF_HOME, else below the user's cache."""
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    folder = Path(cache) if cache else Path(home) / "hub"
    return Path(os.path.expanduser(folder))  # noqa: PTH111 - an account without a home folder is no error here


def is_table(name: str) -> bool:
    """Whether a name is that of a file with rows of data, which may be compressed, by its ending."""
    return uncompressed_name(name).lower().endswith(TABLE_ENDINGS)


def is_conll(path: Path) -> bool:
    """Whether a file has words and their labels in columns, by its ending."""
    return uncompressed_name(path.name).lower().endswith(CONLL_ENDINGS)


def is_compressed(name: str) -> bool:
    """Whether a name is that of a compressed file, by its ending."""
    return name.lower().endswith(COMPRESSED_ENDINGS)


def uncompressed_name(name: str) -> str:
    """The name of a file's content: `rows.csv` of `rows.csv.gz`."""
    return name[: name.rindex(".")] if is_compressed(name) else name


def is_corpus_path(name: str, folder: Path | None = None) -> bool:
    """Whether the name of a corpus is a path: as for models, or it ends like a text file."""
    return name.lower().endswith(TEXT_ENDINGS) or is_path(name, folder)
