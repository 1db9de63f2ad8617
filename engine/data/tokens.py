"""Tokenise examples; the result is cached on disk by texts, tokenizer and length."""

from __future__ import annotations

import hashlib
import json
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.array_files import (
    DamagedFileError,
    array_of,
    bytes_of,
    digest,
    forget_pages,
    read_arrays,
    write_arrays,
)
from engine.data.candidates import Candidates
from engine.data.content import add_texts
from engine.data.examples import Examples, flat_labels
from engine.data.spool import Spool, room
from engine.data.types import Example
from engine.errors import CrildError, DataError, ModelError
from engine.preset.text import plain
from engine.record.files import cause, why_unreadable
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported

FOLDER = "tokens"
"""Subfolder of the cache directory."""

NO_LABEL = -100
"""What stands for a label at tokens that have none, as in `transformers`."""
_FORMAT = "1"  # of the cached files; part of every key
_CHUNK = 1024  # texts per call of the tokenizer: a request to stop waits for one, and encodings need much memory
_SLOW_CHUNK = 64  # of one written in Python
_LABEL = npt.NDArray[np.int64] | npt.NDArray[np.float32] | npt.NDArray[np.uint8]
_Encoded = tuple[Sequence[Sequence[int]], Sequence[Sequence[int]] | None, int]  # tokens, types, rows that were cut

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenSet:
    """Tokenised examples in one flat array; row r is `input_ids[offsets[r]:offsets[r + 1]]`, special tokens included.

    Of a task with labels by word, `words` int32 (tokens,) has at the first piece of each word the number of the word in its
    row, and -1 at all other tokens; None for other tasks. The answers to such a row are those at these first pieces, the
    answer to a row of another task is one. `lost` counts the words without an answer: those behind `max_length`, and those
    that the tokenizer leaves nothing of.

    `offsets` int64 (rows + 1,); `input_ids` int32 (tokens,); `type_ids` int8 (tokens,), None if the tokenizer's
    models don't use them; `labels` int64 (classes) or float32 (scores) (rows,), or uint8 (several) (rows, labels), or int64
    (labels by word) (answers,), None if an example has no label; `cut`
    counts the rows that were truncated; `content` is a hash of texts, tokenizer and length: sets with the same hash have
    the same tokens in the same order (ids, labels and groups may differ). `groups` are
    those of `Examples`; of labels by word, the row of each answer, (answers,). `candidates` are None where every row is read.
    """

    ids: Sequence[str]
    offsets: npt.NDArray[np.int64]
    input_ids: npt.NDArray[np.int32]
    type_ids: npt.NDArray[np.int8] | None
    labels: _LABEL | None
    cut: int
    content: str
    words: npt.NDArray[np.int32] | None = None
    lost: tuple[int, int] = (0, 0)
    groups: npt.NDArray[np.int64] | None = None
    candidates: Candidates | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def per_epoch(self) -> int:
        """Inputs that an epoch trains on."""
        return len(self) if self.candidates is None else self.candidates.per_epoch

    @cached_property
    def answer_tokens(self) -> npt.NDArray[np.int64]:
        """Where in `input_ids` the first pieces of words are, (answers,), of a task with labels by word."""
        assert self.words is not None
        return np.flatnonzero(self.words >= 0)

    @cached_property
    def answer_offsets(self) -> npt.NDArray[np.int64]:
        """Row r has the answers from `answer_offsets[r]` to `answer_offsets[r + 1]`, (rows + 1,)."""
        if self.words is None:
            return np.arange(len(self) + 1)
        return np.searchsorted(self.answer_tokens, self.offsets).astype(np.int64)

    def answer_count(self, rows: npt.NDArray[np.int64] | None = None) -> int:
        """The number of answers to these rows, or to all."""
        if self.words is None:
            return len(self) if rows is None else len(rows)
        counts = np.diff(self.answer_offsets)
        return int((counts if rows is None else counts[rows]).sum())

    def answers_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the answers to these rows, one row after the other."""
        if self.words is None:
            return rows
        starts, ends = self.answer_offsets[rows], self.answer_offsets[rows + 1]
        return np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)] or [starts])

    def words_of(self, row: int) -> list[int]:
        """The numbers of the words of a row that have an answer."""
        assert self.words is not None
        words = self.words[self.offsets[row] : self.offsets[row + 1]]
        return [int(word) for word in words if word >= 0]

    @cached_property
    def token_labels(self) -> npt.NDArray[np.int64]:
        """The label at the first piece of each word and `NO_LABEL` elsewhere, (tokens,), of a task with labels by word."""
        found = np.full(len(self.input_ids), NO_LABEL, np.int64)
        assert self.labels is not None
        found[self.answer_tokens] = self.labels
        return found

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row, (rows,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class _Tokens:
    """The cached part: everything but ids and labels."""

    offsets: npt.NDArray[np.int64]
    input_ids: npt.NDArray[np.int32]
    type_ids: npt.NDArray[np.int8] | None
    cut: int
    words: npt.NDArray[np.int32] | None = None
    cut_words: int = 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any] | None] = {
            "offsets": self.offsets, "input_ids": self.input_ids, "type_ids": self.type_ids, "words": self.words,
        }  # fmt: skip
        return {name: array for name, array in arrays.items() if array is not None}

    def digest(self, key: str, report: Report = unreported, phase: str = "") -> str:
        """A checksum of all fields and of the key that they are stored under."""
        words = "" if self.words is None else f" {self.cut_words}"
        return digest(f"{_FORMAT} {key} {self.cut}{words}", self.arrays(), report, phase)


def tokenise(
    examples: Sequence[Example],
    tokenizer: Any,
    max_length: int,
    *,
    by_word: bool = False,
    report: Report = unreported,
    what: str = "rows",
    source: str | None = None,
    warn: Callable[[str], object] = log.warning,
) -> TokenSet:
    """Tokenise examples with a Hugging Face tokenizer, or read the cached result of an earlier call.

    With `by_word`, for a task with labels by word, the first piece of each word is found (`TokenSet.words`); words are what
    single spaces separate.

    Inputs longer than `max_length` tokens (special tokens included) are truncated, pairs at the longer sentence, and
    counted. The cache key is a hash of texts, tokenizer and length; a damaged cache file is replaced, and a failure to
    write one only costs time. The arrays of large sets are mapped files. `report` is called between pieces. `what` names
    the examples in its phases, and `source` in errors; `warn` takes a sentence where the disk has no room for the tokens.

    Raises DataError when `max_length` leaves no room next to the special tokens, or an input gives no tokens at all, and
    ModelError for whatever the tokenizer raises.
    """
    source = source or f"the {what}"
    rows = Examples.of(examples)
    if by_word and rows.pairs is not None:
        sentence = f"{source} are pairs of texts, and a task with labels of words reads single texts"
        raise DataError(sentence, kind="pairs-of-word-labels")
    check_max_length(tokenizer, max_length, pairs=rows.pairs is not None, source=source)
    with _untouched(tokenizer):
        report(f"hashing the {what}")
        content = _content(rows, tokenizer, max_length, by_word=by_word)
        path = cache_dir() / FOLDER / f"{content}.safetensors"
        tokens = _read(path, content, report, f"reading the tokens of the {what}")
        if tokens is None:
            tokens = _encode(rows.chunks, len(rows), tokenizer, max_length, report, what, source, by_word=by_word)
            if (reason := why_unreadable(path)) is None:
                tokens = _stored(path, content, tokens, warn)
            else:  # it may be whole, and belong to somebody else: it stays
                log.warning("cached tokens cannot be read (%s), and were computed again: %s", reason, path)
    lengths = np.diff(tokens.offsets)
    if len(rows) and not lengths.all():
        sentence = f"example {rows.ids[int(lengths.argmin())]} gives no tokens"
        raise DataError(sentence, kind="no-tokens")
    return TokenSet(
        ids=rows.ids,
        offsets=tokens.offsets,
        input_ids=tokens.input_ids,
        type_ids=tokens.type_ids,
        labels=_answer_labels(rows, tokens) if by_word else label_array(rows),
        cut=tokens.cut,
        content=content,
        words=tokens.words,
        lost=_lost(tokens, sum(text.count(" ") + 1 for text in rows.texts)) if by_word else (0, 0),
        groups=_sentences(tokens) if by_word else rows.groups,
    )


def tokenise_texts(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokenizer: Any,
    max_length: int,
    *,
    source: str,
    by_word: bool = False,
) -> TokenSet:
    """Tokenise texts as `tokenise` does, without the cache, and without labels, a hash, or ids other than row numbers.

    A row may have no tokens. Raises ModelError for whatever the tokenizer raises.
    """

    def chunks(size: int) -> Iterator[tuple[Sequence[str], Sequence[str] | None]]:
        for start in range(0, len(texts), size):
            chunk = slice(start, start + size)
            yield texts[chunk], None if pairs is None else pairs[chunk]

    with _untouched(tokenizer):
        tokens = _encode(chunks, len(texts), tokenizer, max_length, unreported, "rows", source, by_word=by_word)
    return TokenSet(
        ids=tuple(map(str, range(len(texts)))),
        offsets=tokens.offsets,
        input_ids=tokens.input_ids,
        type_ids=tokens.type_ids,
        labels=None,
        cut=tokens.cut,
        content="",
        words=tokens.words,
        lost=_lost(tokens, sum(text.count(" ") + 1 for text in texts)) if by_word else (0, 0),
    )


def check_max_length(tokenizer: Any, max_length: int, *, pairs: bool, source: str) -> None:
    """Raise DataError when `max_length` leaves no room next to the special tokens of a text or pair."""
    with _tokenizer_errors(tokenizer, source):
        special = int(tokenizer.num_special_tokens_to_add(pair=pairs))
    if max_length <= special:
        sentence = f"max_length {max_length} leaves no room for words next to {special} special tokens"
        raise DataError(sentence, kind="max-length-too-small", key="task.max_length")


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's whole definition, wherever it was read from."""
    with _untouched(tokenizer):
        return hashlib.sha256(_definition(tokenizer, paths=False).encode("utf-8", "surrogatepass")).hexdigest()


