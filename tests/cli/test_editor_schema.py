"""Editors: the schemas of presets, sweep files and settings, the line that names them, and what Taplo makes of both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crild_tui.launch_form.draft import Draft
from crild_tui.launch_form.editor_schema import FILES, first_line, schema_of, schema_text, with_schema, write_schema
from crild_tui.launch_form.save_preset import save
from engine.preset.load import load_preset
from engine.preset.shipped import folder as shipped_folder
from engine.preset.shipped import names, path_of
from tests.cli.conftest import Call
from tests.conftest import PATIENCE

LINE = "#:schema ./.crild/preset.schema.json"
TAPLO = shutil.which("taplo") or shutil.which("taplo", path=str(Path(sys.executable).parent))
ROWS = "text,label\n" + "".join(f"a{row},x\nb{row},y\n" for row in range(40))
with_taplo = pytest.mark.skipif(TAPLO is None, reason="Taplo is not installed: pip install taplo")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, the top of a checkout."""
    work = tmp_path / "work"
    (work / ".git").mkdir(parents=True)
    monkeypatch.chdir(work)
    return work


# -- the line and the files


def test_a_new_preset_names_a_schema_that_exists(crild: Call, folder: Path) -> None:
    assert crild("presets", "new", "mine", "--from", "kd").code == 0
    text = (folder / "mine.toml").read_text()
    shipped = path_of("kd")
    assert shipped is not None
    assert text == f"{LINE}\n{shipped.read_text()}"
    assert json.loads((folder / ".crild" / "preset.schema.json").read_text())["title"] == "crild preset"
    assert load_preset(["mine.toml"]).preset == load_preset(["kd"]).preset


def test_a_preset_for_data_names_one_too(crild: Call, folder: Path) -> None:
    (folder / "rows.csv").write_text(ROWS)
    assert crild("presets", "new", "mine", "--from-data", "rows.csv").code == 0
    assert (folder / "mine.toml").read_text().startswith(f"{LINE}\n")
    assert (folder / ".crild" / "preset.schema.json").is_file()


def test_what_the_dashboard_saves_names_one_once(folder: Path) -> None:
    draft = Draft("kd", edits={"train.epochs": "2"})
    saved = save(draft, folder, Path("mine.toml"))
    assert saved.read_text().startswith(f"{LINE}\n# ")
    again = save(Draft("./mine.toml", edits={"train.epochs": "3"}), folder, Path("mine.toml"), overwrite=True)
    assert again.read_text().count("#:schema") == 1
    assert load_preset(["mine.toml"]).preset.train.epochs == 3


def test_the_schema_of_a_team_is_used(crild: Call, folder: Path) -> None:
    assert crild("presets", "schema", "--write").code == 0
    (folder / "presets" / "mine").mkdir(parents=True)
    assert crild("presets", "new", "presets/mine/a", "--from", "crild").code == 0
    text = (folder / "presets" / "mine" / "a.toml").read_text()
    assert text.startswith("#:schema ../../.crild/preset.schema.json\n")
    assert not (folder / "presets" / "mine" / ".crild").exists()
    assert crild("presets", "new", "b", "--from", "presets/mine/a.toml").code == 0
    assert (folder / "b.toml").read_text().splitlines()[0] == LINE
    assert (folder / "b.toml").read_text().count("#:schema") == 1


def test_no_schema_is_looked_for_above_a_checkout_or_outside_of_one(
    tmp_path: Path, folder: Path, isolated: Path
) -> None:
    write_schema(tmp_path, "preset")
    assert schema_of(folder / "mine.toml") == folder / ".crild" / "preset.schema.json"
    outside = tmp_path / "a" / "b"
    outside.mkdir(parents=True)
    assert schema_of(outside / "mine.toml") == outside / ".crild" / "preset.schema.json"
    write_schema(isolated, "preset")
    (isolated / "study").mkdir()
    assert first_line(isolated / "study" / "x.toml", schema_of(isolated / "study" / "x.toml")).endswith(
        " ../.crild/preset.schema.json"
    )


def test_a_folder_that_cannot_have_one_gets_a_preset_all_the_same(crild: Call, folder: Path) -> None:
    (folder / ".crild").touch()
    assert crild("presets", "new", "mine", "--from", "kd").code == 0
    assert load_preset(["mine.toml"]).preset == load_preset(["kd"]).preset
    assert crild("presets", "schema", "--write").code == 2


def test_no_link_is_followed_to_another_place(crild: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / ".crild").symlink_to(tmp_path / "elsewhere")
    assert crild("presets", "schema", "--write").code == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_schema_of_another_version_is_pointed_out_and_renewed(crild: Call, folder: Path) -> None:
    crild("presets", "new", "mine", "--from", "kd")
    schema = folder / ".crild" / "preset.schema.json"
    assert crild("presets", "validate", "mine.toml").err == ""
    schema.write_text("{}")
    said = crild("presets", "validate", "mine.toml")
    assert said.code == 0
    assert "crild presets schema --write" in said.err
    crild("presets", "new", "other", "--from", "kd")
    assert schema.read_text() == "{}", "only the command renews it"
    assert crild("presets", "schema", "--write").code == 0
    assert crild("presets", "validate", "mine.toml").err == ""
    for line in ("#:schema https://example.org/x.json", "#:schema ./nowhere.json", "#:schema \0", "#:schema ../.crild"):
        (folder / "mine.toml").write_text(f'{line}\nextends = "crild"\n'.replace("\0", ""))
        assert crild("presets", "validate", "mine.toml").err == ""


