"""Starting engines: detached, one for each run, deaf to the folder the user stands in, and honest when they die at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.launch.start import engine_command, engine_environment, process_command, start_engine
from engine.record.lock import held
from engine.record.logs import log_tail
from engine.record.run import read_run, read_status
from tests.errors import raises
from tests.launch.fake_engines import COMMAND, clear, make, reached, wait_for

HOSTILE = "raise SystemExit('the wrong engine was imported')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs whose engines are gone when the test ends."""
    yield tmp_path / "runs"
    clear(tmp_path / "runs")


def test_an_engine_runs_detached_and_its_owner_is_known_at_once(folder: Path) -> None:
    run = make(folder, "r", "long")
    pid = start_engine(run, command=COMMAND)
    status = read_status(run)
    assert status.owner is not None
    assert (status.owner.pid, status.state, status.attempt) == (pid, "running", 1)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert os.getpgid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").resolve() == run
    assert Path(f"/proc/{pid}/fd/0").resolve() == Path("/dev/null")
    assert Path(f"/proc/{pid}/fd/1").resolve() == run / "log.1.txt"
    assert Path(f"/proc/{pid}/fd/2").resolve() == run / "log.1.txt"
    assert wait_for(lambda: log_tail(run) == ["begin", "at work"])
    assert not list(run.glob(".start-*"))


def test_no_descriptor_of_the_starter_is_inherited(folder: Path, tmp_path: Path) -> None:
    run = make(folder, "r", "long")
    secret = (tmp_path / "secret").open("w")
    os.set_inheritable(secret.fileno(), True)
    pid = start_engine(run, command=COMMAND)
    assert str(tmp_path / "secret") not in {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    secret.close()


def test_an_engine_outlives_a_starter_whose_terminal_hangs_up(folder: Path) -> None:
    run = make(folder, "r", "long")
    code = (
        "import sys,time;from pathlib import Path;from engine.launch.start import start_engine\n"
        "print(start_engine(Path(sys.argv[1]), command=sys.argv[2:]), flush=True);time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(run), *COMMAND],
        stdout=subprocess.PIPE,
        env=engine_environment(),
        start_new_session=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGHUP)  # what a terminal does to its whole session when the line drops
    assert starter.wait() == -signal.SIGHUP
    starter.stdout.close()
    os.kill(pid, signal.SIGHUP)  # and even to the engine itself
    before = read_status(run).step
    assert wait_for(lambda: read_status(run).step > before)
    assert read_run(run).state == "running"


@pytest.mark.parametrize("pythonpath", ["", ".", "relative:", "ABSOLUTE", None])
def test_an_engine_folder_of_the_users_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pythonpath: str | None
) -> None:
    for place in (tmp_path, tmp_path / "relative"):
        for name in ("engine", "crild_tui", "crild"):
            (place / name).mkdir(parents=True)
            (place / name / "__init__.py").write_text(HOSTILE)
    monkeypatch.chdir(tmp_path)
    if pythonpath is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", pythonpath.replace("ABSOLUTE", str(tmp_path)))
    command = engine_command("train", str(tmp_path / "nowhere"))
    for environment in (engine_environment(), dict(os.environ)):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (ended.returncode, ended.stderr) == (1, "")
        assert str(tmp_path / "nowhere") in ended.stdout


def test_what_the_interpreter_imported_at_its_start_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("")
    (tmp_path / "engine" / "errors.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text("import engine.errors")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = engine_command("train", str(tmp_path / "nowhere"))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_absolute_entries_of_pythonpath_are_passed_on_and_none_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "rel", "/opt/mine", "."]))
    assert engine_environment()["PYTHONPATH"] == "/opt/mine"


def test_an_unknown_process_or_tool_is_a_sentence() -> None:
    for words, code in ((("no-such-process",), 2), (("worker", "no-such-tool"), 2)):
        ended = subprocess.run(process_command(*words), capture_output=True, text=True, check=False)
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr


def test_the_second_of_two_is_refused_with_the_first_ones_name(folder: Path) -> None:
    run = make(folder, "r", "long")
    pid = start_engine(run, command=COMMAND)
    with raises("run-in-use", f"process {pid} on"):
        start_engine(run, resume=True, command=COMMAND)
    assert read_status(run).attempt == 1


def test_of_several_at_once_exactly_one_wins(folder: Path) -> None:
    run = make(folder, "r", "slow long")
    code = (
        "import sys;from pathlib import Path;from engine.launch.start import start_engine;from engine.errors import RunError\n"
        "try: print('won', start_engine(Path(sys.argv[1]), resume=True, command=sys.argv[2:]))\n"
        "except RunError as error: print('lost', error)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(run), *COMMAND],
            stdout=subprocess.PIPE,
            env=engine_environment(),
            text=True,
        )
        for _ in range(3)
    ]
    answers = sorted(racer.communicate()[0].strip() for racer in racers)
    owner = read_status(run).owner
    assert owner is not None
    assert [answer.split()[0] for answer in answers] == ["lost", "lost", "won"]
    assert answers[-1] == f"won {owner.pid}"
    for answer in answers[:2]:
        assert f"process {owner.pid} on" in answer
    assert read_status(run).attempt == 1
    assert read_status(run).state == "running"
    assert sorted(path.name for path in run.glob("*log*")) == ["log.1.txt"]
    assert not list(run.glob(".start-*"))


