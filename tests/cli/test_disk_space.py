from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crild_tui.runs import actions
from engine.errors import UsageError
from engine.record.annotations import read_annotations
from engine.record.lock import RunLock
from engine.record.owner import Owner
from engine.record.paths import TRASH
from engine.record.run import update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run


def _checkpoints(run_dir: Path) -> Path:
    for name in ("000-ild-00000010", "001-kd-00000010", "best-kd-00000010", ".001-kd-00000020.77"):
        folder = run_dir / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 1000)
    return run_dir / "checkpoints"


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
    (stopped / "checkpoints" / ".001-kd-00000020.77" / "model.safetensors").unlink()
    (stopped / "checkpoints" / ".001-kd-00000020.77").rmdir()
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


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for kind, name, days in (("teachers", "a", 10), ("teachers", "b", 0), ("tokens", "c.npz", 0)):
        path = tmp_path / "cache" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "teachers":
            path.mkdir()
            (path / "model.safetensors").write_bytes(b"x" * 2_000_000)
        else:
            path.write_bytes(b"x" * 500)
        then = time.time() - days * 86400
        os.utime(path, (then, then))
    return tmp_path / "cache"


def test_cache_shows_kinds_sizes_and_ages(crild: Call, cache: Path) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in crild("cache", "show").out.splitlines() if line.strip()}
    assert rows["teachers"][:3] == ["2", "4.0", "MB"]
    assert rows["teachers"][-1] == "10d"
    assert rows["tokens"][:3] == ["1", "500", "B"]
    assert crild("cache", "show", "--json").json["bytes"] == 4_000_500


def test_cache_clear_takes_kinds_and_ages(crild: Call, cache: Path) -> None:
    assert crild("cache", "clear", "teachers", "--older-than", "5", "--yes").code == 0
    assert sorted(p.name for p in (cache / "teachers").iterdir()) == ["b"]
    assert crild("cache", "clear", "tokens").code == 2
    assert (cache / "tokens" / "c.npz").exists()
    assert crild("cache", "clear", "--yes").code == 0
    assert not any(p for folder in cache.iterdir() for p in folder.iterdir())


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
