"""Commands and processes whose standard streams are closed: results go nowhere, and no file takes a stream's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.launch.start import process_command
from engine.record.run import read_run, read_status
from tests.cli.samples import make_run
from tests.launch.fake_engines import wait_for

CALL = """
import contextlib, io, json, os, sys
from crild_tui.cli import main
report, commands = sys.argv[1], json.loads(sys.argv[2])
numbers = {"stdin": 0, "stdout": 1, "stderr": 2}
codes = []
for words in commands:
    for names in (["stdin"], ["stdout"], ["stderr"], list(numbers)):
        for none in (True, False):  # as a new process finds it; closed later
            for name in names:
                with contextlib.suppress(OSError):
                    getattr(sys, name).flush()
                os.close(numbers[name])
                if none:
                    setattr(sys, name, None)
            codes.append((words, names, main(words), [os.readlink(f"/proc/self/fd/{numbers[name]}") for name in names]))
            os.dup2(os.open(report + ".err", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
with open(report, "w") as file:
    json.dump(codes, file)
"""
COMMANDS: tuple[list[str], ...] = (
    ["runs"], ["runs", "--json"], ["presets", "list"], ["show", "latest"], ["cache"], ["prune"], ["logs", "latest"],
    ["presets", "validate", "crild"], ["attach", "latest"], ["note", "latest", "x"], ["tag", "latest", "y"], ["--help"],
    ["presets", "show", "crild", "rte"], ["report"], ["--version"], [],
)  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_every_command_works_with_closed_streams(tmp_path: Path, runs_dir: Path) -> None:
    (make_run(runs_dir) / "log.1.txt").write_text("attempt 1\n")
    report = tmp_path / "report"
    commands = [*COMMANDS, ["delete", "latest"], ["show", "nosuch"]]
    subprocess.run([sys.executable, "-c", CALL, str(report), json.dumps(commands)], check=True, timeout=120)
    for words, names, code, opened in json.loads(report.read_text()):
        assert code == (2 if words[-1:] == ["nosuch"] or words[:1] == ["delete"] else 0), (words, names)
        assert opened == [os.devnull] * len(names), (words, names)
    errors = Path(f"{report}.err").read_text()
    assert "Traceback" not in errors
    assert "went wrong inside crild" not in errors


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_command_without_stdout_is_silent(runs_dir: Path) -> None:
    for words in ("runs", "presets list"):
        done = _shell(f"{sys.executable} -m crild {words} >&-")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_full_device_is_one_sentence() -> None:
    done = _shell(f"{sys.executable} -m crild presets list >/dev/full")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_is_started_without_streams(runs_dir: Path, preset: Path, closed: str) -> None:
    done = _shell(f"{sys.executable} -m tests.cli.driver run {preset} --name x --detach {closed}", FAKE_ENGINE="{}")
    assert done.returncode == 0, done.stderr
    run_dir = runs_dir / "x-s1"
    assert wait_for(lambda: read_run(run_dir).state == "finished")
    assert read_status(run_dir).exit_code == 0
    assert (run_dir / "lock").read_bytes()[:1] in (b"", b"{")  # nothing was printed into the run's files


@pytest.mark.parametrize("words", [("worker", "train", "/nowhere"), ("sweep", "/nowhere.json"), ("sweep",)])
def test_processes_start_without_streams(words: tuple[str, ...]) -> None:
    line = " ".join(process_command(*words))
    done = _shell(f"{line} <&- >&- 2>&-")
    assert done.returncode in (1, 2)