def test_an_engine_that_dies_at_once_tells_why(folder: Path) -> None:
    run = make(folder, "r", "crash")
    with raises("engine-exited-at-start", "'r-s0'", "code 1", "torch cannot be imported"):
        start_engine(run, command=COMMAND)
    status = read_status(run)
    assert status.state == "failed"
    assert status.exit_code == 1
    assert status.error is not None
    assert "torch cannot be imported" in status.error.sentence
    assert log_tail(run) == ["begin", "torch cannot be imported"]
    assert not list(run.glob(".start-*"))


def test_an_engine_that_cannot_be_started_is_a_sentence(folder: Path) -> None:
    run = make(folder, "r")
    with raises("cannot-start-engine"):
        start_engine(run, command=["/nowhere/python"])
    assert not list(run.glob(".start-*"))


def test_a_slow_machine_is_not_taken_for_a_failure(folder: Path) -> None:
    run = make(folder, "r", "slow long")
    began = time.monotonic()
    pid = start_engine(run, command=COMMAND, wait=0.05)
    assert time.monotonic() - began < 5
    assert reached(run, "running")
    owner = read_status(run).owner
    assert owner is not None
    assert owner.pid == pid
    assert wait_for(lambda: log_tail(run) == ["begin", "at work"])


def test_an_engine_that_is_done_before_anyone_looks_was_started_all_the_same(folder: Path) -> None:
    run = make(folder, "r", "quick")
    assert start_engine(run, command=COMMAND) > 0
    assert reached(run, "finished")


def test_a_run_is_gone_on_with_only_when_asked(folder: Path) -> None:
    run = make(folder, "r", "quick")
    start_engine(run, command=COMMAND)
    assert reached(run, "finished")
    assert wait_for(lambda: not held(run))
    with raises("run-started-before", "`crild resume r-s0`"):
        start_engine(run, command=COMMAND)
    start_engine(run, resume=True, command=COMMAND)
    assert wait_for(lambda: read_status(run).attempt == 2 and read_status(run).state == "finished")
    assert (run / "log.2.txt").exists()


def test_a_killed_engine_leaves_a_lost_run_that_can_be_gone_on_with(folder: Path) -> None:
    run = make(folder, "r", "long fork")
    pid = start_engine(run, command=COMMAND)
    children = Path(f"/proc/{pid}/task/{pid}/children")
    assert wait_for(lambda: bool(children.read_text()))
    child = int(children.read_text())
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: read_run(run).state == "lost")
    os.kill(child, 0)  # its data loading worker lives on, and keeps nothing locked
    again = start_engine(run, resume=True, command=COMMAND)
    os.kill(child, signal.SIGKILL)
    status = read_status(run)
    assert status.owner is not None
    assert (status.attempt, status.owner.pid, read_run(run).state) == (2, again, "running")


def test_a_run_of_a_newer_crild_is_not_started(folder: Path) -> None:
    run = make(folder, "r")
    (run / "status.json").write_text('{"schema": 99}')
    with raises("newer-record"):
        start_engine(run, command=COMMAND)
    assert not list(run.glob("log*"))


def test_starting_engines_loads_nothing_heavy() -> None:
    code = (
        "import sys, engine.launch.start, engine.launch.signals, engine.sweep.process, engine.sweep.queue, engine.record.session\n"
        "heavy = {'torch', 'numpy', 'transformers', 'datasets', 'accelerate', 'pydantic', 'psutil', 'rich', 'textual'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=engine_environment()
    )
    assert answer.stdout.strip() == "[]"
