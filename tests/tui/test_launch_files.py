"""The Launch mode and the user's files: strange ones in the list, the editor, saving."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

import crild_tui.screens.launch
from crild_tui.app import CrildApp
from crild_tui.launch_form.catalog import kind_of
from crild_tui.launch_form.draft import Draft
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.launch import LaunchScreen
from engine.preset.load import load_preset
from engine.preset.preset_file import read_layer
from tests.cli.samples import PRESET
from tests.tui import launch_driver
from tests.tui.launch_driver import examined, put, said, words
from tests.tui.screen_driver import until

folder = launch_driver.folder
launch = launch_driver.launch


async def choose(pilot: Pilot[None], screen: LaunchScreen, ref: str) -> None:
    """Pick a preset of the list."""
    await until(pilot, lambda: any(entry.ref == ref for entry in screen.entries))
    screen.presets.point(ref)
    kinds = [name for name, entry in screen.presets._shown.items() if entry.ref == ref]
    screen.presets.options.focus()
    screen.presets.options.highlighted = screen.presets.options.get_option_index(kinds[0])
    await pilot.press("enter")
    await examined(pilot, screen)


async def answer(pilot: Pilot[None], text: str | None) -> str:
    """Answer a question for a line of text, or leave it by Escape; returns what was proposed."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
    line = pilot.app.screen.query_one(Input)
    proposed = line.value
    if text is None:
        await pilot.press("escape")
        return proposed
    line.value = text
    await pilot.press("enter")
    return proposed


# -- strange files

HOSTILE: dict[str, bytes] = {
    "markup.toml": b'description = "[bold red]x[/bold red] [link=file:///]y[/] \\u001b[2J \\u202e"\n' + PRESET.encode(),
    "latin.toml": b'description = "\xe9"\n',
    "empty.toml": b"",
    "comment.toml": b"# nothing\n",
    "broken.toml": b"[task\nname = 1\n",
    "null.toml": b"\x00\x00\x00",
    "number.toml": b"description = 3\nseed = 1\n",
    "stages.toml": b'[[stage]]\nname = 3\n[[stage]]\nname = "x"\n',
    "circle.toml": b'extends = "circle.toml"\n',
    "gone.toml": b'extends = "./nowhere.toml"\n',
    "deep.toml": b"a = " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "-x.toml": PRESET.encode(),
    "~root.toml": PRESET.encode(),
    "[b]x.toml": PRESET.encode(),
    "new\nline.toml": PRESET.encode(),
    "pyproject.toml": b'[project]\nname = "x"\n',
}


SCHEMA = "#:schema ./.crild/preset.schema.json\n"


@pytest.fixture
def hostile(folder: Path) -> Path:
    for name, content in HOSTILE.items():
        (folder / name).write_bytes(content)
    (folder / "presets").mkdir()
    (folder / "presets" / "mine.toml").write_text(PRESET)
    (folder / "folder.toml").mkdir()
    (folder / "link.toml").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.toml")
    with (folder / "large.toml").open("wb") as file:
        file.truncate(100_000_000)
    return folder


