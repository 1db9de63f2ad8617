from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from crild_tui.app import READONLY
from crild_tui.runs import actions, listing
from crild_tui.runs.annotations import note_from_field, note_in_field
from crild_tui.runs.details import closing_text, detail, panel, read_about
from crild_tui.runs.marks import read_marks
from crild_tui.runs.tables import UNTRAINED
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.runs import RunsScreen
from crild_tui.widgets.header import Header
from crild_tui.widgets.run_table import RunTable
from engine.record.annotations import read_annotations, set_note, set_tags
from engine.record.run import list_runs, update_status
from engine.record.status import Fault
from engine.report.closing_table import closing_table
from engine.report.compare import read_preset
from engine.report.final_metrics import read_final_metrics
from engine.report.setting_words import setting_lines
from tests.cli.samples import RESULTS, make_run
from tests.tui.run_entries import HOSTILE, KEYS, NOW, entry
from tests.tui.screen_driver import Driven, drive, screen_text, until

Runs = Callable[..., Path]


@pytest.fixture
def runs(short_path: Path) -> Path:
    """A folder with three runs; the newest is `kd-s3`."""
    folder = short_path / "runs"
    for place, (name, seed, state, last) in enumerate(
        (("crild", 1, "finished", 0.66), ("crild", 2, "failed", 0.64), ("kd", 3, "stopped", 0.65))
    ):
        run_dir = make_run(folder, name, seed=seed, state=state, method=name, last=last)
        update_status(run_dir, created=NOW + place)
    return folder


def table(app: Driven) -> RunTable:
    return app.screen.query_one(RunTable)


def shown(app: Driven) -> list[str]:
    return [run.id for run in table(app).rows]


def selected(app: Driven) -> str | None:
    found = table(app).selected
    return None if found is None else found.id


# -- the list


