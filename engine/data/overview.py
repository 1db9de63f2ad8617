"""A task's data at a glance, as a run would read it: rows, classes, lengths, what is repeated, what looks wrong.

Imports neither torch nor transformers: it answers at once, also where the models are elsewhere.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.array_files import array_of, bytes_of
from engine.data.examples import Examples, flat_labels, named_label
from engine.data.findings import Finding, data_findings, input_keys
from engine.data.load import inputs_for, load_task, source_name
from engine.data.spool import Spool
from engine.data.token_findings import EmbeddingSizes, TokenisedInputs, token_findings
from engine.data.tokenizer_facts import TokenizerFacts
from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskData
from engine.data.unlabelled import texts_of
from engine.preset.kinds import WORD_LABELS
from engine.preset.regular_file import read_regular
from engine.preset.schema import Preset, Stage, UnlabelledFiles
from engine.preset.source_names import INIT_WORDS, cached_repository, is_path
from engine.preset.text import plain
from engine.record.phases import Report, unreported

EXAMPLES = 3
"""Examples that are shown."""
_CHUNK = 1024  # texts per call of the tokenizer
_ANY = 2**31 - 1  # the model's embeddings are not looked at


def overview(preset: Preset, *, texts_alone: bool = False, report: Report = unreported) -> dict[str, Any]:
    """What a preset's task holds, as plain data. With `texts_alone`, a custom task is read without labels: kind and metric are
    None, and there are no classes.

    Lengths are in tokens where the teacher's tokenizer (the student's, where the teacher is a file of answers) is in a folder or in the hub's cache, else in words; `longer` counts
    the rows that are longer than `max_length` of that unit. Raises DataError as loading the data for a run does.
    """
    task = preset.task
    data = texts_of(task, report=report) if texts_alone else load_task(task, report=report)
    reader = _reader(preset)
    splits, findings = [], list(data_findings(data))
    for split, rows in _splits(data):
        tokens = None if reader is None else reader.read(rows, report, f"rows of {split}")
        lengths = _words(rows) if tokens is None else tokens.lengths
        entry = {"split": split, "source": source_name(task, split), "rows": len(rows), "repeated": _repeated(rows)}
        entry |= {"labels": _labels(data, rows), "lengths": _lengths(lengths, task.max_length), "unknown": None}
        if tokens is not None and reader is not None:
            entry["unknown"] = reader.unknown_share(rows, tokens)
            inputs = TokenisedInputs(f"inputs of {split}", rows, tokens, task.max_length)
            findings += _new(findings, token_findings(inputs, reader.facts, EmbeddingSizes("", _ANY, None)))
        splits.append(entry)
    unlabelled = []
    for name, more, found in _unlabelled(preset, data, report):
        tokens = None if reader is None else reader.read(more, report, name)
        lengths = _words(more) if tokens is None else tokens.lengths
        entry = {"split": name, "rows": len(more), "repeated": _repeated(more)}
        entry |= {"lengths": _lengths(lengths, task.max_length), "unknown": None}
        if tokens is not None and reader is not None:
            entry["unknown"] = reader.unknown_share(more, tokens)
        entry["examples"] = [_example(data, row) for row in _spread(more)]
        unlabelled.append(entry)
        findings += [finding for finding in found if finding not in findings]
    return {
        "task": data.spec.name,
        "kind": None if texts_alone else data.spec.kind,
        "classes": list(data.spec.labels),
        "metric": None if texts_alone else data.spec.primary,
        "max_length": task.max_length,
        "unit": "words" if reader is None else "tokens",
        "tokenizer": None if reader is None else reader.facts.source,
        "splits": splits,
        "unlabelled": unlabelled,
        "examples": [_example(data, row) for row in _spread(data.train)],
        "findings": [finding.to_dict() for finding in findings],
        "notes": list(data.notes),
    }


def _splits(data: TaskData) -> Iterator[tuple[str, Examples]]:
    yield "train", Examples.of(data.train)
    for split, rows in data.measured.items():
        yield split, Examples.of(rows)


def _unlabelled(preset: Preset, data: TaskData, report: Report) -> Iterator[tuple[str, Examples, tuple[Finding, ...]]]:
    """The inputs of stages that read unlabelled files, with the stages' names; those that several share, once."""
    stages: dict[str, list[Stage]] = {}
    for stage in preset.stage:
        if isinstance(stage.data, UnlabelledFiles):
            stages.setdefault(stage.data.model_dump_json(), []).append(stage)
    for alike in stages.values():
        inputs, findings, _ = inputs_for(alike[0].data, preset.task, data, report=report)
        yield f"inputs of {', '.join(stage.name for stage in alike)}", Examples.of(inputs), findings


