"""Changing settings.toml by commands: comments, links, permissions, and every file that must stay as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.errors import CrildError, PresetError, RunError, UsageError
from engine.user import settings, settings_file
from engine.user.settings import SECTIONS, Dashboard, Notify, read_settings
from engine.user.settings_file import path_of, set_value, unset
from engine.user.settings_list import all_settings, dotted_key

TEXT = """\
# mine
[dashboard]   # looks
theme = "crild-light"   # bright

[dashboard.keys]
"live.stop" = "f8"
[notify]
command = 'true'  # quiet
"""


@pytest.fixture
def file(isolated: Path) -> Path:
    """The user's settings file; its folder doesn't exist."""
    return isolated / "xdg_config_home" / "crild" / "settings.toml"


@pytest.fixture
def written(file: Path) -> Path:
    """A settings file with comments."""
    file.parent.mkdir(parents=True)
    file.write_text(TEXT)
    return file


def put(key: str, value: str) -> Path:
    return set_value(path_of(key), value)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("dashboard.theme", ("dashboard", "theme")),
        (" dashboard . theme ", ("dashboard", "theme")),
        ("dashboard.keys", ("dashboard", "keys")),
        ('dashboard.keys."live.stop"', ("dashboard", "keys", "live.stop")),
        ("dashboard.keys.live.stop", ("dashboard", "keys", "live.stop")),
    ],
)
def test_keys(key: str, path: tuple[str, ...]) -> None:
    assert path_of(key) == path


@pytest.mark.parametrize(
    ("key", "fact"),
    [("dashboard.them", "dashboard.theme"), ("theme", "dashboard.theme"), ("dashboard", "dashboard.smoothing"),
     ("", ""), ("a b", ""), ("notify.command.x", "notify.command"), ("x\n[notify]\ncommand", ""), ("notify.command = 1 #", ""),
     ("frob.x", "")],
)  # fmt: skip
def test_unknown_keys_are_refused_with_the_nearest(key: str, fact: str) -> None:
    with pytest.raises(UsageError) as caught:
        path_of(key)
    assert caught.value.kind == "unknown-setting"
    assert fact in str(caught.value)


def test_the_first_setting_creates_file_and_folder_for_the_user_alone(file: Path) -> None:
    assert put("dashboard.theme", "crild-light") == file
    assert read_settings(Dashboard).theme == "crild-light"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["settings.toml"]


def test_comments_and_order_stay(written: Path) -> None:
    put("dashboard.theme", "crild-dark")
    put("dashboard.keys.app.quit", "f10")
    put("notify.command", 'notify-send "$CRILD_RUN"')
    text = written.read_text()
    assert text.startswith('# mine\n[dashboard]   # looks\ntheme = "crild-dark"   # bright\n')
    assert "# quiet" in text
    assert read_settings(Dashboard).keys == {"live.stop": "f8", "app.quit": "f10"}
    assert read_settings(Notify).command == 'notify-send "$CRILD_RUN"'
    assert unset(path_of("dashboard.theme")) == written
    assert read_settings(Dashboard).theme == Dashboard().theme
    assert read_settings(Dashboard).keys["live.stop"] == "f8"
    assert unset(path_of("dashboard.theme")) is None
    assert unset(path_of("slurm.template")) is None
    unset(path_of("dashboard.keys.live.stop"))
    assert read_settings(Dashboard).keys == {"app.quit": "f10"}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("dashboard.smoothing", "0", 0.0), ("dashboard.smoothing", "0.25", 0.25), ("dashboard.ascii", "true", True),
        ("dashboard.theme", '"crild-light"', "crild-light"), ("notify.command", "true", "true"),
        ("notify.command", '"a b"', "a b"), ("notify.command", "'a' 'b'", "'a' 'b'"), ("notify.command", "", ""),
        ("slurm.template", "~/my job.slurm", "~/my job.slurm"), ("notify.command", "été", "été"),
    ],
)  # fmt: skip
def test_values_are_words_or_toml(key: str, text: str, value: object, file: Path) -> None:
    put(key, text)
    section, name = path_of(key)
    assert getattr(read_settings(SECTIONS[section]), name) == value


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("dashboard.theme", "pink", "invalid-setting"), ("dashboard.smoothing", "much", "invalid-setting"),
        ("dashboard.smoothing", "1", "invalid-setting"), ("dashboard.ascii", "yes", "invalid-setting"),
        ("dashboard.keys", "{}", "setting-is-a-table"), ("notify.command", "a\x1b[2J", "setting-with-control-characters"),
        ("consent.remote_code", "[]", "consent-by-command"),
        ("consent.remote_code", '[{ model = "a/b", commit = "' + "0" * 40 + '" }]', "consent-by-command"),
        ("notify.command", "\udcff", "setting-with-control-characters"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_changes_nothing(key: str, text: str, kind: str, written: Path) -> None:
    with pytest.raises(UsageError) as caught:
        put(key, text)
    assert caught.value.kind == kind
    assert written.read_text() == TEXT


def test_consent_is_not_taken_back_by_a_command(written: Path) -> None:
    with pytest.raises(UsageError) as caught:
        unset(path_of("consent.remote_code"))
    assert caught.value.kind == "consent-by-command"


@pytest.mark.parametrize(
    ("content", "kind", "line"),
    [
        (b"[dashboard]\ntheme = \n", "invalid-toml", 2), (b"[dashboard]\n[dashboard]\n", "repeated-key", 2),
        (b"\xff\xfea", "utf16-text", 1), (b"\xff", "not-utf8", 1), (b"[notfy]\n", "unknown-section", 1),
        (b"[dashboard]\nsmoothing = 3\n", "wrong-value", 2), (b"dashboard = 3\n", "wrong-value", 1),
        (b"#" * 1_000_001, "file-too-large", None),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_its_line_and_untouched(
    content: bytes, kind: str, line: int | None, file: Path
) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(PresetError) as caught:
        put("dashboard.theme", "crild-light")
    (problem,) = caught.value.problems
    assert (problem.kind, problem.file, problem.line) == (kind, str(file), line)
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == ["settings.toml"]


def test_a_wrong_value_can_be_set_right(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text('[notify]\ncommand = 3\n[dashboard]\ntheme = "pink"   # mine\n')
    put("dashboard.theme", "crild-light")
    assert file.read_text() == '[notify]\ncommand = 3\n[dashboard]\ntheme = "crild-light"   # mine\n'


def test_a_link_stays_and_its_target_is_rewritten(written: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    target = dotfiles / "crild.toml"
    written.rename(target)
    target.chmod(0o640)
    written.symlink_to(target)
    put("dashboard.theme", "crild-dark")
    assert written.is_symlink()
    assert 'theme = "crild-dark"   # bright' in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    target.unlink()
    put("dashboard.theme", "crild-light")
    assert written.is_symlink()
    assert target.read_text()
    assert [path.name for path in dotfiles.iterdir()] == ["crild.toml"]


def test_a_link_into_a_circle_is_refused(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.symlink_to(file.name)
    with pytest.raises(CrildError):
        put("dashboard.theme", "crild-dark")
    assert file.is_symlink()


def test_pipes_and_folders_are_refused(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(PresetError):
        put("dashboard.theme", "crild-dark")
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(PresetError):
        put("dashboard.theme", "crild-dark")


def test_where_nothing_can_be_written_it_says_why(file: Path) -> None:
    file.parent.parent.mkdir(parents=True)
    file.parent.touch()  # a file where the folder belongs
    with pytest.raises(RunError) as caught:
        put("dashboard.theme", "crild-dark")
    assert caught.value.kind == "cannot-write-settings"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_file_is_left_alone(written: Path) -> None:
    written.chmod(0o400)
    with pytest.raises(RunError):
        put("dashboard.theme", "crild-dark")
    assert written.read_text() == TEXT


def test_a_change_by_another_program_meanwhile_is_kept(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = settings.validated_section
    other = TEXT + "# added\n"

    def slow(*words: object) -> object:
        written.write_text(other)
        return check(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(settings_file, "validated_section", slow)
    monkeypatch.setattr(settings_file, "_check_value", lambda *_: None)
    with pytest.raises(RunError) as caught:
        put("dashboard.theme", "crild-dark")
    assert caught.value.kind == "settings-changed-meanwhile"
    assert written.read_text() == other


@pytest.mark.parametrize(
    "text",
    [
        "dashboard = { theme = 'crild-light' }\n",
        "dashboard.theme = 'crild-light'\ndashboard.ascii = true\n",
        "[dashboard.keys]\nx = 'y'\n[notify]\ncommand = 'z'\n[dashboard]\ntheme = 'crild-light'\n",
        "\r\n[dashboard]\r\ntheme = 'crild-light'\r\n",
        "\ufeff[dashboard]\ntheme = 'crild-light'\n",
    ],
)
def test_every_way_to_write_tables_is_changed_or_left_alone(text: str, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    for key, value in (("dashboard.keys.a.b", "f9"), ("dashboard.smoothing", "0.5"), ("dashboard.theme", "crild-dark")):
        before, wanted = file.read_bytes(), values()
        if not changed(key, value):
            assert file.read_bytes() == before
            continue
        path, after = path_of(key), values()
        assert path in after
        keys = ("dashboard", "keys")  # listed as a whole while it is empty
        assert {**after, path: 0, keys: 0} == {**wanted, path: 0, keys: 0}


def changed(key: str, value: str) -> bool:
    """Set a value; whether that was possible."""
    try:
        put(key, value)
    except RunError:
        return False
    return True


def values() -> dict[tuple[str, ...], object]:
    """Every setting."""
    return {setting.path: setting.value for setting in all_settings()[0]}


def test_a_file_of_0_2_is_taken_over(file: Path) -> None:
    """Otherwise the new section would make crild ignore what the old file says."""
    file.parent.mkdir(parents=True)
    (file.parent / "dashboard.toml").write_text('theme = "crild-light"\n[keys]\n"app.quit" = "f10"\n')
    put("dashboard.ascii", "true")
    assert read_settings(Dashboard) == Dashboard(theme="crild-light", ascii=True, keys={"app.quit": "f10"})


def test_a_file_of_0_2_that_the_environment_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "dashboard.toml"
    old.write_text("ascii = true\n")
    monkeypatch.setenv("CRILD_CONFIG", str(old))
    with pytest.raises(UsageError) as caught:
        put("dashboard.theme", "crild-light")
    assert caught.value.kind == "settings-of-old-form"
    assert old.read_text() == "ascii = true\n"


# -- where values come from


def test_every_setting_is_listed_with_its_line(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, problems = all_settings()
    found = {setting.key: (setting.value, setting.origin, setting.line) for setting in listed}
    assert problems == []
    assert {key.split(".")[0] for key in found} == set(SECTIONS)
    assert found["dashboard.theme"] == ("crild-light", "file", 3)
    assert found['dashboard.keys."live.stop"'] == ("f8", "file", 6)
    assert found["notify.command"] == ("true", "file", 8)
    assert found["dashboard.smoothing"] == (0.6, "default", None)
    monkeypatch.setenv("CRILD_ASCII", "1")
    (ascii_only,) = (setting for setting in all_settings()[0] if setting.key == "dashboard.ascii")
    assert (ascii_only.value, ascii_only.origin, ascii_only.variable) == (True, "environment", "CRILD_ASCII")


def test_an_old_file_is_named_with_its_line(file: Path) -> None:
    file.parent.mkdir(parents=True)
    old = file.parent / "dashboard.toml"
    old.write_text("ascii = true\n")
    (found,) = (setting for setting in all_settings()[0] if setting.key == "dashboard.ascii")
    assert (found.value, found.file, found.line) == (True, old, 1)


def test_a_broken_section_leaves_the_others(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("[dashboard]\nsmoothing = 3\n[notify]\ncommand = 'x'\n")
    listed, problems = all_settings()
    assert "dashboard.theme" not in {setting.key for setting in listed}
    assert [problem.line for problem in problems] == [2]
    assert next(setting.value for setting in listed if setting.key == "notify.command") == "x"


def test_keys_are_written_as_toml_writes_them() -> None:
    assert dotted_key(("dashboard", "keys", "live.stop")) == 'dashboard.keys."live.stop"'
    assert dotted_key(("notify", "command")) == "notify.command"
