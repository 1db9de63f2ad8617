"""What this crild does with files that a later version wrote: it says so, and changes none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.record import events, status
from engine.record.paths import events_file
from tests.cli.conftest import Call
from tests.cli.samples import make_run


def newer(file: Path) -> bytes:
    """Make a record one of the next format; returns its content."""
    data = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**data, "schema": 2, "of_later_versions": [1]}))
    return file.read_bytes()


def test_a_run_of_a_later_version_is_listed_but_neither_resumed_nor_changed(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    file = run_dir / "status.json"
    content = newer(file)
    assert "newer crild" in crild("runs").out
    assert crild("show", "latest").code == 0
    for command in (("resume", "rte-crild-s1"), ("stop", "rte-crild-s1"), ("report",)):
        said = crild(*command)
        assert said.code == 2
        assert "newer crild" in said.err
    assert file.read_bytes() == content
    assert crild("delete", "rte-crild-s1", "--yes").code == 0


@pytest.mark.parametrize("name", ["annotations.json", "results.json", "inputs.json"])
def test_a_record_of_a_later_version_is_said_and_left_as_it_is(crild: Call, runs_dir: Path, name: str) -> None:
    run_dir = make_run(runs_dir)
    content = newer(run_dir / name)
    said = [crild(*words) for words in (("show", "latest"), ("note", "latest", "mine"), ("report",))]
    assert any("newer crild" in each.out + each.err or "update crild" in each.out + each.err for each in said)
    assert (run_dir / name).read_bytes() == content


def test_a_preset_of_a_later_version_is_refused(crild: Call, tmp_path: Path) -> None:
    (tmp_path / "later.toml").write_text('schema = 2\nextends = "crild"\n')
    said = crild("run", str(tmp_path / "later.toml"), "--dry-run")
    assert said.code == 2
    assert "later.toml:1" in said.err
    assert "newer crild" in said.err


def test_events_of_a_later_version_come_with_a_status_that_says_so(crild: Call, runs_dir: Path) -> None:
    file = events_file(make_run(runs_dir), 1)
    file.write_text(file.read_text().replace('"v":1', '"v":2').replace('"v": 1', '"v": 2'))
    assert crild("show", "latest").code == 0
    assert events.SCHEMA_VERSION <= status.SCHEMA_VERSION, "an older crild must say why it draws nothing"