def label_array(examples: Sequence[Example]) -> _LABEL | None:
    """Labels: (rows,) int64 for classes, float32 for scores, (rows, labels) uint8 for several; None when any is missing."""
    labels = Examples.of(examples).labels
    if labels is None or any(label is None for label in (labels if labels.dtype == object else ())):
        return None
    return labels if labels.dtype in (np.int64, np.uint8) else labels.astype(np.float32)


def _answer_labels(rows: Examples, tokens: _Tokens) -> npt.NDArray[np.int64] | None:
    """The labels of the words that have an answer, (answers,); None when the rows have none."""
    if rows.labels is None:
        return None
    assert tokens.words is not None
    places = np.flatnonzero(tokens.words >= 0)
    counts = np.fromiter(map(len, rows.labels), np.int64, len(rows))
    first = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))[:-1]
    row = np.searchsorted(tokens.offsets, places, side="right") - 1
    return np.asarray(flat_labels(rows.labels)[first[row] + tokens.words[places]])


def _sentences(tokens: _Tokens) -> npt.NDArray[np.int64]:
    """The row of each answer, (answers,)."""
    assert tokens.words is not None
    return np.searchsorted(tokens.offsets, np.flatnonzero(tokens.words >= 0), side="right") - 1


def _lost(tokens: _Tokens, words: int) -> tuple[int, int]:
    """`TokenSet.lost`, of rows with so many words."""
    assert tokens.words is not None
    answered = int(np.count_nonzero(tokens.words >= 0))
    return tokens.cut_words, words - answered - tokens.cut_words


