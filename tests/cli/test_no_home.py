"""An account without a home folder: what is cached goes to a folder of its own, and nobody else's is trusted."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from engine.preset.source_names import hub_cache
from engine.record.home import has_home, provide_home, temporary_home
from engine.record.paths import cache_dir
from tests.cli.conftest import Call
from tests.errors import raises

VARIABLES = (
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "CRILD_CACHE_DIR",
    "HF_HOME",
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary home of an account without another one; it does not exist yet."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is restored, whatever the test puts there
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return tmp_path / f"crild-{os.getuid()}"


def test_caches_go_to_a_private_folder_of_the_temporary_directory(temporary: Path) -> None:
    assert not has_home()
    sentence = provide_home()
    assert sentence is not None
    assert "set HOME, XDG_CACHE_HOME or CRILD_CACHE_DIR to keep caches" in sentence
    assert temporary.stat().st_mode & 0o777 == 0o700
    assert os.environ["HOME"] == str(temporary)
    assert cache_dir() == temporary / ".cache" / "crild"
    assert hub_cache() == temporary / ".cache" / "huggingface" / "hub"
    assert provide_home() is None  # once


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "CRILD_CACHE_DIR"])
def test_where_caches_are_kept_nothing_is_said(temporary: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, str(temporary.parent / "chosen"))
    assert provide_home() is None
    assert os.environ["HOME"] == str(temporary)
    assert cache_dir().is_relative_to(temporary.parent / "chosen")


def test_an_empty_home_is_none(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    assert provide_home() is not None
    assert os.environ["HOME"] == str(temporary)


def test_an_account_with_a_home_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert provide_home() is None
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("me", "x", 1, 1, "", str(tmp_path), "sh")))
    assert provide_home() is None
    assert "HOME" not in os.environ


@pytest.mark.parametrize("fault", ["link", "open to others", "a file", "another owner"])
def test_a_folder_that_another_user_could_have_prepared_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "link":
        (temporary.parent / "target").mkdir(mode=0o700)
        temporary.symlink_to("target")
    elif fault == "a file":
        temporary.touch(mode=0o600)
    else:
        temporary.mkdir(mode=0o700)
        if fault == "open to others":
            temporary.chmod(0o770)
        else:
            if os.getuid() != 0:
                pytest.skip("only root can give a folder away")
            os.chown(temporary, 1, 1)
    kind = "no-temporary-home" if fault == "a file" else "unsafe-temporary-home"
    with raises(kind, "CRILD_CACHE_DIR"):
        temporary_home()
    with raises(kind):
        cache_dir()
    assert str(temporary.parent) in str(provide_home()) or fault == "a file"
    assert "HOME" not in os.environ
    hub_cache()


@pytest.mark.parametrize("words", ["cache", "cache show --json", "cache clear --yes", "runs", "presets list", "prune"])
def test_commands_work_without_a_home(temporary: Path, crild: Call, words: str) -> None:
    said = crild(*words.split())
    assert said.code == 0
    assert "HOME is unset" in said.err
    assert not (temporary.parent / "~").exists()


def test_commands_without_any_folder_for_caches_say_so(temporary: Path, crild: Call) -> None:
    temporary.symlink_to("nowhere")
    assert crild("runs").code == 0
    said = crild("cache")
    assert said.code == 2
    assert "CRILD_CACHE_DIR" in said.err


def test_a_bug_is_reported_without_a_home(
    temporary: Path,
    crild: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("impossible")

    monkeypatch.setattr("engine.record.run.list_runs", fail)
    said = crild("runs")
    assert said.code == 1
    (file,) = (temporary / ".cache" / "crild" / "crashes").iterdir()
    assert str(file) in said.err
    temporary.rename(temporary.with_name("gone"))
    monkeypatch.delenv("HOME")
    temporary.symlink_to("nowhere")
    said = crild("runs")
    assert said.code == 1
    assert "ValueError: impossible" in said.err


@pytest.mark.parametrize(
    "words",
    [
        "show ~nosuchuser/run", "evaluate ~nosuchuser/model --preset rte", "sweep ~nosuchuser/x.toml --plan",
        "presets new ~nosuchuser/x --from crild", "run ~nosuchuser/x.toml", "presets validate ~nosuchuser/x.toml",
        "runs --runs-dir ~nosuchuser/x", "run kd rte --set task.source=~nosuchuser/x",
        "presets show kd rte --set teacher.model=~nosuchuser/x",
    ],
)  # fmt: skip
def test_the_home_of_an_unknown_user_is_a_sentence(crild: Call, words: str) -> None:
    said = crild(*words.split())
    assert said.code == 2
    assert "nosuchuser" in said.err
    assert "went wrong inside crild" not in said.err
