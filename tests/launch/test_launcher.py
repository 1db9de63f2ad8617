"""The launcher: its forks are processes as any starter makes them, and it can die at any time without harm."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.launch import launcher as module
from engine.launch.launcher import EngineProcess, Launcher, LauncherGoneError
from engine.launch.start import start_engine
from engine.record.owner import start_time
from engine.record.run import read_run, read_status
from tests.errors import raises
from tests.launch.fake_engines import clear, make, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines are forked on Linux only")
ROOT = Path(__file__).parents[2]
SERVER = """
import json, os, signal, socket, sys, threading, time
sys.path.insert(0, {root!r})
from engine.launch.fork_server import serve

def facts():
    return {{
        "argv": sys.argv, "folder": os.getcwd(), "session": os.getsid(0), "pid": os.getpid(),
        "environment": dict(os.environ), "open": sorted(map(int, os.listdir("/proc/self/fd"))),
        "child": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, "stdin": sys.stdin.read(),
    }}

def main(arguments):
    match arguments:
        case ["facts"]:
            print(json.dumps(facts()))
        case ["exit", code]:
            return int(code)
        case ["leave", code]:
            sys.exit(int(code))
        case ["fail"]:
            raise ValueError("a bug")
        case ["wait"]:
            time.sleep(600)
        case ["train", *_, run_dir]:
            from tests.launch import fake_engines
            from engine.record.session import RunSession
            print("from the launcher", flush=True)
            with RunSession(__import__("pathlib").Path(run_dir)) as session:
                session.finish("finished", 0)
    return 0

def prepare():
    os.environ["FROM_A_LIBRARY"] = "yes"
    {prepare}

with socket.socket(fileno=int(sys.argv[1])) as channel:
    sys.exit(serve(channel, prepare, main))
