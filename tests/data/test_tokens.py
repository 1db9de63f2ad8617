from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from engine.data import tokens as module
from engine.data.tokens import tokenise
from engine.data.types import Example
from engine.errors import DataError, ModelError
from tests.refused_files import refuse

from .words import word_tokenizer


def examples(texts: Sequence[str], pairs: Sequence[str] | None = None, label: float | None = 0) -> tuple[Example, ...]:
    return tuple(Example(f"dev-{row}", text, pairs[row] if pairs else None, label) for row, text in enumerate(texts))


def kept_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "tokens").glob("*"))


def test_rows_stand_one_after_the_other_with_special_tokens() -> None:
    tokens = tokenise(examples(["a b", "", "C zzz"]), word_tokenizer(), 16)
    assert tokens.input_ids.tolist() == [2, 5, 6, 3, 2, 3, 2, 7, 1, 3]
    assert tokens.offsets.tolist() == [0, 4, 6, 10]
    assert tokens.lengths.tolist() == [4, 2, 4]
    assert tokens.ids == ("dev-0", "dev-1", "dev-2")
    assert tokens.cut == 0
    assert len(tokens) == 3


def test_types_tell_the_sentences_of_a_pair_apart() -> None:
    tokens = tokenise(examples(["a b"], ["c"]), word_tokenizer(), 16)
    assert tokens.type_ids is not None
    assert tokens.input_ids.tolist() == [2, 5, 6, 3, 7, 3]
    assert tokens.type_ids.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_tokenizer_without_types_gives_none() -> None:
    tokenizer = word_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokens = tokenise(examples(["a"], ["b"]), tokenizer, 16)
    assert tokens.type_ids is None
    assert tokens.type_ids is None


def test_the_longer_sentence_of_a_pair_is_cut_and_counted() -> None:
    tokens = tokenise(examples(["a a a a a", "a"], ["b", "b"]), word_tokenizer(), 7)
    assert tokens.input_ids[:7].tolist() == [2, 5, 5, 5, 3, 6, 3]
    assert tokens.cut == 1
    assert tokenise(examples(["a a a"]), word_tokenizer(), 5).cut == 0, "five tokens fit into five"


@pytest.mark.parametrize("pairs", [None, ["b c", "d " * 9, "", "e"]])
def test_the_same_tokens_as_hugging_face_gives(pairs: list[str] | None) -> None:
    texts = ["a b c", "d", "e f " * 9, "[MASK] a"]
    tokenizer = word_tokenizer()
    expected = tokenizer(texts, pairs, truncation="longest_first", max_length=8)
    found = tokenise(examples(texts, pairs), tokenizer, 8)
    assert found.type_ids is not None
    for row in range(4):
        part = slice(found.offsets[row], found.offsets[row + 1])
        assert found.input_ids[part].tolist() == expected["input_ids"][row]
        assert found.type_ids[part].tolist() == expected["token_type_ids"][row]


def test_chunks_join_to_what_one_call_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = examples([f"{'a b c d e f g h'[: 2 * n + 1]}" for n in range(7)])
    whole = tokenise(rows, word_tokenizer(), 6)
    monkeypatch.setattr(module, "_CHUNK", 2)
    monkeypatch.setattr(module, "_read", lambda *_: None)
    parts = tokenise(rows, word_tokenizer(), 6)
    assert parts.input_ids.tolist() == whole.input_ids.tolist()
    assert parts.offsets.tolist() == whole.offsets.tolist()
    assert parts.cut == whole.cut == 3


