"""`crild config`: what it prints, what it changes, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.user.settings import SECTIONS
from tests.cli.conftest import Call
from tests.cli.test_completion import offered


@pytest.fixture
def file(isolated: Path) -> Path:
    """The user's settings file."""
    return isolated / "xdg_config_home" / "crild" / "settings.toml"


def test_every_setting_is_shown_with_its_origin(crild: Call, file: Path, tmp_path: Path) -> None:
    assert crild("config", "set", "dashboard.theme", "crild-light").code == 0
    said = crild("config")
    assert (said.code, said.err) == (0, "")
    (line,) = (line for line in said.out.splitlines() if line.startswith("dashboard.theme"))
    assert "crild-light" in line
    assert "settings.toml:2" in line
    document = {each["key"]: each for each in crild("config", "--json").json["settings"]}
    assert document["dashboard.theme"] == {
        "key": "dashboard.theme", "value": "crild-light", "from": "file", "file": str(file), "line": 2, "variable": None,
    }  # fmt: skip
    assert document["runs-dir"]["variable"] == "CRILD_RUNS_DIR"
    assert document["notify.command"]["value"] is None
    given = crild("config", "--runs-dir", str(tmp_path / "x"), "--json").json["settings"][0]
    assert (given["value"], given["from"], given["variable"]) == (str(tmp_path / "x"), "option", "--runs-dir")


def test_get_prints_the_value_alone(crild: Call, file: Path) -> None:
    crild("config", "set", "notify.command", 'notify-send "$CRILD_RUN"')
    crild("config", "set", "dashboard.keys.live.stop", "f8")
    assert crild("config", "get", "notify.command").out == 'notify-send "$CRILD_RUN"\n'
    assert crild("config", "get", "dashboard.smoothing").out == "0.6\n"
    assert crild("config", "get", "slurm.template").out == ""
    assert crild("config", "get", "dashboard.keys.live.stop").out == "f8\n"
    assert crild("config", "get", "dashboard.keys").out == "live.stop = f8\n"
    assert crild("config", "get", "dashboard.smoothing", "--json").json["value"] == 0.6
    assert crild("config", "get", "settings-file").out == crild("config", "path").out == f"{file}\n"


def test_an_unset_setting_has_its_default(crild: Call) -> None:
    crild("config", "set", "dashboard.smoothing", "0")
    assert crild("config", "unset", "dashboard.smoothing").code == 0
    assert crild("config", "get", "dashboard.smoothing").out == "0.6\n"
    assert crild("config", "unset", "dashboard.smoothing").code == 0


@pytest.mark.parametrize(
    "words",
    [("get", "frob"), ("set", "frob", "1"), ("unset", "frob"), ("set", "dashboard.theme", "pink"), ("set", "dashboard.theme"),
     ("set", "consent.remote_code", "[]"), ("frob",), ("set", "runs-dir", "x"), ("get", "\x1b[2J"), ("set", "dashboard.keys.live.stpo", "f8")],
)  # fmt: skip
def test_mistakes_are_usage_errors_and_change_nothing(words: tuple[str, ...], crild: Call, file: Path) -> None:
    said = crild("config", *words)
    assert said.code == 2
    assert "\x1b" not in said.err
    assert "Traceback" not in said.err
    assert not file.exists()


def test_options_before_a_subcommand_are_refused(crild: Call) -> None:
    assert crild("config", "--json", "get", "dashboard.theme").code == 2


def test_a_broken_file_is_shown_as_far_as_it_can_be_read(crild: Call, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(
        "[dashboard]\nsmoothing = 3\n[notify]\ncommand = 'x\x1b[2J'\n".replace("\x1b", "\\u001b").replace("'", '"')
    )
    said = crild("config")
    assert said.code == 2
    assert f"{file}:2" in said.err
    assert "notify.command" in said.out
    assert "\x1b" not in said.out
    file.write_text("[dash")
    said = crild("config")
    assert said.code == 2
    assert f"{file}:1" in said.err
    assert crild("config", "get", "dashboard.theme").code == 2


def test_edit_opens_the_editor_and_checks_afterwards(
    crild: Call, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf '[notify]\\ncommand = 3\\n' > \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    assert crild("config", "edit").code == 2
    monkeypatch.setenv("EDITOR", str(editor))
    said = crild("config", "edit")
    assert said.code == 2
    assert f"{file}:2" in said.err


def test_keys_and_values_are_completed() -> None:
    assert set(offered("config", "set", "")) >= {"dashboard.theme", "notify.command"}
    assert {word.split(".")[0] for word in offered("config", "get", "")} == set(SECTIONS)
    assert set(offered("config", "set", "dashboard.theme", "")) == {"crild-dark", "crild-light", "crild-contrast"}
    assert offered("config", "set", "dashboard.ascii", "t") == ["true"]
    assert offered("config", "set", "frob", "") == []
    assert offered("config", "un") == ["unset"]
