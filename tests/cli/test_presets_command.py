from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli

from engine.preset.load import load_preset
from engine.preset.shipped import names
from tests.cli.conftest import Call


def test_list_names_every_shipped_preset_with_its_kind(crild: Call) -> None:
    said = crild("presets", "list", "--json").json
    rows = {entry["name"]: entry["kind"] for entry in said}
    assert set(rows) == set(names())
    assert (rows["quickstart"], rows["crild"], rows["rte"]) == ("run", "method", "task")
    shown = crild("presets", "list").out
    assert all(f"{name} " in shown for name in names())


def test_show_prints_a_preset_that_loads_to_the_same(crild: Call, tmp_path: Path) -> None:
    said = crild("presets", "show", "crild", "rte", "--set", "stage.ild.epochs=5")
    assert said.code == 0
    (tmp_path / "shown.toml").write_text(said.out)
    shown = load_preset([str(tmp_path / "shown.toml")]).preset
    assert shown == load_preset(["crild", "rte"], ["stage.ild.epochs=5"]).preset


def test_show_as_json_and_as_source(crild: Call) -> None:
    assert crild("presets", "show", "quickstart", "--json").json["task"]["name"] == "toy-switch"
    source = crild("presets", "show", "quickstart", "--source").out
    assert source.startswith("# quickstart")
    assert tomli.loads(source)["task"]["name"] == "toy-switch"


@pytest.mark.parametrize("name", names())
def test_every_shipped_preset_is_good_by_itself(crild: Call, name: str) -> None:
    said = crild("presets", "validate", name)
    if name in ("answers", "local-teacher"):  # names a file or folder that only its user has
        assert said.code == 3
        assert "teacher" in said.err
        assert said.err.splitlines()[-1].startswith(f"{name}: all that can be checked without")
    else:
        assert (said.code, said.out) == (0, f"{name}: good\n"), said.err


def test_a_variant_alone_names_a_command_with_a_method_and_a_task(crild: Call) -> None:
    said = crild("presets", "show", "few-sample")
    assert said.code == 2
    assert "`crild run crild rte few-sample`" in said.err
    assert said.err.count("error:") == 1


def test_validate_names_every_problem_with_its_line(crild: Call, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('extends = "quickstart"\nsede = 3\n[student]\nlayers = 0\n')
    said = crild("presets", "validate", "quickstart", str(bad))
    assert said.code == 2
    assert said.out == "quickstart: good\n"
    assert "can be checked" not in said.err
    lines = said.err.splitlines()
    assert len(lines) == 2
    assert 'bad.toml:2: unknown key "sede"' in lines[0]
    assert "bad.toml:4:" in lines[1]


def test_validate_exits_3_where_only_data_is_at_fault(crild: Call, tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_text('extends = "kd"\n[task]\nname = "rte"\nsource = "nowhere"\n')
    assert crild("presets", "validate", str(tmp_path / "far.toml")).code == 3


def test_validate_merged_checks_what_they_make_together(crild: Call, tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text('[task]\nname = "sst2"\n')
    (tmp_path / "half.toml").write_text("[student]\nlayers = 2\n")
    assert crild("presets", "validate", str(tmp_path / "task.toml")).code == 0
    assert crild("presets", "validate", str(tmp_path / "half.toml")).code == 2
    assert crild("presets", "validate", "--merged", "crild", str(tmp_path / "half.toml")).code == 0


def test_schema_is_json_schema(crild: Call) -> None:
    schema = json.loads(crild("presets", "schema").out)
    assert "stage" in schema["properties"]


def test_new_copies_comments_and_never_overwrites(crild: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = crild("presets", "new", "mine", "--from", "crild")
    assert (said.code, said.out) == (0, "mine.toml\n")
    assert "# 0.3" in (tmp_path / "mine.toml").read_text() or "#" in (tmp_path / "mine.toml").read_text()
    assert crild("presets", "validate", "mine.toml").code == 0
    (tmp_path / "mine.toml").write_text("# precious")
    assert crild("presets", "new", "mine.toml", "--from", "crild").code == 2
    assert (tmp_path / "mine.toml").read_text() == "# precious"


def test_new_from_a_file_keeps_its_meaning_or_refuses(
    crild: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "plain.toml").write_text('# mine\nextends = "quickstart"\nseed = 4\n')
    (tmp_path / "there" / "bound.toml").write_text('extends = "quickstart"\n[teacher]\nmodel = "./folder"\n')
    assert crild("presets", "new", "copy", "--from", "there/plain.toml").code == 0
    assert (tmp_path / "copy.toml").read_text().splitlines()[1] == "# mine"
    said = crild("presets", "new", "copy2", "--from", "there/bound.toml")
    assert said.code == 2
    assert "crild presets new there/copy2.toml --from there/bound.toml" in said.err
    assert sorted(p.name for p in tmp_path.glob("*.toml")) == ["copy.toml"]
    assert crild("presets", "new", "there/copy2", "--from", "there/bound.toml").code == 0


def test_new_refuses_the_name_of_a_shipped_preset(crild: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert crild("presets", "new", "rte", "--from", "crild").code == 2
    assert not (tmp_path / "rte.toml").exists()
