"""Changed copies of a stage's inputs: made once, kept as a pool in the cache, read like unlabelled files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from engine.data.content import rows_hash
from engine.data.examples import Examples
from engine.data.findings import Finding
from engine.data.pool import Copies, Input, Pool, made_pool
from engine.data.tokens import tokenizer_hash
from engine.data.types import TaskData
from engine.data.unlabelled import keys_of, read_pool
from engine.data.word_edits import SHARES, edited, mostly_without_spaces
from engine.errors import DataError
from engine.models.export import content_hash
from engine.models.masked_words import MaskedWords, load_masked_model
from engine.preset.schema import Augment
from engine.record.phases import Report, unreported
from engine.train import seeding

TOP = 15
"""Likely words of which one is drawn, as in TinyBERT."""
_FORMAT = 1  # of what a pool holds; part of its key
_LOOK = 1000  # rows whose script is looked at

_WHAT = {
    "mlm": "copies with likely words",
    "delete": "copies with deleted words",
    "swap": "copies with exchanged words",
    "punctuation": "copies with punctuation",
}


def with_copies(
    rows: Examples,
    augment: Augment,
    data: TaskData,
    *,
    precision: str,
    device: torch.device,
    report: Report = unreported,
) -> tuple[Examples, tuple[Finding, ...], Pool]:
    """The rows, then changed copies of them, a finding that says how many, and the pool that they are read from.

    No copy repeats another one, one of the rows, or one of the task's training, dev and test rows. Copies are a function of
    the row's number and `augment.seed`; of a pair, each changes one side. The pool is kept under a hash of all texts, of the
    settings and of the model. Raises DataError where there are no copies, and for texts in a script without spaces between
    words; ModelError for a model that cannot be used.
    """
    first = [text for text, _ in islice(rows.inputs(), _LOOK)]
    if mostly_without_spaces(first):
        sentence = (
            "most of these texts are in a script without spaces between words, so there are no words to change: leave out "
            "augment"
        )
        raise DataError(sentence, kind="script-without-spaces", key="augment")
    share = SHARES[augment.words] if augment.share is None else augment.share
    settings: dict[str, object] = {
        "words": augment.words,
        "share": share,
        "copies": augment.copies,
        "seed": augment.seed,
    }
    make: Copies
    if augment.words == "mlm":
        assert augment.model is not None, "the rules of presets ask for it"
        model, tokenizer = load_masked_model(augment.model, augment.revision, report=report)
        report("hashing the masked language model")
        settings |= {"top": augment.top or TOP, "model": content_hash(model), "tokenizer": tokenizer_hash(tokenizer)}
        settings |= {"precision": precision, "device": device.type}
        model = model.to(device, torch.bfloat16 if precision == "bf16" else torch.float32)
        make = MaskedWords(
            model,
            tokenizer,
            share=share,
            top=augment.top or TOP,
            copies=augment.copies,
            seed=seeding.key(augment.seed, seeding.COPIES, ""),
        ).copies
    else:
        make = _by_rule(augment, share)
    others = [data.train, *data.measured.values()]
    contents = [rows_hash(Examples.of(each).unlabelled()) for each in (rows, *others)]
    key = hashlib.sha256(json.dumps([_FORMAT, contents, settings], sort_keys=True).encode()).hexdigest()[:32]
    pool = made_pool(key, rows, keys_of([rows, *others]), make, _WHAT[augment.words], report)
    left_out = augment.copies * len(rows) - pool.rows
    how = f"share {share:g}" + (f", top {settings['top']}" if "top" in settings else "")
    sentence = (
        f"{len(rows):,} rows and {pool.rows:,} {_WHAT[augment.words]} of them ({how}; pools/{pool.path.name} in the cache); "
        f"{left_out:,} others would have repeated a row"
    )
    facts = {"rows": len(rows), "copies": pool.rows, "left_out": left_out, "words": augment.words, "share": share}
    finding = Finding(sentence, kind="copies-of-rows", severity="note", facts=facts)
    copies = read_pool(pool.path, is_pair=rows.pairs is not None, report=report)
    return Examples.joined([rows, copies], "input"), (finding,), pool


def _by_rule(augment: Augment, share: float) -> Copies:
    def copies(rows: Sequence[Input], first: int) -> Iterator[tuple[int, Input]]:
        for row, (text, pair) in enumerate(rows, first):
            draw = np.random.default_rng(seeding.key(augment.seed, seeding.COPIES, "", row))
            for _ in range(augment.copies):
                if pair is None or not draw.integers(2):
                    yield row, (edited(text, augment.words, share, draw), pair)
                else:
                    yield row, (text, edited(pair, augment.words, share, draw))

    return copies
