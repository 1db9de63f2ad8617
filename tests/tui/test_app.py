"""The shell of the dashboard: modes, help, themes, configuration."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Static

from crild_tui import theme
from crild_tui.app import MODE_NAMES, READONLY, CrildApp
from crild_tui.messages import CompareRuns, WatchRun
from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.screens.compare import CompareScreen
from crild_tui.screens.dialogs import Confirm
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.live import LiveScreen
from crild_tui.screens.mode_screen import ModeScreen
from crild_tui.screens.text_dialog import TextScreen
from crild_tui.text import ascii_text
from crild_tui.textual_internals import FooterKey, Palette
from crild_tui.widgets.header import Header, machine_words
from engine.errors import RunError
from engine.launch.gpu import Gpu
from engine.record.owner import Owner
from engine.record.run import update_status
from engine.user.settings import Dashboard
from tests.cli.samples import PRESET, make_run
from tests.preset.support import model_folder
from tests.tui.screen_driver import screen_text, until

Steps = Callable[[CrildApp, Pilot[None]], Awaitable[None]]


def drive(app: CrildApp, steps: Steps, size: tuple[int, int] = (80, 24)) -> None:
    """Run the application without a terminal and do `steps`."""

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(go())


def test_each_mode_has_its_keys_and_is_marked(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        for keys, mode in (
            (("1", "f1"), "launch"),
            (("2", "f2"), "live"),
            (("3", "f3"), "runs"),
            (("4", "f4"), "compare"),
        ):
            for key in keys:
                await pilot.press("f3" if mode != "runs" else "f4", key)
                await pilot.pause()
                assert app.current_mode == mode
                assert f" {mode.title()}]" in screen_text(app).splitlines()[0]

    drive(CrildApp(tmp_path), steps)


@pytest.mark.parametrize("message", [WatchRun, CompareRuns])
def test_another_mode_may_be_chosen_before_the_first_is_shown(
    tmp_path: Path, message: type[WatchRun | CompareRuns]
) -> None:
    run_dir = make_run(tmp_path, "first")

    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        if message is WatchRun:
            app.on_watch_run(WatchRun(run_dir))
        else:
            app.on_compare_runs(CompareRuns((run_dir,)))
        app.switch_mode("runs")
        await pilot.pause()
        assert app.current_mode == "runs"
        mode, kind = ("live", LiveScreen) if message is WatchRun else ("compare", CompareScreen)
        assert isinstance(app.get_screen_stack(mode)[0], kind)

    drive(CrildApp(tmp_path), steps)


def test_commands_that_come_after_their_palette_was_closed_are_no_fault(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        palette = app.screen
        assert isinstance(palette, Palette)
        commands = palette.query_one(CommandList)
        await commands.remove()
        palette.set_reactive(CommandPalette._list_visible, True)
        palette._refresh_command_list(commands, [], True)

    drive(CrildApp(tmp_path), steps)


def test_the_terminal_is_asked_for_attention_when_a_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(tmp_path / "runs", "mine", state="running")
    update_status(run_dir, owner=Owner.current(), heartbeat=time.time())
    sent: list[str] = []
    monkeypatch.setattr(CrildApp, "send", lambda _, sequence: sent.append(sequence))

    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: [entry.state for entry in app.runs.entries] == ["running"])
        assert sent == []
        update_status(run_dir, state="finished")
        await until(pilot, lambda: [entry.state for entry in app.runs.entries] == ["finished"])
        assert sent == ["\a"]

    drive(CrildApp(tmp_path / "runs"), steps)


def test_a_click_on_a_mode_goes_there(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        at = screen_text(app).splitlines()[0].index("Compare")
        await pilot.click(Header, offset=Offset(at, 0))
        await pilot.pause()
        assert app.current_mode == "compare"

    drive(CrildApp(tmp_path), steps)


def test_help_lists_the_keys_with_their_ids(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await pilot.press("f4", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#keys", Static).render())
        for words in ("Everywhere", "app.quit", "Modes", "mode.live"):
            assert words in text
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)

    drive(CrildApp(tmp_path), steps, (120, 40))


@pytest.mark.parametrize("mode", MODE_NAMES)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_help_has_columns_apart_and_only_keys_of_ours(tmp_path: Path, mode: str, width: int) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        app.switch_mode(mode)
        await pilot.pause()
        await pilot.press("question_mark")
        await until(pilot, lambda: "─ Keys" in screen_text(app))
        text = str(app.screen.query_one("#keys", Static).render())
        for words in ("Scroll", "Focus", "Page Left", "Copy selected", "Widget", "return to the command prompt"):
            assert words not in text
        rows = [line for line in text.splitlines() if line.startswith("  ")]
        assert rows
        assert all(len(line) <= width - 6 for line in rows)
        if width > 40:
            assert text.startswith(
                "keys can be changed in [dashboard.keys] of settings.toml by these ids (docs/dashboard.md)"
            )
            split = [re.split(r" {2,}", line.strip()) for line in rows]
            assert all(len(parts) == 3 for parts in split if "command palette" not in " ".join(parts))

    drive(CrildApp(tmp_path), steps, (width, 40))


def test_a_dialog_shows_its_own_keys_below_and_no_others(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        def footer() -> str:
            return "".join(screen_text(app).splitlines()[-1:]).strip()

        await until(pilot, lambda: footer().startswith("? Keys"))
        before = footer()
        app.push_screen(TextScreen("a\tb", "copied", ""))
        await until(pilot, lambda: footer() == "esc Close")
        app.push_screen(Confirm("Really?"))
        await until(pilot, lambda: footer() == "y Yes  n No")
        await pilot.press("n")
        await until(pilot, lambda: footer() == "esc Close")
        await pilot.press("escape")
        await until(pilot, lambda: footer() == before)

    drive(CrildApp(tmp_path), steps)


def test_the_theme_goes_round(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        seen = [app.theme]
        for _ in theme.ALL:
            await pilot.press("ctrl+t")
            seen.append(app.theme)
        assert seen == ["crild-dark", "crild-light", "crild-contrast", "crild-dark"]

    drive(CrildApp(tmp_path), steps)


def test_keys_can_be_bound_anew(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await pilot.press("f12")
        await pilot.pause()
        assert app.current_mode == "compare"

    drive(CrildApp(tmp_path, settings=Dashboard(keys={"mode.compare": "f12"})), steps)


def test_ascii_mode_shows_nothing_else(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        await pilot.press("f4", "question_mark")
        filters = [each for each in app.get_line_filters() if isinstance(each, theme.Ascii)]
        assert len(filters) == 1

    drive(CrildApp(tmp_path, settings=Dashboard(ascii=True)), steps)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("plain", "plain"), ("┌─┐│", "+-+|"), ("✓ done", "y done"), ("é", "e"), ("日本", "????"), ("⣿⠀⠁", "@ .")],
)
def test_ascii_looks_alike_and_keeps_the_width(text: str, plain: str) -> None:
    assert ascii_text(text) == plain


def test_an_action_shows_its_sentence_or_its_error(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        done: list[str] = []
        app.act(lambda: "it [b]went[/b] well", lambda: done.append("then"))
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert done == ["then"]
        assert [notification.message for notification in app._notifications] == ["it [b]went[/b] well"]

        for error in (RunError("it \x1b[31mwent wrong"), OSError(5, "Input/output error")):

            def fails(error: Exception = error) -> str:
                raise error

            app.act(fails, lambda: done.append("never"))
            await app.workers.wait_for_complete()
            await pilot.pause()
        texts = [notification.message for notification in app._notifications]
        assert texts == ["it \\x1b[31mwent wrong", "[Errno 5] Input/output error"]  # good news makes room
        assert done == ["then"]

    drive(CrildApp(tmp_path), steps)


def test_a_dashboard_that_only_reads_does_nothing(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        left = ["to do"]
        app.act(left.pop)
        await pilot.pause()
        assert [n.message for n in app._notifications] == [READONLY]
        assert left

    drive(CrildApp(tmp_path, readonly=True), steps)


def test_the_machine_in_words() -> None:
    assert machine_words(MachineSnapshot(0.5, 2 * 10**9, 16 * 10**9)) == "cpu 50 %  mem 2.0 GB of 16.0 GB"
    assert machine_words(MachineSnapshot(0.5), short=True) == "cpu 50 %"
    gpu = Gpu(0, "GPU-a", "A100", 0.9, 30 * 10**9, 80 * 10**9)
    assert machine_words(MachineSnapshot(0.5, gpus=(gpu,))) == "gpu0 90 % 30.0 GB of 80.0 GB"


def test_no_mode_runs_what_a_strangers_run_brings(tmp_path: Path) -> None:
    canary, model = tmp_path / "canary", tmp_path / "teacher"
    model_folder(model, auto_map={"AutoConfig": "conf.Config"})
    (model / "conf.py").write_text(f"open({str(canary)!r}, 'w')\n")
    keys = f'model = "{model}"\ntrust_remote_code = true'
    preset = PRESET.replace('model = "scratch"', keys) + f"[notify]\ncommand = 'touch {canary}'\n"
    run_dir = make_run(tmp_path / "runs", preset=preset)
    shutil.copytree(model, run_dir / "student", dirs_exist_ok=True)

    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        for mode in MODE_NAMES:
            app.switch_mode(mode)
            await pilot.pause()
            await pilot.press("down", "enter")
            await pilot.pause()

    drive(CrildApp(tmp_path / "runs", readonly=True), steps)
    assert not canary.exists()


def test_what_threads_bring_late_reaches_no_screen_that_is_closing(tmp_path: Path) -> None:
    async def steps(app: CrildApp, pilot: Pilot[None]) -> None:
        screen = app.screen
        came: list[str] = []
        assert isinstance(screen, ModeScreen)
        screen.later(lambda: came.append("open"))
        await pilot.pause()
        await screen.remove_children()
        screen.later(lambda: came.append("closing"))
        await pilot.pause()
        assert came == ["open"]

    drive(CrildApp(tmp_path), steps)


@pytest.mark.parametrize("mode", MODE_NAMES)
@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_footer_has_whole_labels_and_first_the_key_of_the_help(tmp_path: Path, mode: str, width: int) -> None:
    async def act() -> None:
        app = CrildApp(tmp_path)
        async with app.run_test(size=(width, 10)) as pilot:
            app.switch_mode(mode)

            def whole() -> bool:
                line = screen_text(app).splitlines()[-1]
                keys = [key for key in app.screen.query(FooterKey) if key.display]
                labels = "".join(f" {key.key_display} {key.description} " for key in keys)
                return len(keys) > 1 and line.startswith(" ? Keys  ") and line.rstrip() == labels.rstrip()

            await until(pilot, lambda: "? Keys" in screen_text(app))
            await pilot.pause(0.1)
            await until(pilot, whole)

    asyncio.run(act())
