"""GLUE tasks and corpora from the Hugging Face hub, through `datasets`, at one commit."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data.tasks import GLUE, HUB_DATASET, GlueTask
from engine.data.text_files import check_text, listed, shown
from engine.data.types import Example, TaskData
from engine.errors import DataError
from engine.preset.source_names import is_corpus_path

if TYPE_CHECKING:
    from engine.preset.schema import Corpus, Task

HUB_TIMEOUT = 10.0
"""Seconds that the first question to the hub may take: who has no network should not wait for retries."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_GLUE_HINT = "task.source can be a folder in the official GLUE layout instead"
_CORPUS_HINT = "the corpus can be a local text file or folder instead"


@dataclass(frozen=True)
class _Source:
    """One configuration of a hub data set; `hint` says what can be used in its place."""

    dataset: str
    config: str | None
    revision: str | None
    key: str
    hint: str


def _task_source(task: Task) -> _Source:
    return _Source(HUB_DATASET, task.name, task.revision, "task.source", _GLUE_HINT)


def _corpus_source(corpus: Corpus) -> _Source:
    return _Source(corpus.corpus, corpus.subset, corpus.revision, "corpus", _CORPUS_HINT)


def resolve_revision(source: Task | Corpus) -> str | None:
    """The commit that a task or corpus from the hub stands at; None for local data, or when it cannot be known.

    A commit that the preset names is taken as it is. Otherwise the hub is asked, and where it cannot be reached, the
    newest copy on this machine tells. Raises DataError when the hub says that there is no such data set or revision.
    """
    from engine.preset.schema import Corpus

    if isinstance(source, Corpus):
        asked = None if is_corpus_path(source.corpus) else _corpus_source(source)
    else:
        asked = _task_source(source) if source.name in GLUE and source.source == "hub" else None
    if asked is None:
        return None
    if _is_commit(asked.revision):
        return asked.revision
    commit, _ = _commit(asked)
    return commit or _kept_commit(asked)


def load_hub(task: Task) -> TaskData:
    """Rows of a GLUE task from the hub, at the commit that `task.revision` names, else the newest.

    Classes are matched by name, not by number. Where the hub cannot be reached, the copy of an earlier load is taken, as
    a note says. Raises DataError when neither is at hand (with what can be used instead), or when the data is not GLUE's.
    """
    glue = GLUE[task.name]
    builder, notes = _builder(_task_source(task))
    train = _rows(glue, builder, "train", "train")
    dev = {split: _rows(glue, builder, split, hub_split) for split, (_, hub_split) in glue.dev.items()}
    return TaskData(spec=glue.spec, train=train, dev=dev, notes=notes)


def hub_lines(corpus: Corpus) -> list[str]:
    """The texts of a hub corpus: the column `corpus.column` of its training split; raises DataError."""
    source = _corpus_source(corpus)
    builder, _ = _builder(source)
    table = _table(builder, "train", [corpus.column], source.dataset)
    texts = table[corpus.column]
    others = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
    if others is not None:
        sentence = (
            f"{shown(texts[others])} in row {others:,} of column {shown(corpus.column)} of {source.dataset} is no text"
        )
        raise DataError(sentence, key="corpus")
    return texts


def _commit(source: _Source) -> tuple[str | None, Exception | None]:
    """The commit of a data set as the hub says, or None and why the hub cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return HfApi().dataset_info(source.dataset, revision=source.revision, timeout=HUB_TIMEOUT).sha, None
    except OfflineModeIsEnabled as fault:
        return None, fault
    except HFValidationError:
        sentence = f"{shown(source.dataset)} is neither a local path nor a hub id"
        raise DataError(sentence, key=source.key) from None
    except RepositoryNotFoundError as fault:
        status = getattr(fault.response, "status_code", None)
        why = (
            "or it needs a token (HF_TOKEN), or access that its owner grants"
            if status in (401, 403)
            else "of that name"
        )
        raise DataError(f"the hub has no data set {shown(source.dataset)} {why}", key=source.key) from None
    except RevisionNotFoundError:
        sentence = f"the hub's data set {source.dataset} has no revision {shown(source.revision)}"
        raise DataError(sentence, key="task.revision" if source.key == "task.source" else source.key) from None
    except Exception as fault:  # noqa: BLE001 - its HTTP library changes between versions, and so do the classes
        return None, fault


def _reason(fault: BaseException) -> str:
    """The first line of what a library said."""
    lines = str(fault).splitlines()
    return shown(lines[0] if lines else type(fault).__name__, 200)


def _unreachable(source: _Source, fault: Exception) -> DataError:
    """The error for a hub that cannot be asked and data that is not here either: says every way out."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    what = f"{source.dataset} ({source.config})" if source.config else source.dataset
    at = f" at revision {source.revision}" if source.revision else ""
    if isinstance(fault, OfflineModeIsEnabled):
        sentence = (
            f"{what}{at} is not among the data loaded on this machine before, and HF_HUB_OFFLINE keeps the hub from being "
            f"asked: unset it; or {source.hint}"
        )
        return DataError(sentence, key=source.key)
    reason = _reason(fault)
    sentence = (
        f"the hub at {constants.ENDPOINT} cannot be used ({reason}), and {what}{at} is not among the data loaded on this "
        f"machine before; {source.hint}, HF_ENDPOINT can name a mirror, HTTPS_PROXY a proxy, or HF_HOME a folder of data "
        "loaded elsewhere (with HF_HUB_OFFLINE=1)"
    )
    return DataError(sentence, key=source.key)