def _new(known: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """The findings that no other split has, without those that the table of lengths shows."""
    kinds = {finding.kind for finding in known if finding.subject == "model"} | {"texts-cut"}
    return [finding for finding in found if finding.kind not in kinds]


# -- rows


def _repeated(rows: Sequence[Example]) -> int:
    """Rows whose text an earlier row has."""
    return len(rows) - len(np.unique(input_keys(rows)))


def _labels(data: TaskData, rows: Examples) -> dict[str, Any]:
    """Rows (of labels by word: words) of each class or label; of scores the lowest, the mean and the highest. Nothing without labels."""
    if rows.labels is None:
        return {}
    if data.spec.kind in ("classification", WORD_LABELS):
        each = flat_labels(rows.labels) if data.spec.kind == WORD_LABELS else rows.labels.astype(np.int64)
        counts = np.bincount(each, minlength=len(data.spec.labels)).tolist()
        return {name: counts[index] for index, name in enumerate(data.spec.labels)}
    if data.spec.kind == "multilabel":
        return dict(zip(data.spec.labels, rows.labels.sum(axis=0, dtype=int).tolist(), strict=True))
    scores = rows.labels.astype(np.float64)
    return {"lowest": float(scores.min()), "mean": float(scores.mean()), "highest": float(scores.max())}


def _lengths(lengths: npt.NDArray[np.int64], most: int) -> dict[str, int]:
    median, high = np.percentile(lengths, (50, 95), method="higher")
    longer = int(np.count_nonzero(lengths > most))
    return {"median": int(median), "p95": int(high), "longest": int(lengths.max()), "longer": longer}


def _words(rows: Examples) -> npt.NDArray[np.int64]:
    counts = (len(text.split()) + len((pair or "").split()) for text, pair in rows.inputs())
    return np.fromiter(counts, np.int64, len(rows))


def _spread(rows: Sequence[Example]) -> list[Example]:
    """A few rows: the first, and others at equal distances."""
    count = min(EXAMPLES, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]


def _example(data: TaskData, row: Example) -> dict[str, Any]:
    label = named_label(row.label, data.spec.labels)
    return {"id": row.id, "text": row.text, "pair": row.pair, "label": label}


# -- tokens


@dataclass(frozen=True)
class _Reader:
    """A tokenizer read from its tokenizer.json alone."""

    tokenizer: Any
    facts: TokenizerFacts

    def read(self, rows: Examples, report: Report, what: str) -> TokenSet:
        """The rows as tokens, however long they are."""
        ids, ends = Spool(), array("q", [0])
        for texts, pairs in rows.chunks(_CHUNK):
            report(f"tokenising {what}", len(ends) - 1, len(rows), "rows")
            inputs = texts if pairs is None else list(zip(texts, pairs, strict=True))
            for encoded in self.tokenizer.encode_batch(inputs):
                ids.append(bytes_of(np.array(encoded.ids, np.int32)))
                ends.append(ends[-1] + len(encoded.ids))
        return TokenSet(rows.ids, np.array(ends), array_of(ids, np.int32), None, None, 0, "")

    def unknown_share(self, rows: Sequence[Example], tokens: TokenSet) -> float | None:
        """The share of the tokens that the vocabulary lacks, special tokens apart; None where nothing can be unknown."""
        if self.facts.unknown is None:
            return None
        total = len(tokens.input_ids) - len(rows) * self.facts.special[rows[0].pair is not None]
        return int(np.count_nonzero(tokens.input_ids == self.facts.unknown)) / max(total, 1)


def _reader(preset: Preset) -> _Reader | None:
    """The tokenizer that reads the training rows, if its tokenizer.json is on this machine and can be read."""
    name = preset.teacher.tokenizer or preset.teacher.model or preset.student.init
    file = None if name in INIT_WORDS else _tokenizer_file(name)
    if file is None:
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
        described = json.loads(read_regular(file))
        unknown = described["model"].get("unk_token")
        special = frozenset(token["content"] for token in described.get("added_tokens") or () if token.get("special"))
    except Exception:  # noqa: BLE001 - the library raises bare Exceptions; a run will say what is wrong with the file
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    facts = TokenizerFacts(
        source=plain(name),
        unknown=None if unknown is None else tokenizer.token_to_id(unknown),
        cls=None,
        sep=None,
        pad=0,
        special=(tokenizer.num_special_tokens_to_add(False), tokenizer.num_special_tokens_to_add(True)),
        lowers=tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("A") == "a",
        vocabulary=tokenizer.get_vocab(),
        special_tokens=special,
    )
    return _Reader(tokenizer, facts)


def _tokenizer_file(name: str) -> Path | None:
    """The tokenizer.json of a folder, or the newest of a hub model in the cache."""
    folders = [Path(name)] if is_path(name) else sorted((cached_repository(name) / "snapshots").glob("*"))
    files = [folder / "tokenizer.json" for folder in folders]
    return max((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime, default=None)
