"""GLUE tasks and corpora from the Hugging Face hub, through `datasets`, at one commit."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.columns import ColumnBuilder
from engine.data.examples import CHUNK, Examples, LabelArray, NumberedIds, TextColumn
from engine.data.hub_connection import check_hub
from engine.data.tasks import DIAGNOSTIC, GLUE, HUB_DATASET, TEST_SETS, GlueTask, GlueTestSet
from engine.data.text_files import check_text, listed, shown
from engine.data.types import TaskData, UnlabelledTexts
from engine.errors import DataError
from engine.preset.source_names import is_corpus_path
from engine.record.phases import Report, unreported

if TYPE_CHECKING:
    from engine.preset.schema import Corpus, Task

HUB_TIMEOUT = 10.0
"""Seconds for the first request to the hub, so that a user without network need not wait for retries."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_GLUE_HINT = "task.source can be a folder in the official GLUE layout instead"
_CORPUS_HINT = "the corpus can be a local text file or folder instead"


@dataclass(frozen=True)
class _Source:
    """One configuration of a hub data set; `hint` names an alternative."""

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
    """The current commit of a task or corpus on the hub; None for local data, or if it cannot be determined.

    A commit named in the preset is used as it is. Otherwise the hub is asked; if it is unreachable, the newest copy on
    this machine decides. Raises DataError when the hub has no such data set or revision.
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
    return commit or _cached_commit(asked)


def load_hub(task: Task, *, report: Report = unreported) -> TaskData:
    """Load a GLUE task from the hub, at the commit `task.revision`, or the newest.

    Classes are matched by name, not by number. If the hub is unreachable, an earlier download is used, and a note says
    so. Raises DataError when there is neither (naming alternatives), or when the data is not GLUE's.
    """
    glue = GLUE[task.name]
    builder, notes = _builder(_task_source(task), report)
    report(f"reading {glue.spec.name}")
    train = _rows(glue, builder, "train", "train")
    dev = {split: _rows(glue, builder, split, hub_split) for split, (_, hub_split) in glue.dev.items()}
    return TaskData(spec=glue.spec, train=train, dev=dev, notes=notes)


def load_hub_test(task: Task, *, report: Report = unreported) -> dict[GlueTestSet, UnlabelledTexts]:
    """The texts of a GLUE task's test sets from the hub, of MNLI with the diagnostic set; see `load_glue_test`."""
    glue = GLUE[task.name]
    wanted = {task.name: TEST_SETS[task.name], **({"ax": (DIAGNOSTIC,)} if task.name == "mnli" else {})}
    found = {}
    for config, sets in wanted.items():
        builder, _ = _builder(replace(_task_source(task), config=config), report)
        for known in sets:
            where = f"{HUB_DATASET} ({config}, {known.hub_split})"
            columns = [name for name in glue.hub_columns if name is not None]
            table = _table(builder, known.hub_split, [*columns, "idx"], where)
            if list(table["idx"]) != list(range(len(table["idx"]))):
                raise DataError(f"the rows of {where} are not numbered 0, 1, 2, ...", kind="rows-not-numbered")
            texts = [[str(text) for text in table[name]] for name in columns]
            found[known] = UnlabelledTexts(texts[0], texts[1] if len(texts) > 1 else None).checked(known.rows, where)
    return found


def hub_lines(corpus: Corpus, *, report: Report = unreported) -> TextColumn:
    """The texts of a hub corpus: the column `corpus.column` of its training split; raises DataError."""
    source = _corpus_source(corpus)
    builder, _ = _builder(source, report)
    report(f"reading {source.dataset}")
    table = _table(builder, "train", [corpus.column], source.dataset)
    texts = table[corpus.column]
    if not isinstance(texts, TextColumn):
        others = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
        if others is not None:
            sentence = f"{shown(texts[others])} in row {others:,} of column {shown(corpus.column)} of {source.dataset} is not text"
            raise DataError(sentence, kind="not-text", key="corpus")
    return TextColumn.of(texts)


