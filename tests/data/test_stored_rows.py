"""Rows in the cache: the same as from their files, and never those of other content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import custom, spool, stored_rows
from engine.data.content import rows_hash
from engine.data.load import load_corpus, load_task
from engine.data.types import TaskData
from engine.preset.schema import Corpus, Task


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files were large."""
    monkeypatch.setattr(stored_rows, "LARGE", 1)
    monkeypatch.setattr(spool, "SMALL", 100)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tasks that were read from their files."""
    names: list[str] = []
    load = custom.load_custom

    def watch(task: Task, **words: Any) -> TaskData:
        names.append(task.name)
        return load(task, **words)

    monkeypatch.setattr(custom, "load_custom", watch)
    return names


def write(path: Path, rows: int, word: str = "row") -> Path:
    lines = [f"{word} {row},other {row % 7},{('no', 'yes')[row % 2]},{row / 4},n{row}" for row in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text,pair,label,score,id\n" + "\n".join(lines) + "\n")
    return path


def task_of(folder: Path, **changes: Any) -> Task:
    files = {"train": str(folder / "train.csv"), "dev": str(folder / "dev.csv")}
    return Task.model_validate({"name": "custom", "kind": "classification", "files": files, **changes})


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / spool.FOLDER).glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "train.csv", 50)
    write(tmp_path / "data" / "dev.csv", 20, "dev")
    return tmp_path / "data"


PAIR = {"columns": {"text": "text", "pair": "pair", "label": "label"}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        PAIR,
        {"columns": {"text": "text", "label": "label", "id": "id"}},
        {"kind": "regression", "columns": {"text": "text", "label": "score"}},
        {"examples": 11, "label_noise": 0.3},
        {"title": "my task"},
        {"kind": "multilabel", "columns": {"text": "text", "label": "pair", "separator": " "}},
        {"kind": "multilabel", "columns": {"text": "text", "label": "pair", "separator": " "}, "thresholds": "train"},
        {"kind": "regression", "columns": {"text": "text", "label": "score", "group": "pair"}},
    ],
    ids=["single", "pairs", "ids", "scores", "few", "title", "several", "thresholds", "groups"],
)
def test_a_second_load_gives_the_same_without_reading_the_files(
    folder: Path, loads: list[str], changes: dict[str, Any]
) -> None:
    first = load_task(task_of(folder, **changes))
    again = load_task(task_of(folder, **changes))
    assert loads == ["custom"]
    assert again == first
    assert first.spec == again.spec
    assert rows_hash(again.train, again.spec.labels) == rows_hash(first.train, first.spec.labels)
    assert [type(row.label) for row in again.train] == [type(row.label) for row in first.train]
    plain = custom.load_custom(task_of(folder, **{k: v for k, v in changes.items() if k != "label_noise"}))
    if "examples" not in changes:
        assert tuple(again.train) == tuple(plain.train)
        assert rows_hash(again.train, again.spec.labels) == rows_hash(plain.train, plain.spec.labels), "with queries"
        assert again.notes == plain.notes


def test_a_drawn_dev_set_and_a_test_set_are_stored_too(folder: Path, loads: list[str]) -> None:
    files = {"train": str(folder / "train.csv"), "test": str(folder / "dev.csv")}
    first = load_task(task_of(folder, files=files))
    again = load_task(task_of(folder, files=files))
    assert loads == ["custom"]
    assert again == first
    assert (len(again.train), len(again.dev["dev"]), len(again.test)) == (40, 10, 20)
    load_task(task_of(folder, files=files, data_seed=1))
    assert loads == ["custom"] * 2, "another draw"


def test_a_changed_file_is_never_taken_for_the_old_one(folder: Path, loads: list[str]) -> None:
    file = folder / "train.csv"
    before, status = load_task(task_of(folder)), file.stat()
    file.write_text(file.read_text().replace("row 7,", "raw 7,"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a careless copy has it
    assert file.stat().st_size == status.st_size
    now = load_task(task_of(folder))
    assert len(loads) == 2
    assert (before.train[7].text, now.train[7].text) == ("row 7", "raw 7")
    file.write_text(file.read_text().replace("raw 7,", "row 7,"))
    assert load_task(task_of(folder)) == before
    assert len(loads) == 2, "what was there before is known"


@pytest.mark.parametrize(
    "changes",
    [PAIR, {"kind": "regression", "columns": {"label": "score"}}, {"metrics": ["f1"]}, {"title": "another"}],
    ids=["columns", "kind", "metrics", "title"],
)
def test_other_settings_are_another_entry(folder: Path, loads: list[str], changes: dict[str, Any]) -> None:
    load_task(task_of(folder))
    other = load_task(task_of(folder, **changes))
    assert len(loads) == 2
    assert other == custom.load_custom(task_of(folder, **changes))


def test_the_same_content_elsewhere_is_known(folder: Path, tmp_path: Path, loads: list[str]) -> None:
    first = load_task(task_of(folder))
    folder.rename(tmp_path / "moved")
    assert load_task(task_of(tmp_path / "moved")) == first
    assert len(loads) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "short"])
def test_a_damaged_entry_is_replaced(
    folder: Path, tmp_path: Path, loads: list[str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_task(task_of(folder))
    expected = list(first.train)
    (entry,) = entries(tmp_path)
    good = entry.read_bytes()
    entry.unlink()  # who has mapped it keeps it
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    entry.write_bytes({"cut": good[:-9], "flip": flipped, "empty": b"", "short": good[:5]}[damage])
    assert list(load_task(task_of(folder)).train) == expected
    assert len(loads) == 2
    assert str(entry) in caplog.text
    assert entry.read_bytes() == good
    load_task(task_of(folder))
    assert len(loads) == 2


def test_the_entry_of_other_files_is_not_taken(folder: Path, tmp_path: Path, loads: list[str]) -> None:
    first = load_task(task_of(folder))
    (entry,) = entries(tmp_path)
    load_task(task_of(folder, title="another"))
    (other,) = set(entries(tmp_path)) - {entry}
    content = other.read_bytes()
    entry.unlink()
    entry.write_bytes(content)
    assert load_task(task_of(folder)) == first
    assert len(loads) == 3


def test_a_file_that_changes_while_it_is_read_is_not_stored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = custom.load_custom

    def changing(task: Task, **words: Any) -> TaskData:
        data = load(task, **words)
        write(folder / "train.csv", 50, "new")
        return data

    monkeypatch.setattr(custom, "load_custom", changing)
    assert load_task(task_of(folder)).train[0].text == "row 0"
    assert entries(tmp_path) == []
    monkeypatch.setattr(custom, "load_custom", load)
    assert load_task(task_of(folder)).train[0].text == "new 0"


def test_without_room_on_the_disk_nothing_is_stored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stored_rows, "room", lambda _: 10)
    assert len(load_task(task_of(folder)).train) == 50
    assert entries(tmp_path) == []
    assert str(tmp_path / "cache") in caplog.text


def test_small_files_are_read_as_before(
    folder: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "LARGE", 1 << 20)
    load_task(task_of(folder))
    load_task(task_of(folder))
    assert len(loads) == 2
    assert entries(tmp_path) == []


@pytest.mark.parametrize("words", [{}, {"examples": 9}, {"pairs": True}, {"unit": "sentence", "pairs": True}])
def test_a_corpus_is_stored(tmp_path: Path, words: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "corpus" / name).mkdir(parents=True)
        lines = [f"In {name} there is line {row}. It goes on." for row in range(31)]
        (tmp_path / "corpus" / name / "text.txt").write_text("\n".join(lines))
    corpus = Corpus.model_validate({"corpus": str(tmp_path / "corpus"), **words})
    plain = list(load_corpus(corpus, 3))
    assert len(entries(tmp_path)) == 1
    monkeypatch.delattr("engine.data.corpus._chosen")
    again = load_corpus(corpus, 3)
    assert list(again) == plain
    assert len(again) == {"": 62, "examples": 9, "pairs": 30, "unit": 62}[next(iter(words), "")]


def test_equal_batches_from_files_and_from_the_cache(folder: Path) -> None:
    from engine.data.batches import collate, epoch_batches
    from engine.data.tokens import tokenise

    from .words import word_tokenizer

    sets = [tokenise(load_task(task_of(folder, **PAIR)).train, word_tokenizer(), 16) for _ in range(2)]
    first, again = sets
    assert first.content == again.content
    for rows in epoch_batches(first.lengths, 8, (1, 2)):
        one, other = (collate(tokens, rows, pad_id=0) for tokens in sets)
        assert one.input_ids.numpy().tobytes() == other.input_ids.numpy().tobytes()
        assert one.labels is not None
        assert other.labels is not None
        assert np.array_equal(one.labels.numpy(), other.labels.numpy())