def test_strange_files_are_listed_with_their_problem_and_break_nothing(launch: Any, hostile: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        own = {entry.ref: entry for entry in screen.entries if entry.own}
        assert "pyproject.toml" not in own
        assert own["presets/mine.toml"].kind == "run"
        assert {name for name, entry in own.items() if entry.kind == "broken"} == {
            "latin.toml", "empty.toml", "comment.toml", "broken.toml", "null.toml", "deep.toml", "folder.toml",
            "link.toml", "pipe.toml", "large.toml",
        }  # fmt: skip
        assert "100 MB" in str(own["large.toml"].problem)
        assert "UTF-8" in str(own["latin.toml"].problem)
        assert (own["./-x.toml"].kind, own["./~root.toml"].kind) == ("run", "run")
        for ref in own:
            await choose(pilot, screen, ref)
            assert screen.draft.refs[-1] == ref
            loads = screen.examined.base is not None
            assert loads == bool(screen.form.lines)
            assert loads or screen.examined.faults
        prompts = [str(option.prompt) for option in screen.presets.options.options]
        assert any("[bold red]x[/bold red]" in prompt and "\\x1b[2J" in prompt for prompt in prompts)
        assert not any("\x1b" in prompt or "\u202e" in prompt for prompt in prompts)
        await choose(pilot, screen, "broken.toml")
        assert "broken.toml:1" in words(screen, "about-text")
        assert "    1 | [task" in words(screen, "about-text")

    launch(body, size=(200, 50))


def test_a_preset_of_a_thousand_stages_is_shown_in_part(launch: Any, folder: Path) -> None:
    stages = "".join(f'[[stage]]\nname = "s{n}"\nobjectives = {{ logits = 1.0 }}\n' for n in range(1000))
    (folder / "mine.toml").write_text('extends = "quickstart"\n' + stages)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await choose(pilot, screen, "mine.toml")
        assert len(screen.form.lines) < 300
        assert "first 20 of 1002 stages" in words(screen, "about-text")
        await choose(pilot, screen, "kd")
        assert screen.form.lines[-1].field.key == "stage.kd.learning_rate"
        assert len(screen.form.lines) < 40

    launch(body)


def test_the_problem_of_a_file_is_told_before_it_is_chosen(launch: Any, hostile: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("slash", *"empty", "enter")
        await pilot.pause()
        assert "the preset is empty" in words(screen, "about-text")
        assert "cannot be read" in words(screen, "about-text")

    launch(body)


def test_files_that_come_and_go_are_seen(launch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crild_tui.screens.launch, "EVERY", 0.05)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        (folder / "mine.toml").write_text(PRESET)
        await choose(pilot, screen, "mine.toml")
        await put(pilot, screen, "stage.kd.epochs", "7")
        (folder / "mine.toml").write_text("[[stage")
        await until(pilot, lambda: bool(screen.examined.faults))
        assert words(screen, "command") == "$ crild run mine.toml --set stage.kd.epochs=7"
        (folder / "mine.toml").unlink()
        await until(pilot, lambda: not any(entry.own for entry in screen.entries))
        await until(pilot, lambda: "there is no preset file" in words(screen, "about-text"))
        (folder / "mine.toml").write_text(PRESET)
        await until(pilot, lambda: bool(screen.form.lines) and not screen.examined.faults)
        assert words(screen, "command") == "$ crild run mine.toml --set stage.kd.epochs=7"  # nothing was lost

    launch(body)


def test_a_current_folder_that_is_gone_is_told(launch: Any, folder: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        folder.rmdir()
        await put(pilot, screen, "seeds", "7")
        await pilot.press("f5")
        await until(pilot, lambda: not screen.starting)
        assert "not started" in said(launch)

    launch(body)


# -- the editor


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can be handed over, which the one of tests cannot."""
    monkeypatch.setattr(CrildApp, "suspend", lambda _self: contextlib.nullcontext())


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: None) -> Callable[[str], None]:
    """An editor that runs a line of shell on "$1"."""
    monkeypatch.delenv("VISUAL", raising=False)

    def does(line: str) -> None:
        script = tmp_path / "an editor.sh"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"'{script}'")

    return does


def test_a_file_of_the_users_is_edited_in_place_and_loaded_again(
    launch: Any, folder: Path, editor: Callable[[str], None]
) -> None:
    (folder / "mine.toml").write_text(PRESET)
    editor("""sed -i 's/^layers = 2/layers = 1/' "$1" """)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await choose(pilot, screen, "mine.toml")
        await put(pilot, screen, "stage.kd.epochs", "7")
        await pilot.press("e")
        await until(pilot, lambda: screen.form.line("student.layers").view.text == "1")  # type: ignore[union-attr]
        assert screen.draft.edits == {"stage.kd.epochs": "7"}
        await until(pilot, lambda: "mine.toml: no problems" in said(launch))

    launch(body)


def test_errors_come_back_on_their_lines(launch: Any, folder: Path, editor: Callable[[str], None]) -> None:
    (folder / "mine.toml").write_text(PRESET)
    editor("""sed -i 's/^layers = 2/layerz = 2/' "$1"; exit 3""")

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await until(pilot, lambda: any(entry.own for entry in screen.entries))
        await pilot.press("slash", *"mine.toml", "enter")
        await pilot.press("e")  # what the cursor is on, chosen or not
        await until(pilot, lambda: bool(screen.examined.faults))
        assert screen.draft.main == "mine.toml"
        text = words(screen, "about-text")
        assert 'mine.toml:10: unknown key "layerz"' in text
        assert "   10 | layerz = 2" in text
        assert screen.form.lines == []
        await until(pilot, lambda: "mine.toml: 1 problem" in said(launch))
        assert "exit code 3" in said(launch)

    launch(body)


def test_a_shipped_preset_is_copied_first(launch: Any, folder: Path, editor: Callable[[str], None]) -> None:
    editor("""echo '# edited' >> "$1" """)
    (folder / "there.toml").write_text("# mine\n")

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("e")
        assert await answer(pilot, None) == "./my-quickstart.toml"
        assert not list(folder.glob("my-*"))
        await pilot.press("e")
        await answer(pilot, "there")
        await until(pilot, lambda: "exists already" in said(launch))
        await pilot.press("e")
        await answer(pilot, "crild")
        await until(pilot, lambda: "shipped preset" in said(launch))
        await pilot.press("e")
        await answer(pilot, "mine")
        await until(pilot, lambda: screen.draft.main == "mine.toml")
        await examined(pilot, screen)
        assert words(screen, "command") == "$ crild run mine.toml"

    launch(body)
    copy = (folder / "mine.toml").read_text()
    assert copy.startswith(f"{SCHEMA}# quickstart")
    assert copy.endswith("# edited\n")
    assert (folder / "there.toml").read_text() == "# mine\n"


def test_an_editor_that_is_missing_or_fails_is_told(
    launch: Any, folder: Path, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    (folder / "mine.toml").write_text(PRESET)
    editors = {
        "": "EDITOR",
        "/nowhere/vim": "/nowhere/vim",
        "vim 'x": "vim 'x",
        "sh -c 'kill -9 $$'": "signal 9",
    }

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await choose(pilot, screen, "mine.toml")
        for value, sentence in editors.items():
            monkeypatch.setenv("EDITOR", value)
            await pilot.press("e")
            await until(pilot, lambda: sentence in said(launch))  # noqa: B023
            assert screen.draft == Draft("mine.toml")

    launch(body)
    assert (folder / "mine.toml").read_text() == PRESET


def test_an_editor_that_takes_the_file_away_loses_nothing(
    launch: Any, folder: Path, editor: Callable[[str], None]
) -> None:
    (folder / "mine.toml").write_text(PRESET)
    editor('rm "$1"')

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await choose(pilot, screen, "mine.toml")
        await put(pilot, screen, "stage.kd.epochs", "7")
        await pilot.press("e")
        await until(pilot, lambda: "there is no preset file" in words(screen, "about-text"))
        assert screen.draft == Draft("mine.toml", edits={"stage.kd.epochs": "7"})

    launch(body)


def test_a_terminal_that_cannot_be_handed_over_is_told(
    launch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    (folder / "mine.toml").write_text(PRESET)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await choose(pilot, screen, "mine.toml")
        await pilot.press("e")
        await until(pilot, lambda: "cannot be handed to an editor" in said(launch))

    launch(body)


# -- saving


def test_a_changed_preset_is_saved_with_its_comments(launch: Any, folder: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "stage.ild.consistency.weight", "0.5")
        await put(pilot, screen, "student.layers", "1")
        await put(pilot, screen, "seeds", "7")
        await put(pilot, screen, "name", "kept")
        await pilot.press("w")
        assert await answer(pilot, "mine") == "./my-quickstart.toml"
        await until(pilot, lambda: screen.draft.main == "mine.toml")
        await examined(pilot, screen)
        assert words(screen, "command") == "$ crild run mine.toml --name kept"
        await until(pilot, lambda: any(entry.ref == "mine.toml" for entry in screen.entries))

    launch(body)
    text = (folder / "mine.toml").read_text()
    assert '# or "teacher": its first two layers' in text
    assert 'consistency = { weight = 0.5, ramp = "linear", target = "ema", decay = 0.999 }' in text
    changes = ["stage.ild.consistency.weight=0.5", "student.layers=1", "seed=7"]
    assert load_preset([str(folder / "mine.toml")]).preset == load_preset(["quickstart"], changes).preset


def test_nothing_is_overwritten_without_asking(launch: Any, folder: Path) -> None:
    (folder / "mine.toml").write_text("# old\n")

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for keys, content in ((("n",), "# old"), (("escape",), "# old"), (("y",), "# quickstart")):
            await pilot.press("w")
            await answer(pilot, "./mine.toml")
            await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
            await pilot.press(*keys)
            await until(pilot, lambda: pilot.app.screen is screen)
            await until(pilot, lambda: "y" not in keys or screen.draft.main == "mine.toml")  # noqa: B023
            assert (folder / "mine.toml").read_text().removeprefix(SCHEMA).startswith(content)

    launch(body)


def test_names_that_cannot_be_are_refused(launch: Any, folder: Path) -> None:
    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        for count, name in enumerate(("crild", "/nowhere/mine.toml", "", "mine/"), start=1):
            await pilot.press("w")
            await answer(pilot, name)
            await until(pilot, lambda: len(launch.said) == count)  # noqa: B023
            assert screen.draft == Draft("quickstart")

    launch(body)
    assert list(folder.iterdir()) == []


def test_presets_that_extend_many_are_listed_soon(tmp_path: Path) -> None:
    names = [[f"{level}-{number}.toml" for number in range(30)] for level in range(7)]
    for level, files in enumerate(names):
        below = names[level + 1] if level + 1 < len(names) else ["crild"]
        for file in files:
            (tmp_path / file).write_text(f"extends = {json.dumps(below)}\n")
    layer = read_layer(tmp_path / "0-0.toml", "0-0.toml")
    assert kind_of(layer, tmp_path) == "method", "30 to the power of 7 ways lead down"