@pytest.mark.parametrize("text", ["", "a = 1", "# c\r\na = 1\r\n", "#:schema x.json\na = 1\n"])
def test_the_line_comes_first(text: str, folder: Path) -> None:
    changed = with_schema(text, folder / "mine.toml")
    assert changed.splitlines()[0] == LINE
    assert changed.endswith(text.removeprefix("#:schema x.json\n"))
    assert changed.count("#:schema") == 1


@pytest.mark.parametrize("kind", FILES)
def test_each_schema_is_printed(kind: str, crild: Call) -> None:
    assert crild("presets", "schema", kind).out == schema_text(kind)
    assert crild("presets", "schema", "frob").code == 2


def described(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every property without a description, which editors show on hovering."""
    for name, entry in schema.get("properties", {}).items():
        if not entry.get("description") and "const" not in entry:
            yield f"{path}.{name}"
        yield from described(entry, f"{path}.{name}")
    for name, entry in schema.get("$defs", {}).items():
        yield from described(entry, f"${name}")


@pytest.mark.parametrize("kind", FILES)
def test_every_key_has_a_description_to_hover_on(kind: str) -> None:
    assert list(described(json.loads(schema_text(kind)))) == []


# -- Taplo


def lint(file: Path) -> tuple[int, str]:
    """Taplo's exit code, and what it says."""
    assert TAPLO is not None
    done = subprocess.run(
        [TAPLO, "lint", file.name], cwd=file.parent, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stderr


@with_taplo
def test_every_shipped_preset_and_sweep_is_good_for_taplo(folder: Path) -> None:
    for kind in ("preset", "sweep", "search"):
        write_schema(folder, kind)
    files = [*(path_of(name) for name in names()), *sorted((shipped_folder() / "study").glob("*.toml"))]
    for file in files:
        assert file is not None
        text = file.read_text()
        kind = next((kind for kind in ("sweep", "search") if f"\n[{kind}]" in f"\n{text}"), "preset")
        copy = folder / f"{kind}.toml"
        copy.write_text(f"#:schema ./.crild/{FILES[kind]}\n{text}")
        assert lint(copy)[0] == 0, file.name


@with_taplo
@pytest.mark.parametrize(
    ("kind", "text", "word"),
    [
        ("preset", "[train]\nepchs = 3\n", "epchs"),
        ("preset", "[train]\ngraphs = 3\n", "boolean"),
        ("preset", '[train]\nprecision = "fp16"\n', "fp16"),
        ("preset", '[[stage]]\nname = "ild"\nobjectives = { attentoin = 1.0 }\n', "attentoin"),
        ("preset", '[[stage]]\nepochs = 3\n', "name"),
        ("preset", '[task]\nname = "mrcp"\n', "mrcp"),
        ("sweep", '[sweep]\nmethods = ["kd"]\nseedz = [1]\n', "seedz"),
        ("sweep", "", "sweep"),
        ("sweep", "[sweep]\nmethods = 3\n", "3"),
        ("sweep", '[sweep]\nseeds = [1]\n', "methods"),
        ("sweep", '[swep]\nmethods = ["kd"]\n', "swep"),
        ("sweep", '[sweep]\nmethods = ["kd"]\nmax_runs = 0\n', "0"),
        ("search", '[search]\nmethods = ["kd"]\n[search.space]\nx = 3\n', "3"),
        ("search", '[search]\nmethods = ["kd"]\n[search.space]\nx = { low = 1, hihg = 2 }\n', "hihg"),
        ("search", '[search]\nmethods = ["kd"]\ntrails = 3\n[search.space]\nx = [1]\n', "trails"),
        ("search", '[search]\nmethods = ["kd"]\n', "space"),
        ("settings", '[dashboard]\ntheme = "pink"\n', "pink"),
        ("settings", "[notfy]\n", "notfy"),
        ("settings", "[notify]\ncommand = 3\n", "3"),
    ],
)  # fmt: skip
def test_taplo_reports_mistakes(kind: str, text: str, word: str, folder: Path) -> None:
    write_schema(folder, kind)
    file = folder / "mine.toml"
    file.write_text(f"#:schema ./.crild/{FILES[kind]}\n{text}")
    code, said = lint(file)
    assert code != 0
    assert word in said


@with_taplo
def test_what_crild_writes_is_good_for_taplo(crild: Call, folder: Path) -> None:
    (folder / "rows.csv").write_text(ROWS)
    crild("presets", "new", "mine", "--from-data", "rows.csv")
    save(Draft("crild", "rte", edits={"stage.ild.epochs": "2"}), folder, Path("saved.toml"))
    for name in ("mine.toml", "saved.toml"):
        assert lint(folder / name)[0] == 0
    settings = folder / "settings.toml"
    settings.write_text(
        '#:schema ./.crild/settings.schema.json\n[notify]\ncommand = "true"\n[dashboard]\nsmoothing = 0.5\n'
        '[dashboard.keys]\n"live.stop" = "f8"\n'
    )
    write_schema(folder, "settings")
    assert lint(settings)[0] == 0
