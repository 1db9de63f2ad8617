"""Deleting and replacing: in open folders, never through a link, and nothing that a person put there."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.record.files import write_atomic
from engine.record.owner import TEMPORARY, Owner, temporary_name
from engine.record.removal import LinkedFolderError, OpenFolder, remove_file, remove_leftovers, remove_leftovers_of
from tests.conftest import REPOSITORY
from tests.layout import modules, parsed
from tests.record.own_files import everything, gone_name, gone_pid, model


@pytest.fixture
def thesis(tmp_path: Path) -> Iterator[Path]:
    """A person's folder, whole at the end of the test."""
    folder = tmp_path / "thesis"
    (folder / "figures").mkdir(parents=True)
    for name in ("text.md", "figures/1.svg", "model.safetensors", "manifest.json"):
        (folder / name).write_text("mine")
    before = everything(folder)
    yield folder
    assert everything(folder) == before


def test_a_root_may_be_a_link_and_a_folder_in_it_may_not(tmp_path: Path, thesis: Path) -> None:
    (tmp_path / "disk" / "inner").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "link").symlink_to(thesis)
    with OpenFolder.at(tmp_path / "root", "inner") as folder:
        assert folder.names() == []
    for create in (False, True):
        with pytest.raises(LinkedFolderError, match="'link'"):
            OpenFolder.at(tmp_path / "root", "link", create=create)
        with pytest.raises(LinkedFolderError):
            OpenFolder.at(tmp_path / "root", "link", "figures", create=create)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../thesis", "a\0b"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, thesis: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    with OpenFolder.at(tmp_path / "a") as folder:
        for method in (folder.remove, folder.child, folder.status, folder.create, folder.remove_empty):
            with pytest.raises(ValueError, match="not the name"):
                method(name)
        with pytest.raises(ValueError, match="not the name"):
            folder.rename("x", name)


