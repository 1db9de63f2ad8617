"""The form of the Launch mode: changing settings, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from crild_tui.screens.launch import LaunchScreen
from crild_tui.widgets.choice_list import PresetList, SearchLine, WordList
from crild_tui.widgets.field_line import Editor
from tests.tui import launch_driver
from tests.tui.launch_driver import burst, examined, put, to_field, words
from tests.tui.screen_driver import screen_text, until

folder, launch = launch_driver.folder, launch_driver.launch


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
        await put(pilot, screen, "train.learning_rate", "7e-4")
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


def test_a_held_key_that_comes_after_the_editor_has_gone_does_nothing(launch: Any) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        line = await to_field(pilot, screen, "train.epochs")
        await pilot.press("enter")
        await until(pilot, lambda: bool(line.query(Editor)))
        editor = line.query_one(Editor)
        await pilot.press("escape")
        await until(pilot, lambda: not line.query(Editor) and editor.parent is None)
        editor.action_leave(True, 1)
        assert line.current

    launch(body)