def _builder(source: _Source) -> tuple[Any, tuple[str, ...]]:
    """A prepared `datasets` builder at one commit, from the hub or from what an earlier load left here; and notes."""
    import datasets

    if _is_commit(source.revision) and (kept := _kept_builder(source, source.revision)) is not None:
        return kept, ()
    commit, fault = _commit(source)
    if fault is not None:
        commit = source.revision if _is_commit(source.revision) else _kept_commit(source)
        kept = _kept_builder(source, commit)
        if kept is None:
            raise _unreachable(source, fault) from None
        note = f"The hub could not be asked; {source.dataset} was taken from an earlier load, at commit {commit}."
        return kept, (note,)
    _quiet()
    try:
        builder = datasets.load_dataset_builder(source.dataset, source.config, revision=commit)
        builder.download_and_prepare()
    except Exception as problem:
        if isinstance(problem, ValueError) and "config" in str(problem).lower():
            sentence = f"the hub's data set {source.dataset} has no configuration {shown(source.config)}"
        else:  # whatever went wrong over there or on the way: HTTP, Parquet, disk
            sentence = f"{source.dataset} could not be loaded from the hub"
        reason = _reason(problem.__cause__ or problem)
        raise DataError(f"{sentence} ({reason}); {source.hint}", key=source.key) from problem
    return builder, ()


def _quiet() -> None:
    """No progress bars where nobody watches them: in a log file each of their refreshes would be kept."""
    import datasets
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        disable_progress_bars()


def _is_commit(revision: str | None) -> bool:
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _kept_builder(source: _Source, commit: str | None) -> Any | None:
    """What an earlier load of that very commit left in the cache of `datasets`; None when there is nothing.

    (`datasets` itself, without the hub, would take its newest copy even where another commit is asked for.)
    """
    from datasets.packaged_modules.cache.cache import Cache

    if all(folder.name != commit for folder in _kept_folders(source)):
        return None
    try:
        builder = Cache(
            repo_id=source.dataset,
            dataset_name=source.dataset.split("/")[-1],
            config_name=source.config or "default",
            version="0.0.0",
            hash=commit,
        )
        builder.download_and_prepare()
    except (OSError, ValueError):
        return None
    return builder


def _kept_folders(source: _Source) -> list[Path]:
    """Folders of `datasets`' cache that hold this configuration, newest last; each is named by its commit."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    *owner, name = source.dataset.split("/")
    root = Path(datasets.config.HF_DATASETS_CACHE, "___".join([*owner, camelcase_to_snakecase(name)]))
    found = root.glob(f"{source.config or 'default'}/0.0.0/*")
    folders = [
        folder for folder in found if _COMMIT.fullmatch(folder.name) and (folder / "dataset_info.json").is_file()
    ]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime)


def _kept_commit(source: _Source) -> str | None:
    folders = _kept_folders(source)
    return folders[-1].name if folders else None


def _table(builder: Any, split: str, columns: list[str], dataset: str) -> dict[str, list[Any]]:
    """Columns of a split, as lists."""
    splits = list(builder.info.splits or ())
    if split not in splits:
        raise DataError(f"{dataset} has no split {split}; it has {listed(splits)}")
    rows = builder.as_dataset(split=split)
    for column in columns:
        if column not in rows.column_names:
            raise DataError(f"{dataset} has no column {shown(column)}; its columns are {listed(rows.column_names)}")
    table: dict[str, list[Any]] = rows.select_columns(columns).to_dict()
    return table


def _rows(glue: GlueTask, builder: Any, split: str, hub_split: str) -> tuple[Example, ...]:
    columns = [name for name in (glue.hub_text, glue.hub_pair, "label") if name is not None]
    where = f"{HUB_DATASET} ({glue.spec.name}, {hub_split})"
    table = _table(builder, hub_split, columns, where)
    texts = table[glue.hub_text]
    pairs = table[glue.hub_pair] if glue.hub_pair else [None] * len(texts)
    labels = _labels(glue, builder, table["label"], where)
    if not texts:
        raise DataError(f"{where} has no rows")
    for row, values in enumerate(zip(texts, pairs, strict=True)):
        for value in values[: 1 + (glue.hub_pair is not None)]:
            if not isinstance(value, str):
                raise DataError(f"row {row:,} of {where} has no text")
            check_text(value, f"{where}, row {row:,}", None)
    return tuple(
        Example(f"{split}-{row}", text, pair, label)
        for row, (text, pair, label) in enumerate(zip(texts, pairs, labels, strict=True))
    )


def _labels(glue: GlueTask, builder: Any, values: list[Any], where: str) -> list[int] | list[float]:
    """Labels as the task's own indices, matched by name; those that are withheld (-1) are refused."""
    missing = next((row for row, value in enumerate(values) if value is None or value == -1), None)
    if missing is not None:
        raise DataError(f"row {missing:,} of {where} has no label: GLUE withholds those of its test sets")
    if glue.spec.kind == "regression":
        low, high = glue.spec.label_range or (0.0, 0.0)
        wrong = next((row for row, value in enumerate(values) if not low <= value <= high), None)
        if wrong is not None:
            raise DataError(f"the score {values[wrong]} in row {wrong:,} of {where} is not from {low:g} to {high:g}")
        return [float(value) for value in values]
    names = getattr(builder.info.features["label"], "names", None)
    if names is None or set(names) != set(glue.spec.labels):
        found = f"are {listed(names)}" if names else "have no names"
        raise DataError(f"the labels of {where} {found}, where those of GLUE are {listed(glue.spec.labels)}")
    index = [glue.spec.labels.index(name) for name in names]
    return [index[value] for value in values]
