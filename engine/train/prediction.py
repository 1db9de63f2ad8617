"""The tool `predict` of an engine process: rows of any number through a classifier, in the order of the input."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from engine.data.compressed import Sink, compressing
from engine.data.custom import value_kind
from engine.data.row_stream import ArrowChunk, RowChunk, RowReader, text_of_words
from engine.data.text_columns import TextColumns, columns_of_task, text_columns
from engine.data.text_files import check_text, shown
from engine.data.tokens import TokenSet, check_max_length, tokenise_texts
from engine.errors import DataError, RunError, UsageError
from engine.evaluate.classifier import Classifier, probabilities
from engine.evaluate.predict import Logits
from engine.evaluate.row_writers import DIGITS, OutputNames, Predictions, RowWriter, WordPredictions, row_writer
from engine.models.class_names import names_of
from engine.models.families import labels_words, positions
from engine.models.half_precision import in_half_precision
from engine.models.load import LoadedModel, load_with_tokenizer
from engine.models.onnx_model import OnnxModel
from engine.models.thresholds import thresholds_of
from engine.preset.load import load_run_preset
from engine.preset.schema import Task, Teacher
from engine.preset.text import plain, plural, printable
from engine.record.entities import names_entities
from engine.record.files import cause, replacement, write_all
from engine.record.phases import Report, unreported
from engine.record.prediction import PredictionRequest, PredictionSummary
from engine.record.removal import remove_leftovers_of
from engine.train import hardware
from engine.user.consent import NONE, Consent

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")


def predict_rows(
    request: PredictionRequest, consent: Consent = NONE, *, report: Report = unreported
) -> PredictionSummary:
    """Predict every row of the inputs, and write it with its label and probabilities.

    An output file appears whole or not at all. The model's own code runs only with `consent`. Raises ModelError for a
    model that cannot be used, DataError for rows that cannot, RunError when the output cannot be written. If the reader of
    a pipe closes it, the rest is not predicted, and the summary says so.
    """
    preset = None if request.run is None else load_run_preset(Path(request.run)).preset
    task, own_code = (None, None) if preset is None else (preset.task, preset.teacher.trust_remote_code)
    hardware.set_threads(None)
    device = hardware.pick_device(request.device or "auto")
    model = Teacher(model=request.model, trust_remote_code=own_code)
    loaded = load_with_tokenizer(model, consent=consent, report=report)
    classifier, precision = _classifier(loaded, request, device)
    by_word = labels_words(loaded.model.config)
    source = _Source(request, task, loaded.tokenizer, _max_length(request, task, loaded), by_word=by_word)
    answer: _Answer | _WordAnswer = _WordAnswer(_classes(loaded))
    if not by_word:
        answer = _Answer(_classes(loaded), thresholds_of(loaded.model.config) if loaded.multi_label else ())
    started = time.monotonic()
    reader_gone = False
    try:
        with _output(request) as sink:
            _predict(source, classifier, answer, sink, request, report)
    except BrokenPipeError:
        reader_gone = True
    seconds = time.monotonic() - started
    notes = [*loaded.notes, *source.notes(), *answer.notes(precision)]
    return PredictionSummary(source.rows, seconds, tuple(notes), reader_gone)


def _predict(
    source: _Source,
    classifier: Classifier,
    answer: _Answer | _WordAnswer,
    sink: Sink,
    request: PredictionRequest,
    report: Report,
) -> None:
    """Everything between the opened output and its end."""
    writer: RowWriter | None = None
    for window in _ahead(source.windows()):
        done, total = source.rows, window.total

        def progress(rows: int, done: int = done, total: int | None = total) -> None:
            report("predicting", done + rows, total, "rows")

        progress(0)
        logits = classifier.logits(window.tokens, answer.outputs, progress)
        predictions = answer.predictions(logits, window)
        if writer is None:
            names = answer.names(window.chunk.columns)
            if (sentence := names.renamed()) is not None:
                source.says(sentence)
            form = request.output_format
            writer = row_writer(form, sink, window.chunk.columns, names, plain_tsv=window.plain_tsv)
        try:
            writer.write(window.chunk, predictions)
        except DataError as error:
            raise DataError(error.sentence, kind=error.kind, file=str(window.name)) from None
        source.count(window)
    if writer is not None:
        writer.close()


def _classifier(
    loaded: LoadedModel, request: PredictionRequest, device: torch.device
) -> tuple[Classifier, hardware.Precision]:
    """The model on its device, and the precision of its matrix products."""
    wanted: Any = request.precision
    exported = isinstance(loaded.model, OnnxModel)
    precision = "fp32" if exported else hardware.pick_precision(wanted, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = in_half_precision(loaded.model, dtype) if precision == "bf16" else loaded.model
    pad_id = int(loaded.tokenizer.pad_token_id or 0)
    return Classifier(model.to(device).eval(), device, pad_id, dtype, request.batch_size), precision


def _max_length(request: PredictionRequest, task: Task | None, loaded: LoadedModel) -> int:
    """Most tokens of an input: the user's choice, that of the run, or what model and tokenizer take."""
    limit = positions(loaded.model.config)
    if request.max_length is None:
        return min(limit, int(loaded.tokenizer.model_max_length) if task is None else task.max_length)
    if request.max_length > limit:
        sentence = f"--max-length {request.max_length}: {plain(request.model)} reads at most {limit} tokens"
        raise UsageError(sentence, kind="max-length-too-long", key="max_length")
    return request.max_length


