"""Presets in Python: loaded, changed, saved, and refused as the command line refuses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import crild
from engine.preset.load import load_preset
from engine.preset.text import plain
from tests.cli.conftest import Call


def test_settings_change_single_keys_and_leave_the_first_as_it_was() -> None:
    first = crild.load_preset("crild", "rte", settings={"stage.ild.epochs": 2})
    second = first.override({"stage.ild.epochs": np.int64(3), "stage.ild.mixup": None, "tags": ["a", "b"]})
    assert (first["stage.ild.epochs"], second["stage.ild.epochs"], second["tags"]) == (2.0, 3.0, ["a", "b"])
    assert "stage.ild.mixup.alpha" in first.settings
    assert "stage.ild.mixup.alpha" not in second.settings
    with pytest.raises(KeyError):
        second["stage.ild.mixup.alpha"]


def test_texts_that_look_like_toml_stay_texts() -> None:
    preset = crild.load_preset("crild", "rte", settings={"description": "[1, 2", "teacher.model": Path("/a b/c")})
    assert (preset["description"], preset["teacher.model"]) == ("[1, 2", "/a b/c")


@pytest.mark.parametrize(
    ("presets", "settings", "kind"),
    [
        (("crld",), {}, "no-such-preset"),
        (("nowhere.toml",), {}, "no-such-preset"),
        ((), {}, "no-preset"),
        (("rte",), {}, "task-without-method"),
        (("crild", "rte"), {"stage.ild.epoch": 2}, "unknown-key"),
        (("crild", "rte"), {"stage.frob.epochs": 2}, "unknown-stage"),
        (("crild", "rte"), {"train epochs": 2}, "malformed-override"),
    ],
)
def test_mistakes_are_those_of_the_command_line(
    command: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    presets: tuple[str, ...],
    settings: dict[str, object],
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(crild.CrildError) as caught:
        crild.load_preset(*presets, settings=settings)
    assert caught.value.exit_code == 2
    if presets:
        items = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        said = command("run", *presets, *items)
        assert said.code == 2
        assert said.err == "".join(f"error: {plain(line)}\n" for line in str(caught.value).splitlines())
    if kind != "task-without-method":
        assert caught.value.kind == kind


def test_unlabelled_files_go_where_the_command_line_sends_them(
    command: Call, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tickets.csv").write_text("text,label\n" + "".join(f"row {n},{'ab'[n % 2]}\n" for n in range(40)))
    for name in ("more.csv", "most.csv"):
        Path(name).write_text("text\n" + "".join(f"{name} {n}\n" for n in range(5)))
    words = ("--unlabelled", "more.csv", "--unlabelled", "most.csv", "--runs-dir", str(runs_dir), "--detach", "--quiet")
    said = command("run", "quickstart", "tickets.csv", *words)
    assert said.code == 0, said.err
    by_command = load_preset([str(next(runs_dir.glob("*/preset.toml")))]).preset.stage
    preset = crild.load_preset("quickstart", "tickets.csv", unlabelled=["more.csv", Path("most.csv")])
    loaded = preset.override({"seed": 3}).save("mine.toml")
    assert [stage.data for stage in load_preset([str(loaded)]).preset.stage] == [stage.data for stage in by_command]
    assert preset["stage.ild.data.files"] == [str(tmp_path / "more.csv"), str(tmp_path / "most.csv")]
    one = crild.load_preset("quickstart", "tickets.csv", unlabelled="more.csv")
    assert one["stage.ild.data.files"] == [str(tmp_path / "more.csv")]
    with pytest.raises(crild.CrildError) as caught:
        crild.load_preset("finetune", "tickets.csv", unlabelled="more.csv")
    assert caught.value.kind == "no-stage-for-unlabelled"


def test_all_mistakes_of_a_file_are_in_the_exception(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "crild"\nseed = "x"\n[task]\nname = "rte"\nfrob = 1\n')
    with pytest.raises(crild.CrildError) as caught:
        crild.load_preset(file)
    assert [problem.line for problem in caught.value.problems] == [2, 5]  # type: ignore[attr-defined]


def test_a_saved_preset_is_the_same_preset(tmp_path: Path) -> None:
    preset = crild.load_preset("crild", "rte", settings={"seed": 7})
    file = preset.save(tmp_path / "mine.toml")
    assert load_preset([str(file)]).preset == load_preset(["crild", "rte"], ["seed=7"]).preset
    with pytest.raises(crild.CrildError) as caught:
        preset.save(file)
    assert (caught.value.kind, caught.value.file) == ("file-exists", str(file))
    preset.override({"seed": 8}).save(file, overwrite=True)
    assert crild.load_preset(file)["seed"] == 8


def test_relative_files_stay_those_of_the_folder_it_was_loaded_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.toml").write_text('extends = ["crild", "rte"]\nseed = 5\n')
    monkeypatch.chdir(tmp_path / "a")
    preset = crild.load_preset("mine.toml")
    monkeypatch.chdir(tmp_path)
    assert preset.override({"tags": ["x"]})["seed"] == 5


def test_it_shows_what_is_set_and_where_without_running_markup(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = ["crild", "rte"]\ndescription = "<script>alert(1)</script>"\n')
    page = crild.load_preset(tmp_path / "mine.toml", settings={"seed": 3, "tags": ["<b>"]})._repr_html_()
    assert "<script>" not in page
    assert "[&quot;&lt;b&gt;&quot;]" in page
    assert "stage.ild.objectives" in page
    assert "rte:" in page
