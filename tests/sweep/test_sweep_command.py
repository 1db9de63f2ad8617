"""`crild sweep` from the command line, with engines that compute nothing."""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine.sweep.submit
from crild_tui.cli import main
from crild_tui.cli.sweep_follow import Follower
from engine.record.run import list_runs, read_status
from engine.sweep import cluster
from engine.sweep.cluster import Cluster, Node
from engine.sweep.record import SweepRecord
from tests.cli.conftest import Said
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import COMMAND, clean, kill_process, let_go, method, over, record_of, write

Call = Callable[..., Said]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "runs"
    clean(tmp_path / "runs")


@pytest.fixture
def crild(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """`crild("sweep", "study.toml")`: the exit code and what went to stdout and stderr."""
    monkeypatch.setattr(engine.sweep.submit, "submit", functools.partial(engine.sweep.submit.submit, command=COMMAND))

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, captured.out, captured.err)

    return call


def study(folder: Path, *tags: str, more: str = "") -> str:
    names = json.dumps([method(folder, "a"), method(folder, "b", *tags)])
    return str(write(folder, f"[sweep]\nmethods = {names}\nseeds = [1, 2]\n{more}"))


def test_a_sweep_ends_with_its_matrix_and_goes_on_with_what_was_added(crild: Call, folder: Path, runs: Path) -> None:
    path = study(folder)
    said = crild("sweep", path, "--slots", "2")
    assert said.code == 0
    assert "65.00 ± 7.07 (2)" in said.out
    assert "4 of 4 runs finished" in said.out
    (ended,) = (
        line for line in said.err.splitlines() if "4/4 study-toy-entailment-b-s2" in line and "finished" in line
    )
    assert "73.00" in ended
    assert "Ctrl-C" in said.err
    again = crild("sweep", path)
    assert again.code == 0
    assert "nothing left to do" in again.err
    assert again.out == said.out
    Path(path).write_text(Path(path).read_text().replace("[1, 2]", "[1, 2, 3]"))
    more = crild("sweep", path, "--json", "--quiet")
    assert more.json["states"] == {"finished": 6}
    assert [entry["values"] for entry in more.json["matrix"]] == [[0.6, 0.7, 0.8]] * 2
    assert more.err == ""
    assert {read_status(entry.path).attempt for entry in list_runs(runs)} == {1}


def test_a_plan_starts_nothing_and_says_what_was_measured(crild: Call, folder: Path, runs: Path) -> None:
    path = study(folder)
    said = crild("sweep", path, "--plan", "--slots", "2")
    assert said.code == 0
    assert not runs.exists()
    for words in (
        "study: 4 runs of 2 methods x 1 task x 2 seeds",
        "1 fine-tuned teacher for 4 runs",
        "slots:    2 on cpu",
        "time:     unknown",
        "nothing was started",
    ):
        assert words in said.out
    crild("sweep", path, "--quiet")
    Path(path).write_text(Path(path).read_text().replace("[1, 2]", "[1, 2, 3]"))
    found = crild("sweep", path, "--plan", "--json").json
    assert [run["state"] for run in found["runs"]] == ["finished"] * 4 + ["left"] * 2
    assert found["seconds"] > 0
    assert found["unknown"] == 0
    assert found["teachers"][0]["runs"] == 6
    assert "4 finished; 2 of 6 left" in crild("sweep", path, "--plan").out


def test_a_plan_tells_teachers_apart_by_what_their_runs_have_in_common(crild: Call, folder: Path) -> None:
    path = study(folder, more='[sweep.axes]\ndata = { "task.examples" = [50, 60] }\n')
    said = crild("sweep", path, "--plan").out
    assert "8 runs of 2 methods x 1 task x 2 data x 2 seeds" in said
    assert "on toy-entailment, data 50: 4 runs" in said
    assert "on toy-entailment, data 60: 4 runs" in said


def test_a_failed_run_is_reported_and_makes_the_exit_code(crild: Call, folder: Path, runs: Path) -> None:
    path = study(folder, "fail")
    said = crild("sweep", path, "--slots", "1")
    assert said.code == 1
    (failed,) = (line for line in said.err.splitlines() if "2/4 study-toy-entailment-b-s1" in line and "error" in line)
    assert "train.tsv:7" in failed
    assert "-, 2 failed" in said.out
    assert "2 of 4 runs finished, 2 failed" in said.out
    again = crild("sweep", path)
    assert (again.code, "2 failed" in again.err and "--retry" in again.err) == (1, True)
    fast = crild("sweep", path, "--retry", "--fail-fast")
    assert fast.code == 1
    assert read_status(runs / "study-toy-entailment-b-s1").attempt == 2


def test_problems_are_told_before_anything_is_made(crild: Call, folder: Path, runs: Path) -> None:
    path = study(folder, more='set = ["train.epoch=3"]\nexclud = []\n')
    said = crild("sweep", path)
    assert said.code == 2
    assert all(fact in said.err for fact in ("study.toml:5:", '"exclud"', '"exclude"'))
    assert crild("sweep", "nothing.toml").err == 'error: there is no sweep file "nothing.toml"\n'
    assert not runs.exists()


