from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.run import read_run, read_status
from tests.cli.conftest import Call
from tests.conftest import PATIENCE

Behave = Callable[..., None]


def test_a_finished_run_ends_with_its_closing_table_on_stdout(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    said = crild("run", str(preset), "--name", "mine")
    assert said.code == 0
    assert "67.51" in said.out
    assert "majority guess" in said.out
    assert "step 320 of 400" in said.out
    assert "mine-s1" in said.err
    assert "crild attach mine-s1" in said.err
    assert "stage kd" in said.err
    assert "67.51" not in said.err
    assert read_status(runs_dir / "mine-s1").state == "finished"


def test_the_run_directory_says_what_was_asked_for(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    crild("run", "kd", str(preset), "--set", "stage.kd.epochs=2", "--device", "cpu", "--quiet")
    (run_dir,) = [path for path in runs_dir.iterdir() if not path.name.startswith(".")]
    status = read_status(run_dir)
    assert (status.task, status.method, status.seed, status.preset) == ("toy-entailment", "kd+small", 1, "kd+small")
    text = (run_dir / "preset.toml").read_text()
    assert 'device = "cpu"' in text
    assert "epochs = 2" in text


def test_quiet_says_nothing_but_the_result(crild: Call, fake_engine: Behave, preset: Path) -> None:
    said = crild("run", str(preset), "--quiet")
    assert said.err == ""
    assert "student" in said.out


def test_json_is_the_results_document_alone(crild: Call, fake_engine: Behave, preset: Path) -> None:
    said = crild("run", str(preset), "--json", "--name", "mine")
    assert said.json["student"]["metrics"]["accuracy"] == 0.6751
    assert (said.json["run"], said.json["state"], said.json["error"]) == ("mine-s1", "finished", None)


def test_warnings_of_the_engine_are_told_and_cannot_act_on_the_terminal(
    crild: Call, fake_engine: Behave, preset: Path
) -> None:
    fake_engine(message="the teacher \x1b[2J[bold]is weak[/bold]\u202e")
    said = crild("run", str(preset))
    assert "warning: the teacher \\x1b[2J[bold]is weak[/bold]\\u202e" in said.err


@pytest.mark.parametrize(
    ("end", "code", "sentence"),
    [
        ("fail", 1, "error: the loss stopped being a finite number"),
        ("data", 3, "error: train.tsv:7: a label is missing"),
        ("die", 1, "lost in stage kd at step 1: its engine is gone"),
    ],
)
def test_a_run_that_fails_says_why_and_exits_with_the_documented_code(
    crild: Call, fake_engine: Behave, preset: Path, end: str, code: int, sentence: str
) -> None:
    fake_engine(end=end)
    said = crild("run", str(preset), "--name", "mine")
    assert said.code == code
    assert said.err.count(sentence) == 1
    assert said.out == ""
    assert crild("attach", "mine-s1").err.count(sentence) == 1


def test_an_engine_that_dies_leaves_its_last_words_and_the_way_on(
    crild: Call, fake_engine: Behave, preset: Path
) -> None:
    fake_engine(end="die")
    said = crild("run", str(preset), "--name", "mine")
    assert "log: about to \\x1b[31mdie\\x1b[0m" in said.err
    assert "crild resume mine-s1" in said.err


def test_a_failed_run_is_json_too(crild: Call, fake_engine: Behave, preset: Path) -> None:
    fake_engine(end="data")
    said = crild("run", str(preset), "--json", "--quiet")
    assert said.json["state"] == "failed"
    assert said.json["error"]["line"] == 7
    assert "student" not in said.json


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nosuch"], 2, '"nosuch"'),
        (["SMALL", "--set", "stage.kd.epoch=5"], 2, 'did you mean "epochs"'),
        (["SMALL", "--seeds", "1,x"], 2, "--seeds"),
        (["SMALL", "--seeds", "3,1-4"], 2, "repeats 3"),
        (["SMALL", "--name", "../up"], 2, "../up"),
        (["SMALL", "--device", "tpu"], 2, "device"),
        (["SMALL", "--set", "task.name=custom"], 2, "files"),
        (["SMALL", "--set", "task.name=rte", "--set", "task.source=/nowhere"], 3, "/nowhere"),
        (["SMALL", "--set", "student.layers=9"], 2, "9"),
    ],
)
def test_what_can_be_seen_beforehand_leaves_no_run_behind(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, words: list[str], code: int, sentence: str
) -> None:
    said = crild("run", *(str(preset) if word == "SMALL" else word for word in words))
    assert said.code == code
    assert "error: " in said.err
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert not runs_dir.exists()


