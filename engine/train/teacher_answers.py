"""The teacher's logits on the dev sets and on test: computed once for a teacher and a set, and reused by other runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from transformers import PreTrainedModel

from engine.record.phases import Report, unreported
from engine.train.dev_evaluation import Dev, Logits, LogitsBySplit
from engine.train.teacher_logits import LogitsEntry


def teacher_answers(
    teacher: PreTrainedModel,
    content: str,
    dev: Dev,
    *,
    warn: Callable[[str], None],
    known: Mapping[str, Logits] | None = None,
    report: Report = unreported,
) -> LogitsBySplit:
    """The teacher's logits in fp32 on every set of `dev`, by split; what is not `known` is looked up in the cache first.

    `content` is the teacher's `content_hash`. Files of the cache are keyed by it, by the texts and by the type of the device,
    and verified by a hash; `warn` takes a sentence if one is damaged or cannot be read. `report` is called for each batch.
    """
    known = known or {}
    answers = {}
    for split, tokens in dev.tokens.items():
        parts = ("evaluation", content, tokens.content, dev.device.type)
        entry = LogitsEntry(hashlib.sha256("-".join(parts).encode()).hexdigest()[:32])
        stored, storable = entry.read(tokens.answer_count(), warn)
        answers[split] = logits = (
            known[split]
            if split in known
            else stored
            if stored is not None
            else dev.logits(teacher, split, report=report, name="teacher")
        )
        if storable and stored is None:
            entry.write(logits, warn)
    return answers
