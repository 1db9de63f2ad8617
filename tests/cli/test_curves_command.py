from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.samples import make_run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")


def test_it_draws_three_panels_in_the_terminals_width(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    said = crild("curves", "latest")
    assert (said.code, said.err) == (0, "")
    rows = said.out.splitlines()
    assert [row.strip() for row in rows if row.strip() in ("loss", "consistency", "dev accuracy")] == [
        "loss", "consistency", "dev accuracy",
    ]  # fmt: skip
    assert max(map(len, rows)) <= 90
    for words in ("0.4000", "this run has no consistency term", "T 69.43", "student 60.00"):
        assert words in said.out
    assert re.search("[\u2801-\u28ff]", said.out)


def test_ascii_and_a_narrow_terminal(crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(runs_dir)
    monkeypatch.setenv("CRILD_ASCII", "1")
    monkeypatch.setenv("COLUMNS", "20")
    said = crild("curves", "latest")
    assert said.out.isascii()
    assert max(map(len, said.out.splitlines())) <= 20


def test_several_runs_share_the_panels(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, "one")
    make_run(runs_dir, "two", seed=2)
    said = crild("curves", "one", "two", "--axis", "time", "--log")
    assert "o one-s1" in said.out
    assert "x two-s2" in said.out


def test_a_run_without_events_has_empty_panels(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, state="created")
    said = crild("curves", "latest")
    assert said.code == 0
    assert "nothing yet" in said.out


@pytest.mark.parametrize(("name", "begins"), [("c.png", b"\x89PNG"), ("c.SVG", b"<?xml")])
def test_pictures_are_written(crild: Call, runs_dir: Path, tmp_path: Path, name: str, begins: bytes) -> None:
    make_run(runs_dir)
    said = crild("curves", "latest", "-o", str(tmp_path / name))
    assert (said.code, said.out) == (0, "")
    content = (tmp_path / name).read_bytes()
    assert content.startswith(begins)
    if begins == b"<?xml":
        assert all(f">{words}<" in content.decode() for words in ("dev accuracy", "student", "teacher", " kd", "step"))
        assert b"hidden" not in content


@pytest.mark.parametrize(
    ("output", "kind"),
    [("c.pdf", "no picture"), ("", "needs a name"), (".", "is a folder"), ("/nowhere/c.png", "written")],
)
def test_a_file_that_cannot_be_written_is_refused(crild: Call, runs_dir: Path, output: str, kind: str) -> None:
    make_run(runs_dir)
    said = crild("curves", "latest", "-o", output)
    assert said.code == 2
    assert kind in said.err


def test_a_picture_on_the_screen_needs_a_screen(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir)
    said = crild("curves", "latest", "--image")
    assert said.code == 2
    assert "-o FILE.png" in said.err


def test_a_link_is_named_by_itself(crild: Call, runs_dir: Path, tmp_path: Path) -> None:
    make_run(runs_dir)
    (tmp_path / "link.svg").symlink_to(tmp_path / "picture")
    assert crild("curves", "latest", "-o", str(tmp_path / "link.svg")).code == 0
    assert (tmp_path / "picture").read_bytes().startswith(b"<?xml")


def test_a_terminal_without_columns_is_none(crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(runs_dir)
    monkeypatch.setenv("COLUMNS", "0")
    assert "dev accuracy" in crild("curves", "latest").out