def _classes(loaded: LoadedModel) -> tuple[str, ...]:
    """The names of the model's classes, each once; none for a model that gives one score."""
    names = names_of(loaded.model)
    if loaded.model.config.num_labels == 1 and not loaded.multi_label:
        return ()
    return names if len(set(names)) == len(names) else tuple(f"{name} ({at})" for at, name in enumerate(names))


@dataclass(frozen=True)
class _Window:
    """A chunk of rows, tokenised; `total` estimates the rows of all inputs, None where nothing can be known."""

    chunk: RowChunk
    texts: Sequence[str]
    tokens: TokenSet
    empty: int
    total: int | None
    name: Path
    plain_tsv: bool


class _Source:
    """The rows of all inputs, tokenised, and what there is to say about them."""

    def __init__(
        self, request: PredictionRequest, task: Task | None, tokenizer: Any, max_length: int, *, by_word: bool
    ) -> None:
        self._by_word = by_word
        self._request, self._tokenizer, self._max_length = request, tokenizer, max_length
        self._known, self._is_pair = ([], None) if task is None else columns_of_task(task)
        self._sentences: list[str] = []
        self._cut = self._empty = 0
        self.rows = 0
        """Rows that were written."""

    def windows(self) -> Iterator[_Window]:
        """The windows of all inputs."""
        paths: Sequence[Path | None] = [Path(name) for name in self._request.inputs] or [None]
        before = 0  # rows of the files that are read
        for path in paths:
            with RowReader(path, self._request.input_format) as reader:
                columns: TextColumns | None = None
                for chunk in reader.chunks():
                    if columns is None and chunk.columns:
                        columns = self._columns(chunk, reader.name)
                    total = reader.estimate() if path is paths[-1] else None
                    yield self._window(chunk, columns, reader, None if total is None else before + total)
                before += reader.rows

    def _columns(self, chunk: RowChunk, name: Path) -> TextColumns:
        request = self._request
        columns = text_columns(
            chunk.columns, name, text=request.text, pair=request.pair, known=self._known, is_pair=self._is_pair
        )
        if self._by_word and columns[1] is not None:
            sentence = "the model labels words of single texts, not pairs: name the column of the text with --text"
            raise DataError(sentence, kind="pairs-of-word-labels", file=str(name))
        check_max_length(self._tokenizer, self._max_length, pairs=columns[1] is not None, source=str(name))
        if request.text is None and columns not in self._known and len(chunk.columns) > 1:
            used = " and ".join(shown(column) for column in columns if column is not None)
            self.says(f"the texts are those in column{'s' * (columns[1] is not None)} {used}")
        return columns

    def _window(self, chunk: RowChunk, columns: TextColumns | None, reader: RowReader, total: int | None) -> _Window:
        texts, pairs = [], None
        if columns is not None:
            texts = _texts(chunk, columns[0], reader.name, by_word=self._by_word)
            pairs = None if columns[1] is None else _texts(chunk, columns[1], reader.name)
        tokens = tokenise_texts(
            texts, pairs, self._tokenizer, self._max_length, source=str(reader.name), by_word=self._by_word
        )
        empty = sum(not text or text.isspace() for text in texts)
        plain_tsv = self._request.input_format == "tsv" and not reader.quoted
        return _Window(chunk, texts, tokens, empty, total, reader.name, plain_tsv)

    def count(self, window: _Window) -> None:
        """Count a window that was written."""
        self.rows += len(window.tokens)
        self._cut += window.tokens.cut
        self._empty += window.empty

    def says(self, sentence: str) -> None:
        """Add a sentence for the user, once."""
        if sentence not in self._sentences:
            self._sentences.append(sentence)

    def notes(self) -> list[str]:
        """Sentences for the user."""
        notes = list(self._sentences)
        if self._cut:
            notes.append(f"{self._cut:,} of {self.rows:,} texts were cut at {self._max_length} tokens")
        if self._empty:
            notes.append(f"{self._empty:,} of {self.rows:,} texts are empty; the model's answer to them means little")
        return notes