def test_a_second_call_reads_what_the_first_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = tokenise(examples(["a b", "c d e f"], ["a", "b b b"]), word_tokenizer(), 8)
    assert len(kept_files(tmp_path)) == 1

    def never(*arguments: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(module, "_encode", never)
    again = tokenise(examples(["a b", "c d e f"], ["a", "b b b"], label=1), word_tokenizer(), 8)
    assert again.input_ids.tolist() == first.input_ids.tolist()
    assert again.offsets.tolist() == first.offsets.tolist()
    assert again.type_ids is not None
    assert first.type_ids is not None
    assert again.type_ids.tolist() == first.type_ids.tolist()
    assert (again.cut, again.content) == (first.cut, first.content) == (1, first.content)
    assert again.labels is not None
    assert again.labels.tolist() == [1, 1], "labels are the examples' own, not kept ones"


def test_what_tokens_depend_on_is_in_their_key() -> None:
    base = tokenise(examples(["a b", "c"]), word_tokenizer(), 8).content
    assert (
        tokenise(examples(["ab", "c"]), word_tokenizer(), 8).content
        != tokenise(examples(["a", "bc"]), word_tokenizer(), 8).content
    ), "where one text ends and the next begins"
    others = [
        tokenise(examples(["a", "b c"]), word_tokenizer(), 8),
        tokenise(examples(["a b", "c"]), word_tokenizer(), 9),
        tokenise(examples(["a b", "c"]), word_tokenizer("b a c"), 8),
        tokenise(examples(["a b", "c"]), word_tokenizer(truncation_side="left"), 8),
        tokenise(examples(["a b"], ["c"]), word_tokenizer(), 8),
        tokenise(examples(["a b", "c"], ["", ""]), word_tokenizer(), 8),
    ]
    contents = {tokens.content for tokens in others}
    assert len(contents) == len(others)
    assert base not in contents
    ids = tuple(Example(f"x{row}", text, None, None) for row, text in enumerate(["a b", "c"]))
    assert tokenise(ids, word_tokenizer(), 8).content == base, "ids and labels are no part of the tokens"


def test_the_state_of_a_tokenizer_is_neither_used_nor_changed(tmp_path: Path) -> None:
    plain = tokenise(examples(["a b c d e f"]), word_tokenizer(), 6)
    tokenizer = word_tokenizer()
    tokenizer(["a b c"], truncation=True, max_length=3, padding="max_length")
    before = tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding
    assert tokenise(examples(["a b c d e f"]), tokenizer, 6).content == plain.content
    assert (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding) == before
    assert before[0]["max_length"] == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_file_is_made_anew(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = examples(["a b", "c d e"])
    expected = tokenise(rows, word_tokenizer(), 8)
    (file,) = kept_files(tmp_path)
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[-3] ^= 1
    bad = {"cut": good[:-7], "flip": bytes(flipped), "empty": b"", "other": b"\2\0\0\0\0\0\0\0{}"}[damage]
    file.write_bytes(bad)
    with caplog.at_level(logging.WARNING):
        found = tokenise(rows, word_tokenizer(), 8)
    assert "damaged" in caplog.text
    assert found.input_ids.tolist() == expected.input_ids.tolist()
    assert file.stat().st_size == len(good)
    caplog.clear()
    tokenise(rows, word_tokenizer(), 8)
    assert caplog.text == "", "the file that was written in its place is whole"


def test_the_tokens_of_other_texts_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = tokenise(examples(["a b", "c d e"]), word_tokenizer(), 8)
    (own,) = kept_files(tmp_path)
    tokenise(examples(["e d c", "b a"]), word_tokenizer(), 8)
    (other,) = set(kept_files(tmp_path)) - {own}
    own.write_bytes(other.read_bytes())
    assert tokenise(examples(["a b", "c d e"]), word_tokenizer(), 8).input_ids.tolist() == expected.input_ids.tolist()
    assert str(own) in caplog.text
    assert own.read_bytes() != other.read_bytes()


def test_a_file_that_does_not_name_its_key_is_made_anew_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = examples(["a b", "c d e"])
    expected = tokenise(rows, word_tokenizer(), 8)
    (file,) = kept_files(tmp_path)
    released = module._Tokens(expected.offsets, expected.input_ids[::-1].copy(), expected.type_ids, 0)
    file.write_bytes(save(released.arrays(), {"cut": "0", "digest": "as crild 0.2 wrote it"}))
    assert tokenise(rows, word_tokenizer(), 8).input_ids.tolist() == expected.input_ids.tolist()
    monkeypatch.delattr(module, "_encode")
    assert tokenise(rows, word_tokenizer(), 8).input_ids.tolist() == expected.input_ids.tolist()
    assert caplog.text == "", "nothing is damaged"


def test_tokens_that_cannot_be_kept_are_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        found = tokenise(examples(["a"]), word_tokenizer(), 8)
    assert found.input_ids.tolist() == [2, 5, 3]
    assert "cannot be cached" in caplog.text


def test_tokens_that_the_disk_has_no_room_for_are_used_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "room", lambda _: 20)
    sentences: list[str] = []
    found = tokenise(examples(["a"]), word_tokenizer(), 8, warn=sentences.append)
    assert found.input_ids.tolist() == [2, 5, 3]
    assert len(sentences) == 1
    assert str(tmp_path / "cache" / "tokens") in sentences[0]
    assert kept_files(tmp_path) == []


def test_labels_have_the_type_of_their_task() -> None:
    classes = tokenise(examples(["a"], label=1), word_tokenizer(), 8).labels
    scores = tokenise(examples(["a"], label=1.5), word_tokenizer(), 8).labels
    assert classes is not None
    assert scores is not None
    assert classes.dtype == np.int64
    assert scores.dtype == np.float32
    some = (*examples(["a"], label=1), Example("x", "b", None, None))
    assert tokenise(some, word_tokenizer(), 8).labels is None


def test_a_length_without_room_is_refused() -> None:
    with pytest.raises(DataError, match=r"max_length 3 .* 3 special tokens") as error:
        tokenise(examples(["a"], ["b"]), word_tokenizer(), 3)
    assert error.value.key == "task.max_length"


def test_an_input_without_tokens_is_refused() -> None:
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    with pytest.raises(DataError, match="example dev-1 gives no tokens"):
        tokenise(examples(["a", ""]), tokenizer, 8)


def test_pairs_and_single_sentences_do_not_mix() -> None:
    mixed = (Example("1", "a", "b", 0), Example("2", "a", None, 0))
    with pytest.raises(ValueError, match="some examples are pairs"):
        tokenise(mixed, word_tokenizer(), 8)


def test_no_examples_give_no_tokens() -> None:
    tokens = tokenise((), word_tokenizer(), 8)
    assert (len(tokens), tokens.offsets.tolist(), tokens.labels) == (0, [0], None)


class Slow:
    """The wrapper of Hugging Face alone, as it is for tokenizers without a Rust part."""

    def __init__(self) -> None:
        self.fast = word_tokenizer()
        self.truncation_side = "right"
        self.model_input_names = self.fast.model_input_names
        self.init_kwargs = None
        self.num_special_tokens_to_add = self.fast.num_special_tokens_to_add
        self.get_vocab = self.fast.get_vocab

    def __call__(self, *arguments: Any, **words: Any) -> Any:
        return self.fast(*arguments, **words)


def test_a_tokenizer_written_in_python_gives_the_same() -> None:
    fast = word_tokenizer()
    rows = examples(["a b c d e", "f"], ["g", "h"])
    expected, found = tokenise(rows, fast, 7), tokenise(rows, Slow(), 7)
    assert found.input_ids.tolist() == expected.input_ids.tolist()
    assert found.type_ids is not None
    assert expected.type_ids is not None
    assert found.type_ids.tolist() == expected.type_ids.tolist()
    assert found.cut == expected.cut == 1
    assert found.content != expected.content


def test_a_file_that_cannot_be_opened_stays_and_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = examples(["a b", "c d e"])
    expected = tokenise(rows, word_tokenizer(), 8)
    (path,) = kept_files(tmp_path)
    before = path.stat()
    refuse(monkeypatch, path, errno.EACCES)
    again = tokenise(rows, word_tokenizer(), 8)
    assert again.input_ids.tolist() == expected.input_ids.tolist()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "damaged" not in caplog.text
    assert str(path) in caplog.text


class Panic(BaseException):
    """As a panic of Rust code arrives in Python."""


Panic.__name__ = "PanicException"


@pytest.mark.parametrize("fault", [ValueError("no such token"), KeyError("[UNK]"), Panic("index out of bounds")])
def test_whatever_a_tokenizer_raises_is_an_error_of_its_folder(fault: BaseException) -> None:
    class Broken(Slow):
        name_or_path = "models/mine"

        def __call__(self, *_: Any, **__: Any) -> Any:
            raise fault

    with pytest.raises(ModelError) as caught:
        tokenise(examples(["a b"]), Broken(), 8, source="train.csv")
    assert (caught.value.kind, caught.value.file) == ("tokenizer-cannot-encode", "models/mine")
    assert all(fact in caught.value.sentence for fact in ("models/mine", "train.csv", str(fault)))


def test_an_unknown_token_that_the_vocabulary_lacks() -> None:
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.model = WordLevel({"a": 5}, unk_token="[GONE]")
    with pytest.raises(ModelError) as caught:
        tokenise(examples(["zzz"]), tokenizer, 8)
    assert caught.value.kind == "tokenizer-cannot-encode"
    assert "Missing [UNK] token" in caught.value.sentence


@pytest.mark.parametrize("request_to_end", [KeyboardInterrupt, SystemExit])
def test_a_request_to_end_is_no_error_of_the_tokenizer(request_to_end: type[BaseException]) -> None:
    class Interrupted(Slow):
        def __call__(self, *_: Any, **__: Any) -> Any:
            raise request_to_end

    with pytest.raises(request_to_end):
        tokenise(examples(["a b"]), Interrupted(), 8)
