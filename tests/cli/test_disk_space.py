from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crild_tui.runs import actions
from engine.errors import RunError, UsageError
from engine.record.annotations import read_annotations
from engine.record.lock import RunLock
from engine.record.owner import Owner
from engine.record.paths import TRASH
from engine.record.run import update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.record.own_files import KEY, checkpoint, everything, gone_name, gone_pid, logits, model, teacher, tokens

TOKENS = f"{'f' * 64}.safetensors"


def _checkpoints(run_dir: Path) -> Path:
    for name in ("000-ild-00000010", "001-kd-00000010", "best-kd-00000010"):
        checkpoint(run_dir, name)
    _leftover(run_dir).mkdir()
    (_leftover(run_dir) / "model.safetensors").write_bytes(b"x" * 1000)
    return run_dir / "checkpoints"


def _leftover(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / f".001-kd-00000020.{gone_pid()}"


def test_notes_are_written_and_removed(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    assert crild("note", "rte-crild", "too", "slow").code == 0
    assert read_annotations(run_dir).note == "too slow"
    assert "note:    too slow" in crild("show", "rte-crild").out
    crild("note", "rte-crild", "")
    assert read_annotations(run_dir).note == ""


def test_tags_are_added_and_removed(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    crild("tag", "rte-crild", "good", "paper")
    crild("tag", "rte-crild", "good", "--remove")
    assert read_annotations(run_dir).tags == ("paper",)
    assert crild("tag", "rte-crild", "two words").code == 2


def test_prune_frees_the_checkpoints_of_finished_runs_alone(crild: Call, runs_dir: Path) -> None:
    done, stopped = make_run(runs_dir, "done"), make_run(runs_dir, "halfway", state="stopped")
    running = make_run(runs_dir, "busy", state="created")
    for run_dir in (done, stopped, running):
        _checkpoints(run_dir)
    said = crild("prune", "--yes")
    assert said.code == 0
    assert list((done / "checkpoints").iterdir()) == []
    assert sorted(p.name for p in (stopped / "checkpoints").iterdir()) == [
        "000-ild-00000010", "001-kd-00000010", "best-kd-00000010",
    ]  # fmt: skip
    assert len(list((running / "checkpoints").iterdir())) == 4
    assert "busy-s1" in said.err
    assert "freed 5.0 kB" in said.err
    assert (done / "student").is_dir()


def test_prune_names_runs_that_could_be_resumed_only_when_asked(crild: Call, runs_dir: Path) -> None:
    stopped = make_run(runs_dir, "halfway", state="stopped")
    _checkpoints(stopped)
    (_leftover(stopped) / "model.safetensors").unlink()
    _leftover(stopped).rmdir()
    said = crild("prune", "--yes")
    assert "3.0 kB (--unfinished)" in said.err
    assert crild("prune", "--unfinished", "--yes").code == 0
    assert list((stopped / "checkpoints").iterdir()) == []


def test_prune_asks_first_and_refuses_where_it_cannot(crild: Call, runs_dir: Path) -> None:
    folder = _checkpoints(make_run(runs_dir))
    said = crild("prune")
    assert said.code == 2
    assert "add --yes" in said.err
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 4), ("\n", 4)])
def test_prune_does_what_was_answered(
    crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    folder = _checkpoints(make_run(runs_dir))
    monkeypatch.setattr("crild_tui.cli.terminal.can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer)
    crild("prune")
    assert len(list(folder.iterdir())) == left


def test_prune_leaves_a_run_alone_that_was_resumed_meanwhile(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    folder = _checkpoints(run_dir)
    with RunLock(run_dir) as lock:
        lock.take()
        said = crild("prune", "--yes")
    assert "skipped" in said.err
    assert len(list(folder.iterdir())) == 4


def test_prune_as_json_only_shows_unless_told_yes(crild: Call, runs_dir: Path) -> None:
    folder = _checkpoints(make_run(runs_dir))
    document = crild("prune", "--json").json
    assert (document["bytes"], document["freed"]) == (4000, 0)
    assert {item["what"] for item in document["spare"]} == {"checkpoint", "leftover"}
    assert len(list(folder.iterdir())) == 4
    assert crild("prune", "--json", "--yes").json["freed"] == 4000


def test_prune_of_nothing_says_so(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    assert "nothing to free" in crild("prune").err


def test_delete_removes_a_run_and_refuses_one_that_waits(crild: Call, runs_dir: Path) -> None:
    gone, waiting = make_run(runs_dir, "gone"), make_run(runs_dir, "waiting", state="queued")
    assert crild("delete", "gone").code == 2
    assert crild("delete", "gone", "--yes").code == 0
    assert not gone.exists()
    assert crild("delete", "waiting", "--yes").code == 2
    assert waiting.exists()


def test_prune_shows_every_path(crild: Call, runs_dir: Path) -> None:
    folder = _checkpoints(make_run(runs_dir))
    out = "".join(crild("prune").out.split())
    for path in folder.iterdir():
        assert str(path.relative_to(runs_dir)) in out


def test_prune_leaves_what_crild_did_not_write(crild: Call, runs_dir: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    checkpoint(thesis, "001-kd-00000010")
    (thesis / ".ssh").mkdir()
    (thesis / ".ssh" / "id").write_text("mine")
    (thesis / "notes.txt").write_text("mine")
    before = everything(thesis)
    linked, own = make_run(runs_dir, "linked"), make_run(runs_dir, "own")
    (linked / "checkpoints").symlink_to(thesis / "checkpoints")
    (runs_dir / "elsewhere-s1").symlink_to(make_run(tmp_path / "others", "elsewhere"))
    checkpoint(tmp_path / "others" / "elsewhere-s1", "001-kd-00000010")
    checkpoint(own, "001-kd-00000010")
    for name in ("backup/model.safetensors", ".mine/notes.txt", ".notes.tmp-mine"):
        (own / "checkpoints" / name).parent.mkdir(exist_ok=True)
        (own / "checkpoints" / name).write_text("mine")
    (own / "student" / ".cache").write_text("mine")
    (runs_dir / ".trash").symlink_to(thesis)
    skipped = {str(linked / "checkpoints"), str(runs_dir / "elsewhere-s1"), str(runs_dir / ".trash")}
    assert skipped < set(crild("prune", "--json").json["skipped"])
    said = crild("prune", "--yes")
    assert said.code == 0
    assert everything(thesis) == before
    assert everything(own / "checkpoints") == [".mine/notes.txt", ".notes.tmp-mine", "backup/model.safetensors"]
    assert (own / "student" / ".cache").exists()
    assert (tmp_path / "others" / "elsewhere-s1" / "checkpoints" / "001-kd-00000010").is_dir()
    for path in (
        linked / "checkpoints",
        runs_dir / "elsewhere-s1",
        own / "checkpoints" / "backup",
        runs_dir / ".trash",
    ):
        assert str(path) in said.err


def test_prune_removes_what_kills_left(crild: Call, runs_dir: Path, tmp_path: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    left = [
        run_dir / gone_name("student"), run_dir / ".student.a1b2c3d4" / "new", run_dir / "teacher" / gone_name(KEY),
        tmp_path / "cache" / "teachers" / gone_name(KEY), runs_dir / gone_name("deleted-old-s1"),
    ]  # fmt: skip
    for folder in left:
        model(folder)
    model(run_dir / ".student.backup")
    assert crild("prune", "--yes").code == 0
    assert not any(folder.exists() for folder in left)
    assert not left[1].parent.exists()
    assert (run_dir / ".student.backup").is_dir()


def test_prune_takes_the_teachers_in_runs_when_asked(crild: Call, runs_dir: Path) -> None:
    older, newer, linked = (make_run(runs_dir, name) for name in ("older", "newer", "linked"))
    teacher(older / "teacher" / KEY)
    (older / "teacher" / "pointer.json").write_text("{}")
    teacher(newer / "teacher")
    (linked / "teacher").symlink_to(newer / "teacher")
    assert crild("prune", "--yes").code == 0
    assert (older / "teacher" / KEY).is_dir()
    assert crild("prune", "--teachers", "--yes").code == 0
    assert everything(older / "teacher") == [f"{KEY}.lock", "pointer.json"]
    assert not (newer / "teacher").exists()
    assert (linked / "teacher").is_symlink()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two teachers of two megabytes, one of them old, and tokens of 500 bytes."""
    root = tmp_path / "cache"
    paths = [teacher(root / "teachers" / KEY), teacher(root / "teachers" / KEY[::-1]), tokens(root / "tokens" / TOKENS)]
    for path, days in zip(paths, (10, 0, 0), strict=True):
        file, size = (path / "model.safetensors", 2_000_000) if path.is_dir() else (path, 500)
        rest = sum(other.stat().st_size for other in path.iterdir() if other != file) if path.is_dir() else 0
        with file.open("ab") as opened:
            opened.truncate(size - rest)
        then = time.time() - days * 86400
        for part in (path, *path.glob("*")):
            os.utime(part, (then, then))
    return root


def test_cache_shows_kinds_sizes_and_ages(crild: Call, cache: Path) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in crild("cache", "show").out.splitlines() if line.strip()}
    rows = {line.split()[0]: line.split()[1:] for line in crild("cache", "show").out.splitlines() if line.strip()}
    assert rows["teachers"][:3] == ["2", "4.0", "MB"]
    assert rows["teachers"][-1] == "10d"
    assert rows["tokens"][:3] == ["1", "500", "B"]
    assert crild("cache", "show", "--json").json["bytes"] == 4_000_500


def test_cache_clear_takes_kinds_and_ages(crild: Call, cache: Path) -> None:
    assert crild("cache", "clear", "teachers", "--older-than", "5", "--yes").code == 0
    assert [p.name for p in (cache / "teachers").iterdir() if p.is_dir()] == [KEY[::-1]]
    assert crild("cache", "clear", "tokens").code == 2
    assert (cache / "tokens" / TOKENS).exists()
    assert crild("cache", "clear", "--yes").code == 0
    assert everything(cache) == sorted(f"teachers/{key}.lock" for key in (KEY, KEY[::-1]))


def test_cache_clear_leaves_what_crild_did_not_write(crild: Call, cache: Path, tmp_path: Path) -> None:
    logits(cache / "logits" / f"{KEY}.npy")
    (cache / "logits").rename(tmp_path / "disk")
    (cache / "logits").symlink_to(tmp_path / "disk")
    foreign = [
        "teachers/bert/model.safetensors",
        "teachers/notes.txt",
        "huggingface/model.bin",
        "notes.txt",
        "tokens/a.txt",
    ]
    for name in foreign:
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_text("mine")
    (cache / "tokens" / f"{'0' * 64}.safetensors").symlink_to(cache / "notes.txt")
    assert crild("cache", "clear", "huggingface", "--yes").code == 2
    assert crild("cache", "clear", "--yes").code == 0
    assert [name for name in foreign if not (cache / name).exists()] == []
    assert (tmp_path / "disk" / f"{KEY}.npy").exists()
    assert not (cache / "teachers" / KEY).exists()


def test_a_run_does_not_go_to_a_trash_behind_a_link(runs_dir: Path, tmp_path: Path) -> None:
    run_dir = make_run(runs_dir)
    (tmp_path / "elsewhere").mkdir()
    (runs_dir / TRASH).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError) as caught:
        actions.trash(run_dir)
    assert caught.value.kind == "trash-failed"
    assert run_dir.is_dir()


def test_a_run_with_a_note_and_a_tag_can_be_deleted(crild: Call, runs_dir: Path) -> None:
    run = make_run(runs_dir, "noted")
    assert crild("note", run.name, "good").code == 0
    assert crild("tag", run.name, "best").code == 0
    assert crild("delete", run.name, "--yes").code == 0
    assert not run.exists()


def test_delete_leaves_a_run_that_holds_other_files(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    (run_dir / "thesis").mkdir()
    (run_dir / "thesis" / "text.md").write_text("mine")
    said = crild("delete", "rte-crild", "--yes")
    assert said.code == 1
    assert "thesis/text.md" in said.err
    assert (run_dir / "status.json").exists()


def test_cache_clear_of_an_unknown_kind_names_those_there_are(crild: Call, cache: Path) -> None:
    said = crild("cache", "clear", "teacher", "--yes")
    assert said.code == 2
    assert "teachers, tokens" in said.err


def test_an_empty_cache_says_so(crild: Call) -> None:
    assert "empty" in crild("cache").err


def test_prune_empties_the_trash_of_the_dashboard(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    actions.trash(run_dir)
    assert not run_dir.exists()
    assert "in the trash" in crild("prune", "--yes").out
    assert list((runs_dir / TRASH).iterdir()) == []


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_that_waits_or_works_is_not_moved_to_the_trash(runs_dir: Path, state: str) -> None:
    run_dir = make_run(runs_dir, state=state)
    update_status(run_dir, owner=Owner.current(), heartbeat=time.time())
    with pytest.raises(UsageError) as caught:
        actions.trash(run_dir)
    assert caught.value.kind == "run-is-active"
    assert run_dir.is_dir()


def test_a_cache_that_is_a_file_is_named(crild: Call, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    for words in (("cache", "show"), ("cache", "clear", "--yes")):
        done = crild(*words)
        assert (done.code, str(tmp_path / "cache") in done.err) == (2, True)