class _Answer:
    """Turns logits into predictions, and counts the rows that have none."""

    def __init__(self, classes: tuple[str, ...], thresholds: tuple[float, ...]) -> None:
        """`thresholds`, one for each class, of a model that answers each on its own."""
        self.classes, self.outputs = classes, len(classes) or 1
        self._thresholds = thresholds
        self._without_tokens = self._not_finite = 0

    def names(self, columns: Sequence[str]) -> OutputNames:
        """What is added to these columns."""
        return OutputNames.beside(columns, self.classes)

    def predictions(self, logits: Logits, window: _Window) -> Predictions:
        """The predictions of some rows; none for rows without tokens, and for those whose logits are not finite."""
        tokens = window.tokens
        finite = np.isfinite(logits).all(axis=1)
        without = int(np.count_nonzero(tokens.lengths == 0))
        self._without_tokens += without
        self._not_finite += int(np.count_nonzero(~finite)) - without
        values = probabilities(logits, each_alone=bool(self._thresholds)) if self.classes else logits.astype(np.float64)
        values[~finite] = np.nan
        return Predictions(self.classes, values, self._thresholds)

    def notes(self, precision: hardware.Precision) -> Iterator[str]:
        """Sentences for the user."""
        if self._thresholds:
            low, high = min(self._thresholds), max(self._thresholds)
            where = f"{low:.3g}" if low == high else f"its own threshold ({low:.3g} to {high:.3g})"
            yield f"the model answers each label on its own: a text has every label whose probability is at least {where}"
        if self._without_tokens:
            yield f"{plural(self._without_tokens, 'row has', 'rows have')} no prediction: the tokenizer finds no tokens there"
        if self._not_finite:
            advice = "; --precision fp32 may help" if precision == "bf16" else ""
            rows = plural(self._not_finite, "row has", "rows have")
            yield f"warning: {rows} no prediction: the model's outputs there are not finite{advice}"


