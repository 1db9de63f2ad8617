"""What a dashboard in a browser does not do: whoever is there gets no shell, no other files, no foreign code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, SuspendNotSupported
from textual.pilot import Pilot

import crild_tui.screens.launch
from crild_tui.app import CrildApp
from crild_tui.launch_form.checks import examine
from crild_tui.launch_form.draft import Draft
from crild_tui.runs import actions
from crild_tui.runs.browser_limits import NO_FOREIGN_CODE, refuse_outside
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.preset_files import NO_EDITOR, NO_REPLACING
from crild_tui.serve.browser_driver import BrowserDriver
from engine.errors import UsageError
from engine.user.own_code import OwnCode, OwnCodeError
from tests.cli.samples import PRESET, make_run
from tests.preset.support import model_folder
from tests.tui import launch_driver, live_driver
from tests.tui.launch_driver import examined, put, said
from tests.tui.live_driver import live, tell, working
from tests.tui.screen_driver import screen_text, until

folder, launch = launch_driver.folder, launch_driver.launch
watchers, runs = live_driver.watchers, live_driver.runs

INSIDE = ("", "3", "0.5", "off", "google/bert_uncased_L-2_H-128_A-2", "a.csv", "data/a.csv", "./a.csv", "a..b", "{ m = 'a.csv' }", "1e-4", "[[0, 1]]", "-1")  # fmt: skip
OUTSIDE = (
    "/etc/passwd", " /etc/passwd", "~/x.csv", "~root/x", "../x.csv", "a/../../x", "..", "{ m = '/etc/passwd' }", "['a', '../x']",
    '"/etc/passwd"', '"\\u002fetc/passwd"', "'''~/x'''", "file:///etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("text", INSIDE)
def test_what_may_be_named(text: str) -> None:
    refuse_outside({"task.files.dev": text})


@pytest.mark.parametrize("text", OUTSIDE)
def test_what_leads_out(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_outside({"train.epochs": "3", "task.files.dev": text})
    assert (caught.value.kind, caught.value.key) == ("path-outside-folder", "task.files.dev")


def test_a_path_that_leads_out_is_neither_looked_at_nor_started(
    launch: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("text,label\nthe secret,1\n")
    looked: list[Draft] = []

    def seen(draft: Draft, *more: Any) -> Any:
        looked.append(draft)
        return examine(draft, *more)

    monkeypatch.setattr(crild_tui.screens.launch, "examine", seen)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for path in (str(secret), "../secret.csv"):
            await put(pilot, screen, "teacher.model", path)
            (fault,) = screen.examined.faults
            assert fault.key == "teacher.model"
            assert screen.form.line("teacher.model") is not None, "the form stays"
            await pilot.press("f5")
            await until(
                pilot, lambda: any("not started" in sentence for sentence in launch.said) and not screen.starting
            )
            launch.said.clear()
        assert all("secret" not in str(draft.edits) for draft in looked)
        await put(pilot, screen, "teacher.model", "scratch")
        assert screen.examined.faults == ()

    launch(body, served=True)
    assert not (tmp_path / "runs").exists()


def test_no_editor_opens(launch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "touch opened; true")
    (folder / "mine.toml").write_text(PRESET)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        assert "Editor" not in screen_text(pilot.app)
        await pilot.press("e")
        await pilot.pause()
        assert pilot.app.screen is screen
        with pytest.raises(SuspendNotSupported), pilot.app.suspend():
            raise AssertionError("suspended")

    launch(body, served=True)
    assert launch.said == [NO_EDITOR]
    assert sorted(path.name for path in folder.iterdir()) == ["mine.toml"]


def test_the_driver_of_browsers_gives_its_terminal_to_nobody() -> None:
    """So that neither an editor nor Ctrl-Z stops the process."""
    assert not BrowserDriver.can_suspend.fget(BrowserDriver)  # type: ignore[attr-defined]


def test_presets_are_saved_as_new_files_of_the_folder_only(launch: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "there.toml").write_text("# mine\n")
    (folder / "below").mkdir()

    async def save_as(pilot: Pilot[None], screen: LaunchScreen, name: str) -> None:
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        pilot.app.screen.dismiss(name)
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.pause()

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for name in (str(tmp_path / "out.toml"), "../out", "~/out", "below/../../out"):
            await save_as(pilot, screen, name)
            assert "not below the folder" in launch.said[-1]
        await save_as(pilot, screen, "there")
        assert launch.said[-1] == NO_REPLACING
        assert not isinstance(pilot.app.screen, Confirm)
        await save_as(pilot, screen, "below/new")
        await until(pilot, lambda: "saved as" in said(launch))

    launch(body, served=True)
    assert (folder / "there.toml").read_text() == "# mine\n"
    assert (folder / "below" / "new.toml").exists()
    assert not list(tmp_path.rglob("out*"))
    assert not list(Path(os.environ["HOME"]).glob("out*"))


def test_a_models_own_code_cannot_be_agreed_to(
    launch: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "teacher", auto_map={"AutoConfig": "conf.Config"}, vocabulary=["[PAD]", "[UNK]"])
    (tmp_path / "teacher" / "conf.py").write_text("raise SystemExit('it ran')\n")
    (folder / "evil.toml").write_text(PRESET.replace('model = "scratch"', f'model = "{tmp_path / "teacher"}"'))
    started: list[object] = []
    monkeypatch.setattr(actions, "start", lambda *_, **more: started.append(more))

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        screen.change(Draft("evil.toml"))
        await examined(pilot, screen)
        assert screen.examined.faults == ()
        await pilot.press("f5")
        await until(pilot, lambda: NO_FOREIGN_CODE in said(launch) and not screen.starting)
        await pilot.pause()
        assert pilot.app.screen is screen

    launch(body, served=True)
    assert started == []
    assert not (tmp_path / "runs").exists()


def test_nor_when_a_run_is_resumed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(runs, state="stopped")
    trusted: list[bool] = []

    def resume(run_dir: Path, changes: Sequence[str] = (), *, trust: bool = False) -> str:
        trusted.append(trust)
        code = OwnCode(runs, ("conf.Config",))
        raise OwnCodeError("it has code", kind="model-code-not-trusted", model="a/b", code=code, key="teacher.model")

    monkeypatch.setattr(actions, "resume", resume)

    async def act() -> None:
        async with live(runs, served=True) as (pilot, screen):
            told: list[str] = []
            monkeypatch.setattr(pilot.app, "tell", lambda sentence, *_: told.append(sentence))
            await tell(pilot, working(run_dir, "stopped"))
            await pilot.press("r")
            await live_driver.until(pilot, lambda: told == [NO_FOREIGN_CODE])
            assert pilot.app.screen is screen

    asyncio.run(act())
    assert trusted == [False]


@pytest.mark.parametrize("readonly", [False, True])
def test_pictures_go_to_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readonly: bool) -> None:
    monkeypatch.chdir(tmp_path)
    sent: list[tuple[str, str]] = []

    def deliver(self: App[Any], file: Any, *, save_filename: str, **_: Any) -> None:
        sent.append((save_filename, file.read()))

    monkeypatch.setattr(App, "deliver_text", deliver)

    async def main() -> None:
        app = CrildApp(tmp_path / "runs", served=True, readonly=readonly)
        async with app.run_test() as pilot:
            await pilot.pause()
            app.save_picture()
            await pilot.pause()

    before = sorted(tmp_path.iterdir())
    asyncio.run(main())
    assert sorted(tmp_path.iterdir()) == before
    ((name, picture),) = sent
    assert name.endswith(".svg")
    assert "<svg" in picture
