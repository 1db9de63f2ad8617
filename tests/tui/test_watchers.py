from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from crild_tui.monitor import machine
from crild_tui.monitor.machine import MachineWatcher
from crild_tui.monitor.runs import RunsWatcher
from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs import reader as runs_reader
from crild_tui.runs.reader import RunsReader
from crild_tui.runs.snapshot import RunsSnapshot
from engine.launch.gpu import Gpu
from engine.record.annotations import set_note
from engine.record.files import write_json
from engine.record.owner import Owner
from engine.record.run import list_runs, read_run, read_status, update_status
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.tui.snapshots import Snapshots

Seen = Snapshots[Any]


@contextmanager
def watched(runs_dir: Path) -> Iterator[Seen]:
    seen = Seen()
    watcher = RunsWatcher(runs_dir, seen, every=0.01)
    watcher.start()
    try:
        yield seen
    finally:
        watcher.stop()


def age(run_dir: Path, seconds: float = 60.0) -> None:
    """Make the files of a run look as if nobody had touched them for a while."""
    for path in run_dir.glob("*.json"):
        os.utime(path, (time.time() - seconds,) * 2)


def ids(snapshot: RunsSnapshot) -> list[str]:
    return [entry.id for entry in snapshot.entries]


def test_a_missing_folder_is_empty_and_runs_appear_in_it(tmp_path: Path) -> None:
    runs_dir = tmp_path / "none" / "runs"
    with watched(runs_dir) as seen:
        empty = seen.until(lambda _: True)
        assert (empty.entries, empty.exists, empty.problem, empty.revision) == ((), False, None, 1)
        run_dir = make_run(runs_dir)
        found = seen.until(lambda snapshot: len(snapshot.entries) == 1 and snapshot.entries[0].state == "finished")
        assert found.exists
        assert found.entries[0] == read_run(run_dir)
        set_note(run_dir, "good")
        seen.until(lambda snapshot: snapshot.entries[0].note == "good")
        run_dir.rename(runs_dir / "other")
        seen.until(lambda snapshot: ids(snapshot) == ["other"])
    revisions = [snapshot.revision for snapshot in seen.all]
    assert revisions == list(range(1, len(revisions) + 1))


def test_the_list_is_that_of_the_command_line(tmp_path: Path) -> None:
    for number, state in enumerate(("finished", "failed", "queued", "created", "running")):
        make_run(tmp_path / "runs", f"r{number}", state=state)
    (tmp_path / "runs" / "just-a-folder").mkdir()
    (tmp_path / "runs" / "file").write_text("x")
    (tmp_path / "runs" / ".new-1").mkdir()
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "status.json").write_text("{")
    (tmp_path / "runs" / "half").mkdir()
    (tmp_path / "runs" / "half" / "preset.toml").write_text("")
    reader = RunsReader(tmp_path / "runs")
    assert list(reader.read(now=5000.0)) == list_runs(tmp_path / "runs", now=5000.0)
    assert list(reader.read(now=5000.0)) == list_runs(tmp_path / "runs", now=5000.0)


def test_only_runs_whose_files_changed_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_run(tmp_path, f"r{number}") for number in range(4)]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "status.json").write_text("{")
    for folder in (*folders, tmp_path / "broken"):
        age(folder)
    read: list[str] = []

    def reading(path: Path, now: float | None = None) -> Any:
        read.append(path.name)
        return read_run(path, now)

    monkeypatch.setattr(runs_reader, "read_run", reading)
    reader, later = RunsReader(tmp_path), time.time() + 100  # changes of inodes cannot be dated back
    monkeypatch.setattr(runs_reader, "_stamp", _without_change_time(runs_reader._stamp))
    assert len(reader.read(later)) == 5
    assert sorted(read) == sorted(["broken", *(folder.name for folder in folders)])
    read.clear()
    reader.read(later)
    assert read == []
    update_status(folders[1], state="failed")
    age(folders[1], 50)
    entries = reader.read(later)
    assert read == [folders[1].name]
    assert {entry.id: entry.state for entry in entries}[folders[1].name] == "failed"
    read.clear()
    reader.read(later + runs_reader.AGAIN + 1)
    assert read == ["broken"], "what could not be read is tried again"


def _without_change_time(stamp: Callable[[str], tuple[int, ...] | None]) -> Callable[[str], tuple[int, ...] | None]:
    def cut(path: str) -> tuple[int, ...] | None:
        found = stamp(path)
        return None if found is None else (found[0], *found[2:])

    return cut