def _commit(source: _Source) -> tuple[str | None, Exception | None]:
    """The commit of a data set on the hub, or None and the reason why the hub cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        check_hub()
        return HfApi().dataset_info(source.dataset, revision=source.revision, timeout=HUB_TIMEOUT).sha, None
    except OfflineModeIsEnabled as fault:
        return None, fault
    except HFValidationError:
        sentence = f"{shown(source.dataset)} is neither a local path nor a hub id"
        raise DataError(sentence, kind="invalid-hub-id", key=source.key) from None
    except RepositoryNotFoundError as fault:
        status = getattr(fault.response, "status_code", None)
        why = (
            "or it needs a token (HF_TOKEN) or access granted by its owner" if status in (401, 403) else "of that name"
        )
        sentence = f"the hub has no data set {shown(source.dataset)} {why}"
        raise DataError(sentence, kind="no-such-dataset", key=source.key) from None
    except RevisionNotFoundError:
        sentence = f"the hub's data set {source.dataset} has no revision {shown(source.revision)}"
        key = "task.revision" if source.key == "task.source" else source.key
        raise DataError(sentence, kind="no-such-revision", key=key) from None
    except Exception as fault:  # noqa: BLE001 - its HTTP library changes between versions, and so do the classes
        return None, fault


def _reason(fault: BaseException) -> str:
    """The first line of an exception's message."""
    lines = str(fault).splitlines()
    return shown(lines[0] if lines else type(fault).__name__, 200)


def _unreachable(source: _Source, fault: Exception) -> DataError:
    """The error for an unreachable hub without a local copy; names every alternative."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    what = f"{source.dataset} ({source.config})" if source.config else source.dataset
    revision = f" at revision {source.revision}" if source.revision else ""
    if isinstance(fault, OfflineModeIsEnabled):
        sentence = (
            f"{what}{revision} has not been downloaded to this machine, and HF_HUB_OFFLINE forbids asking the hub: unset it; or "
            f"{source.hint}"
        )
        return DataError(sentence, kind="hub-offline", key=source.key)
    reason = _reason(fault)
    sentence = (
        f"the hub at {constants.ENDPOINT} is unreachable ({reason}), and {what}{revision} has not been downloaded to this machine; "
        f"{source.hint}, HF_ENDPOINT can name a mirror, HTTPS_PROXY a proxy, or HF_HOME a folder of data downloaded "
        "elsewhere (with HF_HUB_OFFLINE=1)"
    )
    return DataError(sentence, kind="hub-unreachable", key=source.key)


def _builder(source: _Source, report: Report) -> tuple[Any, tuple[str, ...]]:
    """A prepared `datasets` builder at one commit, from the hub or from an earlier download; and notes."""
    import datasets

    report(f"looking for {source.dataset}")
    if _is_commit(source.revision) and (cached := _cached_builder(source, source.revision)) is not None:
        return cached, ()
    commit, fault = _commit(source)
    if fault is not None:
        commit = source.revision if _is_commit(source.revision) else _cached_commit(source)
        cached = _cached_builder(source, commit)
        if cached is None:
            raise _unreachable(source, fault) from None
        note = f"The hub is unreachable; using {source.dataset} from an earlier download, at commit {commit}."
        return cached, (note,)
    _quiet()
    report(f"downloading {source.dataset}")
    try:
        builder = datasets.load_dataset_builder(source.dataset, source.config, revision=commit)
        builder.download_and_prepare()
    except Exception as problem:
        if isinstance(problem, ValueError) and "config" in str(problem).lower():
            sentence = f"the hub's data set {source.dataset} has no configuration {shown(source.config)}"
        else:  # HTTP, Parquet, disk, ...
            sentence = f"{source.dataset} could not be loaded from the hub"
        reason = _reason(problem.__cause__ or problem)
        raise DataError(f"{sentence} ({reason}); {source.hint}", kind="dataset-not-loaded", key=source.key) from problem
    return builder, ()


def _quiet() -> None:
    """Switch progress bars off unless stderr is a terminal: a log file would keep every refresh."""
    import datasets
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        disable_progress_bars()


def _is_commit(revision: str | None) -> bool:
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _cached_builder(source: _Source, commit: str | None) -> Any | None:
    """The cached download of exactly this commit, or None.

    (Without the hub, `datasets` itself would use its newest copy even if another commit is asked for.)
    """
    from datasets.packaged_modules.cache.cache import Cache

    if all(folder.name != commit for folder in _cached_folders(source)):
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


def _cached_folders(source: _Source) -> list[Path]:
    """Cache folders of `datasets` with this configuration, newest last; each is named by its commit."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    *owner, name = source.dataset.split("/")
    root = Path(datasets.config.HF_DATASETS_CACHE, "___".join([*owner, camelcase_to_snakecase(name)]))
    found = root.glob(f"{source.config or 'default'}/0.0.0/*")
    folders = [
        folder for folder in found if _COMMIT.fullmatch(folder.name) and (folder / "dataset_info.json").is_file()
    ]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime)


