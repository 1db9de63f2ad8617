"""What is crild's in a run, a runs folder and the cache, by name and record; all else is left alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.data.array_files import write_arrays
from engine.errors import UsageError
from engine.record import inventory
from engine.record.inventory import (
    PARTIAL,
    PARTIAL_MARK,
    Removable,
    cache_leftovers,
    cached,
    checkpoints_of,
    mixed_teachers,
    refuse_links,
    remove_checkpoints,
    run_leftovers,
    strangers_of,
    teachers_of,
)
from engine.record.lock import FileLock
from engine.record.run import create_run, delete_run
from tests.errors import raises
from tests.record.own_files import (
    KEY,
    checkpoint,
    everything,
    gone_name,
    gone_pid,
    logits,
    model,
    teacher,
    tokens,
)

HASH = "f" * 64


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "schema = 1\n", name="mine", seed=1, environment={})


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    folder = tmp_path / "thesis"
    for name in ("000-ild-00000001", "best-ild-00000001"):
        checkpoint(tmp_path, name)
    (tmp_path / "checkpoints").rename(folder)
    return folder


def paths(items: list[Removable]) -> list[str]:
    return [str(Path(*item.names)) for item in items]


def test_checkpoints_have_names_and_manifests(run: Path) -> None:
    own = [checkpoint(run, name) for name in ("000-ild-00000001", "001-kd-00000020", "best-kd-00000020")]
    for name in ("backup", "000-ild-00000001.bak", "copy-000-ild-00000001", "best"):
        checkpoint(run, name)
    (run / "checkpoints" / "002-kd-00000001").mkdir()
    (run / "checkpoints" / "002-kd-00000001" / "mine.txt").write_text("mine")
    (run / "checkpoints" / "002-kd-00000002").mkdir()
    (run / "checkpoints" / "002-kd-00000002" / "manifest.json").write_text("[]")
    (run / "checkpoints" / "002-kd-00000003").symlink_to(own[0])
    (run / "checkpoints" / "002-kd-00000004").write_text("a file")
    (run / "checkpoints" / "notes.txt").write_text("mine")
    (own[1] / "model.safetensors").write_text("damaged")
    assert paths([*checkpoints_of(run)]) == [str(path.relative_to(run)) for path in own]
    assert [path.name for path in inventory.strangers_of(run)] == [
        "000-ild-00000001.bak", "002-kd-00000001", "002-kd-00000002", "002-kd-00000003", "002-kd-00000004", "backup", "best",
        "copy-000-ild-00000001", "notes.txt",
    ]  # fmt: skip


def test_a_checkpoint_with_anything_else_in_it_stays_whole(run: Path, tmp_path: Path) -> None:
    folder = checkpoint(run, "001-kd-00000020")
    secret = tmp_path / "secret.json"
    secret.write_text("mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] |= {"../../../../secret.json": {}, "/etc/hostname": {}, "notes.txt": {}, "gone.safetensors": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "notes.txt").write_text("mine")
    (folder / "state.json").unlink()
    (folder / "state.json").symlink_to(secret)
    before = everything(folder)
    assert [*checkpoints_of(run)] == []
    assert [*strangers_of(run)] == [folder]
    (folder / "notes.txt").unlink()
    assert [*checkpoints_of(run)] == [], "a link is nothing that crild wrote"
    (folder / "state.json").unlink()
    (item,) = checkpoints_of(run)
    assert item.remove()
    assert not folder.exists()
    assert before == ["manifest.json", "model.safetensors", "notes.txt", "state.json"]
    assert secret.read_text() == "mine"


def test_a_teacher_with_a_persons_file_or_link_in_it_stays_whole(run: Path, tmp_path: Path) -> None:
    cache, key = tmp_path / "cache", "0" * 32
    own, stored = teacher(run / "teacher"), teacher(cache / "teachers" / key)
    (own / "mine.txt").write_text("mine")
    (stored / "vocab.txt").symlink_to(own / "mine.txt")
    assert [*teachers_of(run)] == []
    assert [*cached(cache)] == []
    assert [*strangers_of(run)] == [own]
    assert [*mixed_teachers(cache)] == [stored]
    (own / "mine.txt").unlink()
    (stored / "vocab.txt").unlink()
    assert all(item.remove() for item in (*teachers_of(run), *cached(cache)))


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_what_was_half_deleted_is_still_known(run: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    runs = run.parent
    folder = checkpoint(run, "001-kd-00000020")
    trashed = create_run(runs, "schema = 1\n", name="old", seed=1, environment={})
    (runs / ".trash").mkdir()
    trashed.rename(runs / ".trash" / "old-s1.20261128-100000")
    teacher(run / "teacher")
    listings: list[Callable[[], Iterator[Removable]]] = [
        partial(checkpoints_of, run),
        partial(inventory.trashed_runs, runs),
        partial(inventory.teachers_of, run),
    ]
    for listed in listings:
        (item,) = listed()
        with monkeypatch.context() as patch:
            die_at(patch, call)
            with pytest.raises(KeyboardInterrupt):
                item.remove()
        (item,) = listed()
        assert item.remove()
    assert not folder.exists()
    assert list((runs / ".trash").iterdir()) == []


def die_at(patch: pytest.MonkeyPatch, call: int) -> None:
    """The n-th deletion and all later ones end in an interrupt."""
    calls = [0]

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*words: Any, **more: Any) -> None:
            calls[0] += 1
            if calls[0] >= call:
                raise KeyboardInterrupt
            real(*words, **more)

        return wrapped

    patch.setattr(os, "unlink", dying(os.unlink))
    patch.setattr(os, "rmdir", dying(os.rmdir))


def test_checkpoints_behind_a_link_are_nobodys(run: Path, thesis: Path, tmp_path: Path) -> None:
    before = everything(thesis)
    (run / "checkpoints").symlink_to(thesis)
    assert list(checkpoints_of(run)) == []
    assert list(inventory.strangers_of(run)) == [run / "checkpoints"]
    (run / "checkpoints").unlink()
    checkpoint(run, "000-ild-00000001")
    (item,) = checkpoints_of(run)
    (run / "checkpoints").rename(tmp_path / "moved")  # exchanged between listing and deleting
    (run / "checkpoints").symlink_to(thesis)
    with pytest.raises(OSError, match="symbolic link"):
        item.remove()
    assert everything(thesis) == before


@pytest.mark.parametrize("name", ["checkpoints", "student", "predictions"])
def test_a_run_with_a_linked_folder_is_refused(run: Path, thesis: Path, name: str) -> None:
    refuse_links(run)
    (run / name).symlink_to(thesis)
    with raises("linked-folder-in-run", run / name, "--runs-dir"):
        refuse_links(run)


def test_a_linked_runs_folder_is_as_good_as_any(run: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to(run.parent)
    linked = tmp_path / "disk" / run.name
    checkpoint(run, "000-ild-00000001")
    refuse_links(linked)
    (item,) = checkpoints_of(linked)
    assert item.remove()
    delete_run(linked)
    assert not run.exists()


def test_leftovers_of_a_run_are_found_wherever_crild_writes(run: Path) -> None:
    places = ("", "checkpoints", "student", "predictions", "teacher")
    for place in places:
        (run / place).mkdir(exist_ok=True)
        (run / place / gone_name("a.json")).write_text("half")
        (run / place / ".mine").write_text("mine")
    (run / "checkpoints" / f".001-kd-00000020.{gone_pid()}").mkdir()
    model(run / "teacher" / f".{KEY}.a1b2c3d4" / "new")
    old, young = run / ".start-0123456789ab.txt", run / ".start-0123456789ac.txt"
    for log in (old, young):
        log.write_text("")
    os.utime(old, (1, 1))
    inventory.remove_run_leftovers(run)
    assert list(run_leftovers(run)) == []
    assert [path for path in everything(run) if Path(path).name.startswith(".")] == [
        ".mine", young.name, *(f"{place}/.mine" for place in sorted(places[1:])),
    ]  # fmt: skip
    assert not list((run / "checkpoints").glob(".0*"))


def test_a_student_that_was_about_to_be_replaced_is_put_back_and_frees_nothing(run: Path) -> None:
    model(run / gone_name("student", "old"))
    (item,) = run_leftovers(run)
    assert (item.what, item.bytes) == ("put back", 0)
    assert item.remove()
    assert (run / "student" / "model.safetensors").is_file()
    model(run / gone_name("student", "old"))
    (item,) = run_leftovers(run)
    assert item.what == "leftover"
    assert item.bytes > 0


def test_a_run_with_files_that_are_not_crilds_is_not_deleted(run: Path, thesis: Path) -> None:
    checkpoint(run, "000-ild-00000001")
    model(run / "student")
    teacher(run / "teacher" / KEY)
    (run / "teacher" / f"{KEY}.lock").write_text("")
    (run / "teacher" / "pointer.json").write_text("{}")
    (run / "predictions").mkdir()
    for name in (
        "predictions/student.jsonl",
        "predictions/teacher.mismatched.jsonl",
        "log.1.txt",
        "lock",
        "texts.jsonl",
        "texts.dev.jsonl",
    ):
        (run / name).write_text("")
    (run / gone_name("status.json")).write_text("")
    for name in ("notes.txt", "checkpoints/mine/model.safetensors", "student/onnx/model.onnx", "predictions/plot.pdf"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
        before = everything(run)
        with raises("foreign-files-in-run", name):
            delete_run(run)
        assert everything(run) == before
        (run / name).unlink()
    (run / "results.json").symlink_to(thesis)
    with raises("foreign-files-in-run", "results.json"):
        delete_run(run)
    (run / "results.json").unlink()
    delete_run(run)
    assert list(run.parent.iterdir()) == []
    assert thesis.is_dir()


def test_a_folder_with_a_preset_alone_is_no_run_to_delete(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "preset.toml").write_text("schema = 1\n")
    with raises("run-without-record", error=UsageError):
        delete_run(tmp_path / "mine")
    assert (tmp_path / "mine" / "preset.toml").is_file()


def test_the_trash_holds_runs_alone(run: Path, thesis: Path) -> None:
    runs = run.parent
    trash = runs / ".trash"
    trash.mkdir()
    run.rename(trash / "mine-s1.20261128-100000")
    create_run(runs, "schema = 1\n", name="with-notes", seed=1, environment={}).rename(
        trash / "notes-s1.20261128-100000"
    )
    (trash / "notes-s1.20261128-100000" / "notes.txt").write_text("mine")
    (trash / "thesis").mkdir()
    (trash / "thesis.20261128-100000").mkdir()
    (trash / "thesis.20261128-100000" / "text.md").write_text("mine")
    (trash / "link.20261128-100000").symlink_to(thesis)
    assert paths([*inventory.trashed_runs(runs)]) == [".trash/mine-s1.20261128-100000"]
    assert [path.name for path in inventory.foreign_trash(runs)] == [
        "link.20261128-100000", "notes-s1.20261128-100000", "thesis", "thesis.20261128-100000",
    ]  # fmt: skip
    trash.rename(runs.parent / "elsewhere")
    trash.symlink_to(runs.parent / "elsewhere")
    assert list(inventory.trashed_runs(runs)) == []
    assert list(inventory.foreign_trash(runs)) == [trash]


def test_leftovers_of_a_runs_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in (
        ".new-thesis",
        ".deleted-thesis",
        ".new-0123456789ab",
        ".deleted-mine-s1-01234567",
        ".new-0123456789ac",
        gone_name("new"),
    ):
        (runs / name).mkdir(parents=True)
        os.utime(runs / name, (1, 1))
    (runs / ".new-0123456789ac" / "notes.txt").write_text("mine")
    os.utime(runs / ".new-0123456789ac", (1, 1))
    (runs / ".new-0123456789ad").mkdir()  # young
    for folder in (".queue", ".sweep"):
        (runs / folder).mkdir()
        (runs / folder / gone_name("a.json")).write_text("half")
        (runs / folder / ".notes").write_text("mine")
    assert sorted(paths([*inventory.runs_folder_leftovers(runs)])) == sorted([
        ".new-0123456789ab", ".deleted-mine-s1-01234567", gone_name("new"), f".queue/{gone_name('a.json')}",
        f".sweep/{gone_name('a.json')}",
    ])  # fmt: skip


def test_the_cache_holds_what_has_its_names_and_records(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    teacher(root / "teachers" / KEY)
    model(root / "teachers" / KEY.replace("0", "a"))
    (root / "teachers" / f"{KEY.replace('0', 'a')}.lock").write_text("")
    tokens(root / "tokens" / f"{HASH}.safetensors")
    write_arrays(made(root / "rows") / f"{HASH}.safetensors", {}, {"rows": "", "key": "", "digest": ""}, root=root)
    logits(root / "logits" / f"{KEY}.npy")
    logits(root / "logits" / f"{KEY}.safetensors")
    (root / "crashes").mkdir()
    (root / "crashes" / "20261128-100000-77.txt").write_text("")
    own = paths([*cached(root)])
    assert len(own) == 7
    foreign = (
        "rows/train.csv", f"rows/{HASH.replace('f', 'e')}.safetensors",
        "teachers/bert/model.safetensors", f"teachers/{KEY.replace('0', 'b')}/model.safetensors", "tokens/mine.safetensors",
        f"tokens/{HASH.replace('f', 'e')}.safetensors", "logits/mine.npy", f"logits/{KEY.replace('0', 'c')}.npy",
        f"logits/{KEY.replace('0', 'c')}.safetensors", f"tokens/{HASH.replace('f', 'c')}.safetensors",
        "crashes/notes.txt", "huggingface/model.bin", "notes.txt",
    )  # fmt: skip
    for name in foreign:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    (root / "tokens" / f"{'d' * 64}.safetensors").symlink_to(root / own[3])
    assert paths([*cached(root)]) == own
    assert all(item.remove() for item in cached(root))
    assert [name for name in foreign if not (root / name).exists()] == []
    (root / "teachers").rename(tmp_path / "shared")
    (root / "teachers").symlink_to(tmp_path / "shared")
    teacher(tmp_path / "shared" / KEY)
    assert list(cached(root)) == []


def test_a_teacher_that_is_being_trained_or_holds_a_folder_stays(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    folder = teacher(root / "teachers" / KEY)
    (item,) = cached(root)
    with FileLock(root / "teachers" / f"{KEY}.lock") as lock:
        assert lock.try_acquire()
        assert not item.remove()
    (folder / "onnx").mkdir()
    assert not item.remove()
    (folder / "onnx").rmdir()
    assert item.remove()


def test_answers_that_are_being_computed_stay(tmp_path: Path) -> None:
    folder = made(tmp_path / "cache" / "logits")
    answers = folder / f"{KEY}{PARTIAL}"
    answers.write_bytes(PARTIAL_MARK + bytes(40))
    (folder / f"mine{PARTIAL}").write_bytes(PARTIAL_MARK)
    (folder / f"{KEY.replace('0', 'a')}{PARTIAL}").write_text("mine")
    with FileLock(folder / f"{KEY}.lock") as lock:
        assert lock.try_acquire()
        assert list(cached(tmp_path / "cache")) == []
    assert paths([*cached(tmp_path / "cache")]) == [f"logits/{KEY}.lock", f"logits/{KEY}{PARTIAL}"]
    assert all(item.remove() for item in cached(tmp_path / "cache"))
    assert len(list(folder.iterdir())) == 2


def test_leftovers_of_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    own = [
        model(root / "teachers" / gone_name(KEY)), model(root / "teachers" / f".{KEY}.a1b2c3d4" / "new").parent,
        tokens(root / "tokens" / gone_name(f"{HASH}.safetensors")), (root / "logits" / f"{KEY}.{gone_pid()}.tmp"),
    ]  # fmt: skip
    (root / "logits").mkdir()
    for file, moment in ((own[3], 1.0), (root / "logits" / f"{KEY}.7.tmp", time.time())):
        file.write_text("half")
        os.utime(file, (moment, moment))
    model(root / "teachers" / ".bert.a1b2c3d4" / "new")
    with FileLock(root / "teachers" / f"{KEY}.lock") as lock:
        assert lock.try_acquire()
        assert len([*cache_leftovers(root)]) == 3
    items = [*cache_leftovers(root)]
    assert sorted(item.path for item in items) == sorted(own)
    assert all(item.remove() for item in items)
    assert not any(path.exists() for path in own)


def test_all_checkpoints_of_a_run_go_and_nothing_else(tmp_path: Path) -> None:
    for name in ("001-kd-00000010", "best-kd-00000008"):
        checkpoint(tmp_path, name)
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    size = sum(item.bytes for item in checkpoints_of(tmp_path))
    assert remove_checkpoints(tmp_path) == size > 0
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["notes.txt"]
    assert remove_checkpoints(tmp_path / "none") == 0
