"""Data files in the Launch mode: listed unread, chosen as a task, checked, saved as a preset."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.pilot import Pilot

from crild_tui.launch_form import catalog
from crild_tui.launch_form.catalog import Entry, data_entries, fingerprint
from crild_tui.launch_form.checks import examine
from crild_tui.launch_form.draft import Draft, choose, command_line
from crild_tui.launch_form.save_preset import save
from crild_tui.screens.launch import LaunchScreen
from engine.preset.load import load_preset
from tests.preset.support import model_folder
from tests.tui import launch_driver
from tests.tui.launch_driver import Behave, examined, words
from tests.tui.screen_driver import until

folder = launch_driver.folder
launch = launch_driver.launch
ROWS = "message,team\n" + "".join(f"text {index},{'red' if index % 2 else 'blue'}\n" for index in range(40))


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"teacher.model={model_folder(tmp_path / 'model')}"


def data(folder: Path, name: str = "tickets.csv", text: str = ROWS) -> Entry:
    (folder / name).write_text(text)
    return next(entry for entry in data_entries(folder) if entry.ref == name)


def test_data_files_are_listed_unread_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.TSV", "a.csv", "c.jsonl", "d.parquet", ".hidden.csv", "package.json", "-x.csv", "notes.txt"):
        (folder / name).write_text("x")
    (folder / "folder.csv").mkdir()
    (folder / "gone.csv").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.csv")
    (folder / "below").mkdir()
    (folder / "below" / "deep.csv").write_text("x")
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a data file was read"))
    assert [entry.ref for entry in data_entries(folder)] == ["./-x.csv", "a.csv", "b.TSV", "c.jsonl", "d.parquet"]
    assert {entry.kind for entry in data_entries(folder)} == {"data"}


def test_of_many_data_files_the_first_are_listed(folder: Path) -> None:
    for number in range(catalog.MOST_DATA + 20):
        (folder / f"part{number:03}.csv").touch()
    entries = list(data_entries(folder))
    assert (len(entries), entries[-1].ref) == (catalog.MOST_DATA, f"part{catalog.MOST_DATA - 1:03}.csv")


def test_a_new_data_file_is_noticed(folder: Path) -> None:
    before = fingerprint(folder)
    data(folder)
    assert fingerprint(folder) != before


def test_a_data_file_is_the_task_of_the_command(folder: Path) -> None:
    tickets = data(folder)
    draft = choose(Draft(main="quickstart"), tickets)
    assert command_line(draft, None) == "crild run crild tickets.csv"
    assert choose(draft, tickets).task is None
    other = data(folder, "my mails.tsv")
    assert command_line(choose(Draft(main="kd", task="rte"), other), None) == "crild run kd 'my mails.tsv'"


@pytest.mark.parametrize("main", ["answers", "local-teacher"])
def test_a_data_file_joins_the_presets_for_a_teacher_of_ones_own(folder: Path, main: str) -> None:
    tickets = data(folder)
    entries = {entry.ref: entry for entry in catalog.known()}
    expected = f"crild run {main} tickets.csv"
    assert command_line(choose(choose(Draft(), entries[main]), tickets), None) == expected
    assert command_line(choose(choose(Draft(), tickets), entries[main]), None) == expected, "in either order"
    assert command_line(choose(Draft(main, "tickets.csv"), tickets), None) == f"crild run {main}"
    assert command_line(choose(Draft(main, "tickets.csv"), entries["quickstart"]), None) == "crild run quickstart"


def test_answers_to_a_data_file_without_labels_are_checked_at_their_fields(folder: Path) -> None:
    data(folder, "texts.csv", "message\n" + "".join(f"text {index}\n" for index in range(40)))
    data(folder, "labelled.csv")
    (folder / "answers.csv").write_text(
        "message,label\n" + "".join(f"text {n},{'red' if n % 2 else 'blue'}\n" for n in range(40))
    )
    draft = Draft("answers", "texts.csv", edits={"student.init": "scratch"})
    (fault,) = examine(draft, folder).faults
    assert fault.key == "teacher.answers"
    assert "--set teacher.answers=FILE" in fault.sentence, "and not a word of a file among the shipped presets"
    assert "presets/answers.csv" not in fault.sentence
    draft = draft.edited("teacher.answers", "answers.csv")
    assert {fault.key for fault in examine(draft, folder).faults} == {"task.files.dev"}
    draft = draft.edited("task.files.dev", "labelled.csv")
    found = examine(draft, folder)
    assert not found.faults
    assert found.newest is not None
    assert found.newest.task.class_names == ["blue", "red"]
    items = "--set task.files.dev=labelled.csv --set teacher.answers=answers.csv --set student.init=scratch"
    assert command_line(draft, found.preset) == f"crild run answers texts.csv {items}"
    (folder / "answers.csv").write_text("message,red,blue\n" + "".join(f"text {n},1,0\n" for n in range(40)))
    assert {fault.key for fault in examine(draft, folder).faults} == {"teacher.columns.label"}
    assert not examine(draft.edited("task.class_names", "[red, blue]"), folder).faults
    answers = "by,message,it says\n" + "".join(f"a,text {n},{'red' if n % 2 else 'blue'}\n" for n in range(40))
    (folder / "named.csv").write_text(answers)
    other = draft.edited("teacher.answers", "named.csv").edited("task.class_names", "[red, blue]")
    assert {fault.key for fault in examine(other, folder).faults} == {"teacher.columns.label"}, "no run starts in vain"
    assert not examine(other.edited("teacher.columns.label", "it says"), folder).faults
    saved = load_preset([str(save(draft, folder, Path("mine.toml")))], base=folder).preset
    assert (saved.teacher.answers, saved.student.init) == (str(folder / "answers.csv"), "scratch")


def test_what_is_recognised_is_told_and_what_is_not_is_at_its_field(folder: Path, model: str) -> None:
    tickets = data(folder, text=ROWS.replace("message", "text").replace("team", "label"))
    key, _, path = model.partition("=")
    found = examine(Draft("kd", tickets.ref, edits={key: path}), folder)
    assert not found.faults
    assert len(found.notes) == 2
    assert any("dev_share = 0.2" in line for _, line in found.lines)
    unclear = data(folder, "unclear.csv", ROWS.replace("message,team", "note,team").replace("text", "some"))
    found = examine(Draft("kd", unclear.ref, edits={key: path}), folder)
    assert found.faults[0].key == "task.columns.label"
    shown = {view.field.key for view in found.views(found.draft)}
    assert {"task.columns.text", "task.columns.label", "task.kind", "task.files.dev"} <= shown
    named = {key: path, "task.columns.label": "team", "task.columns.text": "note"}
    assert not examine(Draft("kd", unclear.ref, edits=named), folder).faults
    assert "--set task.columns.label=team" in command_line(Draft("kd", unclear.ref, edits=named), found.preset)


def test_a_saved_draft_names_the_data(folder: Path) -> None:
    data(folder)
    data(folder, "dev.csv")
    draft = Draft("kd", "tickets.csv", edits={"task.files.dev": "dev.csv", "task.columns.label": "team"})
    target = save(draft, folder, Path("mine.toml"))
    saved = load_preset(["mine.toml"], base=folder).preset
    assert saved.task.files is not None
    assert saved.task.files.splits() == {"train": str(folder / "tickets.csv"), "dev": str(folder / "dev.csv")}
    assert (saved.task.title, saved.task.columns and saved.task.columns.label) == ("tickets", "team")
    assert str(folder) not in target.read_text()


def test_data_can_be_chosen_from_the_list(launch: Behave, folder: Path) -> None:
    data(folder)

    async def body(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await until(pilot, lambda: any(entry.kind == "data" for entry in screen.entries))
        prompts = [str(option.prompt) for option in screen.presets.options.options]
        assert prompts[-2:] == ["── your data here, with a method", prompts[-1]]
        assert "tickets.csv" in prompts[-1]
        screen.presets.point("tickets.csv")
        screen.presets.options.focus()
        await pilot.press("enter")
        await examined(pilot, screen)
        assert words(screen, "command") == "$ crild run crild tickets.csv"

    launch(body, size=(120, 40))
