"""The user's command at the end of a run: from settings.toml alone, in the home folder, with a minimum of environment."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

from engine.record.run import update_status
from engine.user import notification
from engine.user.notification import MOST_OUTPUT, PASSED_ON, announce_end, facts_of, minimum
from tests.cli.samples import PRESET, make_run
from tests.conftest import PATIENCE


@pytest.fixture
def out(tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command prints: its environment and its working directory."""
    out = tmp_path / "out"
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[notify]\ncommand = {json.dumps(f'(env; pwd) > {out}')}\n")
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    return out


def test_it_gets_the_result_and_no_secret(
    out: Path, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "CRILD_SECRET", "https_proxy", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("LC_TIME", "C")
    run_dir = make_run(tmp_path / "runs")
    update_status(run_dir, last=0.75, metric_name="accuracy")
    announce_end(run_dir)
    *lines, folder = out.read_text().splitlines()
    environment = dict(line.partition("=")[::2] for line in lines if "=" in line)
    assert "hunter2" not in out.read_text()
    assert folder == str(isolated), "not the run directory, which may hold programs of strangers"
    assert environment["CRILD_RUN"] == run_dir.name
    assert environment["CRILD_RUN_DIR"] == str(run_dir)
    assert environment["CRILD_STATE"] == "finished"
    assert environment["CRILD_METRIC"] == "accuracy=0.7500"
    assert environment["LC_TIME"] == "C"
    shell_adds = {"PWD", "OLDPWD", "SHLVL", "_"}
    known = {"CRILD_RUN", "CRILD_RUN_DIR", "CRILD_STATE", "CRILD_METRIC", *PASSED_ON, *shell_adds}
    assert {name for name in environment if not name.startswith("LC_")} <= known


def test_a_command_in_the_preset_of_a_run_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary = tmp_path / "canary"
    run_dir = make_run(tmp_path / "runs", preset=f"{PRESET}[notify]\ncommand = 'touch {canary}'\n")
    announce_end(run_dir)
    assert not canary.exists()
    assert capsys.readouterr().out == ""


def test_what_a_run_says_cannot_be_run_by_a_second_shell(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "runs")
    update_status(run_dir, last=0.5, metric_name="$(touch canary)`x`;\n")
    run_dir = run_dir.rename(tmp_path / "runs" / "a;b $(c)")
    facts = facts_of(run_dir)
    assert facts["CRILD_METRIC"] == "__touch_canary__x___=0.5000"
    assert facts["CRILD_RUN"] == "a_b___c_"


def test_relative_folders_of_the_path_are_left_out() -> None:
    assert minimum({"PATH": ".:/bin::bin:/usr/bin", "HF_TOKEN": "x"}) == {"PATH": "/bin:/usr/bin"}


def test_broken_settings_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.toml").write_text("[notify]\ncommand = 3\n")
    monkeypatch.setenv("CRILD_CONFIG", str(tmp_path / "settings.toml"))
    announce_end(make_run(tmp_path / "runs"))
    assert "settings.toml:2" in capsys.readouterr().out


def test_of_what_it_prints_the_beginning_is_in_the_log(
    tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    run_dir = make_run(tmp_path / "runs")
    for command, most in (
        ("echo sent; echo oh >&2", 100),
        ("head -c 10000000 /dev/zero | tr '\\0' y", MOST_OUTPUT + 200),
    ):
        settings.write_text(f"[notify]\ncommand = {json.dumps(command)}\n")
        announce_end(run_dir)
        printed = capfd.readouterr().out
        assert len(printed) < most
        assert "exit code 0" in printed
        assert ("sent\noh\n" if most == 100 else f"{MOST_OUTPUT:,}") in printed


def test_it_is_ended_with_all_that_it_started(
    tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[notify]\ncommand = 'echo $$ > pid; yes | cat'\n")
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    monkeypatch.setattr(notification, "SECONDS", 1)
    announce_end(make_run(tmp_path / "runs"))
    assert len(capfd.readouterr().out) < MOST_OUTPUT + 200
    group = (isolated / "pid").read_text().strip()
    deadline = time.monotonic() + PATIENCE  # a killed process may run for a moment more
    while left := alive_in(group):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def alive_in(group: str) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
            if its_group == group and state != "Z":
                found.append(status.parent.name)
    return found