@contextmanager
def _tokenizer_errors(tokenizer: Any, source: str) -> Iterator[None]:
    """Turn what a tokenizer raises into a ModelError; a panic of its Rust code is not even an Exception."""
    try:
        yield
    except (CrildError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        folder = plain(str(tokenizer.name_or_path or ""))
        named = f"the tokenizer in {folder}" if folder else "the tokenizer"
        reason = plain(str(error).strip().split("\n")[0]) or type(error).__name__
        sentence = f"{named} cannot read {plain(source)}: {reason}"
        raise ModelError(sentence, kind="tokenizer-cannot-encode", file=folder or None) from error


@contextmanager
def _untouched(tokenizer: Any) -> Iterator[None]:
    """Switch the tokenizer's truncation and padding off, and restore them afterwards."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)


def _content(rows: Examples, tokenizer: Any, max_length: int, *, by_word: bool) -> str:
    """The cache key: a hash of everything the tokens depend on."""
    state = hashlib.sha256()
    settings = [_FORMAT, max_length, tokenizer.truncation_side, _takes_types(tokenizer), rows.pairs is not None]
    settings += ["words"] if by_word else []
    for part in (json.dumps(settings), _definition(tokenizer)):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part.encode("utf-8", "surrogatepass"))
    add_texts(state, rows.texts, rows.pairs)
    return state.hexdigest()


def _definition(tokenizer: Any, *, paths: bool = True) -> str:
    """A tokenizer's whole definition as text; of one written in Python with the `paths` that it was read from, or without."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return f"{bool(tokenizer.split_special_tokens)} {backend.to_str()}"
    settings = tokenizer.init_kwargs
    if not paths:
        settings = {k: v for k, v in settings.items() if k != "name_or_path" and not k.endswith("_file")}
    return json.dumps([type(tokenizer).__name__, tokenizer.get_vocab(), settings], default=str, sort_keys=True)


def _takes_types(tokenizer: Any) -> bool:
    return "token_type_ids" in tokenizer.model_input_names


def _encode(
    chunks: Callable[[int], Iterator[tuple[Sequence[str], Sequence[str] | None]]],
    rows: int,
    tokenizer: Any,
    max_length: int,
    report: Report,
    what: str,
    source: str,
    *,
    by_word: bool,
) -> _Tokens:
    """The tokens of `rows` texts and pairs, of which `chunks` gives so many at once."""
    is_slow = getattr(tokenizer, "backend_tokenizer", None) is None
    if by_word and is_slow:
        sentence = (
            f"the tokenizer {plain(str(tokenizer.name_or_path or ''))} is one written in Python, which does not say where in a text "
            "its tokens are: labels of words need a tokenizer.json"
        )
        raise ModelError(sentence, kind="tokenizer-without-offsets", key="teacher.tokenizer")
    encode, size = (_slow, _SLOW_CHUNK) if is_slow else (_fast, _CHUNK)
    offsets, input_ids, type_ids, words = Spool(), Spool(), Spool(), Spool()
    offsets.append(bytes(8))
    done = end = cut = cut_words = 0
    for texts, pairs in chunks(size):
        report(f"tokenising the {what}", done, rows, "rows")
        with _tokenizer_errors(tokenizer, source):
            if by_word:
                ids, types, longer, numbers, beyond = _by_word(texts, tokenizer, max_length)
                words.append(bytes_of(np.fromiter(chain.from_iterable(numbers), np.int32)))
                cut_words += beyond
            else:
                ids, types, longer = encode(texts, pairs, tokenizer, max_length)
        ends = end + np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)))
        total = int(ends[-1]) - end
        offsets.append(bytes_of(ends))
        input_ids.append(bytes_of(np.fromiter(chain.from_iterable(ids), np.int32, total)))
        if types is not None:
            type_ids.append(bytes_of(np.fromiter(chain.from_iterable(types), np.int8, total)))
        done, end, cut = done + len(texts), int(ends[-1]), cut + longer
    return _Tokens(
        offsets=array_of(offsets, np.int64),
        input_ids=array_of(input_ids, np.int32),
        type_ids=array_of(type_ids, np.int8) if _takes_types(tokenizer) else None,
        cut=cut,
        words=array_of(words, np.int32) if by_word else None,
        cut_words=cut_words,
    )


