"""Run directories: made whole or not at all, found, listed whatever is in them, deleted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunError, UsageError
from engine.record import files
from engine.record import run as module
from engine.record.annotations import read_annotations
from engine.record.files import write_json
from engine.record.inventory import runs_folder_leftovers, size_of
from engine.record.lock import RunLock
from engine.record.owner import Owner
from engine.record.paths import cache_dir, queue_file, runs_dir
from engine.record.removal import OpenFolder
from engine.record.run import (
    create_run,
    delete_run,
    find_run,
    find_runs,
    list_runs,
    queue_alive,
    read_run,
    read_status,
    update_status,
    validate_name,
)
from engine.record.session import RunSession
from tests.errors import raises
from tests.record.own_files import checkpoint


def make(folder: Path, name: str | None = "r", **fields: Any) -> Path:
    return create_run(folder, "seed = 1\n", name=name, environment={"schema": 1}, **fields)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_folders_come_from_option_environment_and_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runs_dir("~/x") == Path.home() / "x"
    assert runs_dir() == tmp_path / "runs"
    monkeypatch.setenv("CRILD_RUNS_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert runs_dir() == tmp_path / "runs"
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("CRILD_CACHE_DIR")
    assert cache_dir().is_relative_to(Path.home())


def test_a_new_run_is_complete(tmp_path: Path) -> None:
    before = time.time()
    run = create_run(
        tmp_path / "deep" / "runs",
        "seed = 7\n",
        tags=["a"],
        task="toy-entailment",
        method="crild",
        seed=7,
        stages=3,
        total=90,
    )
    assert everything(run) == ["annotations.json", "environment.json", "preset.toml", "status.json"]
    assert (run / "preset.toml").read_text() == "seed = 7\n"
    status = read_status(run)
    assert (status.id, status.state, status.seed, status.stages, status.total) == (run.name, "created", 7, 3, 90)
    assert before <= status.created <= time.time()
    assert read_annotations(run).tags == ("a",)
    assert "command" in json.loads((run / "environment.json").read_text())
    stamp = time.strftime("%Y%m%d-%H%M", time.localtime(status.created))
    assert run.name.startswith(f"toy-entailment-crild-{stamp}")
    assert run.name.endswith("-s7")


def test_unnamed_runs_of_one_second_get_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    names = [make(tmp_path, None, task="rte", method="../e vil", seed=1).name for _ in range(3)]
    assert names == [f"rte-e-vil-20270115-080000-s1{again}" for again in ("", "-2", "-3")]
    assert [entry.id for entry in list_runs(tmp_path)] == names[::-1]


def test_a_name_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    run = make(tmp_path, "mine", seed=3)
    assert run == tmp_path / "mine-s3"
    update_status(run, best=0.5)
    before = everything(tmp_path)
    with raises("run-exists", "'mine-s3'", "--name", "crild resume mine-s3"):
        make(tmp_path, "mine", seed=3)
    assert everything(tmp_path) == before
    assert read_status(run).best == 0.5
    assert make(tmp_path, "mine", seed=4).name == "mine-s4"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"), ("a/b", "'a/b'"), ("/etc", "'/etc'"), (".", r"'\.'"), ("..", r"'\.\.'"), (".hidden", "hidden"),
        ("two words", "'two words'"), ("tab\tbed", r"'tab\\tbed'"), ("esc\x1b[31m", r"'esc\\x1b\[31m'"), ("new\n", r"'new\\n'"),
        ("nul\0", "nul"), ("party\U0001f389", "party"), ("naïve", "naïve"), ("-rf", "'-rf'"), ("rtl\u202e", r"\\u202e"),
        ("x" * 81, "has 81 characters"), ("latest", "newest run"), ("a\\b", "cannot be called"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_one_says_what_is_allowed(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make(tmp_path / "runs", name)
    assert caught.value.exit_code == 2
    assert name == "latest" or "letters a to z and A to Z, digits, '.', '_' and '-'" in caught.value.sentence
    assert caught.value.sentence.isprintable()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["a", "RTE_6.layers-v2", "0", "x" * 80])
def test_a_plain_name_is_fine(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with raises("cannot-create-run", "runs", files.cause(OSError(code, "")), "--runs-dir"):
        make(tmp_path / "runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="permission is denied"):
            make(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_folders_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "runs"):
        with raises("cannot-create-run"):
            make(place)


def test_a_run_directory_is_no_folder_for_runs(tmp_path: Path) -> None:
    run = make(tmp_path)
    with raises("runs-dir-is-a-run"):
        make(run)


@pytest.mark.parametrize("fails_at", ["preset.toml", "environment.json", "status.json", "rename"])
def test_a_full_device_leaves_no_half_made_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real_write, real_rename = files.write_atomic, OpenFolder.rename
    monkeypatch.setattr(
        module, "write_atomic", lambda path, data: full() if path.name == fails_at else real_write(path, data)
    )
    monkeypatch.setattr(
        OpenFolder,
        "rename",
        lambda self, name, to: full() if fails_at == "rename" and ".new." in name else real_rename(self, name, to),
    )
    for name in ("named", None):
        with pytest.raises(UsageError, match="no space is left on the device"):
            make(tmp_path / "runs", name)
    assert everything(tmp_path / "runs") == []
    monkeypatch.undo()
    make(tmp_path / "runs", "named")


def test_nothing_is_listed_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = files.write_atomic

    def watched(path: Path, data: str) -> None:
        seen.append(len(list_runs(tmp_path)))
        real(path, data)

    monkeypatch.setattr(module, "write_atomic", watched)
    make(tmp_path)
    assert seen == [0, 0, 0]
    assert len(list_runs(tmp_path)) == 1


def test_runs_are_listed_newest_first_and_strangers_left_out(tmp_path: Path) -> None:
    for number, name in enumerate(["b", "a", "c"]):
        run = make(tmp_path, name)
        write_json(run / "status.json", replace(read_status(run), created=100.0 + number).to_dict())
    (tmp_path / "stranger").mkdir()
    (tmp_path / ".new-1234").mkdir()
    (tmp_path / ".new-1234" / "status.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert [entry.id for entry in list_runs(tmp_path)] == ["c-s0", "a-s0", "b-s0"]
    assert list_runs(tmp_path / "nowhere") == []
    assert list_runs(tmp_path / "notes.txt") == []


def spoil_missing(run: Path) -> None:
    (run / "status.json").unlink()


def spoil_folder(run: Path) -> None:
    (run / "status.json").unlink()
    (run / "status.json").mkdir()


def spoil_pipe(run: Path) -> None:
    (run / "status.json").unlink()
    os.mkfifo(run / "status.json")


def spoil_torn(run: Path) -> None:
    text = (run / "status.json").read_bytes()
    (run / "status.json").write_bytes(text[: len(text) // 2])


def spoil_newer(run: Path) -> None:
    (run / "status.json").write_text('{"schema": 99, "id": 3}')


def spoil_empty(run: Path) -> None:
    (run / "status.json").write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_folder, "not a regular file"), (spoil_pipe, "not a regular file"), (spoil_newer, "newer crild"),
    ],
)  # fmt: skip
def test_a_status_that_may_be_good_is_listed_with_its_problem(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    run = make(tmp_path, "bad")
    make(tmp_path, "good")
    spoil(run)
    good, bad = list_runs(tmp_path)
    assert (good.id, good.state, good.problem) == ("good-s0", "created", None)
    assert (bad.id, bad.state, bad.status) == ("bad-s0", "unreadable", None)
    assert words in (bad.problem or "")
    assert (bad.problem or "").startswith("status.json ")
    with pytest.raises(RunError, match=words) as caught:
        read_status(run)
    assert caught.value.file == str(run / "status.json")
    assert find_run("bad-s0", tmp_path) == run


@pytest.mark.parametrize(
    ("spoil", "word"), [(spoil_missing, "missing"), (spoil_torn, "damaged"), (spoil_empty, "damaged")]
)
def test_a_lost_status_is_rebuilt_and_the_listing_says_so(
    tmp_path: Path, spoil: Callable[[Path], None], word: str
) -> None:
    run = make(tmp_path, "bad")
    spoil(run)
    (entry,) = list_runs(tmp_path)
    assert (entry.id, entry.state) == ("bad-s0", "created")
    assert f"status.json is {word}" in (entry.problem or "")
    (run / "environment.json").unlink()
    assert read_run(run).state == "unreadable", "a preset alone may be anybody's"


def test_a_listing_derives_states_and_asks_each_queue_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_file(tmp_path, "q").parent.mkdir()
    record = {"schema": 1, "created": time.time(), "state": "active", "owner": None, "heartbeat": None}
    queue_file(tmp_path, "q").write_text(json.dumps(record))
    for number in range(3):
        make(tmp_path, f"w{number}", state="queued", queue="q")
    make(tmp_path, "orphan", state="queued", queue="gone")
    make(tmp_path, "evil", state="queued", queue="../../etc")
    asked: list[str] = []

    def counted(folder: Path, name: str) -> bool:
        asked.append(name)
        return queue_alive(folder, name)

    monkeypatch.setattr(module, "queue_alive", counted)
    states = {entry.id: entry.state for entry in list_runs(tmp_path)}
    assert states == {"w0-s0": "queued", "w1-s0": "queued", "w2-s0": "queued", "orphan-s0": "lost", "evil-s0": "lost"}
    assert sorted(asked) == ["../../etc", "gone", "q"]
    assert read_run(tmp_path / "orphan-s0").state == "lost"


def test_a_thousand_runs_cost_two_small_files_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes listing fast: status and annotations, no folder walked, no event file opened."""
    first = make(tmp_path, "r")
    for number in range(50):
        shutil.copytree(first, tmp_path / f"r{number}")
    opened: list[str] = []
    real = os.open

    def counted(path: Path, *rest: Any, **more: Any) -> int:
        opened.append(Path(path).name)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", counted)
    assert len(list_runs(tmp_path)) == 51
    assert sorted(set(opened)) == ["annotations.json", "status.json"]
    assert len(opened) == 102


