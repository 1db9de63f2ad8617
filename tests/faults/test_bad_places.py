"""Places and machines that will not do: run directories, disks, devices; nothing half-made stays behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.launch import devices
from engine.record import files
from engine.record.run import read_status
from tests.cli.samples import make_run
from tests.conftest import PATIENCE, REPOSITORY
from tests.faults.conftest import Crild, Refused, Tiny

# -- the folder of runs


def test_a_file_in_place_of_the_folder(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("mine")
    for place in ("plain", "plain/below"):
        told = refused(*tiny.run(), "--runs-dir", str(tmp_path / place))
        assert f"'{tmp_path / place}': a part of its path is a file, not a folder" in told
        assert "--runs-dir" in told
    assert (tmp_path / "plain").read_text() == "mine"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "no space is left on the device"),
        (errno.EDQUOT, "the disk quota is used up"),
    ],
)
def test_a_folder_that_cannot_be_written(
    refused: Refused, tiny: Tiny, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    make = os.mkdir

    def mkdir(path: Any, mode: int = 0o777, **more: Any) -> None:
        if str(path).startswith(str(runs_dir)):
            raise OSError(code, os.strerror(code), str(path))
        make(path, mode, **more)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert f"'{runs_dir}': {said}; " in refused(*tiny.run())


def test_a_disk_that_fills_up_while_a_run_is_made(
    refused: Refused, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = files.write_all, []

    def write(handle: int, content: bytes) -> None:
        calls.append(handle)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(handle, content)

    monkeypatch.setattr(files, "write_all", write)
    told = refused(*tiny.run(), "--seeds", "1,2,3")  # of several runs none stays, not even those that were whole
    assert "no space is left on the device" in told


def test_folders_that_cannot_be(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    assert "the name is too long" in refused(*tiny.run(), "--runs-dir", str(tmp_path / ("x" * 300)))
    assert "there is no such user" in refused(*tiny.run(), "--runs-dir", "~nobody-has-this-name/runs")
    run_dir = make_run(tmp_path / "others")
    told = refused(*tiny.run(), "--runs-dir", str(run_dir))
    assert f"'{run_dir}' is itself a run directory" in told


def test_a_folder_whose_name_is_no_text(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    told = refused(*tiny.run(), "--runs-dir", f"{tmp_path}/\udcff")
    assert "its name is not UTF-8 text" in told
    assert "\\udcff" in told


def test_standing_in_a_folder_that_is_gone(
    crild: Crild, tiny: Tiny, tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = crild("run", tiny.preset.name)
    assert said.code == 2
    assert said.err.startswith("error: the current folder ")
    assert not runs_dir.exists()


def test_a_run_that_exists_is_left_alone(crild: Crild, tiny: Tiny, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, "mine", seed=7)
    before = {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    said = crild(*tiny.run(), "--name", "mine")
    assert said.code == 2
    assert f"'mine-s7' already exists in '{runs_dir}'" in said.err
    assert "--name" in said.err
    assert "`crild resume mine-s7`" in said.err
    assert {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()} == before
    assert crild(*tiny.run(), "--name", "mine", "--seeds", "6,7").code == 2
    assert [path.name for path in runs_dir.iterdir()] == ["mine-s7"]


# -- disks that are full later


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB; skips where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False, timeout=PATIENCE)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=PATIENCE)


def test_a_disk_that_is_full(refused: Refused, tiny: Tiny, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"0" * 300 * 1024)
    told = refused(*tiny.run(), "--runs-dir", str(small_disk))
    assert f"'{small_disk}': no space is left on the device" in told
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_disk_that_fills_up_during_a_run(crild: Crild, engine_here: None, tiny: Tiny, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 250_000)
    said = crild(*tiny.quick(), "--runs-dir", str(small_disk), "--name", "mine", "--quiet")
    assert said.code == 1
    assert "could not write a checkpoint: no space is left on the device" in said.err
    assert "earlier checkpoints are intact. Free some space, then continue with crild resume" in said.err
    run_dir = small_disk / "mine-s7"
    status = read_status(run_dir)
    assert (status.state, status.exit_code) == ("failed", 1)
    assert not list((run_dir / "checkpoints").glob(".*"))
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True, timeout=PATIENCE)
    assert crild("resume", str(run_dir), "--quiet").code == 0
    assert read_status(run_dir).state == "finished"


def test_a_cache_that_cannot_be_written_costs_a_warning(
    crild: Crild, engine_here: None, tiny: Tiny, tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "plain"))
    said = crild(*tiny.quick(), "--name", "mine")
    assert said.code == 0
    assert "warning: the teacher cache" in said.err
    assert "the fine-tuned teacher is stored in this run only" in said.err
    assert (runs_dir / "mine-s7" / "teacher" / "model.safetensors").is_file()


def test_a_cache_that_is_full_costs_a_warning(
    crild: Crild, engine_here: None, tiny: Tiny, runs_dir: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(small_disk))
    (small_disk / "filler").write_bytes(b"0" * 250_000)
    said = crild(*tiny.quick(), "--name", "mine")
    assert said.code == 0
    assert "no space is left on the device" in said.err
    assert str(small_disk) in said.err
    assert (runs_dir / "mine-s7" / "teacher" / "model.safetensors").is_file()
    assert not list(small_disk.rglob(".*"))


# -- devices


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a torch for CUDA and without a GPU."""
    monkeypatch.setattr(devices, "_without_cuda", lambda: False)
    monkeypatch.setattr(devices, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(devices, "_OTHER_GPUS", ("no such device",))
    monkeypatch.setattr("engine.launch.devices.sys.platform", "linux")


@pytest.mark.parametrize("wanted", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there(refused: Refused, tiny: Tiny, no_gpu: None, wanted: str) -> None:
    facts = (f'"{wanted}"', "no NVIDIA GPU", "this machine has cpu")
    told = refused(*tiny.run(), "--device", wanted)
    assert told.startswith("error: --device: ")
    assert all(fact in told for fact in facts)
    tiny.spoil('device = "cpu"', f'device = "{wanted}"')
    told = refused(*tiny.run())
    assert told.startswith(f"error: {tiny.preset}:{tiny.line_of('device')}: ")
    assert all(fact in told for fact in (*facts, "--device"))
    assert refused(*tiny.run(), "--seeds", "1,2")


def test_a_gpu_beyond_the_last(refused: Refused, tiny: Tiny, no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_nvidia_gpus", lambda: 2)
    told = refused(*tiny.run(), "--device", "cuda:7")
    assert "only 2 GPUs" in told
    assert "cuda:0, cuda:1, cpu" in told


@pytest.mark.parametrize("wanted", ["gpu", "mps", "CUDA", "cuda:x", "", "\x1b[31m", 'cpu"'])
def test_words_that_are_no_device_here(refused: Refused, tiny: Tiny, no_gpu: None, wanted: str) -> None:
    told = refused(*tiny.run(), "--device", wanted)
    assert told.startswith("error: --device: ")
    assert ("Macs" if wanted == "mps" else '"auto", "cpu", "mps", "cuda" or "cuda:1"') in told


def test_every_command_that_takes_a_device_asks_first(crild: Crild, tiny: Tiny, no_gpu: None, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    before = (run_dir / "preset.toml").read_text()
    for words in (("resume", "rte"), ("evaluate", "rte"), (*tiny.run(), "--dry-run")):
        for wanted in ("cuda", "gpu"):
            said = crild(*words, "--device", wanted)
            assert said.code == 2, said.err
            assert said.err.startswith("error: --device: ")
    assert (run_dir / "preset.toml").read_text() == before
    assert read_status(run_dir).attempt == 1


# -- two at once


def test_of_two_resumes_at_once_one_goes_on(runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    behaviour = json.dumps({"steps": 20, "pause": 0.05})
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "FAKE_ENGINE": behaviour}
    words = [sys.executable, "-m", "tests.cli.driver", "resume", run_dir.name, "--quiet"]
    both = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(process, *process.communicate(timeout=PATIENCE)) for process in both]
    codes = sorted(process.returncode for process, _, _ in ends)
    assert codes[0] == 0, ends
    assert codes[1] in (1, 2), ends
    told = next(err for process, _, err in ends if process.returncode)
    assert "already working on" in told or "is running: " in told, told
    assert "Traceback" not in told
    status = read_status(run_dir)
    assert (status.state, status.attempt) == ("finished", 2)


# -- the command at a run's end


@pytest.mark.parametrize("command", ["exit 3", "/no/such/program", "echo 'unclosed", "printf '\\033[31m'"])
def test_a_notification_that_fails_changes_nothing(
    crild: Crild, engine_here: None, tiny: Tiny, runs_dir: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.train.experiment.run", lambda *_: {"student": {"metrics": {}}})
    settings = runs_dir.parent / "settings.toml"
    settings.write_text(f"[notify]\ncommand = {json.dumps(command)}\n")
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    said = crild(*tiny.run(), "--name", "mine", "--quiet")
    assert read_status(runs_dir / "mine-s7").state == "finished", said.err
    assert said.code == 0
