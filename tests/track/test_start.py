"""Readers beside engines, and `crild track`: who starts them, what is reported, and what the run notices: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crild_tui.runs import actions
from engine.errors import RunError
from engine.launch.readers import readers_of
from engine.launch.start import start_reader, start_readers
from engine.record.events import read_events
from engine.record.lock import lock_holder
from engine.record.run import read_run, read_status
from engine.record.tracking import Tracking, read_tracking, tracking_file, tracking_log, write_tracking
from engine.track.curves import KINDS, Curves
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.launch.fake_engines import wait_for
from tests.track.fake_mlflow import FakeMlflow
from tests.track.samples import run_of, set_state


@pytest.fixture(autouse=True)
def no_reader_left(runs_dir: Path) -> Any:
    """Readers that a test leaves are ended."""
    yield
    for run_dir in runs_dir.iterdir() if runs_dir.is_dir() else ():
        for kind in readers_of(run_dir):
            found = read_tracking(run_dir, kind)
            if found is not None and found.owner is not None and found.owner.pid != os.getpid():
                os.kill(found.owner.pid, signal.SIGKILL)


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    monkeypatch.setenv("CRILD_CONFIG", str(path))


def values_of(run_dir: Path) -> list[tuple[str, int, float]]:
    points = Curves().add(read_events(run_dir, KINDS))
    return sorted((name, point.step, value) for point in points for name, value in point.values.items())


def record(run_dir: Path) -> Tracking:
    return read_tracking(run_dir, "mlflow") or Tracking()


def is_sent(run_dir: Path) -> bool:
    return bool(record(run_dir).ended) and not readers_of(run_dir)


Behave = Callable[..., None]


def test_a_run_is_sent_as_it_trains(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=5)
    assert crild("run", str(preset), "--name", "a", "--track", "mlflow", "-q").code == 0
    run_dir = runs_dir / "a-s1"
    assert wait_for(lambda: is_sent(run_dir))
    assert mlflow.values("a-s1") == values_of(run_dir) != []
    assert [row["terminated"] for row in mlflow.rows("terminated")] == ["FINISHED"]
    shown = crild("show", "a").out
    assert "MLflow" in shown
    assert crild("show", "a", "--json").json["trackers"]["mlflow"]["error"] is None
    assert crild("delete", "a", "-y").code == 0
    assert not run_dir.exists()


def test_settings_start_readers_for_the_command_line_the_dashboard_and_queues(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake_engine(steps=2)
    settings(tmp_path, monkeypatch, '[track]\nto = ["mlflow"]\n')
    assert crild("run", str(preset), "--name", "cli", "-q").code == 0
    assert crild("run", str(preset), "--name", "seeds", "--seeds", "1,2", "-q").code == 0
    from crild_tui.runs.create import RunRequest

    request = RunRequest((str(preset),), (), (), runs_dir, name="tui")
    actions.start(actions.create(request))
    for name in ("cli-s1", "seeds-s1", "seeds-s2", "tui-s1"):
        assert wait_for(partial(is_sent, runs_dir / name)), name
        assert mlflow.values(name) == values_of(runs_dir / name)


def test_no_track_and_no_setting_start_no_reader(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake_engine(steps=2)
    assert crild("run", str(preset), "--name", "a", "-q").code == 0
    settings(tmp_path, monkeypatch, '[track]\nto = ["mlflow"]\n')
    assert crild("run", str(preset), "--name", "b", "--no-track", "-q").code == 0
    assert not list(runs_dir.glob("*/*tracking*"))


def test_a_tracker_that_is_down_changes_nothing_of_the_run_and_is_reported(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=3)
    mlflow.become("down")
    assert crild("run", str(preset), "--name", "a", "--track", "mlflow", "-q").code == 0
    run_dir = runs_dir / "a-s1"
    assert read_status(run_dir).state == "finished"
    assert wait_for(lambda: record(run_dir).error is not None)
    assert "nobody answers" in crild("show", "a").out
    assert "secret" not in tracking_file(run_dir, "mlflow").read_text()
    log = tracking_log(run_dir, "mlflow").read_text()
    assert "nobody answers" in log
    assert "secret" not in log
    owner = record(run_dir).owner
    assert owner is not None
    busy = crild("track", "a", "--to", "mlflow")
    assert busy.code == 1
    assert str(owner.pid) in busy.err
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: not readers_of(run_dir))
    assert crild("track", "a", "--to", "mlflow").code == 1
    mlflow.become()
    caught_up = crild("track", "a", "--to", "mlflow", "--json")
    assert caught_up.code == 0
    (document,) = caught_up.json
    assert document["trackers"]["mlflow"]["error"] is None
    assert mlflow.values("a-s1") == values_of(run_dir)


def test_a_reader_that_is_killed_is_caught_up_with(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=30, pause=0.05, hold=40)
    started = crild("run", str(preset), "--name", "a", "--track", "mlflow", "--detach", "-q")
    assert started.code == 0
    run_dir = runs_dir / "a-s1"
    assert wait_for(lambda: len(mlflow.rows("metric")) > 20)
    owner = record(run_dir).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    (runs_dir / "go").touch()
    assert wait_for(lambda: read_run(run_dir).state == "finished")
    assert len(mlflow.values("a-s1")) < len(values_of(run_dir))
    assert crild("track", "a", "--to", "mlflow").code == 0
    assert mlflow.values("a-s1") == values_of(run_dir)


def test_a_resumed_run_continues_in_the_same_remote_run(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=10, hold=12)
    crild("run", str(preset), "--name", "a", "--track", "mlflow", "--detach", "-q")
    run_dir = runs_dir / "a-s1"
    assert wait_for(lambda: read_status(run_dir).done == 12)
    assert crild("stop", "a").code == 0
    assert wait_for(lambda: read_run(run_dir).state == "stopped")
    fake_engine(steps=10)
    assert crild("resume", "a", "--track", "mlflow", "-q").code == 0
    assert wait_for(lambda: record(run_dir).ended == "finished 2")
    assert len(mlflow.rows("created")) == 1
    assert mlflow.values("a-s1") == values_of(run_dir)
    assert [row["terminated"] for row in mlflow.rows("terminated")][-1] == "FINISHED"


def test_a_running_run_is_followed_by_the_command(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=10, hold=5)
    crild("run", str(preset), "--name", "a", "--detach", "-q")
    run_dir = runs_dir / "a-s1"
    words = [sys.executable, "-m", "crild", "track", "a", "--to", "mlflow", "--runs-dir", str(runs_dir)]
    following = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: len(mlflow.rows("metric")) > 4)
    assert following.poll() is None
    (runs_dir / "go").touch()
    assert following.wait(PATIENCE) == 0
    assert mlflow.values("a-s1") == values_of(run_dir)


def test_ctrl_c_ends_the_readers_of_the_command(runs_dir: Path, mlflow: FakeMlflow) -> None:
    run_dir = run_of(runs_dir, "a", state="stopped")
    set_state(run_dir, "running")
    words = [sys.executable, "-m", "crild", "track", "a", "--to", "mlflow", "--runs-dir", str(runs_dir)]
    following = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: record(run_dir).points > 0)
    following.send_signal(signal.SIGINT)
    assert following.wait(PATIENCE) == 130
    assert wait_for(lambda: not readers_of(run_dir))


def test_several_runs_are_sent_and_none_twice(crild: Call, runs_dir: Path, mlflow: FakeMlflow) -> None:
    runs = [run_of(runs_dir, name) for name in ("a", "b")]
    assert crild("track", "a", "b", "a", "--to", "mlflow").code == 0
    for run_dir in runs:
        assert mlflow.values(run_dir.name) == values_of(run_dir)
    sent = len(mlflow.rows("pid"))
    assert crild("track", "a", "b", "--to", "mlflow").code == 0
    assert len(mlflow.rows("pid")) == sent
    assert max(Counter(row["metric"] + row["run"] + str(row["step"]) for row in mlflow.rows("metric")).values()) == 1


def test_a_student_is_uploaded_on_request_alone(crild: Call, runs_dir: Path, mlflow: FakeMlflow) -> None:
    run_dir = run_of(runs_dir, "a")
    assert crild("track", "a", "--to", "mlflow").code == 0
    assert not mlflow.rows("folder")
    assert crild("track", "a", "--to", "mlflow", "--student").code == 0
    assert [row["folder"] for row in mlflow.rows("folder")] == [str(run_dir / "student")]
    assert len([row for row in mlflow.rows("metric") if row["metric"] == "results/student/accuracy"]) == 1


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["track", "a", "--to", "wand"], "wandb"),
        (["track", "a", "--to", "mlflow,tensorbord"], "tensorboard"),
        (["track", "a"], "--to"),
        (["track", "b", "--to", "mlflow"], "b"),
        (["run", "quickstart", "--track", "wand"], "wandb"),
        (["run", "quickstart", "--track", "mlflow", "--no-track"], "--no-track"),
        (["resume", "a", "--track", "wand"], "wandb"),
    ],
)
def test_mistakes_are_refused_before_anything_starts(
    crild: Call, runs_dir: Path, mlflow: FakeMlflow, words: list[str], fact: str
) -> None:
    run_of(runs_dir, "a", state="stopped")
    said = crild(*words)
    assert said.code == 2
    assert fact in said.err
    assert not mlflow.rows("pid")


def test_a_tracker_that_is_not_installed_names_its_extra(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.user.tracking

    monkeypatch.setattr(engine.user.tracking, "is_installed", lambda _: False)
    run_of(runs_dir, "a")
    for words in (["track", "a", "--to", "wandb"], ["run", str(preset), "--track", "wandb"]):
        said = crild(*words)
        assert said.code == 2
        assert "crild[wandb]" in said.err
    fake_engine(steps=1)
    settings(tmp_path, monkeypatch, '[track]\nto = ["wandb"]\n')
    monkeypatch.setattr("engine.launch.start.start_reader", lambda *_: (_ for _ in ()).throw(RunError("no", kind="x")))
    said = crild("run", str(preset), "--name", "b")
    assert said.code == 0  # settings warn, the run goes its way
    assert "crild[wandb]" in said.err


def test_a_folder_of_a_trackers_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.user.tracking import is_installed

    (tmp_path / "wandb-files").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "frobnicator").mkdir()
    assert not is_installed("frobnicator")


@pytest.mark.parametrize("text", ['[track]\nto = ["mlflow"]', 'track = "mlflow"', 'project = "a/b"', 'project = ""'])
def test_a_preset_cannot_send_anything(
    crild: Call, preset: Path, runs_dir: Path, mlflow: FakeMlflow, text: str
) -> None:
    preset.write_text(
        f"{text}\n{preset.read_text()}" if text.startswith(("project", "track")) else f"{preset.read_text()}\n{text}\n"
    )
    assert crild("run", str(preset), "-q").code == 2
    assert not mlflow.rows("pid")


def test_a_strangers_record_starts_no_reader(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow
) -> None:
    fake_engine(steps=2)
    run_dir = make_run(runs_dir, "r", state="queued")
    write_tracking(run_dir, "mlflow", Tracking(remote="x", where="https://stranger.example", ended="finished 9"))
    start_readers(run_dir)
    assert not readers_of(run_dir)
    assert not mlflow.rows("pid")


def test_a_reader_that_cannot_start_is_recorded_and_the_engine_runs(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.launch.start

    monkeypatch.setattr(engine.launch.start, "process_command", lambda *_: ["/nowhere/python"])
    fake_engine(steps=2)
    assert crild("run", str(preset), "--name", "a", "--track", "mlflow", "-q").code == 0
    assert record(runs_dir / "a-s1").error is not None


def test_a_choice_that_cannot_be_read_starts_no_reader(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run_of(runs_dir)
    settings(tmp_path, monkeypatch, "[track]\nto = 3\n")
    start_readers(run_dir)
    monkeypatch.setenv("CRILD_TRACK", "nonsense")
    start_readers(run_dir)
    assert not list(run_dir.glob("*tracking*"))


def test_a_background_reader_yields_to_the_engine_and_has_no_gpu(runs_dir: Path, mlflow: FakeMlflow) -> None:
    run_dir = run_of(runs_dir, state="stopped")
    set_state(run_dir, "running")
    reader = start_reader(run_dir, "mlflow", "--background")
    assert wait_for(lambda: record(run_dir).points > 0)
    assert os.getpriority(os.PRIO_PROCESS, reader.pid) == 19
    assert os.getsid(reader.pid) == reader.pid
    assert lock_holder(run_dir) != reader.pid  # it never takes the run's own lock
    for number in (signal.SIGHUP, signal.SIGUSR1):
        reader.send_signal(number)
    set_state(run_dir, "finished")
    assert reader.wait(PATIENCE) == 0
    assert record(run_dir).ended == "finished 1"


def test_readers_are_seen(runs_dir: Path, mlflow: FakeMlflow) -> None:
    run_dir = run_of(runs_dir)
    mlflow.become("slow")
    reader = start_reader(run_dir, "mlflow")
    assert wait_for(lambda: readers_of(run_dir) == ["mlflow"])
    mlflow.become()
    assert reader.wait(PATIENCE) == 0
    assert readers_of(run_dir) == []


def test_a_job_of_slurm_waits_for_its_readers(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    from engine.launch import slurm_job
    from engine.record.status import Job
    from engine.user.consent import NONE
    from tests.cli.conftest import FAKE

    fake_engine(steps=3)
    mlflow.become("slow")
    monkeypatch.setenv("CRILD_TRACK", "mlflow")
    monkeypatch.setattr(slurm_job, "_signals", slurm_job.EndSignals())  # other tests in this process end jobs
    run_dir = make_run(runs_dir, "r", state="queued")
    assert slurm_job.work(run_dir, Job("77"), NONE, command=FAKE) == 0
    assert record(run_dir).ended
    assert mlflow.values(run_dir.name) == values_of(run_dir)


@pytest.mark.parametrize("words", [[], ["mlflow"], ["wand", "RUN"], ["mlflow", "--frob", "RUN"], ["mlflow", "RUN"]])
def test_a_reader_with_wrong_words_ends_with_a_sentence(tmp_path: Path, words: list[str]) -> None:
    from engine.launch.start import process_command

    ended = subprocess.run(
        process_command("track", *words), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert ended.returncode in (1, 2)
    assert "error: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere"), Path.mkdir])
def test_a_log_that_is_no_file_keeps_no_engine_waiting(runs_dir: Path, make: Callable[[Path], None]) -> None:
    run_dir = make_run(runs_dir)
    make(tracking_log(run_dir, "mlflow"))
    with pytest.raises(RunError) as caught:
        start_reader(run_dir, "mlflow")
    assert caught.value.kind == "cannot-start-reader"
    start_readers(run_dir)
    assert not (run_dir / "elsewhere").exists()


def test_a_linked_folder_of_tensorboard_is_not_followed(runs_dir: Path, tmp_path: Path) -> None:
    from engine.track.facts import facts_of
    from engine.track.tensorboard_tracker import FOLDER, TensorBoard

    run_dir = make_run(runs_dir)
    (run_dir / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError) as caught:
        TensorBoard(facts_of(run_dir), None)._new_folder()
    assert caught.value.kind == "tracking-link"


def test_a_damaged_record_says_what_to_do(runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    tracking_file(run_dir, "mlflow").write_bytes(b"")
    with pytest.raises(RunError) as caught:
        read_tracking(run_dir, "mlflow")
    assert "delete it" in caught.value.sentence