def test_a_run_is_found_by_id_prefix_path_and_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (make(tmp_path, name, seed=1) for name in ("rte", "rte-more", "cola"))
    assert find_run("rte-s1", tmp_path) == first
    assert find_run("rte-m", tmp_path) == second
    assert find_run("rte", tmp_path) == first, "a name comes before beginnings of names"
    assert find_run("latest", tmp_path) == third
    assert find_run(str(first), tmp_path / "elsewhere") == first
    monkeypatch.chdir(tmp_path.parent)
    assert find_run(f"{tmp_path.name}/cola-s1/", tmp_path / "elsewhere") == third
    monkeypatch.chdir(first)
    assert find_run(".", tmp_path / "elsewhere") == first


def test_a_name_or_its_beginning_means_all_its_seeds(tmp_path: Path) -> None:
    one, two, other = (
        make(tmp_path, name, seed=seed) for name, seed in (("rte-kd", 1), ("rte-kd", 12), ("rte-kd2", 1))
    )

    def found(ref: str) -> set[Path]:
        return set(find_runs(ref, tmp_path))

    assert found("rte-kd") == {one, two}, "a name comes before beginnings of names"
    assert found("rte-kd-") == {one, two}
    assert found("rte-kd-s1") == {one}, "an id comes before a name"
    assert found("rte-kd2") == found("latest") == {other}
    assert found(str(one)) == {one}
    with pytest.raises(UsageError, match="matches 3 runs"):
        find_runs("rte", tmp_path)
    with pytest.raises(UsageError, match="there is no run"):
        find_runs("cola", tmp_path)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("rt", r"'rt' .*2 runs, rte(-more)?-s1 and rte(-more)?-s1: "),
        ("colla-s1", r"no run 'colla-s1' in .*; there are cola-s1"),
        ("zzzz", r"no run 'zzzz' .*cola-s1"),
        ("", "no run ''"),
        ("../nowhere", r"'\.\./nowhere' is not a run directory"),
        ("\x1b[2J", r"no run '\\x1b\[2J'"),
        ("a\0b", "no run"),
        ("x" * 5000, "no run"),
    ],
)
def test_a_run_that_is_not_there_lists_what_was_meant(tmp_path: Path, ref: str, words: str) -> None:
    for name in ("rte", "rte-more", "cola"):
        make(tmp_path, name, seed=1)
    with pytest.raises(UsageError, match=words) as caught:
        find_run(ref, tmp_path)
    assert caught.value.sentence.isprintable()


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with raises("no-runs-at-all", "--runs-dir"):
        find_run("latest", tmp_path)