def test_deleting_a_folder_deletes_links_in_it_but_not_their_targets(tmp_path: Path, thesis: Path) -> None:
    folder = tmp_path / "a" / "old"
    (folder / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(thesis)
    (folder / "deep" / "link").symlink_to(thesis / "text.md")
    with OpenFolder.at(tmp_path / "a") as opened:
        opened.remove("old")
        (tmp_path / "a" / "link").symlink_to(thesis)
        opened.remove("link")
    assert list((tmp_path / "a").iterdir()) == []


def swap_before(
    monkeypatch: pytest.MonkeyPatch, owner: Any, function: str, swap: Callable[[], None], call: int = 1
) -> None:
    """Call `swap` once, just before the system function is called for the n-th time."""
    real, calls = getattr(owner, function), [0]

    def wrapped(*words: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            swap()
        return real(*words, **more)

    monkeypatch.setattr(owner, function, wrapped)


@pytest.mark.parametrize("function", ["lstat", "open", "listdir", "unlink", "rmdir"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("level", ["old", "old/deep"])
def test_a_folder_exchanged_for_a_link_while_it_is_deleted(
    tmp_path: Path, thesis: Path, monkeypatch: pytest.MonkeyPatch, function: str, call: int, level: str
) -> None:
    root = tmp_path / "a"
    (root / "old" / "deep").mkdir(parents=True)
    for name in ("old/text.md", "old/deep/text.md", "old/deep/model.safetensors"):
        (root / name).write_text("crild's")

    def swap() -> None:
        if (root / level).is_dir():
            (root / level).rename(tmp_path / "moved")
            (root / level).symlink_to(thesis)

    with OpenFolder.at(root) as folder:
        swap_before(monkeypatch, os, function, swap, call)
        with contextlib.suppress(OSError):
            folder.remove("old")
        monkeypatch.undo()


def test_a_folder_exchanged_after_its_check_is_not_deleted(tmp_path: Path) -> None:
    root = tmp_path / "a"
    (root / "old").mkdir(parents=True)
    (root / "old" / "crild.json").write_text("{}")

    def check(folder: OpenFolder) -> bool:
        assert folder.names() == ["crild.json"]
        (root / "old").rename(root / "moved")
        (root / "old").mkdir()
        (root / "old" / "thesis.md").write_text("mine")
        return True

    with OpenFolder.at(root) as folder, pytest.raises(OSError, match="not empty"):
        folder.remove_folder("old", check)
    assert (root / "old" / "thesis.md").read_text() == "mine"


# -- leftovers


def test_a_temporary_name_tells_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    match = TEMPORARY.fullmatch(temporary_name("model.safetensors"))
    assert match is not None
    assert match["base"] == "model.safetensors"
    assert Owner.from_tag(match["owner"]) == Owner.current()
    me = Owner.current()
    for changed, state in (
        (replace(me, pid=gone_pid()), "gone"),
        (replace(me, started=me.started - 100), "gone"),
        (replace(me, boot_id="before"), "gone"),
        (replace(me, host="other", boot_id="other"), "elsewhere"),
        (replace(me, pid_namespace="pid:[1]"), "elsewhere"),
    ):
        assert Owner.from_tag(changed.tag()).state() == state


def test_long_names_have_temporary_names_too(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 127):
        write_atomic(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
        (tmp_path / name).unlink()


def test_leftovers_of_one_path_go_files_and_folders_and_a_folder_gets_its_name_back(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    stay = [temporary_name("model"), gone_name("other"), "model-mine"]
    for name in (*stay, gone_name("model")):
        (folder / name).mkdir()
        (folder / name / "model.onnx").touch()
    aside = gone_name("model", "old")
    (folder / aside).mkdir()
    (folder / aside / "mine.txt").write_text("mine")
    (folder / gone_name("table.csv")).touch()
    remove_leftovers_of(folder / "model")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*stay, "model", gone_name("table.csv")])
    assert (folder / "model" / "mine.txt").read_text() == "mine"
    remove_leftovers_of(folder / "table.csv")
    assert not (folder / gone_name("table.csv")).exists()


def test_only_leftovers_of_processes_that_are_gone_are_deleted(tmp_path: Path, thesis: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    elsewhere = f".status.json.tmp-{replace(Owner.current(), host='a', boot_id='b').tag()}-0"
    stay = [
        temporary_name("status.json"), elsewhere, ".hidden", ".student.backup", ".student.tmp-1", "student", ".tmp-1-2-3",
        f".status.json.tmp-{os.getpid()}-2-3", f".001-kd-00000020.{os.getpid()}", ".001-kd-00000020.", ".kd.77", ".git",
    ]  # fmt: skip
    go = [gone_name("status.json"), gone_name("a b.csv")]
    released = [
        f".status.json.tmp-{gone_pid()}-2-3",
        f".001-kd-00000020.{gone_pid()}",
        f".best-kd-00000020.{gone_pid()}",
    ]
    for name in (*stay, *go, *released):
        (folder / name).write_text("")
    folders = [gone_name("student"), ".student.x1y2z3_a"]
    for name in folders:
        model(folder / name / "new")
    (folder / ".student.abcdefgh").mkdir()
    (folder / ".student.abcdefgh" / "mine.txt").write_text("not as crild leaves it")
    (folder / gone_name("link")).symlink_to(thesis)
    with OpenFolder.at(folder) as opened:
        assert sorted(remove_leftovers(opened, locked=False)) == sorted([*go, folders[0], gone_name("link")])
        assert sorted(remove_leftovers(opened, locked=True)) == sorted([*released, folders[1]])
    assert sorted(path.name for path in folder.iterdir()) == sorted([*stay, ".student.abcdefgh"])


# -- replacing


def put(root: Path, text: str = "new") -> None:
    with OpenFolder.at(root) as folder, folder.temporary_folder("student") as new:
        for name in ("model.safetensors", "config.json"):
            (new.path / name).write_text(text)
        folder.put(new, "student")


def test_a_replaced_folder_is_whole_and_keeps_what_a_person_put_into_it(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    put(root, "first")
    (root / "student" / "vocab.txt").write_text("of an older version")
    (root / "student" / "notes.txt").write_text("mine")
    (root / "student" / "onnx").mkdir()
    (root / "student" / "onnx" / "model.onnx").write_text("mine")
    put(root, "second")
    assert everything(root) == [
        "student/config.json",
        "student/model.safetensors",
        "student/notes.txt",
        "student/onnx/model.onnx",
    ]
    assert (root / "student" / "model.safetensors").read_text() == "second"
    assert [path.name for path in root.iterdir()] == ["student"]


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_a_link_or_a_file_is_not_replaced_by_a_folder(tmp_path: Path, thesis: Path, kind: str) -> None:
    root = tmp_path / "run"
    root.mkdir()
    if kind == "file":
        (root / "student").write_text("mine")
    else:
        (root / "student").symlink_to(thesis if kind == "link" else tmp_path / "nothing")
    with pytest.raises(OSError, match="student"):
        put(root)
    assert (root / "student").is_symlink() or (root / "student").read_text() == "mine"
    assert [path.name for path in root.iterdir()] == ["student"]


@pytest.mark.parametrize("function", ["mkdir", "rename", "unlink", "rmdir", "open"])
def test_a_kill_at_any_change_loses_neither_student_nor_a_persons_files(tmp_path: Path, function: str) -> None:
    for call in range(1, 30):
        root = tmp_path / str(call)
        root.mkdir()
        put(root, "first")
        (root / "student" / "notes.txt").write_text("mine")
        killed = killed_at(function, call, root)
        with OpenFolder.at(root) as folder:
            remove_leftovers(folder, locked=True)
        assert [path.name for path in root.iterdir()] == ["student"]
        assert everything(root) == ["student/config.json", "student/model.safetensors", "student/notes.txt"]
        texts = {(root / "student" / name).read_text() for name in ("config.json", "model.safetensors")}
        assert texts <= {"first", "second"}
        assert len(texts) == 1
        if not killed:
            assert texts == {"second"}
            assert call > 1, "the function was never called"
            return
    pytest.fail("there are more calls than were tried")


def killed_at(function: str, call: int, root: Path) -> bool:
    """Replace the student in another process, which is killed before it calls a function for the n-th time."""
    child = os.fork()
    if child == 0:
        real, calls = getattr(os, function), [0]

        def wrapped(*words: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **more)

        setattr(os, function, wrapped)
        try:
            put(root, "second")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_replacement_that_a_released_version_left_half_way_is_undone(tmp_path: Path) -> None:
    root = tmp_path / "run"
    model(root / ".student.a1b2c3d4" / "old", "old")
    model(root / ".student.a1b2c3d4" / "new", "half")
    with OpenFolder.at(root) as folder:
        assert remove_leftovers(folder, locked=True) == [".student.a1b2c3d4"]
    assert [path.name for path in root.iterdir()] == ["student"]
    assert (root / "student" / "config.json").read_text() == "old"


def test_a_file_is_replaced_in_the_folder_that_was_opened(
    tmp_path: Path, thesis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()

    def swap() -> None:
        run.rename(tmp_path / "moved")
        run.symlink_to(thesis)

    swap_before(monkeypatch, os, "rename", swap)
    write_atomic(run / "manifest.json", "new")
    assert (tmp_path / "moved" / "manifest.json").read_text() == "new"
    assert (thesis / "manifest.json").read_text() == "mine"
    with pytest.raises(LinkedFolderError):
        write_atomic(run / "manifest.json", "new", root=tmp_path)


def test_a_deleted_file_may_be_a_link(tmp_path: Path, thesis: Path) -> None:
    (tmp_path / "link").symlink_to(thesis / "text.md")
    remove_file(tmp_path / "link")
    remove_file(tmp_path / "link", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        remove_file(tmp_path / "link")


# -- nothing else deletes

ALLOWED = {
    "engine.record.removal": {"mkdir", "unlink", "rmdir", "rename"},
    "engine.launch.background": set(),
    "crild.api.prediction": {"TemporaryDirectory", "rename"},  # it renames columns of a DataFrame
    "crild_tui.cli.data": {"TemporaryDirectory"},
    "crild_tui.cli.dry_run": {"TemporaryDirectory"},  # in the system's folder for temporary files
    "crild_tui.cli.evaluate": {"TemporaryDirectory"},
    "crild_tui.cli.export": {"TemporaryDirectory"},
    "engine.train.ranks": {"TemporaryDirectory"},
    "crild_tui.launch_form.copy_preset": {"NamedTemporaryFile"},  # in the user's folder of presets
    "crild_tui.launch_form.save_preset": {"replace", "unlink"},
}
"""Modules that may call what deletes or replaces, and what they call."""


_WORDS = re.compile(
    r"\b(?:rmtree|unlink|rmdir|removedirs|renames?|replace|remove|move|TemporaryDirectory|NamedTemporaryFile)\("
)


def test_only_the_removal_module_deletes_and_replaces() -> None:
    assert {
        name: calls - ALLOWED.get(name, set())
        for name, path in modules(REPOSITORY).items()
        if _WORDS.search(path.read_text(encoding="utf-8"))
        and (calls := deleting_calls(parsed(path))) - ALLOWED.get(name, set())
    } == {}


def deleting_calls(tree: ast.Module) -> set[str]:
    """Names of called functions that delete or replace files."""
    calls = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        on_folder = isinstance(node.func, ast.Attribute) and len(node.args) + len(node.keywords) != 1
        if name in (
            "rmtree",
            "unlink",
            "rmdir",
            "removedirs",
            "renames",
            "TemporaryDirectory",
            "NamedTemporaryFile",
            "move",
        ):
            calls.add(name)
        elif name == "replace" and isinstance(node.func, ast.Attribute) and not on_folder and node.args:
            calls.add(name)  # a path's: a text's takes two arguments
        elif name in ("rename", "replace", "remove") and _is_os(node.func):
            calls.add(name)
        elif name == "rename" and not on_folder:
            calls.add(name)  # a path's: that of an open folder takes two
    return calls


def _is_os(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "os"