def test_a_file_that_is_in_the_way_of_the_runs_folder_is_named(crild: Call, preset: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    said = crild("run", str(preset), "--runs-dir", str(tmp_path / "plain"))
    assert said.code == 2
    assert "plain" in said.err


def test_an_existing_name_is_refused(crild: Call, fake_engine: Behave, preset: Path) -> None:
    crild("run", str(preset), "--name", "mine", "--quiet")
    said = crild("run", str(preset), "--name", "mine")
    assert said.code == 2
    assert "crild resume mine-s1" in said.err


def test_detach_prints_the_id_and_leaves_the_engine_going(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    fake_engine(pause=0.05)
    said = crild("run", str(preset), "--name", "mine", "--detach")
    assert (said.code, said.out) == (0, "mine-s1\n")
    assert read_run(runs_dir / "mine-s1").state in ("running", "finished")
    assert crild("attach", "mine-s1").code == 0
    assert read_run(runs_dir / "mine-s1").state == "finished"


def _send(which: signal.Signals, when: Path, times: int = 1) -> threading.Thread:
    """Signals to this process once a file of a run exists."""

    def later() -> None:
        until = time.monotonic() + PATIENCE
        while not list(when.parent.glob(when.name)) and time.monotonic() < until:
            time.sleep(0.02)
        for _ in range(times):
            time.sleep(0.5)
            os.kill(os.getpid(), which)

    thread = threading.Thread(target=later)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("which", "state", "code"),
    [(signal.SIGINT, "stopped", 130), (signal.SIGTERM, "stopped", 143), (signal.SIGUSR1, "preempted", 143)],
)
def test_signals_are_passed_on_and_the_checkpoint_is_waited_for(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, which: signal.Signals, state: str, code: int
) -> None:
    fake_engine(hold=2)
    thread = _send(which, runs_dir / "mine-s1" / "events.1.jsonl")
    before = signal.getsignal(which)
    said = crild("run", str(preset), "--name", "mine")
    thread.join()
    assert (said.code, read_status(runs_dir / "mine-s1").state) == (code, state)
    assert list((runs_dir / "mine-s1" / "checkpoints").iterdir())
    assert "with a checkpoint; run `crild resume mine-s1`" in said.err
    assert signal.getsignal(which) == before


def test_a_second_interrupt_kills(crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(end="mute")
    thread = _send(signal.SIGINT, runs_dir / "mine-s1" / "events.1.jsonl", times=2)
    said = crild("run", str(preset), "--name", "mine")
    thread.join()
    assert said.code == 130
    assert "press Ctrl-C again to kill" in said.err
    assert "killed" in said.err
    assert read_run(runs_dir / "mine-s1").state == "stopped"


def test_seeds_make_a_run_each_and_a_table_over_them(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    said = crild("run", str(preset), "--name", "mine", "--seeds", "1,2")
    assert said.code == 0
    assert [read_status(runs_dir / f"mine-s{seed}").seed for seed in (1, 2)] == [1, 2]
    assert "seed = 2" in (runs_dir / "mine-s2" / "preset.toml").read_text()
    assert "run 2 of 2: mine-s2" in said.err
    assert "standard deviation" in said.out


def test_seeds_as_json_are_a_list(crild: Call, fake_engine: Behave, preset: Path) -> None:
    said = crild("run", str(preset), "--name", "mine", "--seeds", "1-2", "--json", "--quiet")
    assert [document["run"] for document in said.json] == ["mine-s1", "mine-s2"]


def test_an_interrupt_takes_the_runs_behind_off_the_queue(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    fake_engine(hold=2)
    thread = _send(signal.SIGINT, runs_dir / "mine-s1" / "events.1.jsonl")
    said = crild("run", str(preset), "--name", "mine", "--seeds", "1,2,3")
    thread.join()
    assert said.code == 130
    statuses = [read_status(runs_dir / f"mine-s{seed}") for seed in (1, 2, 3)]
    assert [status.state for status in statuses] == ["stopped", "stopped", "stopped"]
    assert [status.attempt for status in statuses] == [1, 0, 0]
    assert "taken off the queue" in said.err


def test_a_queue_that_cannot_start_leaves_no_runs_waiting(
    crild: Call, preset: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RunError("the queue cannot be started")

    monkeypatch.setattr("engine.sweep.queue.enqueue", fail)
    said = crild("run", str(preset), "--seeds", "1,2")
    assert said.code == 1
    assert "the queue cannot be started" in said.err
    assert not any(runs_dir.iterdir())


def test_the_preset_of_a_run_repeats_it_under_the_same_method(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    crild("run", "kd", str(preset), "--name", "first", "--quiet")
    said = crild("run", str(runs_dir / "first-s1" / "preset.toml"), "--name", "again")
    assert said.code == 0
    again, first = read_status(runs_dir / "again-s1"), read_status(runs_dir / "first-s1")
    assert (again.method, again.preset) == (first.method, "first-s1")
    assert (runs_dir / "again-s1" / "preset.toml").read_text() == (runs_dir / "first-s1" / "preset.toml").read_text()
