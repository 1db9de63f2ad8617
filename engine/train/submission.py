"""The tool `submission` of an engine process: a run's student answers the test sets of its GLUE task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.glue import load_glue_test
from engine.data.hub import load_hub_test
from engine.data.tasks import GLUE, GlueTestSet
from engine.data.tokens import check_max_length, tokenise_texts
from engine.data.types import UnlabelledTexts
from engine.errors import ModelError, RunError
from engine.evaluate.classifier import Classifier
from engine.evaluate.glue_submission import score_word, write_answers, write_archive
from engine.evaluate.predict import Logits
from engine.models.class_names import describe, names_of
from engine.models.families import positions
from engine.models.load import LoadedModel, load_with_tokenizer
from engine.preset.load import load_run_preset
from engine.preset.schema import Task, Teacher
from engine.preset.text import plain
from engine.record.paths import STUDENT
from engine.record.phases import Report, unreported
from engine.train import hardware
from engine.user.consent import NONE, Consent


def submission(request: Mapping[str, Any], consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """Predict the test sets of a run's GLUE task, and write them to a folder with an archive for the GLUE site.

    `request` has `run`, `folder`, `device` and `batch_size`. Computed in fp32, with the run's `task.max_length`. Returns `sets`
    (of each file its rows and how often each label was predicted), `archive`, `files` in it and `missing` ones. Nothing is
    written unless all test sets of the task are at hand and answered.

    Raises DataError for a test set that is missing or not GLUE's, ModelError for a student that cannot answer it, RunError
    when something cannot be written.
    """
    run_dir, folder = Path(request["run"]), Path(request["folder"])
    preset = load_run_preset(run_dir).preset
    hardware.set_threads(None)
    texts = _texts(preset.task, report)
    source = Teacher(model=str(run_dir / STUDENT), trust_remote_code=preset.teacher.trust_remote_code)
    loaded = load_with_tokenizer(source, consent=consent, report=report)
    words = _words(loaded, preset.task)
    device = hardware.pick_device(request["device"] or "auto")
    pad_id = int(loaded.tokenizer.pad_token_id or 0)
    classifier = Classifier(loaded.model.to(device).eval(), device, pad_id, batch_size=request["batch_size"])
    length = min(preset.task.max_length, positions(loaded.model.config))
    answers = {known: _answers(known, rows, classifier, loaded, length, words, report) for known, rows in texts.items()}
    for known, words_of_rows in answers.items():
        write_answers(folder, known, words_of_rows)
    archive = write_archive(folder)
    return {
        "sets": [
            {"file": known.file, "rows": known.rows, "labels": dict(Counter(found).most_common()) if words else None}
            for known, found in answers.items()
        ],
        "archive": str(archive.path),
        "files": list(archive.files),
        "missing": list(archive.missing),
        "notes": list(loaded.notes),
    }


def _texts(task: Task, report: Report) -> dict[GlueTestSet, UnlabelledTexts]:
    if task.source == "hub":
        return load_hub_test(task, report=report)
    return load_glue_test(task.name, Path(task.source), report=report)


def _words(loaded: LoadedModel, task: Task) -> tuple[str, ...]:
    """What the site calls each output of the model, by the names of its classes; none for a score. Raises ModelError."""
    glue, names = GLUE[task.name], names_of(loaded.model)
    if not glue.spec.labels and len(names) == 1:
        return ()
    if len(names) != len(glue.spec.labels) or set(names) != set(glue.spec.labels):
        sentence = (
            f"the student's classes are {', '.join(map(plain, names))}, but {task.name} has {describe(glue.spec)}"
        )
        raise ModelError(sentence, kind="classes-not-glue")
    return tuple(glue.tokens[glue.spec.labels.index(name)] for name in names)


def _answers(
    known: GlueTestSet,
    rows: UnlabelledTexts,
    classifier: Classifier,
    loaded: LoadedModel,
    length: int,
    words: tuple[str, ...],
    report: Report,
) -> list[str]:
    """The word or number for each row. Raises RunError where the model has no answer."""
    check_max_length(loaded.tokenizer, length, pairs=rows.pairs is not None, source=known.file)
    report(f"tokenising {known.file}")
    tokens = tokenise_texts(rows.texts, rows.pairs, loaded.tokenizer, length, source=known.file)

    def progress(done: int) -> None:
        report(f"predicting {known.file}", done, known.rows, "rows")

    logits: Logits = classifier.logits(tokens, max(1, len(words)), progress)
    if missing := int(np.count_nonzero(~np.isfinite(logits).all(axis=1))):
        sentence = f"the student has no answer to {missing:,} of the rows of {known.file}: its outputs are not finite"
        raise RunError(sentence, kind="answers-not-finite")
    if words:
        return [words[index] for index in logits.argmax(axis=1).tolist()]
    return [score_word(score) for score in logits[:, 0].tolist()]
