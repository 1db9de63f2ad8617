"""settings.toml: where it is, what it holds, what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.user.settings import Consents, Dashboard, Notify, read_settings, settings_files, settings_problems

COMMIT, CODE = "0123456789" * 4, "sha256:" + "a" * 64
ALL = f"""\
[consent]
remote_code = [{{ model = "owner/name", commit = "{COMMIT}" }}, {{ model = "~/mine", code = "{CODE}" }}]
[notify]
command = "notify-send $CRILD_RUN"
[dashboard]
theme = "crild-light"
smoothing = 0
[dashboard.keys]
"app.quit" = "f10"
"""


@pytest.fixture
def folder(isolated: Path) -> Path:
    """The user's configuration folder."""
    path = isolated / "xdg_config_home" / "crild"
    path.mkdir(parents=True)
    return path


def problems_of(folder: Path, text: str) -> list[tuple[str, int | None, str | None]]:
    (folder / "settings.toml").write_text(text)
    problems = settings_problems()
    assert all(problem.file == str(folder / "settings.toml") for problem in problems)
    return [(problem.kind, problem.line, problem.key) for problem in problems]


def test_without_a_file_there_are_defaults(isolated: Path) -> None:
    assert read_settings(Consents) == Consents()
    assert read_settings(Notify).command is None
    assert read_settings(Dashboard) == Dashboard()


def test_every_section_is_read(folder: Path) -> None:
    (folder / "settings.toml").write_text(ALL)
    assert [entry.model for entry in read_settings(Consents).remote_code] == ["owner/name", "~/mine"]
    assert read_settings(Notify).command == "notify-send $CRILD_RUN"
    assert read_settings(Dashboard) == Dashboard(theme="crild-light", smoothing=0, keys={"app.quit": "f10"})
    assert settings_problems() == []


@pytest.mark.parametrize(
    ("text", "expected", "fact"),
    [
        ("[notfy]\ncommand = 'x'", [("unknown-section", 1, "notfy")], "[notify]"),
        ("[notify]\ncomand = 'x'", [("unknown-key", 2, "notify.comand")], '"command"'),
        ("theme = 'crild-dark'\n[notify]", [("unknown-section", 1, "theme")], "[dashboard]"),
        ("[notify]\ncommand = 3", [("wrong-value", 2, "notify.command")], "not 3"),
        ("notify = 3", [("wrong-value", 1, "notify")], "[notify]"),
        ("[dashboard]\ntheme = 'crild-drak'", [("wrong-value", 2, "dashboard.theme")], '"crild-dark"?'),
        ("[dashboard]\n\nsmoothing = 1", [("wrong-value", 3, "dashboard.smoothing")], "below 1"),
        ("[dashboard]\nkeys = 'q'", [("wrong-value", 2, "dashboard.keys")], "a table"),
        ("[consent]\nremote_code = 'all'", [("wrong-value", 2, "consent.remote_code")], "a list of tables"),
        ("[consent]\nremote_code = [{}]", [("missing-key", 2, "consent.remote_code.0.model")], "model"),
        (
            "[consent]\nremote_code = [{ model = 'a/b', commit = 'main' }]",
            [("wrong-value", 2, "consent.remote_code.0.commit")],
            "40 hex digits",
        ),
        (
            "[consent]\nremote_code = [{ model = 'a/b' }]",
            [("consent-without-commit", 2, "consent.remote_code.0")],
            "a/b",
        ),
        (
            "[consent]\nremote_code = [{ model = '/a/b' }]",
            [("consent-without-code", 2, "consent.remote_code.0")],
            "/a/b",
        ),
        ("[notify\n", [("invalid-toml", 1, None)], "TOML"),
    ],
)
def test_mistakes_are_located(
    folder: Path, text: str, expected: list[tuple[str, int | None, str | None]], fact: str
) -> None:
    assert problems_of(folder, text) == expected
    assert fact in str(settings_problems()[0])


def test_a_mistake_in_one_section_leaves_the_others(folder: Path) -> None:
    (folder / "settings.toml").write_text("[dashboard]\ntheme = 'pink'\n[notify]\ncommand = 'true'\n")
    assert read_settings(Notify).command == "true"
    with pytest.raises(PresetError):
        read_settings(Dashboard)


def test_a_dashboard_file_of_0_2_is_read(folder: Path) -> None:
    (folder / "dashboard.toml").write_text('theme = "crild-light"\n[keys]\n"app.quit" = "f10"\n')
    assert read_settings(Dashboard).theme == "crild-light"
    (folder / "settings.toml").write_text("[notify]\ncommand = 'true'\n")
    assert read_settings(Dashboard).keys == {"app.quit": "f10"}
    (folder / "settings.toml").write_text("[dashboard]\nascii = true\n")
    assert read_settings(Dashboard) == Dashboard(ascii=True), "the section replaces the old file"


def test_a_mistake_in_a_file_of_0_2_is_located(folder: Path) -> None:
    (folder / "dashboard.toml").write_text('ascii = true\nthem = "x"\n')
    (problem,) = settings_problems()
    assert (problem.kind, problem.file, problem.line, problem.key) == (
        "unknown-key",
        str(folder / "dashboard.toml"),
        2,
        "them",
    )


def test_an_environment_variable_names_another_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "settings.toml").write_text(ALL)
    other = tmp_path / "other.toml"
    monkeypatch.setenv("CRILD_CONFIG", str(other))
    assert read_settings(Notify).command is None, "a file that does not exist has nothing"
    other.write_text("ascii = true\n")
    assert read_settings(Dashboard) == Dashboard(ascii=True)
    assert read_settings(Notify).command is not None, "a dashboard.toml replaces the dashboard alone"
    other.write_text("[dashboard]\nascii = true\n")
    assert read_settings(Notify).command is None, "a settings.toml replaces everything"


def test_settings_are_never_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine's working directory is the run directory, which may be a stranger's."""
    run_dir = tmp_path / "run"
    (run_dir / "crild").mkdir(parents=True)
    (run_dir / "crild" / "settings.toml").write_text("[notify]\ncommand = 'true'\n")
    monkeypatch.chdir(run_dir)
    for value in (".", "./", "crild/.."):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert read_settings(Notify).command is None
        assert settings_files().settings is None or settings_files().settings != Path("crild/settings.toml")


def test_the_engine_gets_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.launch.start import engine_environment

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRILD_CONFIG", "mine.toml")
    monkeypatch.setenv("PATH", f".::{tmp_path}:bin")
    assert engine_environment()["CRILD_CONFIG"] == str(tmp_path / "mine.toml")
    assert engine_environment()["PATH"] == str(tmp_path)


def test_no_heavy_module_is_imported() -> None:
    heavy = ("torch", "numpy", "transformers", "textual", "rich", "huggingface_hub")
    code = "import sys; from engine.user import notification, own_code, settings; settings.settings_problems(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(heavy)
    light = "import sys; from engine.user import consent; consent.Consent(frozenset('a')).words(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert "pydantic" not in done.stdout.split()
