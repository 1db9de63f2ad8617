"""environment.json: enough to repeat a run, and no secret."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.environment import add_environment, git_revision, light_environment
from tests.refused_files import refuse


def test_it_names_command_place_and_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_PASSWORD", "hunter2")
    facts = light_environment(["crild", "run", "quickstart"])
    assert facts["command"] == ["crild", "run", "quickstart"]
    assert facts["folder"] == str(tmp_path)
    assert facts["git"] is None
    assert facts["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert facts["host"]
    assert "hunter2" not in json.dumps(facts)


def test_its_own_command_line_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["crild", "run", "--set", "teacher.model=https://me:pw@hub.example/m"])
    assert light_environment()["command"][-1] == "teacher.model=https://hub.example/m"


def test_git_tells_commit_and_changes(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_revision(tmp_path) is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "x")
    assert git_revision(tmp_path) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "a").write_text("2")
    assert (git_revision(tmp_path) or {})["changed"] is True


def test_a_machine_without_git_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision(tmp_path) is None


def test_a_working_folder_that_was_deleted_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert light_environment()["folder"] is None


def test_the_engine_adds_what_it_knows(tmp_path: Path) -> None:
    add_environment(tmp_path, torch="2.13")
    add_environment(tmp_path, threads=2)
    assert json.loads((tmp_path / "environment.json").read_text()) == {"torch": "2.13", "threads": 2}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_now_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    add_environment(tmp_path, host="here")
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / "environment.json", number)
        with pytest.raises(RunError) as caught:
            add_environment(tmp_path, torch="2.13")
        assert caught.value.kind == "cannot-read-record"
    (tmp_path / "environment.json").write_text("{")
    add_environment(tmp_path, torch="2.13")
    assert json.loads((tmp_path / "environment.json").read_text()) == {"torch": "2.13"}