def _by_word(
    texts: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]] | None, int, list[list[int]], int]:
    """As `_fast`, with the number of the word that begins at each token, else -1, and how many words are cut off."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = tokenizer.split_special_tokens
    backend.enable_truncation(max_length, strategy="longest_first", direction=tokenizer.truncation_side)
    found = backend.encode_batch(list(texts))
    types = [encoding.type_ids for encoding in found] if _takes_types(tokenizer) else None
    numbers = [word_starts(text, encoding.offsets) for text, encoding in zip(texts, found, strict=True)]
    beyond = 0
    for text, encoding, starts in zip(texts, found, numbers, strict=True):
        if encoding.overflowing:
            known = [number for number in starts if number >= 0] or [-1]
            beyond += known[0] if tokenizer.truncation_side == "left" else text.count(" ") - known[-1]
    return [encoding.ids for encoding in found], types, sum(bool(each.overflowing) for each in found), numbers, beyond


def word_starts(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each token of a text, by its span of characters, the number of the word whose first piece it is, else -1.

    Words are what single spaces separate. Spans of special tokens are empty. A token of several words belongs to the first.
    """
    begins = [0, *(at + 1 for at, letter in enumerate(text) if letter == " ")]
    found, last = [], -1
    for start, end in spans:
        first = next(
            (at for at in range(start, end) if text[at] != " "), None
        )  # some pieces begin with the space before them
        word = last if first is None else bisect_right(begins, first) - 1
        found.append(word if word > last else -1)
        last = max(last, word)
    return found


