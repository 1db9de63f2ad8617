"""Notes and tags: a person's, in a file of their own, changed while the engine works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.launch.start import engine_environment
from engine.record.annotations import read_annotations, set_note, set_tags
from engine.record.run import create_run, list_runs
from engine.record.session import RunSession
from tests.errors import raises

TAG = """
import sys
from pathlib import Path
from engine.record.annotations import set_tags
for number in range(15):
    set_tags(Path(sys.argv[1]), add=[f"{sys.argv[2]}{number}"])
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "", name="r", tags=["rte", "first"], environment={})


def test_notes_and_tags_are_kept_and_listed(run: Path) -> None:
    set_note(run, "a note\nof two lines: λ = 0.3")
    set_tags(run, add=["new", "rte"], remove=["first", "never-there"])
    (entry,) = list_runs(run.parent)
    assert entry.note == "a note\nof two lines: λ = 0.3"
    assert entry.tags == ("rte", "new")
    set_note(run, "")
    assert read_annotations(run).note == ""
    assert read_annotations(run).tags == ("rte", "new")


def test_they_change_while_the_engine_rewrites_its_status(run: Path) -> None:
    session = RunSession(run, signals=False)
    set_tags(run, add=["live"])
    session.update(step=5)
    session.finish("finished", 0)
    (entry,) = list_runs(run.parent)
    assert entry.tags == ("rte", "first", "live")
    assert entry.status is not None
    assert entry.status.step == 5


def test_two_commands_at_once_lose_nothing(run: Path) -> None:
    commands = [
        subprocess.Popen([sys.executable, "-c", TAG, str(run), name], env=engine_environment()) for name in "ab"
    ]
    assert [command.wait() for command in commands] == [0, 0]
    expected = {f"{name}{number}" for name in "ab" for number in range(15)} | {"rte", "first"}
    assert set(read_annotations(run).tags) == expected


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "esc\x1b", "x" * 51, "new\n"])
def test_what_cannot_be_a_tag_says_what_can(run: Path, tag: str) -> None:
    with raises("invalid-tag", "50"):
        set_tags(run, add=[tag])
    assert read_annotations(run).tags == ("rte", "first")


def test_tags_of_presets_and_earlier_versions_become_words(tmp_path: Path) -> None:
    texts = ["needs review", " a, b ", "esc\x1b[31m", "\u202e", ",", "x" * 60, "plain"]
    run = create_run(tmp_path / "runs", "", name="r", tags=texts, environment={})
    words = ("needs-review", "a-b", "esc-[31m", "x" * 50, "plain")
    assert read_annotations(run).tags == words
    assert set_tags(run, add=words[:1]).tags == words
    (run / "annotations.json").write_text(json.dumps({"schema": 1, "note": "", "tags": texts}))
    assert read_annotations(run).tags == words
    assert set_tags(run, remove=["needs review"]).tags == words[1:]


@pytest.mark.parametrize(
    ("note", "kind"), [("x" * 10_001, "note-too-long"), ("a\x1b[2Jb", "note-with-control-characters")]
)
def test_what_cannot_be_a_note_is_refused(run: Path, note: str, kind: str) -> None:
    with raises(kind):
        set_note(run, note)


def test_damage_reads_as_nothing_and_is_not_overwritten(run: Path) -> None:
    path = run / "annotations.json"
    for content in ("torn {", '{"schema": 9, "note": "later"}', "[]"):
        path.write_text(content)
        assert list_runs(run.parent)[0].id == "r-s0"
        with pytest.raises(RunError):
            set_note(run, "mine")
        assert path.read_text() == content
    path.write_text(json.dumps({"schema": 1, "note": 3, "tags": ["ok", 4]}))
    assert read_annotations(run).tags == ("ok",)


def test_a_run_without_annotations_gets_them(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", "", name="bare", environment={})
    assert read_annotations(run).tags == ()
    set_note(run, "x")
    assert read_annotations(run).note == "x"
    with raises("cannot-write-annotations"):
        set_note(run.parent / "gone", "x")