def _cached_commit(source: _Source) -> str | None:
    folders = _cached_folders(source)
    return folders[-1].name if folders else None


def _table(builder: Any, split: str, columns: list[str], dataset: str) -> dict[str, Sequence[Any]]:
    """Columns of a split; many different texts are a `TextColumn`."""
    splits = list(builder.info.splits or ())
    if split not in splits:
        raise DataError(f"{dataset} has no split {split}; it has {listed(splits)}", kind="no-such-split")
    rows = builder.as_dataset(split=split)
    for column in columns:
        if column not in rows.column_names:
            sentence = f"{dataset} has no column {shown(column)}; its columns are {listed(rows.column_names)}"
            raise DataError(sentence, kind="no-such-column")
    builders = {column: ColumnBuilder() for column in columns}
    for batch in rows.select_columns(columns).iter(CHUNK):
        for column in columns:
            builders[column].extend(list(batch[column]))
    return {column: found.column() for column, found in builders.items()}


def _rows(glue: GlueTask, builder: Any, split: str, hub_split: str) -> Examples:
    text_column, pair_column = glue.hub_columns
    columns = [name for name in (text_column, pair_column, "label") if name is not None]
    where = f"{HUB_DATASET} ({glue.spec.name}, {hub_split})"
    table = _table(builder, hub_split, columns, where)
    texts = table[text_column]
    pairs = table[pair_column] if pair_column else None
    labels = _labels(glue, builder, table["label"], where)
    if not texts:
        raise DataError(f"{where} has no rows", kind="no-rows")
    for row, values in enumerate(zip(texts, strict=True) if pairs is None else zip(texts, pairs, strict=True)):
        for value in values:
            if not isinstance(value, str):
                raise DataError(f"row {row:,} of {where} has no text", kind="missing-text")
            check_text(value, f"{where}, row {row:,}", None)
    ids = NumberedIds(split, range(len(texts)))
    return Examples(ids, TextColumn.of(texts), None if pairs is None else TextColumn.of(pairs), labels)


def _labels(glue: GlueTask, builder: Any, values: Sequence[Any], where: str) -> LabelArray:
    """Labels as the task's class indices, matched by name; withheld labels (-1) are an error."""
    missing = next((row for row, value in enumerate(values) if value is None or value == -1), None)
    if missing is not None:
        sentence = f"row {missing:,} of {where} has no label: GLUE withholds the labels of its test sets"
        raise DataError(sentence, kind="missing-label")
    if glue.spec.kind == "regression":
        low, high = glue.spec.label_range or (0.0, 0.0)
        wrong = next((row for row, value in enumerate(values) if not low <= value <= high), None)
        if wrong is not None:
            sentence = f"the score {values[wrong]} in row {wrong:,} of {where} is not from {low:g} to {high:g}"
            raise DataError(sentence, kind="invalid-score")
        return np.fromiter(values, np.float64, len(values))
    names = getattr(builder.info.features["label"], "names", None)
    if names is None or set(names) != set(glue.spec.labels):
        found = f"are {listed(names)}" if names else "have no names"
        sentence = f"the labels of {where} {found}, but GLUE's are {listed(glue.spec.labels)}"
        raise DataError(sentence, kind="labels-not-glue")
    index = np.array([glue.spec.labels.index(name) for name in names], np.int64)
    return index[np.fromiter(values, np.int64, len(values))]
