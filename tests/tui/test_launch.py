"""The Launch mode as a person works with it: by keys and mouse, in a terminal of some size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.widgets import Button, Static

import crild_tui.screens.launch
from crild_tui.app import READONLY, CrildApp
from crild_tui.launch_form.draft import Draft
from crild_tui.runs import actions
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.live import LiveScreen
from crild_tui.textual_internals import FooterKey
from crild_tui.widgets.choice_list import PresetList, SearchLine, WordList
from crild_tui.widgets.field_line import Editor, FieldLine
from engine.errors import RunError
from engine.preset.shipped import shipped
from engine.record.run import read_run, read_status
from tests.cli import conftest
from tests.cli.samples import PRESET
from tests.preset.support import model_folder
from tests.tui.screen_driver import SENT, screen_text, until

fake_engine = conftest.fake_engine
Body = Callable[[Pilot[None], LaunchScreen], Awaitable[None]]
Behave = Callable[..., None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no time lost on waiting for the end of typing."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(crild_tui.screens.launch, "SETTLES", 0.01)
    monkeypatch.setattr(crild_tui.screens.launch, "devices", lambda: ["cpu"])
    return here


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Open the dashboard, wait for Launch, and do something there."""
    shown: list[str] = []

    def go(body: Body, size: tuple[int, int] = (80, 24), **options: Any) -> None:
        async def main() -> None:
            app = CrildApp(tmp_path / "runs", **options)
            monkeypatch.setattr(app, "tell", lambda sentence, *_: shown.append(sentence))
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
                screen = app.screen
                assert isinstance(screen, LaunchScreen)
                await until(pilot, lambda: bool(screen.form.lines and screen.entries))
                await pilot.pause()
                await body(pilot, screen)

        asyncio.run(main())

    go.said = shown  # type: ignore[attr-defined]
    return go


def said(launch: Callable[..., None]) -> str:
    return "\n".join(launch.said)  # type: ignore[attr-defined]


async def examined(pilot: Pilot[None], screen: LaunchScreen) -> None:
    """Wait until what is chosen and typed was checked and is shown."""
    await pilot.pause()
    await until(pilot, lambda: screen.examined.draft == screen.draft)
    await pilot.pause()


async def to_field(pilot: Pilot[None], screen: LaunchScreen, key: str) -> FieldLine:
    line = screen.form.line(key)
    assert line is not None, key
    screen.inside = True
    screen.form.focus()
    screen.form.go(line)
    await pilot.pause()
    return line


async def put(pilot: Pilot[None], screen: LaunchScreen, key: str, text: str) -> FieldLine:
    """Type a text into a field, in the place of what is there."""
    line = await to_field(pilot, screen, key)
    await pilot.press("enter")
    await until(pilot, lambda: bool(line.query(Editor)) and line.query_one(Editor).has_focus)
    line.query_one(Editor).value = text  # as pasting does
    await pilot.press("enter")
    await examined(pilot, screen)
    return line


def words(screen: LaunchScreen, name: str) -> str:
    return str(screen.query_one(f"#{name}", Static).render())


# -- choosing


