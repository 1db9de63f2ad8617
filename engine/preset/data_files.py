"""Data files named beside presets, as in `crild run crild tickets.csv`: a layer that sets a custom task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import UsageError
from engine.preset.preset_file import Layer
from engine.preset.source_names import is_table, uncompressed_name
from engine.preset.text import cut, listed, plain, shown
from engine.preset.tree import build

_SPLITS = {
    "train": ("train", "training"),
    "dev": ("dev", "development", "val", "valid", "validation", "eval"),
    "test": ("test",),
}
_WORD = re.compile(r"[A-Za-z]+")
_LONGEST_TITLE = 60


def data_layer(refs: Sequence[str], folder: Path) -> Layer | None:
    """The custom task that the data files among `refs` make; None where there is none.

    One file holds the training rows. Of several, the names say which is which: `train.csv dev.csv test.csv`. Raises UsageError
    where they don't. The files themselves are not read.
    """
    names = list(dict.fromkeys(ref for ref in refs if is_table(ref)))
    if not names:
        return None
    files = {"train": names[0]} if len(names) == 1 else _by_split(names)
    task = {"name": "custom", "title": title_of(files), "files": files}
    return Layer(build({"task": task}, plain(" ".join(names)), {}), folder, is_data=True)


def title_of(files: Mapping[str, str]) -> str:
    """What to call the data: the training file's name without its ending, and without "train" where dev has its own."""
    path = Path(uncompressed_name(files["train"]))
    words = path.stem
    if len(files) > 1:
        words = (
            re.sub(r"(?i)(^|[^a-z])(training|train)(?=$|[^a-z])", r"\1", words).strip("-_. ")
            or path.absolute().parent.name
        )
    return cut(plain(words), _LONGEST_TITLE) or "data"


def _by_split(names: Sequence[str]) -> dict[str, str]:
    """The file of each split, by the words in its name. Raises UsageError unless each is another split's."""
    files: dict[str, str] = {}
    for name in names:
        words = {word.lower() for word in _WORD.findall(Path(name).stem)}
        splits = [split for split, known in _SPLITS.items() if words & set(known)]
        if len(splits) == 1:
            files.setdefault(splits[0], name)
    if len(files) < len(names) or "train" not in files:
        sentence = (
            f"{listed(map(shown, names), 'and')} are several data files, and their names don't say which holds the training "
            "rows and which the dev or test set: name the training file alone, and the others with --set "
            "task.files.dev=FILE and --set task.files.test=FILE"
        )
        raise UsageError(sentence, kind="ambiguous-data-files", key="task.files")
    return files