class _WordAnswer:
    """Turns logits into predictions by word, and counts the words that have none."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes, self.outputs = classes, len(classes)
        self._marks = names_entities(classes)
        self._words = self._not_finite = 0
        self._lost = (0, 0)

    def names(self, columns: Sequence[str]) -> OutputNames:
        """What is added to these columns."""
        return OutputNames.of_words(columns, marks=self._marks)

    def predictions(self, logits: Logits, window: _Window) -> WordPredictions:
        """The predictions of some rows; none for words without tokens, and for those whose logits are not finite."""
        tokens = window.tokens
        finite = np.asarray(np.isfinite(logits).all(axis=1))
        shares = probabilities(np.where(finite[:, None], logits, 0.0).astype(np.float32), each_alone=False)
        best, most = shares.argmax(axis=1).tolist(), np.round(shares.max(axis=1), DIGITS).tolist()
        words, labels, own = [], [], []
        for row, text in enumerate(window.texts):
            words.append(text.split(" "))
            answers = range(int(tokens.answer_offsets[row]), int(tokens.answer_offsets[row + 1]))
            by_word: list[str | None] = [None] * len(words[-1])
            of_word: list[float | None] = [None] * len(words[-1])
            for place, answer in zip(tokens.words_of(row), answers, strict=True):
                if finite[answer]:
                    by_word[place], of_word[place] = self.classes[best[answer]], most[answer]
            labels.append(by_word)
            own.append(of_word)
        self._words += sum(map(len, words))
        self._not_finite += int(np.count_nonzero(~finite))
        self._lost = (self._lost[0] + tokens.lost[0], self._lost[1] + tokens.lost[1])
        return WordPredictions(words, labels, own, marks=self._marks)

    def notes(self, precision: hardware.Precision) -> Iterator[str]:
        """Sentences for the user."""
        cut, vanished = self._lost
        if cut:
            yield f"warning: {cut:,} of {self._words:,} words have no label: they are cut off by the most tokens of an input"
        if vanished:
            yield f"{vanished:,} of {self._words:,} words have no label: the tokenizer finds no tokens in them"
        if self._not_finite:
            advice = "; --precision fp32 may help" if precision == "bf16" else ""
            words = plural(self._not_finite, "word has", "words have")
            yield f"warning: {words} no label: the model's outputs there are not finite{advice}"


def _texts(chunk: RowChunk, column: str, name: Path, *, by_word: bool = False) -> list[str]:
    """The texts in a column, with `by_word` also lists of words; a missing one is empty. Raises DataError for other values."""
    values = chunk.values(column) if column in chunk.columns else [None] * len(chunk.lines)
    texts = ["" if value is None else value for value in values]
    if by_word:
        texts = [text_of_words(value) for value in texts]
    for line, value in zip(chunk.lines, texts, strict=True):
        if not isinstance(value, str):
            is_row = isinstance(chunk, ArrowChunk)
            what = f"{shown(value)} in column {shown(column)} is {value_kind(value)}, not text"
            sentence = f"row {line:,}: {what}" if is_row else what
            raise DataError(sentence, kind="not-text", file=str(name), line=None if is_row else line)
        check_text(value, str(name), line)
    return texts


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each computed in another thread while the one before it is used."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="reading")
    try:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Output(io.RawIOBase):
    """Where the predictions go. What the system refuses is a RunError; a closed pipe stays a BrokenPipeError."""

    def __init__(self, handle: int, name: str) -> None:
        self._handle, self._name = handle, name
        self._is_terminal = os.isatty(handle)
        self._ended = False

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes; on a terminal, control characters in them are escaped."""
        content = bytes(data)
        if (
            self._ended
        ):  # a Parquet writer that failed tries again when it is deleted; the descriptor may be another file's
            return len(content)
        try:
            write_all(self._handle, _safe(content) if self._is_terminal else content)
        except BrokenPipeError:
            raise
        except OSError as fault:
            raise _unwritable(fault, self._name) from fault
        return len(content)

    def end(self) -> None:
        """Write nothing from here on."""
        self._ended = True


def _safe(content: bytes) -> bytes:
    text = content.decode("utf-8", "backslashreplace")
    return "\t".join(printable(part) for part in text.split("\t")).encode()


def _unwritable(fault: OSError, name: str) -> RunError:
    sentence = f"cannot write the predictions: {cause(fault)}"
    return RunError(sentence, kind="cannot-write-predictions", file=name)


@contextmanager
def _output(request: PredictionRequest) -> Iterator[Sink]:
    """The output: the descriptor, or a file that appears when the block ends, and not at all if it raises an error."""
    if request.output is None:
        assert request.descriptor is not None
        yield _Output(request.descriptor, "stdout")
        return
    path = Path(request.output)
    remove_leftovers_of(path)
    try:
        with replacement(path) as handle:
            output = _Output(handle, request.output)
            try:
                with compressing(output, path) as sink:
                    yield sink
            finally:
                output.end()
    except OSError as fault:
        raise _unwritable(fault, request.output) from fault