def test_it_begins_with_the_complete_preset_and_its_command_line_which_can_be_copied(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        assert words(screen, "command") == "$ crild run quickstart"
        assert screen.presets.options.has_focus
        assert screen.presets.pointed is not None
        assert screen.presets.pointed.ref == "quickstart"
        assert "complete" in words(screen, "about-text")
        assert "comes with crild" in words(screen, "about-text")
        options = [str(option.prompt) for option in screen.presets.options.options if option.id]
        assert [option.split()[1] for option in options if option.startswith("●")] == ["quickstart"]
        await pilot.press("c")
        assert pilot.app.clipboard == "crild run quickstart"
        await pilot.click("#command")
        await until(pilot, lambda: said(launch).count(f"{SENT}crild run quickstart") == 2)

    launch(body)


def test_closing_while_it_is_mounted_is_no_error(launch: Any) -> None:
    async def body(_: Pilot[None], screen: LaunchScreen) -> None:
        for remaining in ("OptionList", "#presets", "*"):
            await screen.query(remaining).remove()
            screen.on_mount()

    launch(body)


def test_every_kind_of_preset_is_listed(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await until(pilot, lambda: bool(screen.entries))
        folded = [option.id for option in screen.presets.options.options if (option.id or "").startswith("more ")]
        assert folded == ["more crild", "more ild-last", "more ild-uniform"]
        for name in folded:
            screen.presets.options.highlighted = screen.presets.options.get_option_index(name or "")
            await pilot.press("enter")
            await pilot.pause()
        listed = {option.id.split()[1] for option in screen.presets.options.options if option.id}
        assert listed == {preset.name for preset in shipped()}

    launch(body)


@pytest.mark.parametrize("key", ["enter", "space"])
def test_a_method_and_a_task_are_picked_side_by_side(launch: Any, key: str) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("slash", *"mrpc", "enter", key)
        await examined(pilot, screen)
        assert screen.draft == Draft("crild", "mrpc")  # a task alone joins the main method
        await pilot.press("slash", "escape", "slash", *"kd", "enter", key)
        await examined(pilot, screen)
        assert words(screen, "command") == "$ crild run kd mrpc"
        assert screen.form.line("stage.kd.epochs") is not None
        assert screen.form.line("stage.ild.epochs") is None
        await pilot.press("slash", "ctrl+u", *"mrpc", "enter", key)
        await examined(pilot, screen)
        assert words(screen, "command") == "$ crild run kd"

    launch(body)


def test_search_filters_by_words_and_escape_shows_everything_again(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        everything = screen.presets.options.option_count
        await pilot.press("slash", *"task f1")
        shown = [option.id for option in screen.presets.options.options if option.id]
        assert shown == ["task mrpc", "task qqp"]
        await pilot.press(*"zzz")
        assert "nothing found" in str(screen.presets.options.get_option_at_index(0).prompt)
        await until(pilot, lambda: words(screen, "about-text").startswith("no preset matches"))
        await pilot.press("escape")
        assert screen.presets.options.option_count == everything
        await until(pilot, lambda: words(screen, "about-text").startswith("quickstart"))
        assert screen.presets.options.has_focus

    launch(body)


def test_enter_shows_everything_again_where_nothing_was_found(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        everything = screen.presets.options.option_count
        await pilot.press("slash", *"zzz", "enter")
        await until(pilot, lambda: screen.presets.options.option_count == everything)
        assert screen.presets.options.has_focus
        assert not screen.query_one(SearchLine).display
        await until(pilot, lambda: words(screen, "about-text").startswith("quickstart"))
        await pilot.press("slash", *"mrpc", "enter")
        await pilot.pause()
        assert screen.presets.options.option_count < everything
        assert screen.query_one(SearchLine).display

    launch(body)


def test_a_click_picks_a_preset(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        options = screen.presets.options
        row = options.get_option_index("method crild")
        await pilot.click(options, offset=(4, row))
        await examined(pilot, screen)
        assert screen.draft.main == "crild"

    launch(body)


def test_list_and_form_are_reached_by_arrows_and_letters(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("j")
        assert screen.presets.pointed is not None
        assert screen.presets.pointed.ref == "crild"
        await pilot.press("k", "right")
        await pilot.pause()
        lines = screen.form.lines
        assert lines[0].current
        await pilot.press("down", "j", "k")
        assert lines[1].current
        await pilot.press("pagedown")
        assert lines[11].current
        await pilot.press("end")
        assert lines[-1].current
        await pilot.press("pageup", "home")
        assert lines[0].current
        await pilot.press("left")
        assert screen.presets.options.has_focus

    launch(body)


# -- changing


def test_a_change_is_marked_and_becomes_part_of_the_command_line(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await put(pilot, screen, "stage.ild.consistency.weight", "0.5")
        assert line.view.changed
        assert str(line.render()).startswith("* consistency weight")
        assert words(screen, "command") == "$ crild run quickstart --set stage.ild.consistency.weight=0.5"
        assert "press u to reset it" in words(screen, "about-text")
        toml = words(screen, "toml-text").splitlines()
        assert [row for row in toml if row.startswith("▌")] == [
            '▌ consistency = { weight = 0.5, ramp = "linear", target = "ema", decay = 0.999, warmup = true }'
        ]
        await pilot.press("u")
        await examined(pilot, screen)
        assert (line.view.changed, line.view.text) == (False, "0.1")
        assert words(screen, "command") == "$ crild run quickstart"

    launch(body)


def test_all_changes_are_undone_at_once(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "train.batch_size", "8")
        await put(pilot, screen, "seeds", "1,2")
        await pilot.press("U")
        await examined(pilot, screen)
        assert not any(line.view.changed for line in screen.form.lines)
        assert words(screen, "command") == "$ crild run quickstart"

    launch(body)


def test_the_same_in_other_words_is_no_change(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await put(pilot, screen, "stage.ild.objectives", "{attention=1.0,hidden=1}")
        assert not line.view.changed
        await put(pilot, screen, "train.learning_rate", "0.001")
        assert words(screen, "command") == "$ crild run quickstart"

    launch(body)


def test_each_field_has_its_help_and_what_is_right(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await to_field(pilot, screen, "task.label_noise")
        assert "Share of training labels to replace" in words(screen, "about-text")
        assert "a number from 0 to 1" in words(screen, "about-text")

    launch(body)


def test_a_field_that_no_stage_uses_says_so(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "train.epochs")
        said = "no stage uses this"
        assert said in str(line.render())
        assert said in words(screen, "about-text").casefold()
        assert "no stage uses" in screen_text(screen.app)
        await to_field(pilot, screen, "train.batch_size")
        assert "no stage uses" not in words(screen, "about-text").casefold()

    launch(body)


WRONG = (
    ("stage.ild.consistency.weight", "-1", "must be a number of 0 or more"),
    ("student.layers", "two", "whole number"),
    ("stage.ild.objectives", "{ hidden = 1", "like TOML"),
    ("stage.ild.objectives", "{ hiden = 1 }", 'did you mean "hidden"'),
    ("stage.ild.layer_map", "[[9, 1]]", "layer 9"),
    ("task.source", "/nowhere", "source"),
    ("train.device", "tpu", "device must be"),
    ("seeds", "1,x", "1,2,3 or 1-5"),
    ("seeds", "3,3", "repeats 3"),
    ("name", "../up", "cannot be called"),
)


def test_what_is_wrong_stands_at_its_field(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for key, text, sentence in WRONG:
            line = await put(pilot, screen, key, text)
            assert sentence in " ".join(line.view.faults), key
            assert sentence in " ".join(str(line.render()).split())
            assert "1 invalid field" in words(screen, "about-text")
            await pilot.press("u")
            await examined(pilot, screen)
            assert line.view.faults == (), key

    launch(body)


def test_enter_goes_back_into_a_field_that_is_wrong(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for key, text in (("student.layers", "two"), ("stage.ild.mixup.alpha", "x")):
            screen.change(screen.draft.edited(key, text))
            await examined(pilot, screen)
            line = await to_field(pilot, screen, key)
            assert line.view.faults
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(screen.focused, Editor))
            assert line.query_one(Editor).value == text
            assert "esc Cancel" in screen_text(screen.app)
            await pilot.press("escape")

    launch(body)


def test_it_is_checked_before_enter(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "student.layers")
        await pilot.press("enter")
        await until(pilot, lambda: bool(line.query(Editor)))
        await pilot.press(*"x")
        await until(pilot, lambda: bool(line.view.faults))
        assert line.editing
        await pilot.press("escape")
        await examined(pilot, screen)
        assert (line.view.text, line.view.faults, line.editing) == ("2", (), False)
        assert line.current

    launch(body)


def test_escape_brings_back_what_was_there_however_fast_one_types(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "student.layers", "1")
        await pilot.press("enter", "9", "9", "backspace", "escape")
        await examined(pilot, screen)
        assert screen.draft.edits["student.layers"] == "1"

    launch(body)


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Keys that arrive together, as over a slow line."""
    for key in keys:
        pilot.app.post_message(events.Key(key, {"slash": "/"}.get(key, key if len(key) == 1 else None)))


def test_keys_that_arrive_together_are_typed_and_no_commands(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "train.epochs")
        await pilot.press("home")
        burst(pilot, *["down"] * screen.form.lines.index(line), "enter", "3", "2", "1")
        await until(pilot, lambda: line.view.text == "321")
        await until(pilot, lambda: line.query_one(Editor).has_focus)
        await pilot.press("4", "enter")
        await examined(pilot, screen)
        assert line.view.text == "3214"
        burst(pilot, "u", "j", "enter", "7", "enter", "j", "j")
        await until(pilot, lambda: screen.draft.edits == {"train.batch_size": "7"})
        await pilot.press("left")
        burst(pilot, "slash", "k", "d")
        await until(pilot, lambda: screen.presets.pointed is not None and screen.presets.pointed.ref == "kd")
        await until(pilot, lambda: screen.presets.query_one(SearchLine).has_focus)
        assert pilot.app.screen is screen

    launch(body)


def test_tab_and_arrows_keep_what_was_typed_and_go_on(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "train.epochs")
        await pilot.press("enter")
        await until(pilot, lambda: bool(line.query(Editor)))
        await pilot.press("5", "tab")
        await examined(pilot, screen)
        there = screen.form.focused_line
        assert there is not None
        assert (there.field.key, line.view.text) == ("train.batch_size", "5")
        await pilot.press("enter")
        await until(pilot, lambda: there.editing and bool(there.query(Editor)))
        await pilot.press("up")
        await until(pilot, lambda: line.current)

    launch(body)


def test_words_are_picked_from_a_list(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "train.precision")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, WordList))
        await pilot.press("down", "enter")
        await examined(pilot, screen)
        assert line.view.text == "fp32"
        await to_field(pilot, screen, "student.keep")  # other texts are right there too: Space lists, Enter types
        await pilot.press("space")
        await until(pilot, lambda: isinstance(pilot.app.screen, WordList))
        await pilot.press("down", "down", "enter")
        await examined(pilot, screen)
        assert screen.draft.edits["student.keep"] == "alternate"
        await to_field(pilot, screen, "train.device")
        await pilot.press("space", "escape")
        await examined(pilot, screen)
        assert "train.device" not in screen.draft.edits

    launch(body)


def test_a_click_edits_a_field(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = screen.form.line("name")
        assert line is not None
        await pilot.click(line)
        await until(pilot, lambda: bool(line.query(Editor)) and line.query_one(Editor).has_focus)
        await pilot.press(*"mine")
        await pilot.click("#about")
        await examined(pilot, screen)
        assert screen.draft.edits["name"] == "mine"

    launch(body)


def test_a_table_can_be_switched_off_and_on(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "stage.ild.mixup.alpha", "off")
        await put(pilot, screen, "stage.ild.consistency.weight", "off")
        ramp = screen.form.line("stage.ild.consistency.ramp")
        assert ramp is not None
        assert ramp.view.off
        assert "(off)" in str(ramp.render())
        assert screen.examined.now is not None
        stage = screen.examined.now.preset.stage[0]
        assert (stage.mixup, stage.consistency) == (False, False)
        await to_field(pilot, screen, "stage.ild.consistency.ramp")
        await pilot.press("enter", "space")
        assert pilot.app.screen is screen
        assert "set stage.ild.consistency.weight to a number" in words(screen, "about-text")
        assert not ramp.editing

    launch(body)


def test_changes_outlive_another_choice_of_presets(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "stage.ild.mixup.alpha", "2")
        await put(pilot, screen, "stage.kd.temperature", "3")
        for name, line in (("kd", "--set stage.kd.temperature=3"), ("crild", "--set stage.ild.mixup.alpha=2")):
            entry = next(entry for entry in screen.entries if entry.ref == name)
            screen.presets.post_message(PresetList.Chosen(entry))
            await until(pilot, lambda name=name: screen.draft.main == name)  # type: ignore[misc]
            await examined(pilot, screen)
            assert line in words(screen, "command")
        assert "--set stage.kd.temperature=3" in words(screen, "command")

    launch(body)


# -- the rest of the screen


def test_the_resolved_preset_takes_the_forms_place_at_80_columns(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "task.name")
        assert not screen.query_one("#toml").display
        await pilot.press("v")
        await until(pilot, lambda: screen.query_one("#toml").has_focus)
        assert not screen.query_one("#form-pane").display
        await pilot.press("v")
        await until(pilot, lambda: line.current)
        await pilot.press("v")
        await until(pilot, lambda: screen.query_one("#toml").has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: line.current)
        assert not screen.query_one("#toml").display
        await pilot.press("escape")
        await until(pilot, lambda: screen.presets.options.has_focus)

    launch(body)


def test_a_held_key_styles_and_composes_no_more_than_it_must(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    styled: list[object] = []
    apply = Stylesheet.apply

    def count(self: Stylesheet, node: Any, **more: Any) -> None:
        styled.append(node)
        apply(self, node, **more)

    monkeypatch.setattr(Stylesheet, "apply", count)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("v")
        await until(pilot, lambda: screen.query_one("#toml").has_focus)
        styled.clear()
        await pilot.press("v", "v")
        await pilot.pause()
        assert styled
        assert screen.presets not in styled, "a class on the screen styles all that it holds"
        keys = list(screen.query(FooterKey))
        screen.refresh_bindings()
        await pilot.pause()
        assert list(screen.query(FooterKey)) == keys, "the same keys are not composed again"

    launch(body)


def test_on_a_wide_screen_the_resolved_preset_stands_beside_the_form(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        assert screen.query_one("#toml").display
        assert screen.form.display
        await pilot.press("v")
        await pilot.pause()
        assert not screen.query_one("#toml").display

    launch(body, size=(200, 50))


def test_what_is_shown_is_called_old_while_the_changes_cannot_be_used(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "student.layers", "x")
        assert words(screen, "toml-text").startswith("! without the changes")

    launch(body, size=(200, 50))


def test_the_smallest_terminal_shows_one_pane_after_the_other(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        assert (screen.presets.display, screen.query_one("#form-pane").display) == (True, False)
        await pilot.press("right")
        await until(pilot, lambda: screen.form.lines[0].current)
        assert (screen.presets.display, screen.query_one("#form-pane").display) == (False, True)
        await pilot.press("v")
        await until(pilot, lambda: screen.query_one("#toml").has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: screen.form.lines[0].current)
        await pilot.press("escape")
        await until(pilot, lambda: screen.presets.options.has_focus)
        await pilot.resize_terminal(200, 50)
        await pilot.resize_terminal(20, 5)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert screen.presets.display

    launch(body, size=(40, 10))


def test_help_lists_the_keys_of_this_mode(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        text = str(pilot.app.screen.query_one("#keys", Static).render())
        for name in ("search", "start", "undo", "toml", "editor", "save", "copy", "choose"):
            assert f"launch.{name}" in text

    launch(body)


# -- starting


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


# -- finding and folding


def test_a_setting_is_found_by_its_name(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await to_field(pilot, screen, "train.epochs")
        burst(pilot, "slash", *"ild weight", "enter")
        await until(pilot, lambda: [line.field.key for line in screen.form.lines] == ["stage.ild.consistency.weight"])
        await until(pilot, lambda: screen.form.has_focus)
        await pilot.press("enter", *"0.5", "enter")
        await examined(pilot, screen)
        assert screen.draft.edits == {"stage.ild.consistency.weight": "0.5"}
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: "no setting has such a name" in screen_text(pilot.app))
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.form.lines) > 20)
        assert screen.form.has_focus

    launch(body)


def test_sections_fold_and_unfold(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await to_field(pilot, screen, "train.epochs")
        whole = len(screen.form.lines)
        await pilot.press("F")
        assert {line.field.group for line in screen.form.lines} == {"train"}
        assert "▸ stage ild: " in screen_text(pilot.app)
        await pilot.press("F")
        assert len(screen.form.lines) == whole
        await pilot.press("f")
        assert "train" not in {line.field.group for line in screen.form.lines}
        await pilot.press("F")
        assert len(screen.form.lines) == whole

    launch(body)


def test_variants_of_a_method_stand_with_it(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        text = screen_text(pilot.app)
        assert "variants of crild" in text
        assert "crild-no-mixup" not in text
        await pilot.press("slash", *"no-mixup")
        await until(pilot, lambda: "crild-no-mixup" in screen_text(pilot.app))
        await pilot.press("enter", "enter")
        await examined(pilot, screen)
        assert screen.draft.main == "crild-no-mixup"
        await pilot.press("slash", "escape")
        await until(pilot, lambda: "crild-qkv" in screen_text(pilot.app))

    launch(body)