def test_a_filter_chooses_the_run_that_it_leaves(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await pilot.press("slash", *"crild-s2", "enter")
        assert screen.chosen is not None
        assert screen.chosen.id == "crild-s2"
        await pilot.press("escape")
        await pilot.pause()
        assert len(shown(app)) > 1
        assert (selected(app), screen.chosen.id) == ("crild-s2", "crild-s2")

    drive(monkeypatch, runs, do)


def test_only_the_user_chooses_a_run(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        found = table(app)
        assert (selected(app), found.chosen) == ("kd-s3", None), "where the cursor stood from the start"
        await pilot.press("down")
        assert found.chosen is not None
        assert found.chosen.id == "crild-s2"
        found.choose(runs / "nowhere")
        assert found.chosen.id == "crild-s2"
        found.choose(runs / "crild-s1")
        assert found.chosen.id == "crild-s1"
        found.show([row for row in found.rows if row.id != "crild-s1"], app.marks, listing.Order())
        assert selected(app) == "crild-s2"
        assert found.chosen is None, "the chosen run is gone"

    drive(monkeypatch, runs, do)


def test_runs_are_listed_the_newest_first(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        assert shown(app) == ["kd-s3", "crild-s2", "crild-s1"]
        await until(pilot, lambda: str(runs / "kd-s3") in screen_text(app))
        text = screen_text(app)
        assert "◼ stopped" in text
        assert "3 runs" in text
        assert "press r (or run `crild resume" in " ".join(text.split())

    drive(monkeypatch, runs, do)


def test_enter_and_a_double_click_watch(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("down", "enter")
        await pilot.double_click(RunTable, offset=(8, 3))
        await pilot.pause()
        assert app.asked == ["crild-s2", "crild-s1"]

    drive(monkeypatch, runs, do)


def test_a_filter_narrows_as_one_types_and_escape_ends_it(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"s2")
        assert shown(app) == ["crild-s2"]
        assert "2 filtered out" in screen_text(app)
        await pilot.press("enter")
        assert table(app).has_focus
        await pilot.press("slash", *" state:fialed")
        await pilot.pause()
        assert shown(app) == ["kd-s3", "crild-s2", "crild-s1"]  # a wrong filter filters nothing
        assert "did you mean failed?" in screen_text(app)
        await pilot.press("down")
        assert table(app).has_focus
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.query_one(Input).value == ""
        assert not app.screen.query_one("#filter-line").display
        assert "did you mean" not in screen_text(app)
        await pilot.press("slash", "enter")
        assert not app.screen.query_one("#filter-line").display

    drive(monkeypatch, runs, do)


def test_keys_typed_into_the_filter_do_nothing_else(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"dsKrpnt1q?")
        assert app.screen.query_one(Input).value == "dsKrpnt1q?"
        assert isinstance(app.screen, RunsScreen)
        assert app.current_mode == "runs"

    drive(monkeypatch, runs, do)


def test_a_filter_that_no_run_fits_says_what_to_do(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"xyz", "enter")
        await pilot.pause()
        assert "esc clears it" in screen_text(app)
        await pilot.press("escape")
        assert len(shown(app)) == 3

    drive(monkeypatch, runs, do)


def test_a_filter_over_many_runs_works_in_a_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot, [entry(f"run-{n}", age=float(n)) for n in range(4000)])
        assert len(shown(app)) == 4000
        await pilot.press("slash", *"id:=run-77")
        await until(pilot, lambda: shown(app) == ["run-77"])
        await pilot.press("escape")
        await until(pilot, lambda: len(shown(app)) == 4000)

    drive(monkeypatch, tmp_path, do)


def test_every_shown_column_sorts_by_key_and_by_click(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        columns = [name for name in table(app).columns if name != "dev metric"]  # which is a picture
        for name in [*columns[columns.index("age") + 1 :], *columns[: columns.index("age") + 1]]:
            await pilot.press("o")
            assert any(f"{arrow}{name}" in screen_text(app) or f"{name}{arrow}" in screen_text(app) for arrow in "▲▼")
        await pilot.click(RunTable, offset=(table(app).render_line(0).text.index("last"), 0))
        await pilot.pause()
        assert shown(app) == ["crild-s1", "kd-s3", "crild-s2"]
        await pilot.press("O")
        assert shown(app) == ["crild-s2", "kd-s3", "crild-s1"]
        assert selected(app) == "kd-s3"

    drive(monkeypatch, runs, do)


def test_marks_pins_and_hiding_are_kept_for_the_folder(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        assert selected(app) == "crild-s2"  # space moves on to the next
        await pilot.press("down", "p")
        assert shown(app)[0] == "crild-s1"
        await pilot.press("end", "h")
        assert shown(app) == ["crild-s1", "kd-s3"]
        assert "1 hidden" in screen_text(app)
        await until(pilot, lambda: read_marks(runs).hidden == {"crild-s2"})
        await pilot.press("H")
        assert shown(app) == ["crild-s1", "kd-s3", "crild-s2"]

    async def later(app: Driven, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: shown(app) == ["crild-s1", "kd-s3"])
        assert app.marks.marked == {"kd-s3"}
        assert "1 marked" in screen_text(app)
        await pilot.press("u")
        assert app.marks.marked == set()
        await pilot.press("p")  # the cursor is on the pinned one or the other: either way a pin changes
        await until(pilot, lambda: read_marks(runs) == app.marks)

    before = sorted(path.name for path in runs.rglob("*"))
    drive(monkeypatch, runs, do)
    drive(monkeypatch, runs, later)
    assert sorted(path.name for path in runs.rglob("*")) == before


def test_marks_under_readonly_last_while_one_looks(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("space", "p")
        assert app.marks.marked == {"kd-s3"}
        await pilot.pause(0.1)

    drive(monkeypatch, runs, do, readonly=True)
    assert read_marks(runs).marked == set()


def test_a_state_folder_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, runs: Path, isolated: Path
) -> None:
    state = Path(os.environ["XDG_STATE_HOME"])
    state.write_text("in the way")

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        await until(pilot, lambda: any("pins and marks" in sentence for sentence in app.told))
        assert app.marks.marked == {"kd-s3"}

    drive(monkeypatch, runs, do)


def test_marked_runs_go_to_compare_in_the_order_of_the_list(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("c")
        assert app.told == ["mark the runs to compare first: press space"]
        await pilot.press("end", "space", "home", "space", "c")
        await pilot.pause()
        assert app.asked == [("kd-s3", "crild-s1")]
        await pilot.press("slash", *"id:crild", "enter", "c")
        await pilot.pause()
        assert app.asked[-1] == ("crild-s1", "kd-s3")  # a filter hides no marked run from Compare

    drive(monkeypatch, runs, do)


def test_the_newest_is_followed_into_live(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        make_run(runs, "unseen", seed=4, state="running")
        await app.see(pilot)
        assert app.asked == []
        await pilot.press("f")
        await pilot.pause()
        assert "following the newest" in screen_text(app)
        await app.see(pilot)
        assert app.asked == []
        make_run(runs, "fresh", seed=5, state="created")
        await app.see(pilot)
        assert app.asked == ["fresh-s5"]
        app.switch_mode("launch")
        await pilot.pause()
        make_run(runs, "away", seed=6, state="created")
        await app.see(pilot)
        assert app.asked == ["fresh-s5"]  # who is busy elsewhere is not taken away
        app.switch_mode("runs")
        await pilot.pause()
        await pilot.press("f")
        make_run(runs, "later", seed=7, state="created")
        await app.see(pilot)
        assert app.asked == ["fresh-s5"]

    drive(monkeypatch, runs, do)


# -- acting


@pytest.mark.parametrize(("key", "verb"), [("s", "stop"), ("r", "resume")])
def test_stop_and_resume_act_on_the_selected_run(
    monkeypatch: pytest.MonkeyPatch, runs: Path, key: str, verb: str
) -> None:
    acted: list[Path] = []
    monkeypatch.setattr(actions, verb, lambda run_dir, *_: acted.append(run_dir) or f"did {verb}")  # type: ignore[func-returns-value]

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        if verb == "stop":
            await works(app, pilot, runs, "crild-s2")
        await pilot.press("down", key)
        await until(pilot, lambda: app.told == [f"did {verb}"])
        assert acted == [runs / "crild-s2"]

    drive(monkeypatch, runs, do)


async def works(app: Driven, pilot: Pilot[None], runs: Path, name: str) -> None:
    """Let a run be seen as one that runs."""
    entries = [replace(e, state="running") if e.id == name else e for e in list_runs(runs)]
    await app.see(pilot, entries)


@pytest.mark.parametrize("key", ["s", "K"])
def test_what_has_ended_is_neither_stopped_nor_killed(monkeypatch: pytest.MonkeyPatch, runs: Path, key: str) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)
        verb = {"s": "stop", "K": "kill"}[key]
        assert app.told == [f"kd-s3 is stopped: there is nothing to {verb}; press r to continue"]

    drive(monkeypatch, runs, do)


def test_a_finished_run_is_asked_what_makes_it_longer(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    acted: list[tuple[Path, tuple[str, ...]]] = []
    monkeypatch.setattr(actions, "resume", lambda run_dir, changes: acted.append((run_dir, changes)) or "longer")  # type: ignore[func-returns-value]
    monkeypatch.setattr("engine.record.checkpoints.has_checkpoints", lambda _: True)

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        assert isinstance(app.screen, Ask)
        await pilot.press("8", "enter")
        await until(pilot, lambda: app.told == ["longer"])
        assert acted == [(runs / "crild-s1", ("stage.kd.epochs=8",))]

    drive(monkeypatch, runs, do)


def test_a_second_stop_says_what_kills(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.setattr(actions, "stop", lambda run_dir: f"{run_dir.name} was asked")

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await works(app, pilot, runs, "kd-s3")
        await pilot.press("s")
        await until(pilot, lambda: app.told == ["kd-s3 was asked"])
        await pilot.press("s")
        assert app.told[-1] == "kd-s3 is already stopping; press K to end it at once"
        await app.see(pilot)  # it has stopped; and is resumed
        await works(app, pilot, runs, "kd-s3")
        await pilot.press("s")
        await until(pilot, lambda: app.told[-1] == "kd-s3 was asked")

    drive(monkeypatch, runs, do)


def test_kill_asks_first(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    acted: list[Path] = []
    monkeypatch.setattr(actions, "kill", lambda run_dir: acted.append(run_dir) or "killed")  # type: ignore[func-returns-value]

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await works(app, pilot, runs, "kd-s3")
        await pilot.press("K")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        assert "Kill kd-s3?" in screen_text(app)
        await pilot.press("n")
        assert acted == []
        await pilot.press("K", "y")
        await until(pilot, lambda: app.told == ["killed"])
        assert acted == [runs / "kd-s3"]

    drive(monkeypatch, runs, do)


def test_trash_asks_and_moves_the_run_aside(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("escape")
        assert (runs / "kd-s3").exists()
        await pilot.press("d", "y")
        await until(pilot, lambda: app.told)
        assert not (runs / "kd-s3").exists()
        assert [path.name.split(".")[0] for path in (runs / ".trash").iterdir()] == ["kd-s3"]
        await app.see(pilot)
        assert shown(app) == ["crild-s2", "crild-s1"]
        assert selected(app) == "crild-s2"

    drive(monkeypatch, runs, do)


@pytest.mark.parametrize("state", ["running", "stopping", "stalled", "queued"])
def test_a_run_at_work_is_never_trashed(monkeypatch: pytest.MonkeyPatch, runs: Path, state: str) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot, [entry("busy", state)])
        await pilot.press("d")
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)
        assert app.told == [f"busy is {state}: press s to stop it first"]

    drive(monkeypatch, runs, do)


def test_a_note_is_edited_in_place(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    set_note(runs / "kd-s3", "first\nsecond")

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot)
        await pilot.press("n")
        await pilot.pause()
        assert app.screen.query_one(Input).value == "first\\nsecond"
        await pilot.press("end", *"!", "enter")
        await until(pilot, lambda: app.told == ["kd-s3: note written"])
        assert read_annotations(runs / "kd-s3").note == "first\nsecond!"
        await app.see(pilot)
        assert "first second!" in screen_text(app)
        await pilot.press("n")
        await pilot.pause()
        app.screen.query_one(Input).value = ""
        await pilot.press("enter")
        await until(pilot, lambda: app.told[-1] == "kd-s3: note removed")
        await pilot.press("n", "escape")
        assert len(app.told) == 2

    drive(monkeypatch, runs, do)


def test_tags_are_edited_as_words(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    set_tags(runs / "kd-s3", ["old", "kept"])

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot)
        assert "#old #kept" in screen_text(app)
        await pilot.press("t")
        await pilot.pause()
        assert isinstance(app.screen, Ask)
        app.screen.query_one(Input).value = "kept, new"
        await pilot.press("enter")
        await until(pilot, lambda: app.told == ["kd-s3: tags kept, new"])
        assert read_annotations(runs / "kd-s3").tags == ("kept", "new")
        await pilot.press("t")
        await pilot.pause()
        app.screen.query_one(Input).value = "x" * 60
        await pilot.press("enter")
        await until(pilot, lambda: len(app.told) == 2)
        assert "cannot be a tag" in app.told[1]

    drive(monkeypatch, runs, do)


def test_readonly_changes_and_asks_nothing(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for count, key in enumerate("sKrdnt", start=1):
            await pilot.press(key)
            await pilot.pause()
            assert app.told == [READONLY] * count
            assert isinstance(app.screen, RunsScreen)
        assert "read only" in str(app.screen.query_one(Header).render())

    drive(monkeypatch, runs, do, readonly=True)


def test_every_key_is_harmless_without_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for key in (*"sKrdntphcoOHu", "space", "enter", "escape", "down", "slash", "escape"):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, RunsScreen)
        assert app.asked == []

    drive(monkeypatch, tmp_path / "none", do)


def test_the_first_run_takes_the_place_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot, [entry("first"), entry("second")])
        await pilot.pause()
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.asked == ["second"]

    drive(monkeypatch, tmp_path / "none", do)


def test_a_refusal_is_shown_as_its_sentence(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        await until(pilot, lambda: app.told)
        assert "kd-s3" in app.told[0] or "stopped" in app.told[0]

    drive(monkeypatch, runs, do)


# -- pages


def test_an_empty_folder_says_how_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        text = " ".join(screen_text(app).split())
        assert "No runs yet" in text
        assert "crild run quickstart" in text
        assert "does not exist yet" in text

    drive(monkeypatch, tmp_path / "none", do)


def test_a_folder_that_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await app.see(pilot, [], problem="permission is denied")
        assert "These runs cannot be read" in screen_text(app)
        assert "permission is denied" in screen_text(app)
        await app.see(pilot, [entry("seen-before")], problem="permission is denied")
        assert "permission is denied" in screen_text(app)
        assert "seen-before" in screen_text(app)

    drive(monkeypatch, tmp_path, do)


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 10), (20, 5)])
def test_strange_folders_are_shown_with_their_reason(
    monkeypatch: pytest.MonkeyPatch, runs: Path, size: tuple[int, int]
) -> None:
    for name, text in (
        ("half", '{"schema": 1, "id": "h'), ("newer", '{"schema": 99}'), ("[bold]x[red]\x1b[31m", "{}"), ("list", "[]"),
    ):  # fmt: skip
        (runs / name).mkdir()
        (runs / name / "status.json").write_text(text)
    hostile = make_run(runs, "hostile", seed=9, state="failed", task=HOSTILE, method=HOSTILE)
    update_status(hostile, created=NOW + 9, error=Fault("run", HOSTILE))
    (hostile / "annotations.json").write_text(
        '{"schema": 1, "note": "\\u001b[31m[bold]n[/bold]", "tags": ["\\u001b[0m[x]", 3]}'
    )

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        seen = ""
        details = {"hostile": "[bold]evil[/bold]", "half": "truncated", "newer": "newer crild"}
        for _ in range(8):
            if size[0] >= 80:
                await until(pilot, lambda: details.get(selected(app) or "", "") in screen_text(app))
            seen += screen_text(app)
            await pilot.press("down")
        assert "\x1b" not in seen
        assert "\u202e" not in seen
        if size[0] >= 80:
            assert "unreadable" in seen
            assert "newer crild" in seen
            assert "truncated" in seen
            assert "[bold]x[red]\\x1b[31m" in seen
            assert "[bold]evil[/bold]" in seen

    drive(monkeypatch, runs, do, size=size)


def test_a_thousand_strange_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for n in range(1000):
        (tmp_path / "runs" / f"strange-{n}").mkdir(parents=True)
        if n % 2:
            (tmp_path / "runs" / f"strange-{n}" / "status.json").write_text("{")

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        assert len(shown(app)) == 500
        assert "? unreadable" in screen_text(app)

    drive(monkeypatch, tmp_path / "runs", do)


def test_a_run_that_is_written_by_others_only_is_shown(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    (runs / "kd-s3").chmod(0o555)

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        assert "kd-s3" in shown(app)

    try:
        drive(monkeypatch, runs, do)
    finally:
        (runs / "kd-s3").chmod(0o755)


# -- beside the list


def test_a_panel_stands_beside_the_list_on_a_large_terminal(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("end")
        await until(pilot, lambda: "the student keeps 88.5 %" in screen_text(app))
        text = screen_text(app)
        for words in ("Settings", "hidden, 4 epochs", "Results", "majority guess", "student, 6 layers"):
            assert words in text
        await pilot.press("home")
        await until(pilot, lambda: "Results" not in screen_text(app))
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "Settings" not in screen_text(app)
        assert str(runs / "kd-s3") in screen_text(app)

    drive(monkeypatch, runs, do, size=(200, 50))


def test_the_terminal_may_take_any_size_at_any_time(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for width, height in ((1, 1), (40, 10), (200, 50), (10, 60), (300, 5), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.press("down", "o")
            await pilot.pause()
        await until(pilot, lambda: str(runs / str(selected(app))) in screen_text(app))

    drive(monkeypatch, runs, do)


def test_texts_about_a_run_are_printable(tmp_path: Path) -> None:
    run = entry(HOSTILE.replace("\n", ""), "failed", note=HOSTILE, tags=(HOSTILE,), error=Fault("run", HOSTILE),
                task=HOSTILE, preset=HOSTILE, metric_name=HOSTILE, device=HOSTILE)  # fmt: skip
    hostile = {
        HOSTILE: {HOSTILE: 1},
        "teacher": {"model": HOSTILE},
        "stage": [{"name": HOSTILE, "objectives": {HOSTILE: HOSTILE}}],
    }
    about = type(read_about(tmp_path))(run.path, tuple(setting_lines(hostile)), None, HOSTILE)
    for text in (detail(run, KEYS, NOW, 80, 3), panel(run, about, KEYS, NOW, 60), panel(run, None, KEYS, NOW, 5)):
        assert all(line.isprintable() for line in text.plain.splitlines())
        assert not any("bold" in str(span.style) and "evil" in str(span.style) for span in text.spans)


def test_the_lines_below_the_list_show_what_fits() -> None:
    long = entry("a", "failed", note="a note", tags=("x",), error=Fault("run", "no space is left " * 20))
    for height in (1, 2, 3, 5):
        lines = detail(long, KEYS, NOW, 60, height).plain.splitlines()
        assert len(lines) == height
        assert all(len(line) <= 60 for line in lines)
        assert (lines[-1] == "#x  a note") == (height > 1)
    short = detail(entry("a", note="n"), KEYS, NOW, 80, 3).plain.splitlines()
    assert [line[:12] for line in short] == ["finished: ac", "n", "/runs/a"]


def test_settings_have_the_words_and_sizes_of_reports(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", results=RESULTS)
    preset = read_preset(run_dir)
    settings = dict(read_about(run_dir).settings)
    assert settings["student"].startswith("6 layers, 67.0 M parameters")
    assert {**settings, "student": "", "teacher": ""} == {**dict(setting_lines(preset)), "student": "", "teacher": ""}


def test_details_show_no_metric_of_an_untrained_head(tmp_path: Path) -> None:
    untrained = {"metrics": {"accuracy": 0.9, "f1": 0.9}, "head_trained": False}
    found = closing_table({**RESULTS, "student": untrained, "self_teacher": untrained})
    lines = closing_text(found, 60).plain.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == ["teacher", "student", "labels alone", "majority guess"]
    assert UNTRAINED in lines[2]
    assert not any("90.00" in line for line in lines)
    for value, shown in ((0.3, False), (0.8, True)):
        run = entry("a", "running", metric_name="accuracy", self_teacher=value, majority=0.4)
        assert ("self-teacher" in panel(run, None, KEYS, NOW, 60).plain) == shown
    run_dir = make_run(tmp_path / "runs", state="stopped", self_teacher=0.3, majority=0.4)
    assert set(read_final_metrics(run_dir).models) == {"student", "teacher", "majority guess"}


def test_the_closing_table_fits_its_width() -> None:
    found = closing_table({**RESULTS, "run": "x"})
    wide = closing_text(found, 60).plain.splitlines()
    assert wide[0].split() == ["accuracy", "f1"]
    assert wide[1].split() == ["teacher", "69.43", "71.00", "109", "M"]
    narrow = closing_text(found, 20).plain.splitlines()
    assert max(map(len, narrow[:5])) <= 20


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", results={"schema": 9})
    assert "update crild" in str(read_about(run_dir).problem)
    (run_dir / "preset.toml").unlink()
    (run_dir / "results.json").unlink()
    assert "no preset.toml" in str(read_about(run_dir).problem)
    assert read_about(tmp_path / "gone").settings == ()


def test_a_note_keeps_its_lines_through_the_field() -> None:
    for note in ("", "one", "one\ntwo", "a\\nb"):
        assert note_from_field(note_in_field(note), note) == note
    assert note_in_field("\x1b[31m\tx") == "\\x1b[31m x"