def _fast(texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Any, max_length: int) -> _Encoded:
    """Use the Rust tokenizer directly, without the text offsets that Hugging Face's wrapper also computes."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = tokenizer.split_special_tokens
    backend.enable_truncation(max_length, strategy="longest_first", direction=tokenizer.truncation_side)
    found = backend.encode_batch_fast(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))
    types = [encoding.type_ids for encoding in found] if _takes_types(tokenizer) else None
    return [encoding.ids for encoding in found], types, sum(bool(encoding.overflowing) for encoding in found)


def _slow(texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Any, max_length: int) -> _Encoded:
    """Use a tokenizer written in Python."""
    found = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation="longest_first",
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=_takes_types(tokenizer),
    )
    whole = tokenizer(list(texts), None if pairs is None else list(pairs), truncation=False, verbose=False)
    return found["input_ids"], found.get("token_type_ids"), sum(len(ids) > max_length for ids in whole["input_ids"])


def _read(path: Path, key: str, report: Report, phase: str) -> _Tokens | None:
    """Cached tokens; None if there are none for this key, or the file is damaged or cannot be read now.

    Files of crild up to 0.2 do not name their key, so nothing shows that they have these texts: None for them as well.
    """
    if why_unreadable(path) is not None or not path.is_file():
        return None
    try:
        arrays, texts = read_arrays(path)
        if "digest" in texts and "key" not in texts:
            return None
        tokens = _Tokens(
            arrays["offsets"], arrays["input_ids"], arrays.get("type_ids"), int(texts["cut"]), arrays.get("words"),
            int(texts.get("cut_words", "0")),
        )  # fmt: skip
    except (DamagedFileError, OSError, KeyError, ValueError):
        log.warning("cached tokens are damaged and will be replaced: %s", path)
        return None
    if tokens.digest(texts.get("key", ""), report, phase) != texts.get("digest"):
        log.warning("cached tokens are damaged and will be replaced: %s", path)
        return None
    if texts.get("key") != key:
        log.warning("cached tokens are those of other texts and will be replaced: %s", path)
        return None
    forget_pages(tokens.arrays())
    return tokens


def _stored(path: Path, key: str, tokens: _Tokens, warn: Callable[[str], object]) -> _Tokens:
    """The tokens as the cache holds them now, so that their own memory or disk is free; as they are where it cannot."""
    size = sum(array.nbytes for array in tokens.arrays().values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if (free := room(path.parent)) < size:
            warn(
                f"{size / 1e9:.1f} GB of tokens are not stored, because the disk of {plain(str(path.parent))} has only "
                f"{max(free, 0) / 1e9:.1f} GB to spare; the next run computes them again"
            )
            return tokens
        texts = {"cut": str(tokens.cut), "digest": tokens.digest(key), "key": key}
        texts |= {} if tokens.words is None else {"cut_words": str(tokens.cut_words)}
        write_arrays(path, tokens.arrays(), texts, root=path.parent.parent)
        arrays, _ = read_arrays(path)
    except (OSError, DamagedFileError) as fault:
        log.warning("tokens cannot be cached (%s): %s", cause(fault) if isinstance(fault, OSError) else fault, path)
        return tokens
    return replace(
        tokens, offsets=arrays["offsets"], input_ids=arrays["input_ids"], type_ids=arrays.get("type_ids"),
        words=arrays.get("words"),
    )  # fmt: skip
