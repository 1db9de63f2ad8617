"""Starting runs from the Launch mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

import crild_tui.screens.launch
from crild_tui.app import READONLY
from crild_tui.launch_form.draft import Draft
from crild_tui.runs import actions
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.live import LiveScreen
from engine.errors import RunError
from engine.record.run import read_run, read_status
from tests.cli.samples import PRESET
from tests.preset.support import model_folder
from tests.tui import launch_driver
from tests.tui.launch_driver import Behave, examined, put, said, words
from tests.tui.screen_driver import screen_text, until

folder, launch = launch_driver.folder, launch_driver.launch
fake_engine = launch_driver.fake_engine


@pytest.mark.parametrize("how", ["f5", "ctrl+r", "click"])
def test_a_run_is_started_and_shown_in_live(
    launch: Any, fake_engine: Behave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr(LiveScreen, "show_run", lambda _self, run_dir: shown.append(run_dir))

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "name", "mine")
        await put(pilot, screen, "stage.kd.epochs", "2")
        await (pilot.click("#start") if how == "click" else pilot.press(how))
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen) and bool(shown))
        await until(pilot, lambda: not screen.starting)

    launch(body)
    run_dir = tmp_path / "runs" / "mine-s1"
    assert shown == [run_dir]
    assert "epochs = 2" in (run_dir / "preset.toml").read_text()
    assert read_status(run_dir).attempt == 1
    assert "mine-s1 has started" in said(launch)


def test_live_shows_the_run_before_its_engine_is_there_and_a_second_key_starts_nothing(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    go_on, begun = threading.Event(), []

    def start(runs: list[Path], *, trust: bool) -> str:
        assert not trust
        begun.append(runs)
        assert go_on.wait(20)
        raise RunError("the engine was killed")

    monkeypatch.setattr(actions, "start", start)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("f5", "f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await pilot.press("1")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("f5", "ctrl+r")
        await pilot.pause()
        go_on.set()
        await until(pilot, lambda: not screen.starting)
        await until(pilot, lambda: "the engine was killed" in said(launch))

    launch(body)
    assert len(begun) == 1
    assert "starting already" in said(launch)
    assert len([path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]) == 1


def test_several_seeds_go_through_the_queue(launch: Any, fake_engine: Behave, tmp_path: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "name", "many")
        await put(pilot, screen, "seeds", "3,5")
        assert "--seeds 3,5" in words(screen, "command")
        await pilot.press("f5")
        await until(pilot, lambda: not screen.starting)
        runs = [tmp_path / "runs" / f"many-s{seed}" for seed in (3, 5)]
        await until(pilot, lambda: all(read_run(run).state == "finished" for run in runs))

    launch(body)
    assert "2 runs queued" in said(launch)


def test_a_fault_found_at_the_start_stays_here_as_sentences(launch: Any, folder: Path, tmp_path: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "train.device", "cuda:99")
        assert screen.examined.faults == ()  # whether it is there is asked only now
        await pilot.press("f5")
        await until(pilot, lambda: bool(screen.examined.faults) and not screen.starting)
        line = screen.form.line("train.device")
        assert line is not None
        assert "cuda:99" in " ".join(line.view.faults)
        assert pilot.app.screen is screen

    launch(body)
    assert "not started" in said(launch)
    assert not (tmp_path / "runs").exists()


def test_a_start_takes_away_why_an_earlier_one_failed(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "start", lambda runs, **_: f"{runs[0].name} has started")

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        pilot.app.notify("not started: no such device", severity="error", timeout=600)
        pilot.app.notify("something else", severity="warning", timeout=600)
        await pilot.press("f5")
        await until(pilot, lambda: "has started" in said(launch))
        assert not list(pilot.app._notifications)

    launch(body)


def test_a_models_own_code_runs_after_a_question_alone(
    launch: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice is not part of the preset; No has the focus."""
    model_folder(tmp_path / "teacher", auto_map={"AutoConfig": "conf.Config"}, vocabulary=["[PAD]", "[UNK]"])
    (tmp_path / "teacher" / "conf.py").write_text("raise SystemExit('it ran')\n")
    text = PRESET.replace('model = "scratch"', f'model = "{tmp_path / "teacher"}"')
    (tmp_path / "evil.toml").write_text(text)
    started: list[bool] = []

    def start(runs: list[Path], *, trust: bool) -> str:
        started.append(trust)
        return "started"

    monkeypatch.setattr(actions, "start", start)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        draft = Draft(str(tmp_path / "evil.toml"))
        screen.change(draft)
        await until(pilot, lambda: screen.examined.draft == draft)
        assert screen.examined.faults == (), "the form itself asks for nothing"
        for answer, expected in (("enter", []), ("escape", []), ("y", [True])):
            await pilot.press("f5")
            await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
            assert all(fact in screen_text(pilot.app) for fact in ("conf.py", "own Python code"))
            await pilot.press(answer)
            await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm) and not screen.starting)
            await pilot.pause()
            assert started == expected
            assert (tmp_path / "runs").exists() == bool(expected)

    launch(body)
    (run_dir,) = [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]
    assert "trust" not in (run_dir / "preset.toml").read_text()


def test_who_only_reads_starts_nothing(launch: Any, tmp_path: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("f5")
        await pilot.click(screen.query_one("#start", Button))
        await pilot.press("e", "w")
        await pilot.pause()
        assert pilot.app.screen is screen
        assert not screen.starting

    launch(body, readonly=True)
    assert launch.said == [READONLY] * 4
    assert not (tmp_path / "runs").exists()


def test_a_file_that_became_invalid_outside_is_seen_at_the_start(
    launch: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crild_tui.screens.launch, "EVERY", 3600)
    (folder / "mine.toml").write_text(PRESET)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("slash", *"mine", "enter", "enter")
        await examined(pilot, screen)
        assert screen.examined.faults == ()
        (folder / "mine.toml").write_text(PRESET + "layer = 3\n")
        await pilot.press("f5")
        await until(pilot, lambda: bool(screen.examined.faults) and not screen.starting)
        assert "mine.toml:19" in words(screen, "about-text")
        assert "layer = 3" in words(screen, "about-text")
        assert isinstance(pilot.app.screen, LaunchScreen)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))

    launch(body)