"""


def launcher(prepare: str = "pass") -> Launcher:
    code = SERVER.format(root=str(ROOT), prepare=prepare)
    return Launcher([sys.executable, "-c", code], {**os.environ, "OLD": "1", "SAME": "1"})


def loaded(one: Launcher) -> Launcher:
    assert wait_for(lambda: not one.is_loading())
    return one


@pytest.fixture
def one() -> Iterator[Launcher]:
    made = loaded(launcher())
    yield made
    made.close()


def start(one: Launcher, folder: Path, *arguments: str, **environment: str) -> EngineProcess:
    output = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        words = [sys.executable, "-P", "process.py", "worker", *arguments]
        return one.start(words, arguments, folder, {**os.environ, "SAME": "1", **environment}, output)
    finally:
        os.close(output)


def ended(process: EngineProcess) -> int:
    assert wait_for(lambda: process.poll() is not None)
    assert process.returncode is not None
    return process.returncode


def launcher_pid(one: Launcher) -> int:
    assert one._process is not None
    return one._process.pid


def test_a_fork_is_a_process_of_its_own(one: Launcher, tmp_path: Path) -> None:
    process = start(one, tmp_path, "facts", NEW="2")
    assert ended(process) == 0
    facts = json.loads((tmp_path / "log").read_text())
    assert facts["argv"] == [sys.executable, "-P", "process.py", "worker", "facts"]
    assert Path(facts["folder"]) == tmp_path
    assert facts["session"] == facts["pid"] == process.pid
    assert facts["stdin"] == ""
    assert facts["child"], "a handler of the launcher's is none of the engine's"
    assert len(facts["open"]) <= 4, "the streams, and the folder that is being listed"
    environment = facts["environment"]
    assert (environment["NEW"], environment["SAME"], environment["FROM_A_LIBRARY"]) == ("2", "1", "yes")
    assert "OLD" not in environment


def test_its_command_line_names_the_run(one: Launcher, tmp_path: Path) -> None:
    process = start(one, tmp_path, "wait")

    def words() -> list[bytes]:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")

    assert wait_for(lambda: words()[-1] == b"wait")
    assert words() == [os.fsencode(word) for word in (sys.executable, "-P", "process.py", "worker", "wait")]
    os.kill(process.pid, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL


@pytest.mark.parametrize(("arguments", "code"), [(("exit", "3"), 3), (("leave", "4"), 4), (("fail",), 1)])
def test_exit_codes_arrive_and_no_zombie_stays(
    one: Launcher, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    process = start(one, tmp_path, *arguments)
    assert ended(process) == code
    assert not Path(f"/proc/{process.pid}").exists()
    assert ("a bug" in (tmp_path / "log").read_text()) == (arguments == ("fail",))


def test_several_run_side_by_side_and_go_on_without_it(one: Launcher, tmp_path: Path) -> None:
    processes = [start(one, tmp_path, "wait") for _ in range(3)]
    assert ended(start(one, tmp_path, "exit", "0")) == 0
    assert [process.poll() for process in processes] == [None] * 3
    os.kill(launcher_pid(one), signal.SIGKILL)
    assert wait_for(lambda: processes[0].poll() is None and one.gone)
    assert all(start_time(process.pid) is not None for process in processes)
    with pytest.raises(LauncherGoneError):
        start(one, tmp_path, "exit", "0")
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    assert [ended(process) for process in processes] == [1] * 3


def test_it_ends_when_its_starter_does(tmp_path: Path) -> None:
    one = loaded(launcher())
    process = start(one, tmp_path, "wait")
    pid = launcher_pid(one)
    one.close()
    assert wait_for(lambda: start_time(pid) is None)
    assert start_time(process.pid) is not None
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "prepare",
    [
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "raise ImportError('a library is broken')",
    ],
)
def test_what_cannot_be_forked_starts_nothing(prepare: str, tmp_path: Path) -> None:
    one = loaded(launcher(prepare))
    with pytest.raises(LauncherGoneError):
        start(one, tmp_path, "exit", "0")
    assert one.gone
    one.close()


def test_a_process_that_has_opened_a_gpu_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.launch import fork_server

    monkeypatch.setattr(threading, "active_count", lambda: 1)  # tests before this one may have left threads
    assert fork_server.unfit() is None
    monkeypatch.setattr(fork_server, "GPU_DRIVERS", ("/dev/null",))
    with open(os.devnull):  # noqa: PTH123
        assert "/dev/null" in (fork_server.unfit() or "")


def test_while_it_loads_it_starts_nothing(tmp_path: Path) -> None:
    one = launcher("time.sleep(600)")
    assert one.is_loading()
    with pytest.raises(LauncherGoneError):
        start(one, tmp_path, "exit", "0")
    assert one.is_loading()
    os.kill(launcher_pid(one), signal.SIGKILL)
    assert loaded(one).gone
    one.close()


def test_nobody_waits_for_it_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOADED_WITHIN", 0.0)
    one = launcher("time.sleep(600)")
    assert not one.is_loading()
    pid = launcher_pid(one)
    one.close()
    assert start_time(pid) is None, "what is not needed does not go on loading"


def test_where_it_cannot_be_started_there_is_none(tmp_path: Path) -> None:
    one = Launcher([str(tmp_path / "no-python")], dict(os.environ))
    assert not one.is_loading()
    assert one.gone


# -- engines


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "runs"
    clear(tmp_path / "runs")


def test_an_engine_of_the_launcher_owns_its_run_and_prints_to_its_log(folder: Path, one: Launcher) -> None:
    run = make(folder, "r", "long")
    pid = start_engine(run, launcher=one)
    assert wait_for(lambda: read_run(run).state == "finished")
    owner = read_status(run).owner
    assert owner is not None
    assert owner.pid == pid
    assert "from the launcher" in (run / "log.1.txt").read_text()


def test_without_a_launcher_it_is_an_ordinary_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.launch import start as starting

    run = make(folder, "r", "long")
    monkeypatch.setattr(
        starting, "engine_command", lambda *words: [sys.executable, "-c", "print('alone'); raise SystemExit(3)", *words]
    )
    with raises("engine-exited-at-start", "alone"):
        start_engine(run, launcher=loaded(launcher("raise ImportError")))


def dies_before_it_starts(one: Launcher) -> Callable[..., EngineProcess]:
    begin = one.start

    def dying(words: list[str], _arguments: list[str], *rest: Any) -> EngineProcess:
        process = begin(words, ["wait"], *rest)
        os.kill(launcher_pid(one), signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        assert wait_for(lambda: process.poll() is not None)
        return process

    return dying


def test_a_launcher_that_dies_while_it_forks_leaves_the_start_to_its_starter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.launch import start as starting

    one = loaded(launcher())
    run = make(folder, "r", "long")
    monkeypatch.setattr(one, "start", dies_before_it_starts(one))
    monkeypatch.setattr(starting, "_spawn", lambda *_: (_ for _ in ()).throw(RuntimeError("an ordinary start")))
    with pytest.raises(RuntimeError, match="an ordinary start"):
        start_engine(run, launcher=one)
    one.close()
