"""The one rule that tells local paths from Hugging Face hub ids, for models, tokenizers and corpora."""

from __future__ import annotations

import os
import re
from pathlib import Path

TEXT_ENDINGS = (".txt", ".text", ".raw", ".tokens", ".md")
"""Endings of the files that a corpus folder is searched for; no hub id ends like this."""
INIT_WORDS = frozenset({"teacher", "pretrained", "scratch"})
"""Values of `student.init` that name no model of their own."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_path(name: str, folder: Path | None = None) -> bool:
    """Whether the name of a model or tokenizer is a path: it cannot be a hub id, or `folder` holds something so named.

    Where a user names something, pass the folder that relative names start from, and make a path absolute. In a loaded
    preset that is done, and the name alone decides, whatever the working directory holds.
    """
    return not _HUB_ID.fullmatch(name) or (folder is not None and os.path.lexists(folder / name))


def is_corpus_path(name: str, folder: Path | None = None) -> bool:
    """Whether the name of a corpus is a path: as for models, or it ends like a text file."""
    return name.lower().endswith(TEXT_ENDINGS) or is_path(name, folder)