@pytest.mark.parametrize(
    ("presses", "code", "state"), [([signal.SIGINT], 130, "stopped"), ([signal.SIGTERM], 143, "stopped")]
)
def test_ctrl_c_stops_with_checkpoints_and_the_same_command_goes_on(
    crild: Call, folder: Path, runs: Path, presses: list[signal.Signals], code: int, state: str
) -> None:
    path = study(folder, "steps-5", "hold-2")
    run = runs / "study-toy-entailment-b-s1"

    def press() -> None:
        assert wait_for(lambda: (run / "status.json").exists() and read_status(run).done >= 2)
        for which in presses:
            os.kill(os.getpid(), which)

    presser = threading.Thread(target=press)
    presser.start()
    said = crild("sweep", path, "--slots", "1")
    presser.join()
    assert said.code == code
    assert "next step" in said.err
    assert read_status(run).state == state
    assert "1 of 4 runs finished, 1 stopped, 2 left" in said.out
    let_go(runs)
    assert crild("sweep", path, "--quiet").code == 0
    assert read_status(run).attempt == 2


def test_detached_it_is_found_again_stopped_and_survives_its_process(
    crild: Call, folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study(folder, "steps-5", "hold-2")
    said = crild("sweep", path, "--detach", "--slots", "2")
    assert (said.code, said.out) == (0, "study\n")
    run = runs / "study-toy-entailment-b-s1"
    assert wait_for(lambda: (run / "status.json").exists() and read_status(run).done >= 2)
    text = Path(path).read_text()
    Path(path).write_text(text.replace("[1, 2]", "[1, 2, 3]"))
    changed = crild("sweep", path)
    assert (changed.code, "study" in changed.err) == (2, True)
    Path(path).write_text(text)
    follow = Follower.go

    def killed_under_its_followers(follower: Follower) -> SweepRecord:
        kill_process(runs)
        return follow(follower)

    with monkeypatch.context() as patch:
        patch.setattr(Follower, "go", killed_under_its_followers)
        lost = crild("sweep", path)
    assert "already running" in lost.err
    assert "the sweep's process is gone" in lost.err
    assert lost.code == 1
    crild("sweep", path, "--detach")
    assert crild("sweep", path, "--stop").code == 0
    assert over(runs) == "stopped"
    assert crild("sweep", "study", "--stop").code == 2
    let_go(runs)
    assert crild("sweep", path, "--quiet").code == 0


def test_stop_takes_the_name_of_a_sweep(crild: Call, folder: Path, runs: Path) -> None:
    crild("sweep", study(folder, "steps-5", "hold-2"), "--detach", "--slots", "2")
    run = runs / "study-toy-entailment-b-s1"
    assert wait_for(lambda: (run / "status.json").exists() and read_status(run).done >= 2)
    assert "there is no run 'elsewhere'" in crild("stop", "study", "elsewhere").err
    assert read_status(run).state == "running", "a wrong name beside it stops nothing"
    assert "crild sweep" in crild("stop", "study").err
    assert over(runs) == "stopped"
    assert "nothing to stop" in crild("stop", "study").err


def test_the_list_of_runs_can_be_that_of_a_sweep(crild: Call, folder: Path, runs: Path) -> None:
    from tests.launch.fake_engines import make

    crild("sweep", study(folder), "--quiet")
    make(runs, "alone")
    found: Any = crild("runs", "--sweep", "study", "--json").json
    assert len(found) == 4
    assert found[0]["cell"]["seed"] in ("1", "2")
    assert len(crild("runs", "--json").json) == 5
    assert "other" in crild("runs", "--sweep", "other").err


def test_another_name_makes_a_sweep_of_its_own(crild: Call, folder: Path, runs: Path) -> None:
    path = study(folder)
    crild("sweep", path, "--quiet")
    Path(path).write_text(Path(path).read_text() + 'set = ["train.epochs=9"]\n')
    said = crild("sweep", path)
    assert said.code == 2
    assert all(fact in said.err for fact in ("train.epochs", "9.0", "3.0"))
    assert crild("sweep", path, "--name", "longer", "--quiet").code == 0
    assert len(list_runs(runs)) == 8
    assert record_of(runs, "longer").state == "ended"


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--ray", "auto", "--devices", "cpu"], ["--devices", "--gpus-per-run"]),
        (["--gpus-per-run", "0.5"], ["--gpus-per-run", "--ray"]),
        (["--ray", "ray://head:10001"], ["HOST:PORT"]),
    ],
)
def test_options_of_ray_that_make_no_sense_start_nothing(
    crild: Call, folder: Path, runs: Path, words: list[str], facts: list[str]
) -> None:
    said = crild("sweep", study(folder), *words)
    assert said.code == 2
    assert all(fact in said.err for fact in facts)
    assert not runs.exists()


def test_a_plan_on_ray_shows_the_resources_of_each_run(
    crild: Call, folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = (Node("a", "node-1", 8.0, 2.0), Node("b", "node-2", 8.0, 0.0, "does not see the folder"))
    monkeypatch.setattr(cluster, "look_at", lambda address, _runs: Cluster(address, nodes))
    said = crild("sweep", study(folder), "--ray", "auto", "--gpus-per-run", "0.5", "--plan")
    assert said.code == 0
    assert "4 on 0.5 of a GPU, 2 CPU threads each, of Ray (auto)" in said.out
    assert "node-2 does not see the folder" in said.err
    found = crild("sweep", str(folder / "study.toml"), "--ray", "auto", "--plan", "--json").json
    assert found["ray"] == "auto"
    assert found["slots"] == [{"device": "cuda", "threads": 4, "gpus": 1.0}] * 2
    assert not runs.exists()