def test_many_candidates_are_cut_short(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path, f"run{number}")
    with pytest.raises(UsageError, match=r"12 runs, .* and 4 more: "):
        find_run("run", tmp_path)


def test_status_changes_only_while_no_engine_works(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert update_status(run, state="stopped", ended=5.0).ended == 5.0
    assert read_status(run).state == "stopped"
    with raises("run-state-changed", "stopped"):
        update_status(run, expect=("queued",), state="failed")
    session = RunSession(run, signals=False)
    with raises("run-in-use"):
        update_status(run, state="stopped")
    session.finish("finished", 0)
    assert read_status(run).state == "finished"


def test_a_run_is_deleted_unless_an_engine_works_on_it(tmp_path: Path) -> None:
    run = make(tmp_path / "runs")
    checkpoint(run, "000-ild-00000001", size=1000)
    assert size_of(run) >= 1000
    with RunLock(run) as lock:
        lock.take()
        with raises("run-in-use"):
            delete_run(run)
    assert read_run(run).state == "created"
    delete_run(run)
    assert everything(tmp_path / "runs") == []
    with raises("not-a-run-directory"):
        delete_run(run)


def test_only_runs_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with raises("not-a-run-directory"):
        delete_run(tmp_path / "thesis")
    run = make(tmp_path)
    (tmp_path / "link").symlink_to(run)
    with raises("run-is-a-link"):
        delete_run(tmp_path / "link")
    assert (tmp_path / "thesis").is_dir()
    assert run.is_dir()


def test_an_interrupted_deletion_is_listed_no_more_and_is_a_leftover_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with raises("cannot-delete-run", "the device reports"):
            delete_run(run)
    assert list_runs(tmp_path) == []
    assert list(runs_folder_leftovers(tmp_path)) == []  # this process is still working on it
    monkeypatch.setattr(Owner, "state", lambda _: "gone")
    (leftover,) = runs_folder_leftovers(tmp_path)
    assert leftover.remove()
    assert not any(tmp_path.glob(".*"))


def test_size_counts_files_once_and_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(b"1" * 100)
    (tmp_path / "a" / "b" / "y").write_bytes(b"1" * 23)
    (tmp_path / "big").write_bytes(b"1" * 5000)
    assert size_of(tmp_path / "a") == 123
    (tmp_path / "a" / "link").symlink_to(tmp_path / "big")
    assert size_of(tmp_path / "a") < 5000
    assert size_of(tmp_path / "big") == 5000
    assert size_of(tmp_path / "gone") == 0
