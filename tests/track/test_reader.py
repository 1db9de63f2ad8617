"""The reader of one tracker: everything in order and once, whatever the tracker, the run and other readers do."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.events import read_events
from engine.record.owner import temporary_name
from engine.record.paths import events_file
from engine.record.run import delete_run, read_run
from engine.record.tracking import Tracking, read_tracking, tracking_file, tracking_lock, write_tracking
from engine.track.curves import KINDS, Curves
from engine.track.process import BUSY
from engine.user.settings import Track
from tests.conftest import PATIENCE, REPOSITORY
from tests.errors import raises
from tests.launch.fake_engines import wait_for
from tests.track.samples import Remote, attempt, expected, reader, run_of, set_state, train


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def record(run_dir: Path, kind: str = "mlflow") -> Tracking:
    found = read_tracking(run_dir, kind)
    assert found is not None
    return found


def failing(method: str, times: int = 1, error: Exception | None = None) -> Callable[[str], None]:
    """A tracker whose method fails so many times."""
    left = [times]

    def fail(name: str) -> None:
        if name == method and left[0]:
            left[0] -= 1
            raise error or ConnectionError("refused by https://me:secret@host/x")

    return fail


def test_a_finished_run_is_sent_in_order_with_its_results(runs: Path) -> None:
    run_dir, remote = run_of(runs, tags=("first",)), Remote()
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)
    assert remote.arrivals == list(expected(run_dir))
    (facts,), (outcome,) = remote.configs, remote.outcomes
    assert (facts.name, facts.project, facts.tags) == ("r-s1", "crild", ("first",))
    assert facts.config["stage.ild.objectives.hidden"] == 1.0
    assert facts.config["seed"] == 1
    assert (outcome.state, outcome.failed, outcome.student) == ("finished", False, None)
    assert outcome.figures["results/student/accuracy"] == 0.6751
    assert outcome.figures["results/teacher/accuracy"] == 0.6943
    assert outcome.figures["results/student/latency_ms"] == 12.02
    assert "67.51" in outcome.table
    known = record(run_dir)
    assert (known.ended, known.error, known.points) == ("finished 1", None, 18)
    assert known.where == "https://mlflow.example/r-s1"
    assert known.sent == known.confirmed


def test_a_second_reader_sends_nothing_again(runs: Path) -> None:
    for forgets in (False, True):
        run_dir, remote = run_of(runs, f"r{forgets}"), Remote(forgets=forgets)
        assert reader(run_dir, remote).run() == 0
        assert reader(run_dir, remote).run() == 0
        assert remote.sent_twice() == []
        assert [outcome.again for outcome in remote.outcomes] == [False, True]


def test_what_a_tracker_lost_is_sent_again(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    assert reader(run_dir, remote).run() == 0
    remote.values.clear()
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)


def test_a_running_run_is_followed_to_its_end(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped", steps=2), Remote()
    events = attempt(run_dir, 2, {}, start=("kd", 2), end="")

    def arrived(step: int) -> bool:
        return ("kd/loss", step) in remote.values

    set_state(run_dir, "running")
    following = threading.Thread(target=reader(run_dir, remote).run)
    following.start()
    assert wait_for(lambda: ("kd/loss", 2) in remote.values)
    for step in range(3, 7):
        train(events, "kd", step)
        assert wait_for(partial(arrived, step))
    assert not remote.outcomes
    events.close()
    set_state(run_dir, "stopped", attempt=2)
    following.join(PATIENCE)
    assert remote.values == expected(run_dir)
    assert remote.sent_twice() == []
    assert [outcome.state for outcome in remote.outcomes] == ["stopped"]
    assert record(run_dir).ended == "stopped 2"


def test_steps_that_a_resumed_run_trains_again_are_sent_once(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote(forgets=True)
    assert reader(run_dir, remote).run() == 0
    attempt(run_dir, 2, {"ild": range(5, 7), "kd": range(1, 10)}, start=("ild", 4)).close()
    set_state(run_dir, "finished", attempt=2)
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)
    assert remote.sent_twice() == []
    assert [outcome.state for outcome in remote.outcomes] == ["stopped", "finished"]


def test_an_extended_run_sends_its_new_steps_although_a_later_stage_was_sent(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    assert reader(run_dir, remote).run() == 0
    attempt(run_dir, 2, {"ild": range(7, 10), "kd": range(1, 10)}, start=("ild", 6)).close()
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)
    assert ("ild/loss", 9) in remote.values


def test_a_tracker_that_fails_once_is_tried_again_in_the_background(runs: Path) -> None:
    for method in ("open", "send", "finish", "close"):
        run_dir, remote = run_of(runs, method), Remote(fail=failing(method))
        assert reader(run_dir, remote, background=True).run() == 0
        assert remote.values == expected(run_dir), method
        assert remote.sent_twice() == [], method
        assert record(run_dir).error is None


def test_a_tracker_that_stays_down_is_reported_and_caught_up_with_later(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote(fail=failing("send", 1000))
    assert reader(run_dir, remote, background=True).run() == 1
    error = record(run_dir).error
    assert error is not None
    assert "MLflow" in error
    assert "refused" in error
    assert "secret" not in tracking_file(run_dir, "mlflow").read_text()
    remote.fail = lambda _: None
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)
    assert record(run_dir).error is None


def test_a_tracker_that_fails_between_two_points_continues_behind_them(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    calls = iter(range(1000))

    def fail(name: str) -> None:
        if name == "send" and next(calls) == 7:
            raise OSError("gone")

    remote.fail = fail
    assert reader(run_dir, remote).run() == 1
    assert 0 < len(remote.values) < len(expected(run_dir))
    assert reader(run_dir, remote).run() == 0
    assert remote.values == expected(run_dir)
    assert remote.sent_twice() == []


def test_a_tracker_that_never_answers_is_given_up(runs: Path) -> None:
    run_dir = run_of(runs)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from engine.track.process import Timing; from tests.track.samples import Remote, reader\n"
        "remote = Remote(fail=lambda name: time.sleep(600) if name == 'send' else None)\n"
        "sys.exit(reader(Path(sys.argv[1]), remote, timing=Timing(poll=0.01, delays=(0.01,), patience=0.4)).run())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(run_dir)], check=False, cwd=REPOSITORY, timeout=PATIENCE, capture_output=True
    )
    assert ended.returncode == 1
    error = record(run_dir).error
    assert error is not None
    assert "TimeoutError" in error


def test_a_reader_that_hangs_starts_again_while_the_run_is_running(runs: Path, tmp_path: Path) -> None:
    run_dir = run_of(runs, state="stopped")
    set_state(run_dir, "running")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from engine.track.process import Timing; from tests.track.samples import Remote, reader\n"
        "run, hung = map(Path, sys.argv[1:])\n"
        "def fail(name):\n"
        "    if name == 'send' and not hung.exists():\n"
        "        hung.touch()\n"
        "        time.sleep(600)\n"
        "timing = Timing(poll=0.01, delays=(0.01,), patience=1.0)\n"
        "sys.exit(reader(run, Remote(fail=fail), background=True, timing=timing).run())"
    )
    words = [sys.executable, "-c", code, str(run_dir), str(tmp_path / "hung")]
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: tracking_file(run_dir, "mlflow").exists() and record(run_dir).points > 0)
    assert (tmp_path / "hung").exists()
    set_state(run_dir, "finished")
    assert process.wait(PATIENCE) == 0
    assert (record(run_dir).error, record(run_dir).ended) == (None, "finished 1")


def test_two_readers_at_once_send_everything_once(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    started, go = threading.Event(), threading.Event()

    def wait(name: str) -> None:
        if name == "send" and not started.is_set():
            started.set()
            go.wait(PATIENCE)

    remote.fail = wait
    first = threading.Thread(target=reader(run_dir, remote).run)
    first.start()
    assert started.wait(PATIENCE)
    assert reader(run_dir, remote).run() == BUSY
    go.set()
    first.join(PATIENCE)
    assert remote.values == expected(run_dir)
    assert remote.sent_twice() == []


def test_the_reader_of_a_resumed_run_waits_for_the_one_before(runs: Path) -> None:
    from engine.record.lock import FileLock

    run_dir, remote = run_of(runs, state="stopped"), Remote()
    set_state(run_dir, "running")
    lock = FileLock(tracking_lock(run_dir, "mlflow"))
    assert lock.try_acquire()
    second = threading.Thread(target=reader(run_dir, remote, background=True).run)
    second.start()
    assert not remote.configs
    lock.release()
    assert wait_for(lambda: bool(remote.values))
    set_state(run_dir, "finished")
    second.join(PATIENCE)
    assert remote.values == expected(run_dir)


def test_one_tracker_knows_nothing_of_another(runs: Path) -> None:
    run_dir, down, good = run_of(runs), Remote(fail=failing("open", 1000)), Remote()
    assert reader(run_dir, down, kind="wandb").run() == 1
    assert reader(run_dir, good, kind="trackio").run() == 0
    assert good.values == expected(run_dir)
    assert record(run_dir, "wandb").error
    assert record(run_dir, "trackio").error is None


def test_a_run_whose_engine_was_killed_ends_as_lost(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote()
    set_state(run_dir, "running", owner=None, heartbeat=1.0, started=1.0, created=1.0)
    assert read_run(run_dir).state == "lost"
    assert reader(run_dir, remote).run() == 0
    assert [(outcome.state, outcome.failed) for outcome in remote.outcomes] == [("lost", True)]


def test_a_run_that_is_removed_ends_its_reader(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote()
    set_state(run_dir, "running")
    codes: list[int] = []
    following = threading.Thread(target=lambda: codes.append(reader(run_dir, remote, background=True).run()))
    following.start()
    assert wait_for(lambda: bool(remote.values))
    set_state(run_dir, "stopped")
    delete_run(run_dir)
    following.join(PATIENCE)
    assert not following.is_alive()
    assert not run_dir.exists() or not any(run_dir.iterdir())


def test_a_run_that_is_renamed_is_followed(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote()
    set_state(run_dir, "running")
    following = threading.Thread(target=reader(run_dir, remote).run)
    following.start()
    assert wait_for(lambda: bool(remote.values))
    moved = run_dir.rename(runs / "other")
    attempt(moved, 2, {"kd": range(7, 9)}, start=("kd", 6)).close()
    set_state(moved, "finished", attempt=2)
    following.join(PATIENCE)
    assert remote.values == expected(moved)
    assert remote.sent_twice() == []
    assert record(moved).ended == "finished 2"


def test_runs_of_earlier_versions_are_sent(tmp_path: Path) -> None:
    with tarfile.open(REPOSITORY / "tests" / "fixtures" / "runs-0.1.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "old")
    for name in ("finished-s7", "stopped-s7"):
        run_dir, remote = tmp_path / "old" / name, Remote()
        assert reader(run_dir, remote).run() == 0
        assert remote.values == expected(run_dir) != {}
        assert [outcome.state for outcome in remote.outcomes] == [name.partition("-")[0]]


def test_a_student_is_sent_only_if_it_is_wanted(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    assert reader(run_dir, remote).run() == 0
    assert reader(run_dir, remote, settings=Track(student=True)).run() == 0
    assert reader(run_dir, remote, settings=Track(student=True)).run() == 0
    assert [outcome.student for outcome in remote.outcomes] == [None, run_dir / "student", None]
    assert [bool(outcome.figures) for outcome in remote.outcomes] == [True, False, False]


def test_results_whose_record_a_kill_prevented_are_not_sent_twice(runs: Path) -> None:
    run_dir, remote = run_of(runs), Remote()
    assert reader(run_dir, remote).run() == 0
    remote.values["results/student/accuracy", 0] = 0.5
    write_tracking(run_dir, "mlflow", replace(record(run_dir), ended=""))
    assert reader(run_dir, remote).run() == 0
    assert [bool(outcome.figures) for outcome in remote.outcomes] == [True, False]


def test_a_preset_names_a_project_but_a_strangers_name_is_not_trusted(runs: Path) -> None:
    from tests.cli.samples import PRESET

    for name, project in (("thesis-2", "thesis-2"), ("../x", "crild"), ("", "crild")):
        run_dir, remote = run_of(runs, f"r{len(name)}", preset=f"project = {json.dumps(name)}\n{PRESET}"), Remote()
        assert reader(run_dir, remote).run() == 0
        assert remote.configs[0].project == project


def test_credentials_in_a_preset_and_a_note_are_masked(runs: Path) -> None:
    from engine.record.annotations import set_note
    from tests.cli.samples import PRESET

    run_dir, remote = run_of(runs, preset=f'description = "see https://me:hunter2@host/x"\n{PRESET}'), Remote()
    set_note(run_dir, "token = hf_abcdefghijklmnopqrstuvwxyz")
    assert reader(run_dir, remote).run() == 0
    assert "hunter2" not in str(remote.configs[0])
    assert "abcdefghij" not in str(remote.configs[0])


def test_a_damaged_record_is_an_error_and_stays(runs: Path) -> None:
    run_dir = run_of(runs)
    for text in ("{", "[]", '{"schema": 99}', '{"schema": 1, "sent": 3}'):
        tracking_file(run_dir, "mlflow").write_text(text)
        with pytest.raises(RunError):
            reader(run_dir, Remote()).run()
        assert tracking_file(run_dir, "mlflow").read_text() == text


def test_a_lock_that_is_a_link_is_an_error(runs: Path) -> None:
    run_dir = run_of(runs)
    tracking_lock(run_dir, "mlflow").symlink_to(run_dir / "preset.toml")
    with raises("cannot-lock-tracking"):
        reader(run_dir, Remote()).run()


def test_events_that_are_replaced_are_counted_from_the_start(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped", steps=8), Remote()
    set_state(run_dir, "running")
    following = threading.Thread(target=reader(run_dir, remote).run)
    following.start()
    assert wait_for(lambda: ("kd/loss", 8) in remote.values)
    events_file(run_of(runs, "longer", steps=10), 1).replace(events_file(run_dir, 1))  # another inode
    assert wait_for(lambda: ("kd/loss", 10) in remote.values)
    set_state(run_dir, "finished")
    following.join(PATIENCE)
    assert remote.values == expected(run_dir)
    assert remote.sent_twice() == []
    assert record(run_dir).points == len(Curves().add(read_events(run_dir, KINDS)))


def test_a_tracker_that_is_down_for_long_is_tried_as_long_as_the_run_is_running(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote(fail=failing("open", 8))
    set_state(run_dir, "running")
    following = threading.Thread(target=reader(run_dir, remote, background=True).run)
    following.start()
    assert wait_for(lambda: ("kd/loss", 6) in remote.values)
    set_state(run_dir, "finished")
    following.join(PATIENCE)
    assert remote.values == expected(run_dir)


def test_nothing_is_written_into_a_run_that_is_being_deleted(runs: Path) -> None:
    run_dir, remote = run_of(runs, state="stopped"), Remote()
    set_state(run_dir, "running")
    codes: list[int] = []
    following = threading.Thread(target=lambda: codes.append(reader(run_dir, remote, background=True).run()))
    following.start()
    assert wait_for(lambda: bool(remote.values))
    run_dir.rename(runs / temporary_name(f"deleted-{run_dir.name}"))
    following.join(PATIENCE)
    assert codes == [1]
