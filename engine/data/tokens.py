"""Tokenise examples; the result is cached on disk by texts, tokenizer and length."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from engine.data.content import add_texts
from engine.data.examples import Examples
from engine.data.spool import Spool, room
from engine.data.types import Example
from engine.errors import CrildError, DataError, ModelError
from engine.preset.text import plain
from engine.record.files import cause, why_unreadable
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported

FOLDER = "tokens"
"""Subfolder of the cache directory."""

_FORMAT = "1"  # of the cached files; part of every key
_CHUNK = 1024  # texts per call of the tokenizer: a request to stop waits for one, and encodings need much memory
_SLOW_CHUNK = 64  # of one written in Python
_LABEL = npt.NDArray[np.int64] | npt.NDArray[np.float32] | npt.NDArray[np.uint8]
_Encoded = tuple[Sequence[Sequence[int]], Sequence[Sequence[int]] | None, int]  # tokens, types, rows that were cut

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenSet:
    """Tokenised examples in one flat array; row r is `input_ids[offsets[r]:offsets[r + 1]]`, special tokens included.

    `offsets` int64 (rows + 1,); `input_ids` int32 (tokens,); `type_ids` int8 (tokens,), None if the tokenizer's
    models don't use them; `labels` int64 (classes) or float32 (scores) (rows,), or uint8 (several) (rows, labels), None if an example has no label; `cut`
    counts the rows that were truncated; `content` is a hash of texts, tokenizer and length: sets with the same hash have
    the same tokens in the same order (ids and labels may differ).
    """

    ids: Sequence[str]
    offsets: npt.NDArray[np.int64]
    input_ids: npt.NDArray[np.int32]
    type_ids: npt.NDArray[np.int8] | None
    labels: _LABEL | None
    cut: int
    content: str

    def __len__(self) -> int:
        return len(self.ids)

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

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {"offsets": self.offsets, "input_ids": self.input_ids}
        return arrays if self.type_ids is None else {**arrays, "type_ids": self.type_ids}

    def digest(self, key: str, report: Report = unreported, phase: str = "") -> str:
        """A checksum of all fields and of the key that they are stored under."""
        return digest(f"{_FORMAT} {key} {self.cut}", self.arrays(), report, phase)


def tokenise(
    examples: Sequence[Example],
    tokenizer: Any,
    max_length: int,
    *,
    report: Report = unreported,
    what: str = "rows",
    source: str | None = None,
    warn: Callable[[str], object] = log.warning,
) -> TokenSet:
    """Tokenise examples with a Hugging Face tokenizer, or read the cached result of an earlier call.

    Inputs longer than `max_length` tokens (special tokens included) are truncated, pairs at the longer sentence, and
    counted. The cache key is a hash of texts, tokenizer and length; a damaged cache file is replaced, and a failure to
    write one only costs time. The arrays of large sets are mapped files. `report` is called between pieces. `what` names
    the examples in its phases, and `source` in errors; `warn` takes a sentence where the disk has no room for the tokens.

    Raises DataError when `max_length` leaves no room next to the special tokens, or an input gives no tokens at all, and
    ModelError for whatever the tokenizer raises.
    """
    source = source or f"the {what}"
    rows = Examples.of(examples)
    check_max_length(tokenizer, max_length, pairs=rows.pairs is not None, source=source)
    with _untouched(tokenizer):
        report(f"hashing the {what}")
        content = _content(rows, tokenizer, max_length)
        path = cache_dir() / FOLDER / f"{content}.safetensors"
        tokens = _read(path, content, report, f"reading the tokens of the {what}")
        if tokens is None:
            tokens = _encode(rows.chunks, len(rows), tokenizer, max_length, report, what, source)
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
        labels=label_array(rows),
        cut=tokens.cut,
        content=content,
    )


def tokenise_texts(
    texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Any, max_length: int, *, source: str
) -> TokenSet:
    """Tokenise texts as `tokenise` does, without the cache, and without labels, a hash, or ids other than row numbers.

    A row may have no tokens. Raises ModelError for whatever the tokenizer raises.
    """

    def chunks(size: int) -> Iterator[tuple[Sequence[str], Sequence[str] | None]]:
        for start in range(0, len(texts), size):
            chunk = slice(start, start + size)
            yield texts[chunk], None if pairs is None else pairs[chunk]

    with _untouched(tokenizer):
        tokens = _encode(chunks, len(texts), tokenizer, max_length, unreported, "rows", source)
    return TokenSet(
        ids=tuple(map(str, range(len(texts)))),
        offsets=tokens.offsets,
        input_ids=tokens.input_ids,
        type_ids=tokens.type_ids,
        labels=None,
        cut=tokens.cut,
        content="",
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


def _content(rows: Examples, tokenizer: Any, max_length: int) -> str:
    """The cache key: a hash of everything the tokens depend on."""
    state = hashlib.sha256()
    settings = (_FORMAT, max_length, tokenizer.truncation_side, _takes_types(tokenizer), rows.pairs is not None)
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
) -> _Tokens:
    """The tokens of `rows` texts and pairs, of which `chunks` gives so many at once."""
    is_slow = getattr(tokenizer, "backend_tokenizer", None) is None
    encode, size = (_slow, _SLOW_CHUNK) if is_slow else (_fast, _CHUNK)
    offsets, input_ids, type_ids = Spool(), Spool(), Spool()
    offsets.append(bytes(8))
    done = end = cut = 0
    for texts, pairs in chunks(size):
        report(f"tokenising the {what}", done, rows, "rows")
        with _tokenizer_errors(tokenizer, source):
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
    )


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
        tokens = _Tokens(arrays["offsets"], arrays["input_ids"], arrays.get("type_ids"), int(texts["cut"]))
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
        write_arrays(path, tokens.arrays(), texts, root=path.parent.parent)
        arrays, _ = read_arrays(path)
    except (OSError, DamagedFileError) as fault:
        log.warning("tokens cannot be cached (%s): %s", cause(fault) if isinstance(fault, OSError) else fault, path)
        return tokens
    return _Tokens(arrays["offsets"], arrays["input_ids"], arrays.get("type_ids"), tokens.cut)