def test_a_file_that_was_just_written_is_not_trusted_to_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(tmp_path)
    written = time.time()
    monkeypatch.setattr(runs_reader, "_signature", lambda _: ((int(written * 1e9),), None))  # a coarse clock
    reader = RunsReader(tmp_path)
    assert reader.read(written + 0.1)[0].state == "finished"
    update_status(run_dir, state="failed")
    assert reader.read(written + 0.2)[0].state == "failed"


def test_a_run_becomes_stalled_and_lost_without_a_change_of_its_files(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, state="running")
    status = read_status(run_dir)
    now = time.time()
    write_json(run_dir / "status.json", {**status.to_dict(), "owner": asdict(Owner.current()), "heartbeat": now - 10})
    age(run_dir)
    reader = RunsReader(tmp_path)
    assert [reader.read(now + wait)[0].state for wait in (0, 20, 500)] == ["running", "running", "stalled"]
    write_json(run_dir / "status.json", {**status.to_dict(), "owner": None, "heartbeat": now - 10})
    assert reader.read(now)[0].state == "lost"


def test_a_queued_run_is_lost_with_its_queue(tmp_path: Path) -> None:
    make_run(tmp_path, state="queued")
    run_dir = make_run(tmp_path, "other", state="queued")
    update_status(run_dir, queue="q-1")
    reader = RunsReader(tmp_path)
    assert {entry.id: entry.state for entry in reader.read()} == {"rte-crild-s1": "queued", "other-s1": "lost"}


def test_a_folder_that_cannot_be_read_says_why_and_keeps_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path)
    with watched(tmp_path) as seen:
        seen.until(lambda snapshot: len(snapshot.entries) == 1)
        listing = os.listdir

        def refused(path: Any) -> list[str]:
            if Path(path) == tmp_path:
                raise PermissionError(13, "Permission denied")
            return listing(path)

        monkeypatch.setattr(os, "listdir", refused)
        found = seen.until(lambda snapshot: snapshot.problem is not None)
        assert repr(str(tmp_path)) in found.problem
        assert "permission is denied" in found.problem
        assert len(found.entries) == 1
        monkeypatch.setattr(os, "listdir", listing)
        seen.until(lambda snapshot: snapshot.problem is None)


def test_a_file_in_the_place_of_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with watched(tmp_path / "file") as seen:
        assert "is a file, not a folder" in seen.until(lambda _: True).problem


def test_the_watcher_survives_what_nobody_thought_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path)

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    with watched(tmp_path) as seen:
        seen.until(lambda snapshot: len(snapshot.entries) == 1)
        with monkeypatch.context() as patch:
            patch.setattr(RunsReader, "read", broken)
            found = seen.until(lambda snapshot: snapshot.problem is not None)
            assert found.problem.endswith("RuntimeError: out of order")
            assert len(found.entries) == 1
        seen.until(lambda snapshot: snapshot.problem is None)


def test_nothing_is_told_after_the_end(tmp_path: Path) -> None:
    seen = Seen()
    watcher = RunsWatcher(tmp_path, seen, every=0.01)
    watcher.stop()
    watcher.start()
    watcher._thread.join(PATIENCE)
    assert seen.all == []


# -- the machine

GPUS = (Gpu(0, "GPU-aa", "NVIDIA H100 80GB HBM3", 0.37, 1024 * 2**20, 81559 * 2**20),)


def test_the_machine_is_told_at_once_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def refusing(_timeout: float) -> None:
        asked.append(1.0)

    monkeypatch.setattr(machine, "gpus", refusing)
    seen = Seen()
    watcher = MachineWatcher(seen, every=0.01)
    watcher.start()
    try:
        seen.until(lambda snapshot: snapshot.cpu is not None)
    finally:
        watcher.stop()
    first: MachineSnapshot = seen.all[0]
    assert first.cpu is None
    assert 0 < first.memory_used <= first.memory_total
    assert len(asked) == 1, "what is missing is not asked for at each look"


def test_gpus_are_part_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda _: GPUS)
    seen = Seen()
    watcher = MachineWatcher(seen, every=0.01)
    watcher.start()
    try:
        assert seen.until(lambda snapshot: bool(snapshot.gpus)).gpus == GPUS
    finally:
        watcher.stop()


def test_a_system_that_hides_its_figures_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def hidden() -> None:
        raise PermissionError(13, "no /proc")

    monkeypatch.setattr(psutil, "virtual_memory", hidden)
    assert machine.load_and_memory() == MachineSnapshot()
