"""The Launch mode as a person works with it, by keys and mouse: choosing presets, finding settings, the panes."""

from __future__ import annotations

from typing import Any

import pytest
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.widgets import Static

from crild_tui.launch_form.draft import Draft
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.launch import LaunchScreen
from crild_tui.textual_internals import FooterKey
from crild_tui.widgets.choice_list import SearchLine
from engine.preset.shipped import shipped
from tests.tui import launch_driver
from tests.tui.launch_driver import burst, examined, put, said, to_field, words
from tests.tui.screen_driver import SENT, screen_text, until

folder, launch = launch_driver.folder, launch_driver.launch


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
